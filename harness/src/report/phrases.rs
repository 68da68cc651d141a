//! Sentences about autoscaler and cluster that several reports share.

use highwater_model::{
    elasticity::UTILISATION,
    event::{MetricReading, MetricUnit},
    time::Nanos,
};

use super::figures::{self, NONE, percent};
use crate::{
    analyze::{
        Analysis, ClosedLoop,
        scaling::{Progress, ScaleUp, Stage, Took, slowest_of},
        scorecard::{Basis, Elastic, Usable},
    },
    record::BackendKind,
};

/// What went wrong with pods, by title; `None` if nothing did.
pub fn findings(analysis: &Analysis) -> Option<String> {
    let told: Vec<String> = analysis
        .findings
        .iter()
        .map(|one| match one.pods.len() as u64 {
            0 => one.kind.title().to_string(),
            pods => format!("{} ({})", one.kind.title(), figures::counted(pods, "pod")),
        })
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What a proxy's retries hid: `3 requests were rescued by a retry:
/// termination race 3`; `None` if nothing.
pub fn retries(analysis: &Analysis) -> Option<String> {
    let retries = &analysis.retries;
    let mut parts = Vec::new();
    if retries.attempts > 0 {
        let were = if retries.rescued == 1 { "was" } else { "were" };
        let rescued = figures::counted(retries.rescued, "request");
        let causes: Vec<String> = retries
            .by_cause
            .iter()
            .map(|loss| {
                let title = loss.cause.title().to_lowercase();
                format!("{title} {}", figures::count(loss.count))
            })
            .collect();
        let of_causes =
            if causes.is_empty() { String::new() } else { format!(": {}", causes.join(", ")) };
        parts.push(format!("{rescued} {were} rescued by a retry{of_causes}"));
    }
    if let further @ 1.. = retries.attempts.saturating_sub(retries.rescued) {
        let retries = if further == 1 { "retry" } else { "retries" };
        parts.push(format!("{} further {retries} did not decide", figures::count(further)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whom the proxy passed over for failures: `2 pods, 5 times`; `None` if nobody.
pub fn passed_over(analysis: &Analysis) -> Option<String> {
    let retries = &analysis.retries;
    (retries.ejections > 0).then(|| {
        let pods = figures::counted(retries.ejected.len() as u64, "pod");
        format!("{pods}, {}", figures::counted(retries.ejections, "time"))
    })
}

/// What the autoscaler decided: `5 decisions: 4 up, 1 down; 2 held back by a limit`; `None`
/// without one.
pub fn autoscaler(analysis: &Analysis) -> Option<String> {
    let known = &analysis.autoscaling;
    if !known.is_known() {
        return None;
    }
    let decisions = known.decisions.len() as u64;
    if decisions == 0 {
        return Some("no decision".into());
    }
    let mut text = format!(
        "{}: {} up, {} down",
        figures::counted(decisions, "decision"),
        known.scale_ups(),
        known.scale_downs()
    );
    if let limited @ 1.. = known.limited() {
        text.push_str(&format!("; {limited} held back by a limit"));
    }
    Some(text)
}

/// The slowest scale-up in stages; `None` without any.
pub fn time_to_scale(analysis: &Analysis) -> Option<String> {
    let up = slowest_of(&analysis.scale_ups)?;
    let least = if up.progress == Progress::Incomplete { "at least " } else { "" };
    let mut text = format!("{least}{} ({} → {}", span(&up.took), up.from, up.to);
    match analysis.scale_ups.len() {
        1 => text.push(')'),
        n => text.push_str(&format!(", the slowest of {n})")),
    }
    let known = Stage::ALL.iter().zip(&up.stages).skip(1);
    let parts: Vec<String> = known
        .filter_map(|(stage, took)| Some(format!("{} {}", stage.name(), span(took.as_ref()?))))
        .collect();
    if !parts.is_empty() {
        text.push_str(&format!(": {}", parts.join(", ")));
    }
    if let Some(lag) = &up.stages[0] {
        text.push_str(&format!("; the metric was {} behind the load", span(lag)));
    }
    Some(text)
}

/// How long something took.
pub fn span(took: &Took) -> String {
    if took.span == Nanos::ZERO { "0 s".into() } else { figures::nanos(took.span.0) }
}

/// How long a stage took; [`NONE`] if it is not known.
pub fn stage(up: &ScaleUp, index: usize) -> String {
    up.stages[index].as_ref().map_or_else(|| NONE.into(), span)
}

/// The generators: `2 generators, 1 lost with 120 requests unsent`; `None` if the load came from
/// the harness.
pub fn generators(analysis: &Analysis) -> Option<String> {
    let all = &analysis.cluster.generators;
    if all.is_empty() {
        return None;
    }
    let mut text = figures::counted(all.len() as u64, "generator");
    let lost: Vec<_> = all.iter().filter_map(|generator| generator.lost.as_ref()).collect();
    if !lost.is_empty() {
        let unsent = lost.iter().fold(0u64, |sum, lost| sum.saturating_add(lost.unsent));
        let unsent = figures::counted(unsent, "request");
        text.push_str(&format!(", {} lost with {unsent} unsent", lost.len()));
    }
    Some(text)
}

/// What a closed loop found, and what its latency is not; `None` of an open one.
pub fn closed_loop(analysis: &Analysis) -> Option<String> {
    let closed = analysis.closed_loop?;
    let rate = figures::count(closed.rate.max(0.0).round() as u64);
    let connections = figures::counted(u64::from(closed.connections), "connection");
    Some(format!("{rate} good answers/s over {connections}; {}", ClosedLoop::NOTE))
}

/// The times without news; `None` if there are none.
pub fn gaps(analysis: &Analysis) -> Option<String> {
    let gaps = &analysis.cluster.gaps;
    let longest = gaps.iter().map(|gap| gap.to.since(gap.from)).max()?;
    let deaf = figures::nanos(analysis.cluster.deaf().0);
    let times = match gaps.len() {
        1 => format!("for {deaf}"),
        n => format!("for {deaf} in {n} gaps"),
    };
    Some(format!(
        "Nothing was heard of the cluster {times}: times of its own acts then are late by up to {}.",
        figures::nanos(longest.0)
    ))
}

/// What pods cost for good answers; `None` without any.
pub fn cost(analysis: &Analysis) -> Option<String> {
    let cost = analysis.cost_per_thousand_good.filter(|cost| cost.is_finite())?;
    Some(format!("{} pod-seconds per 1,000 good requests", amount(cost)))
}

/// How well the pods followed the demand: `objectives held in 93 % of seconds; pods missing 10 % and
/// idle 45 % of the time; 0.21 pod-hours, regret +150 %`; `None` if none of it is known.
pub fn scorecard(analysis: &Analysis) -> Option<String> {
    let card = &analysis.scorecard;
    let held = card.attainment.as_ref();
    let held = held.map(|held| format!("objectives held in {} of seconds", percent(held.share())));
    let elastic = card.elastic.as_ref().ok().map(|elastic| {
        format!(
            "pods missing {} and idle {} of the time; {} pod-hours, regret {}",
            percent(elastic.metrics.under_timeshare),
            percent(elastic.metrics.over_timeshare),
            figures::hours(elastic.pod_hours),
            regret(elastic)
        )
    });
    let parts: Vec<String> = held.into_iter().chain(elastic).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The regret, with its sign.
pub fn regret(elastic: &Elastic) -> String {
    elastic.regret.map_or_else(|| NONE.into(), |regret| format!("{} %", signed(regret * 100.0)))
}

/// A number with its sign and without decimals: `+150`, `-3`, `0`.
pub fn signed(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    match value.round() {
        0.0 => "0".into(),
        rounded => format!("{rounded:+}"),
    }
}

/// Whence it is known what a pod can take.
pub fn basis(elastic: &Elastic) -> String {
    let cpu = |cpu: &Usable| match cpu {
        Usable::Limit(milli) => format!("its CPU limit of {milli}"),
        Usable::Request(milli) => format!("its CPU request of {milli} (it has no limit)"),
        Usable::Cores(cores) => {
            format!("{} to itself", figures::counted(u64::from(*cores), "core"))
        }
    };
    let rate = amount(elastic.per_pod);
    match &elastic.basis {
        Basis::Model { cpu: usable, objective: Some((limit, share)) } => format!(
            "By the scenario’s model of its service a pod takes {rate} requests/s with p{} within {}, \
             on {}.",
            share * 100.0,
            figures::nanos(limit.0),
            cpu(usable)
        ),
        Basis::Model { cpu: usable, objective: None } => format!(
            "By the scenario’s model of its service a pod takes {rate} requests/s at {} of what it \
             can do on {}; the scenario has no objective of latency.",
            percent(UTILISATION),
            cpu(usable)
        ),
        Basis::Usage { per_request, cpu: usable } => format!(
            "In this run a request took {} of CPU, so that a pod takes {rate} requests/s at {} of \
             {}.",
            figures::nanos(per_request.0),
            percent(UTILISATION),
            cpu(usable)
        ),
        Basis::Throughput { second } => format!(
            "A pod was seen to take {rate} requests/s in the fullest second in which the objectives \
             held (second {second}); it may be able to take more, and then fewer pods were needed."
        ),
    }
}

/// A metric and its target: `cpu 180 % (target 50 %)`.
pub fn reading(metric: &MetricReading) -> String {
    let value = |value: f64| match metric.unit {
        MetricUnit::Percent => format!("{} %", amount(value)),
        MetricUnit::AverageValue | MetricUnit::Value => amount(value),
    };
    let current = metric.current.map_or_else(|| "unknown".into(), value);
    let per_pod = if metric.unit == MetricUnit::AverageValue { " per pod" } else { "" };
    format!("{} {current}{per_pod} (target {})", metric.name, value(metric.target))
}

/// Any number with three significant digits, and a letter for thousands from 100,000 on.
pub fn amount(value: f64) -> String {
    let (value, letter) = match value.abs() {
        v if !v.is_finite() => return NONE.into(),
        v if v >= 1e15 => return format!("{value:.2e}"),
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        0.0 => 0,
        v if v < 1e-6 => return format!("{value:.2e}"),
        v => (2 - v.log10().floor() as i32).max(0) as usize,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text.as_str()
    };
    format!("{text}{letter}")
}

/// Where the times of the axis come from; `None` where all are of one clock.
pub fn times(analysis: &Analysis) -> Option<String> {
    if analysis.backend != BackendKind::Kube {
        return None;
    }
    let times = &analysis.cluster.times;
    let all = times.exact.saturating_add(times.fine).saturating_add(times.coarse);
    let mut text = String::from(
        "Requests are timed by the generators. Pods, endpoints and the autoscaler belong to \
         Kubernetes: their times are those at which they were seen through the API server, or its \
         own, which are whole seconds.",
    );
    if times.fine.saturating_add(times.coarse) > 0 {
        text.push_str(&format!(
            " Of {}, {} may be off by 1 s or more, the worst by {}.",
            figures::counted(all, "event"),
            figures::count(times.coarse),
            figures::nanos(times.worst.0)
        ));
    }
    let clocks = analysis.cluster.generators.iter().map(|generator| generator.uncertainty).max();
    if let Some(clocks) = clocks.filter(|clocks| clocks.0 > 0) {
        text.push_str(&format!(
            " The generators' clocks were brought together to within {}.",
            figures::nanos(clocks.0)
        ));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_short() {
        let rows = [
            (0.0, "0"),
            (50.0, "50"),
            (182.34, "182"),
            (0.1823, "0.182"),
            (12.5, "12.5"),
            (20_000.0, "20000"),
            (523_000_000.0, "523M"),
            (1e-9, "1.00e-9"),
            (1e20, "1.00e20"),
            (f64::NAN, NONE),
            (f64::INFINITY, NONE),
            (-0.25, "-0.25"),
        ];
        for (value, shown) in rows {
            assert_eq!(amount(value), shown);
        }
    }

    #[test]
    fn readings_say_their_unit() {
        let reading = |unit, current| {
            super::reading(&MetricReading { name: "cpu".into(), unit, current, target: 50.0 })
        };
        assert_eq!(reading(MetricUnit::Percent, Some(181.2)), "cpu 181 % (target 50 %)");
        assert_eq!(reading(MetricUnit::AverageValue, Some(9.0)), "cpu 9 per pod (target 50)");
        assert_eq!(reading(MetricUnit::Value, None), "cpu unknown (target 50)");
    }
}
