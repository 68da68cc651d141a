//! A calibration for people: what was fitted, then how well it reproduces the run.

use std::fmt::Write as _;

use super::told::{Calibration, Pair, Parameter, Reproduction};
use crate::report::{clean, figures};

/// Renders the tables; no colours.
pub fn render(calibration: &Calibration) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, calibration);
    out
}

fn write(out: &mut String, of: &Calibration) -> std::fmt::Result {
    let seconds = match of.busy_seconds {
        0 => figures::counted(of.quiet_seconds, "second"),
        busy => format!("{} quiet seconds and {busy} busy ones", of.quiet_seconds),
    };
    writeln!(
        out,
        "{} on {}: {} good answers, {seconds}, {}\n",
        clean::line(&of.scenario),
        of.backend.name(),
        figures::count(of.answers),
        figures::counted(u64::from(of.trials), "trial"),
    )?;
    let wide = |text: fn(&Parameter) -> &str| {
        of.parameters.iter().map(|one| text(one).chars().count()).max().unwrap_or(0)
    };
    let (keys, values) = (wide(|one| &one.key), wide(|one| &one.value));
    for Parameter { key, value, origin, why } in &of.parameters {
        let origin = origin.name();
        writeln!(out, "  {key:<keys$}  {value:<values$}  {origin}: {}", clean::line(why))?;
    }
    writeln!(out)?;
    reproduction(out, &of.reproduction)
}

fn reproduction(out: &mut String, of: &Reproduction) -> std::fmt::Result {
    writeln!(out, "  {:<26}{:>12}{:>12}   off by", "", "run", "simulated")?;
    let mut row = |name: &str, pair: &Pair, show: &dyn Fn(f64) -> String| {
        let off = pair.off().map_or(figures::NONE.into(), |off| format!("{:+.1} %", off * 100.0));
        writeln!(out, "  {name:<26}{:>12}{:>12}   {off}", show(pair.run), show(pair.sim))
    };
    let ms = |ms: f64| figures::nanos((ms * 1e6) as u64);
    row("latency p50", &of.p50_ms, &ms)?;
    row("latency p95", &of.p95_ms, &ms)?;
    row("latency p99", &of.p99_ms, &ms)?;
    row("pod hours", &of.pod_hours, &figures::hours)?;
    let count = |n: f64| figures::count(n as u64);
    row("good answers", &of.ok, &count)?;
    for (cause, pair) in &of.losses {
        row(&format!("lost: {}", cause.name()), pair, &count)?;
    }
    let chance = of.p95_chance.run.hypot(of.p95_chance.sim);
    writeln!(out, "\n  p95 may differ by {} by chance alone", figures::percent(chance))?;
    if let (Some(ready), Some(desired)) = (of.ready_within_sync, of.desired_within_sync) {
        writeln!(
            out,
            "  replicas the same within one sync (15 s): ready {}, desired {} of the time",
            figures::percent(ready),
            figures::percent(desired)
        )?;
    }
    Ok(())
}
