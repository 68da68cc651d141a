//! Whether a run can be trusted: the generator judges itself.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, WarningCode},
    time::{MILLISECOND, Nanos, SECOND, human},
};

use super::{Percentiles, Requests, arrivals, cluster::Gap};
use crate::record::{BackendKind, RunRecord, Sample};

/// With a p99 of send lag above this (nanoseconds), latency speaks of the generator: ten times what a loaded shared machine shows.
pub const LAG_P99_MAX: u64 = 100 * MILLISECOND;
/// Above this the schedule was kept, but not closely.
pub const LAG_P99_WARN: u64 = 10 * MILLISECOND;
/// The share of owed requests that may be unsent.
pub const UNSENT_SHARE_MAX: f64 = 0.001;
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

pub(super) struct Judge(pub(super) Audit);

impl Judge {
    pub(super) fn fact(&mut self, name: &str, found: String, bound: String, holds: bool) {
        self.0.facts.push(AuditFact { name: name.into(), found, bound, holds });
    }

    /// A demand: without it the run is not trusted.
    pub(super) fn demand(
        &mut self,
        name: &str,
        found: String,
        bound: String,
        holds: bool,
        reason: &str,
    ) {
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
    let samples = by_generator(record);
    lost(record, samples.len(), &mut judge);
    worst_second(&samples, &mut judge);
    arrivals::judge(record, requests, &mut judge);
    cpu(&samples, &mut judge);
    limits(record, &mut judge);
    watch_gaps(gaps, &mut judge);
    warnings(record, &mut judge);
    judge.0.trusted = judge.0.reasons.is_empty();
    judge.0
}

/// The samples of each generator, which counts for itself.
type Samples<'a> = BTreeMap<u32, Vec<&'a Sample>>;

fn by_generator(record: &RunRecord) -> Samples<'_> {
    let mut samples = Samples::new();
    for sample in &record.samples {
        samples.entry(sample.generator).or_default().push(sample);
    }
    samples
}

/// Two samples of one generator that follow each other, and which generator's they are.
fn pairs<'a>(samples: &Samples<'a>) -> impl Iterator<Item = (u32, &'a Sample, &'a Sample)> {
    samples.iter().flat_map(|(generator, samples)| {
        samples.windows(2).map(|pair| (*generator, pair[0], pair[1]))
    })
}

/// Which generator a figure is of, if there are several.
fn of(generator: Option<u32>, samples: &Samples<'_>) -> String {
    let several = generator.filter(|_| samples.len() > 1);
    several.map_or_else(String::new, |generator| format!(" (generator {generator})"))
}

/// Generators that died. What they owed is unsent; even a little of it is a hole in the load.
fn lost(record: &RunRecord, heard: usize, judge: &mut Judge) {
    let lost: Vec<String> = record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::GeneratorLost { generator, reason, unsent } => {
                Some(format!("generator {generator}: {reason}; {unsent} requests of its share"))
            }
            _ => None,
        })
        .collect();
    let are_threads = record.header.backend == BackendKind::Local;
    if lost.is_empty() && (heard <= 1 || are_threads) {
        return;
    }
    let found = match lost.as_slice() {
        [] => format!("none of {heard}"),
        lost => lost.join(", "),
    };
    judge.demand("generators that were lost", found, "none".into(), lost.is_empty(), LOST);
}

const LOST: &str = "A part of the load was missing since its generator was lost";

/// The second in which the fewest of the owed requests were sent.
fn worst_second(samples: &Samples<'_>, judge: &mut Judge) {
    let seconds = pairs(samples).map(|(generator, before, after)| {
        let owed = after.owed.saturating_sub(before.owed);
        (Some(generator), owed, after.sent.saturating_sub(before.sent))
    });
    let worst = seconds.min_by_key(|(_, owed, sent)| *sent as i64 - *owed as i64);
    let (generator, owed, sent) = worst.unwrap_or_default();
    judge.fact(
        "sent against owed, worst second",
        format!("{sent} of {owed}{}", of(generator, samples)),
        "told only".into(),
        true,
    );
}

fn cpu(samples: &Samples<'_>, judge: &mut Judge) {
    let shares = pairs(samples).filter_map(|(generator, before, after)| {
        let wall = after.at.since(before.at).0;
        let cpu = after.engine_cpu.saturating_sub(before.engine_cpu);
        (wall > SECOND / 2).then(|| (cpu as f64 / wall as f64, Some(generator)))
    });
    let (busiest, generator) = shares.fold((0.0, None), |most, one| match one.0 > most.0 {
        true => one,
        false => most,
    });
    judge.wish(
        "CPU of the load engine, busiest second",
        format!("{:.0} % of a core{}", busiest * 100.0, of(generator, samples)),
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

#[cfg(test)]
mod generator_tests {
    use super::*;
    use crate::{
        analyze::Percentiles,
        record::{BackendKind, Header, SCHEMA},
    };
    use highwater_model::{
        event::{Event, Source},
        time::Timestamp,
    };

    /// Two generators whose samples are mixed: each sends all it owes, but for one second of the
    /// second one; each uses `cpu` of a core.
    fn record(cpu: [f64; 2]) -> RunRecord {
        let text = r#"{"name":"test","traffic":{"phases":[{"hold":"1/s","for":"1s"}]}}"#;
        let mut record = RunRecord::new(Header {
            schema: SCHEMA.into(),
            backend: BackendKind::Kube,
            seed: 1,
            scenario: serde_json::from_str(text).unwrap(),
            phases: vec![],
        });
        for second in 0..5u64 {
            for generator in [1u32, 0] {
                // Far apart, so that a pair of different generators would show.
                let owed = u64::from(generator) * 100_000 + second * 1_000;
                let held_back = if (generator, second) == (1, 3) { 40 } else { 0 };
                record.samples.push(Sample {
                    at: Timestamp(second * SECOND + u64::from(generator)),
                    generator,
                    owed,
                    sent: owed - held_back,
                    engine_cpu: (cpu[generator as usize] * (second * SECOND) as f64) as u64,
                    ..Sample::default()
                });
            }
        }
        record
    }

    fn fact<'a>(audit: &'a Audit, name: &str) -> &'a AuditFact {
        audit.facts.iter().find(|fact| fact.name.starts_with(name)).expect(name)
    }

    fn judge(record: &RunRecord) -> Audit {
        audit(record, &Requests::default(), &Percentiles::default(), &[])
    }

    #[test]
    fn each_generator_is_judged_by_its_own_samples() {
        let audit = judge(&record([0.3, 0.9]));
        assert!(audit.trusted, "{:?}", audit.reasons);
        assert_eq!(fact(&audit, "sent against owed").found, "960 of 1000 (generator 1)");
        let cpu = fact(&audit, "CPU of the load engine");
        assert_eq!((cpu.found.as_str(), cpu.holds), ("90 % of a core (generator 1)", false));
        assert_eq!(fact(&audit, "generators that were lost").found, "none of 2");
        assert!(fact(&judge(&record([0.8, 0.3])), "CPU").holds, "they are not added up");
    }

    #[test]
    fn a_single_generator_is_not_numbered() {
        let mut record = record([0.5, 0.5]);
        record.samples.retain(|sample| sample.generator == 0);
        let audit = judge(&record);
        assert_eq!(fact(&audit, "sent against owed").found, "1000 of 1000");
        assert!(audit.facts.iter().all(|fact| !fact.name.contains("lost")));
    }

    #[test]
    fn a_lost_generator_makes_a_run_untrusted_however_little_it_owed() {
        let mut record = record([0.1, 0.1]);
        let kind =
            EventKind::GeneratorLost { generator: 1, reason: "exit code 137".into(), unsent: 3 };
        let (at, source) = (Timestamp(1), Source::Load);
        record.events.push(Event { at, seq: 0, source, precision: None, stated: None, kind });
        let audit = judge(&record);
        assert!(!audit.trusted);
        let reason = &audit.reasons[0];
        assert!(reason.contains("generator 1: exit code 137; 3 requests"), "{reason}");
    }

    #[test]
    fn limits_of_several_are_the_least_that_are_known() {
        let limits =
            |cores, descriptors, ports| crate::record::Limits { cores, descriptors, ports };
        assert_eq!(limits(4, 1024, 0).least(&limits(2, 4096, 28_000)), limits(2, 1024, 28_000));
    }
}
