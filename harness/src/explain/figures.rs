//! Pods, ratios and values as they are written in an explanation.

use std::fmt::{self, Write as _};

use super::{
    text::line,
    told::{Amount, Metric, Pod, Standing},
};
use crate::report::clean;

/// From so many pods on, only some are shown, those that do not count first.
const PODS_SHOWN: usize = 20;

/// The pods of a metric: how many count, and each that is shown.
pub(super) fn write(out: &mut String, metric: &Metric) -> fmt::Result {
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

/// A ratio with at most four decimals.
pub(super) fn fraction(ratio: Option<f64>) -> String {
    let Some(ratio) = ratio else { return "no number".into() };
    let text = format!("{ratio:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A span in seconds, as `kubectl` would write it.
pub(super) fn seconds(seconds: f64) -> String {
    highwater_model::time::Nanos::from_secs_f64(seconds).to_string()
}

/// A value with its unit.
pub(super) fn amount(amount: Amount, metric: &Metric) -> String {
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
