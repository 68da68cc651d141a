//! An explanation as lines for people. Nothing is reckoned here.

use std::fmt::{self, Write as _};

use super::told::{
    Amount, Explanation, LimitedBy, Limits, Metric, Outcome, Pass, Pod, Recommendation, Shape,
    Standing, TargetKind,
};
use crate::report::clean;

/// From so many pods on, only some are shown, those that do not count first.
const PODS_SHOWN: usize = 20;
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
fn line(out: &mut String, label: &str, text: &str) -> fmt::Result {
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
    write_pods(out, metric)?;
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

fn write_pods(out: &mut String, metric: &Metric) -> fmt::Result {
    let count = |standing| metric.pods.iter().filter(|pod| pod.standing == standing).count();
    if metric.pods.is_empty() {
        return Ok(());
    }
    let mut counts = format!("{}: {} counted", metric.pods.len(), count(Standing::Counted));
    for (standing, word) in [
        (Standing::Unready, "unready"),
        (Standing::Missing, "missing"),
        (Standing::Ignored, "ignored"),
    ] {
        if count(standing) > 0 {
            write!(counts, ", {} {word}", count(standing))?;
        }
    }
    line(out, "pods", &counts)?;
    let is_shown_first = |pod: &&Pod| pod.standing != Standing::Counted;
    let mut shown: Vec<&Pod> = metric.pods.iter().collect();
    if shown.len() > PODS_SHOWN {
        let rest = metric.pods.iter().filter(|pod| !is_shown_first(pod));
        shown = metric.pods.iter().filter(is_shown_first).chain(rest).take(PODS_SHOWN).collect();
    }
    let rows = rows(&shown, metric);
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, figures) in &rows {
        writeln!(out, "    {name:<width$}  {figures}")?;
    }
    let more = metric.pods.len().saturating_sub(PODS_SHOWN);
    if more > 0 {
        writeln!(out, "    and {more} more")?;
    }
    Ok(())
}

/// Names and figures; neighbours with the same figures share a row.
fn rows(shown: &[&Pod], metric: &Metric) -> Vec<(String, String)> {
    let figures: Vec<String> = shown.iter().map(|pod| pod_figures(pod, metric)).collect();
    let mut rows = Vec::new();
    let mut first = 0;
    for run in figures.chunk_by(|one, next| one == next) {
        let (from, to) = (&shown[first].name, &shown[first + run.len() - 1].name);
        let name = match run.len() {
            1 => clean::line(from),
            count => format!("{} to {} ({count})", clean::line(from), clean::line(to)),
        };
        rows.push((name, run[0].clone()));
        first += run.len();
    }
    rows
}

fn pod_figures(pod: &Pod, metric: &Metric) -> String {
    let milli = |value| amount(Amount::Milli(value), metric);
    let figures = match (pod.usage_milli, pod.request_milli) {
        (Some(usage), Some(request)) => {
            let percent = usage.saturating_mul(100).checked_div(request);
            let percent = percent.map_or(String::new(), |percent| format!(", {percent}%"));
            format!("{} of {}{percent}", milli(usage), milli(request))
        }
        (Some(usage), None) => milli(usage),
        (None, Some(request)) => format!("requests {}", milli(request)),
        (None, None) => String::new(),
    };
    let standing = match pod.standing {
        Standing::Counted => return figures,
        Standing::Missing => "missing",
        Standing::Unready => "unready",
        Standing::Ignored => "ignored",
    };
    let assumed = match pod.assumed_milli {
        Some(assumed) => format!("; assumed to use {}", milli(assumed)),
        None if pod.standing == Standing::Ignored => String::new(),
        None => "; left out".into(),
    };
    let space = if figures.is_empty() { "" } else { "  " };
    format!("{figures}{space}{standing}: {}{assumed}", pod.why)
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

/// A ratio with at most four decimals.
fn fraction(ratio: Option<f64>) -> String {
    let Some(ratio) = ratio else { return "no number".into() };
    let text = format!("{ratio:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A span in seconds, as `kubectl` would write it.
fn seconds(seconds: f64) -> String {
    highwater_model::time::Nanos::from_secs_f64(seconds).to_string()
}

/// A value with its unit.
fn amount(amount: Amount, metric: &Metric) -> String {
    let milli = match amount {
        Amount::Percent(percent) => return format!("{percent}%"),
        Amount::Milli(milli) => milli,
    };
    let is_bytes = metric.name == "memory" && metric.source.contains("Resource");
    if is_bytes { bytes(milli / 1000) } else { quantity(milli) }
}

/// As Kubernetes writes a quantity of thousandths.
fn quantity(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// Bytes, to a tenth of the unit where it is no whole number of it.
fn bytes(bytes: i64) -> String {
    let units = [("Gi", 1_i64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let Some((suffix, unit)) = units.into_iter().find(|(_, unit)| bytes.abs() >= *unit) else {
        return bytes.to_string();
    };
    if bytes % unit == 0 {
        format!("{}{suffix}", bytes / unit)
    } else {
        format!("{:.1}{suffix}", bytes as f64 / unit as f64)
    }
}
