//! Whether a run can be trusted: the generator judges itself.

use highwater_model::{
    event::{EventKind, WarningCode},
    time::{MILLISECOND, Nanos, SECOND, human},
};

use super::{Percentiles, Requests, cluster::Gap};
use crate::record::RunRecord;

/// Above this, latency speaks of the generator: ten times what a loaded shared machine shows.
const LAG_P99_MAX: u64 = 100 * MILLISECOND;
/// Above this the schedule was kept, but not closely.
const LAG_P99_WARN: u64 = 10 * MILLISECOND;
/// The share of owed requests that may be unsent.
const UNSENT_SHARE_MAX: f64 = 0.001;
/// The share of a core above which an engine's thread has no reserve.
const ENGINE_CPU_WARN: f64 = 0.85;
/// More watch gaps, and more warnings of the run, than this are only counted.
const WARNINGS_MAX: usize = 10;
/// The share of descriptors or ports above which a limit is near.
const LIMIT_SHARE_WARN: f64 = 0.8;

/// The generator's judgement of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// Whether the run's numbers can be believed.
    pub trusted: bool,
    /// Why not, each in a sentence.
    pub reasons: Vec<String>,
    /// What weakens the numbers without breaking them, each in a sentence.
    pub warnings: Vec<String>,
    /// What was measured, for the report's table.
    pub facts: Vec<AuditFact>,
}

/// One row of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditFact {
    /// What.
    pub name: String,
    /// The figure, with its unit.
    pub found: String,
    /// What is demanded.
    pub bound: String,
    /// Whether it holds.
    pub holds: bool,
}

struct Judge(Audit);

impl Judge {
    fn fact(&mut self, name: &str, found: String, bound: String, holds: bool) {
        self.0.facts.push(AuditFact { name: name.into(), found, bound, holds });
    }

    /// A demand: without it the run is not trusted.
    fn demand(&mut self, name: &str, found: String, bound: String, holds: bool, reason: &str) {
        if !holds {
            self.0.reasons.push(format!("{reason} ({found}; demanded: {bound})"));
        }
        self.fact(name, found, bound, holds);
    }

    /// A wish: without it there is a warning.
    fn wish(&mut self, name: &str, found: String, bound: String, holds: bool, warning: &str) {
        if !holds {
            self.0.warnings.push(format!("{warning} ({found}; wished: {bound})"));
        }
        self.fact(name, found, bound, holds);
    }
}

/// Judges a run's generator.
pub fn audit(record: &RunRecord, requests: &Requests, lag: &Percentiles, gaps: &[Gap]) -> Audit {
    let mut judge = Judge(Audit::default());
    let is_whole = requests.pending == 0;
    judge.demand(
        "every owed request has an outcome",
        format!("{} without", requests.pending),
        "0".into(),
        is_whole,
        "The record was cut off before all outcomes were known",
    );
    let share = requests.unsent as f64 / requests.owed.max(1) as f64;
    judge.demand(
        "unsent requests",
        format!("{} of {} ({:.3} %)", requests.unsent, requests.owed, share * 100.0),
        format!("at most {} %", UNSENT_SHARE_MAX * 100.0),
        share <= UNSENT_SHARE_MAX,
        "The generator could not send what was owed",
    );
    let lag_text = human(Nanos(lag.p99));
    judge.demand(
        "send lag, p99",
        lag_text.clone(),
        format!("at most {}", human(Nanos(LAG_P99_MAX))),
        lag.p99 <= LAG_P99_MAX,
        "The generator was late with what it sent",
    );
    if (LAG_P99_WARN..=LAG_P99_MAX).contains(&lag.p99) {
        judge.0.warnings.push(format!(
            "The generator was up to {lag_text} late (p99): differences in latency below that are its own"
        ));
    }
    worst_second(record, &mut judge);
    cpu(record, &mut judge);
    limits(record, &mut judge);
    watch_gaps(gaps, &mut judge);
    warnings(record, &mut judge);
    judge.0.trusted = judge.0.reasons.is_empty();
    judge.0
}

/// The second in which the fewest of the owed requests were sent.
fn worst_second(record: &RunRecord, judge: &mut Judge) {
    let seconds = record.samples.windows(2).map(|pair| {
        (
            pair[1].owed - pair[0].owed.min(pair[1].owed),
            pair[1].sent - pair[0].sent.min(pair[1].sent),
        )
    });
    let worst = seconds.min_by_key(|(owed, sent)| *sent as i64 - *owed as i64);
    let (owed, sent) = worst.unwrap_or_default();
    judge.fact(
        "sent against owed, worst second",
        format!("{sent} of {owed}"),
        "told only".into(),
        true,
    );
}

fn cpu(record: &RunRecord, judge: &mut Judge) {
    let busiest = record.samples.windows(2).filter_map(|pair| {
        let wall = pair[1].at.since(pair[0].at).0;
        let cpu = pair[1].engine_cpu.saturating_sub(pair[0].engine_cpu);
        (wall > SECOND / 2).then(|| cpu as f64 / wall as f64)
    });
    let busiest = busiest.fold(0.0, f64::max);
    judge.wish(
        "CPU of the load engine, busiest second",
        format!("{:.0} % of a core", busiest * 100.0),
        format!("at most {:.0} %", ENGINE_CPU_WARN * 100.0),
        busiest <= ENGINE_CPU_WARN,
        "The load engine had no CPU in reserve",
    );
}

fn limits(record: &RunRecord, judge: &mut Judge) {
    let Some(footer) = &record.footer else { return };
    let descriptors = record.samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0);
    let connections = record.samples.iter().map(|sample| sample.connections).max().unwrap_or(0);
    for (name, used, limit) in [
        ("file descriptors, at most", descriptors, footer.limits.descriptors),
        ("open connections of the local ports, at most", connections, footer.limits.ports),
    ] {
        if limit > 0 {
            judge.wish(
                name,
                format!("{used} of {limit}"),
                format!("at most {:.0} %", LIMIT_SHARE_WARN * 100.0),
                used as f64 <= limit as f64 * LIMIT_SHARE_WARN,
                "A limit of the machine was near",
            );
        }
    }
}

/// What was not heard weakens times, not counts: the load does not come through the API server.
fn watch_gaps(gaps: &[Gap], judge: &mut Judge) {
    for gap in gaps.iter().take(WARNINGS_MAX) {
        let lasted = human(gap.to.since(gap.from));
        judge.0.warnings.push(format!(
            "Nothing was heard of {} for {lasted}, from {:.1} s to {:.1} s ({}): what happened \
             then is known by its effects only, with times late by up to that",
            gap.what.join(", "),
            gap.from.as_secs_f64(),
            gap.to.as_secs_f64(),
            gap.reason,
        ));
    }
    if let Some(more @ 1..) = gaps.len().checked_sub(WARNINGS_MAX) {
        judge.0.warnings.push(format!("Such gaps beside these: {more}"));
    }
}

/// What the backend itself warned of, each once.
fn warnings(record: &RunRecord, judge: &mut Judge) {
    let mut told: Vec<&str> = Vec::new();
    let mut more = 0;
    for event in &record.events {
        let EventKind::Warning { code, message } = &event.kind else { continue };
        let counts = matches!(
            code,
            WarningCode::Throttled | WarningCode::NotRestored | WarningCode::Preflight
        );
        if !counts || told.contains(&message.as_str()) {
            continue;
        }
        if told.len() == WARNINGS_MAX {
            more += 1;
            continue;
        }
        told.push(message);
        judge.0.warnings.push(message.clone());
    }
    if more > 0 {
        judge.0.warnings.push(format!("Warnings of the run beside these: {more}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{
        event::{Event, Source},
        time::Timestamp,
    };

    fn judge() -> Judge {
        Judge(Audit::default())
    }

    #[test]
    fn gaps_are_named_and_do_not_make_a_run_untrusted() {
        let gap = |from| Gap {
            from: Timestamp(from * SECOND),
            to: Timestamp((from + 2) * SECOND),
            what: vec!["pods".into(), "events".into()],
            reason: "410 Gone".into(),
        };
        let mut few = judge();
        watch_gaps(&[gap(40)], &mut few);
        assert!(few.0.reasons.is_empty());
        let told = "Nothing was heard of pods, events for 2.00 s, from 40.0 s to 42.0 s (410 Gone)";
        assert!(few.0.warnings[0].starts_with(told), "{:?}", few.0.warnings);
        let mut many = judge();
        let gaps: Vec<Gap> = (0..100).map(|index| gap(index * 10)).collect();
        watch_gaps(&gaps, &mut many);
        assert_eq!(many.0.warnings.len(), WARNINGS_MAX + 1);
        assert_eq!(many.0.warnings[WARNINGS_MAX], "Such gaps beside these: 90");
    }

    #[test]
    fn warnings_of_the_run_are_told_once_each_and_bounded() {
        let text = r#"{"name":"test","traffic":{"phases":[{"hold":"1/s","for":"1s"}]}}"#;
        let mut record = RunRecord::new(crate::record::Header {
            schema: crate::record::SCHEMA.into(),
            backend: crate::record::BackendKind::Kube,
            seed: 1,
            scenario: serde_json::from_str(text).expect("a scenario"),
            phases: Vec::new(),
        });
        let mut warn = |code, message: String| {
            let seq = record.events.len() as u64;
            let kind = EventKind::Warning { code, message };
            let (at, source) = (Timestamp(seq), Source::Harness);
            record.events.push(Event { at, seq, source, precision: None, stated: None, kind });
        };
        warn(WarningCode::WatchGap, "gaps have events of their own".into());
        for index in 0..20 {
            warn(WarningCode::Throttled, format!("throttled {}", index / 2));
        }
        warn(WarningCode::NotRestored, "replicas".into());
        let mut found = judge();
        warnings(&record, &mut found);
        assert_eq!(found.0.warnings.len(), WARNINGS_MAX + 1);
        assert_eq!(found.0.warnings[0], "throttled 0");
        assert_eq!(found.0.warnings[WARNINGS_MAX], "Warnings of the run beside these: 1");
        assert!(found.0.reasons.is_empty());
    }
}
