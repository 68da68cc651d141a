//! The answer in words.

use std::fmt::Write as _;

use highwater_model::time::Nanos;

use super::told::{Confirmed, Drain, Tried, Why};
use crate::report::{clean, figures};

/// Renders the answer.
pub fn render(found: &Drain) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_all(&mut out, found);
    out
}

fn write_all(out: &mut String, found: &Drain) -> std::fmt::Result {
    let name = clean::line(&found.scenario);
    match (found.settings, &found.failure) {
        (Some(settings), _) => writeln!(
            out,
            "{name}: preStop {} s, terminationGracePeriodSeconds {} lose nothing\n",
            settings.pre_stop_seconds, settings.termination_grace_period_seconds
        )?,
        (None, failure) => {
            let failure = failure.as_deref().unwrap_or("nothing was found");
            writeln!(out, "{name}: no setting is enough: {}\n", clean::line(failure))?;
        }
    }
    if let (Some(why), Some(settings)) = (&found.why, found.settings) {
        self::why(out, why, settings.pre_stop_seconds)?;
    }
    writeln!(out, "tried on the simulator, at {} requests/s:", rate(found.rate))?;
    writeln!(out, "  preStop  grace  endings  lost  killed")?;
    for tried in &found.tried {
        row(out, tried)?;
    }
    if let Some(answer) = found.tried.last().filter(|_| found.settings.is_some()) {
        writeln!(
            out,
            "\nNone of {} lost a request, with seeds that the search had not seen: at most {} of \
             endings do (95 %).",
            figures::counted(answer.endings, "ending"),
            figures::percent(1.0 - 0.05f64.powf(1.0 / answer.endings.max(1) as f64))
        )?;
    }
    if let Some(confirmed) = &found.confirmed {
        self::confirmed(out, confirmed, found.why.as_ref())?;
    }
    if let Some(patch) = &found.patch {
        writeln!(out, "\n{}", patch.trim_end())?;
        writeln!(out, "\nIn a scenario:")?;
        for set in &found.sets {
            writeln!(out, "  --set '{set}'")?;
        }
    }
    Ok(())
}

fn row(out: &mut String, tried: &Tried) -> std::fmt::Result {
    let causes: Vec<String> =
        tried.causes.iter().map(|(cause, n)| format!("{} {n}", cause.name())).collect();
    let line = format!(
        "  {:>5} s {:>4} s {:>8} {:>5} {:>7}  {}",
        tried.pre_stop_seconds,
        tried.termination_grace_period_seconds,
        tried.endings,
        tried.lost,
        tried.killed,
        causes.join(", ")
    );
    writeln!(out, "{}", line.trim_end())
}

fn why(out: &mut String, why: &Why, pre_stop: u32) -> std::fmt::Result {
    let unknown = || figures::NONE.to_owned();
    let told = |ms: Option<f64>| ms.map_or_else(unknown, span);
    let serves_on = why.pre_stop_margin.is_some_and(|margin| margin < 0.0);
    writeln!(out, "preStop  {pre_stop} s")?;
    writeln!(
        out,
        "  {:>9}  propagation: until the last client or proxy knew",
        told(why.propagation)
    )?;
    if serves_on {
        let margin = why.pre_stop_margin.map(f64::abs);
        writeln!(out, "  {:>9}  of it the service serves on after its stop signal", told(margin))?;
    } else {
        writeln!(out, "  {:>9}  margin, to the next whole second", told(why.pre_stop_margin))?;
    }
    if !why.propagation_ends {
        writeln!(
            out,
            "  {:>9}  the scenario's propagation has no upper end: a longer one is seldom, not \
             impossible",
            "!"
        )?;
    }
    writeln!(out, "grace    preStop and")?;
    writeln!(
        out,
        "  {:>9}  from the stop signal to the end of the process; the slowest request took {}",
        told(why.drain),
        span(why.slowest_request)
    )?;
    writeln!(out, "  {:>9}  margin, to the next whole second\n", told(why.grace_margin))
}

fn confirmed(out: &mut String, found: &Confirmed, promised: Option<&Why>) -> std::fmt::Result {
    let tried = &found.tried;
    let verdict = if found.held { "held" } else { "did NOT hold" };
    writeln!(
        out,
        "\nOn {} it {verdict}: {} of {} wanted, {} lost, {} killed ({})",
        found.backend.name(),
        figures::counted(tried.endings, "ending"),
        found.wanted,
        figures::counted(tried.lost, "request"),
        figures::counted(tried.killed, "pod"),
        clean::line(&found.run)
    )?;
    for doubt in &found.doubts {
        writeln!(out, "  it cannot be trusted: {}", clean::line(doubt))?;
    }
    for (cause, n) in &tried.causes {
        writeln!(out, "  {} {}", figures::count(*n), cause.title())?;
    }
    let told = |ms: Option<f64>| ms.map_or_else(|| figures::NONE.to_owned(), span);
    let rows = [
        ("propagation", promised.and_then(|why| why.propagation), found.propagation),
        ("slowest request", promised.map(|why| why.slowest_request), Some(found.slowest_request)),
        ("drain", promised.and_then(|why| why.drain), found.drain),
    ];
    for (name, simulated, measured) in rows {
        writeln!(
            out,
            "  {name:<16} {:>9} there, {:>9} simulated",
            told(measured),
            told(simulated)
        )?;
    }
    if !found.held && found.doubts.is_empty() {
        writeln!(
            out,
            "  `highwater calibrate {}` fits the scenario to it; then search again",
            clean::line(&found.run)
        )?;
    }
    Ok(())
}

fn span(ms: f64) -> String {
    figures::nanos(Nanos::from_secs_f64(ms.max(0.0) / 1e3).0)
}

fn rate(rate: f64) -> String {
    format!("{}", (rate * 10.0).round() / 10.0)
}
