//! An explanation as lines for people. Nothing is reckoned here.

use std::fmt::{self, Write as _};

use super::{
    figures::{self, amount, fraction, seconds},
    told::{
        Amount, Explanation, LimitedBy, Limits, Metric, Outcome, Pass, Recommendation, Shape,
        TargetKind,
    },
};
use crate::report::clean;

/// The width of the words before the figures.
const LABEL: usize = 13;

/// All passes; those that do the same as the one before are counted.
pub fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_all(&mut out, explanation);
    out
}

fn write_all(out: &mut String, explanation: &Explanation) -> fmt::Result {
    let about = &explanation.autoscaler;
    let behavior = if about.has_behavior { "" } else { ", no behavior" };
    writeln!(
        out,
        "{}/{} scales {} between {} and {}{behavior}. Kubernetes {}.",
        clean::line(&about.namespace),
        clean::line(&about.name),
        clean::line(&about.target),
        about.min_replicas,
        about.max_replicas,
        explanation.kubernetes
    )?;
    for note in &explanation.notes {
        writeln!(out, "Note: {}.", clean::line(note))?;
    }
    let mut before: Option<&Pass> = None;
    let mut alike = 0;
    for pass in &explanation.passes {
        if before.is_some_and(|before| is_alike(before, pass)) {
            alike += 1;
        } else {
            write_alike(out, alike, before)?;
            alike = 0;
            write_pass(out, pass, before)?;
        }
        before = Some(pass);
    }
    write_alike(out, alike, before)
}

/// Whether a pass tells nothing that the one before did not.
fn is_alike(before: &Pass, pass: &Pass) -> bool {
    let bare = |pass: &Pass| {
        let mut pass = pass.clone();
        (pass.at, pass.seconds, pass.settled) = (String::new(), 0.0, None);
        if let Some(limits) = &mut pass.limits {
            limits.highest.seconds_ago = 0.0;
            if let Some(lowest) = &mut limits.lowest {
                lowest.seconds_ago = 0.0;
            }
        }
        pass
    };
    pass.from == pass.to && bare(before) == bare(pass)
}

fn write_alike(out: &mut String, alike: usize, last: Option<&Pass>) -> fmt::Result {
    match (alike, last) {
        (0, _) | (_, None) => Ok(()),
        (1, Some(last)) => writeln!(out, "\n{}: the same", last.at),
        (count, Some(last)) => writeln!(out, "\n... {count} more passes alike, until {}", last.at),
    }
}

fn write_pass(out: &mut String, pass: &Pass, before: Option<&Pass>) -> fmt::Result {
    let number = |replicas: Option<u32>| replicas.map_or("?".into(), |count| count.to_string());
    let (from, to) = (number(pass.from), number(pass.to));
    let does = match pass.outcome {
        Outcome::Scaled => format!("{from} -> {to} replicas"),
        Outcome::Unchanged => format!("{from} replicas, stays"),
        Outcome::Bounded => format!("{from} -> {to} replicas, without a look at the metrics"),
        Outcome::Paused => "0 replicas, paused: someone else set the target to zero".into(),
        Outcome::Failed => format!("{from} replicas, stays: no number"),
    };
    writeln!(out, "\n{}: {does}", pass.at)?;
    let is_known = before.is_some_and(|before| {
        before.metrics == pass.metrics && before.status_replicas == pass.status_replicas
    });
    if is_known && !pass.metrics.is_empty() {
        writeln!(out, "\n  The metrics are as before.")?;
    } else {
        for metric in &pass.metrics {
            write_metric(out, metric, pass)?;
        }
    }
    if let Some(limits) = &pass.limits {
        write_limits(out, limits, pass)?;
    }
    if let Some(settled) = pass.settled {
        line(
            out,
            "once settled",
            &format!("{settled}: what one does that has wanted the same for all of its windows"),
        )?;
    }
    write_conditions(out, pass)
}

/// A word and what belongs to it.
pub(super) fn line(out: &mut String, label: &str, text: &str) -> fmt::Result {
    writeln!(out, "  {label:<LABEL$} {}", clean::line(text))
}

fn write_metric(out: &mut String, metric: &Metric, pass: &Pass) -> fmt::Result {
    let of = metric.of.as_ref().map_or(String::new(), |of| format!(" of {of}"));
    let aims = match metric.target_type {
        TargetKind::Utilization => "of the requests",
        TargetKind::AverageValue => "per pod",
        TargetKind::Value => "in all",
    };
    let target = amount(metric.target, metric);
    let name = clean::line(&format!("{}{of}", metric.name));
    writeln!(out, "\n  {} {name}, target {target} {aims}", metric.source)?;
    figures::write(out, metric)?;
    if let Some(error) = &metric.error {
        return line(out, "fails", error);
    }
    let (Some(measured), Some(replicas)) = (metric.measured, metric.replicas) else {
        return Ok(());
    };
    line(out, "measured", &format!("{} {}", amount(measured, metric), over(metric)))?;
    write_ratio(out, metric, measured, pass)?;
    line(out, "asks for", &asks(metric, replicas, pass))
}

/// What a measured value is of.
fn over(metric: &Metric) -> &'static str {
    match (metric.target_type, metric.source) {
        (TargetKind::Utilization, _) => "of the requests of the pods that count, rounded down",
        (TargetKind::AverageValue, "Object" | "External") | (TargetKind::Value, _) => "in all",
        (TargetKind::AverageValue, _) => "on average over the pods that count, rounded down",
    }
}

fn write_ratio(out: &mut String, metric: &Metric, measured: Amount, pass: &Pass) -> fmt::Result {
    let is_per_pod = metric.target_type == TargetKind::AverageValue
        && matches!(metric.source, "Object" | "External");
    let status = pass.status_replicas.unwrap_or(0);
    let target = if is_per_pod {
        format!("({} x {status})", amount(metric.target, metric))
    } else {
        amount(metric.target, metric)
    };
    let ratio = format!("{} / {target} = {}", amount(measured, metric), fraction(metric.ratio));
    line(out, "ratio", &ratio)?;
    if let Some(assumed) = metric.assumed {
        let text = format!(
            "with what is assumed of the others {} / {target} = {}",
            amount(assumed, metric),
            fraction(metric.adjusted_ratio)
        );
        line(out, "", &text)?;
    }
    let Some((low, high)) = metric.tolerance else { return Ok(()) };
    let stays = if metric.shape == Some(Shape::WithinTolerance) { "within" } else { "outside" };
    line(out, "tolerance", &format!("{} to {}: {stays}", fraction(Some(low)), fraction(Some(high))))
}

fn asks(metric: &Metric, replicas: i32, pass: &Pass) -> String {
    let product = product(metric, pass);
    match metric.shape {
        Some(Shape::Computed) | None => format!("{replicas}: {product}, rounded up"),
        Some(Shape::WithinTolerance) => format!("{replicas}: as many as there are"),
        Some(Shape::Turned) => {
            format!("{replicas}: as many as there are, for the assumptions turn the direction")
        }
        Some(Shape::Backwards) => {
            let rounded = metric.rounded.unwrap_or(0);
            format!(
                "{replicas}: as many as there are, for {product}, rounded up {rounded}, goes the \
                 other way"
            )
        }
    }
}

/// What is rounded up.
fn product(metric: &Metric, pass: &Pass) -> String {
    let ratio = metric.adjusted_ratio.or(metric.ratio);
    let Some(pods) = metric.multiplied_by else {
        return if pass.from == Some(0) && metric.target_type == TargetKind::Value {
            format!("the ratio {}, as there are no replicas", fraction(ratio))
        } else {
            "the value by its target per pod".into()
        };
    };
    let exact = ratio.unwrap_or(f64::NAN) * f64::from(pods);
    // What is whole but for how doubles round is told to the last digit, as it is rounded up.
    let is_close = (exact - exact.round()).abs() < 1e-4 && exact != exact.round();
    let told = if is_close { exact.to_string() } else { fraction(Some(exact)) };
    format!("{} x {pods} {} = {told}", fraction(ratio), if pods == 1 { "pod" } else { "pods" })
}

fn write_limits(out: &mut String, limits: &Limits, pass: &Pass) -> fmt::Result {
    out.write_char('\n')?;
    let failed = pass.metrics.iter().filter(|metric| metric.error.is_some()).count();
    let winner = pass.winner.and_then(|place| pass.metrics.get(place));
    let by = winner.map_or("", |metric| metric.name.as_str());
    let despite = match failed {
        0 => String::new(),
        count => format!(
            "; {count} of {} metrics fail, which keeps it from getting smaller",
            pass.metrics.len()
        ),
    };
    line(out, "metrics want", &format!("{}, by {by}{despite}", limits.proposal))?;
    let held = [(&limits.lowest, "lowest"), (&Some(limits.highest.clone()), "highest")];
    let held = held.into_iter().filter_map(|(known, word)| {
        let known = known.as_ref().filter(|known| known.window_seconds > 0.0)?;
        Some(format!("the {word} of {}", recommendation(known)))
    });
    let mut held = held.collect::<Vec<_>>().join("; ");
    if held.is_empty() {
        held = "there is no window".into();
    }
    line(out, "stabilised", &format!("{}: {held}", limits.stabilized))?;
    if let Some(rate) = &limits.rate {
        let start = match pass.from {
            Some(from) if i64::from(from) == rate.start => String::new(),
            _ => format!(", from {} at its start", rate.start),
        };
        line(out, "rate", &format!("as far as {}: {}{start}", rate.limit, rate.by))?;
    }
    let limited = match limits.limited_by {
        LimitedBy::Nothing => "within minReplicas, maxReplicas and rate",
        LimitedBy::MinReplicas => "limited by minReplicas",
        LimitedBy::MaxReplicas => "limited by maxReplicas",
        LimitedBy::ScaleUpRate => "limited by the rate of the way up",
        LimitedBy::ScaleDownRate => "limited by the rate of the way down",
    };
    line(out, "desired", &format!("{}, {limited}", limits.desired))
}

fn recommendation(held: &Recommendation) -> String {
    let window = format!("the last {}", seconds(held.window_seconds));
    if held.seconds_ago == 0.0 {
        format!("{window} is {}", held.replicas)
    } else {
        format!("{window} is {}, of {} ago", held.replicas, seconds(held.seconds_ago))
    }
}

fn write_conditions(out: &mut String, pass: &Pass) -> fmt::Result {
    writeln!(out, "\n  Conditions:")?;
    let width = |words: &mut dyn Iterator<Item = usize>| words.max().unwrap_or(0);
    let reason = width(&mut pass.conditions.iter().map(|condition| condition.reason.len()));
    for condition in &pass.conditions {
        let status = if condition.status { "True" } else { "False" };
        let message = clean::line(&condition.message);
        writeln!(
            out,
            "    {:<15} {status:<6} {:<reason$}  {message}",
            condition.kind, condition.reason
        )?;
    }
    if !pass.events.is_empty() {
        writeln!(out, "  Events:")?;
    }
    for event in &pass.events {
        writeln!(out, "    {}  {}", event.reason, clean::line(&event.message))?;
    }
    Ok(())
}
