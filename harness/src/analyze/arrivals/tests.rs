//! Sound runs pass, by how much is shown exactly; each way to go wrong is found.

use highwater_model::{
    event::{Event, Source},
    load::{Arrival, Schedule, Share, Watch},
    spec::Scenario,
};
use serde_json::json;

use super::*;
use crate::{
    analyze::audit::Audit,
    record::{
        Arrivals, BackendKind, Footer, Header, Limits, Line, OutcomeWindow, SCHEMA, Sample, Window,
    },
};

/// Not at a whole second, as it is in a run.
const START: Timestamp = Timestamp(2 * SECOND + 345_678_901);

fn scenario(arrivals: &str, rate: f64, seed: u64) -> Scenario {
    let scenario = json!({"name": "test", "seed": seed, "traffic": {"arrivals": arrivals, "phases": [
        {"hold": rate, "for": "20s"},
        {"sine": {"mean": rate, "amplitude": rate, "period": "9s"}, "for": "20s"},
        {"hold": 0, "for": "5s"},
        {"ramp": {"from": 0, "to": rate * 2.0}, "over": "15s"},
    ]}});
    serde_json::from_value(scenario).expect("a scenario")
}

fn schedule(scenario: &Scenario) -> Schedule {
    let profile = Profile::new(&scenario.traffic).expect("shapes");
    Schedule::new(profile, scenario.traffic.arrivals, scenario.seed)
}

/// The audit of a run of `scenario` in which these were scheduled and sent by generators that share
/// them.
fn audit(scenario: &Scenario, of: u32, all: &[(Arrival, Nanos)]) -> Audit {
    let mut record = RunRecord::new(Header {
        schema: SCHEMA.into(),
        backend: BackendKind::Local,
        seed: 1,
        scenario: scenario.clone(),
        phases: vec![],
    });
    let profile = Profile::new(&scenario.traffic).expect("shapes");
    let kind = EventKind::TrafficStarted;
    let (at, source) = (START, Source::Load);
    record.push(Line::Event(Event { at, seq: 0, source, precision: None, stated: None, kind }));
    for share in Share::all(of) {
        let watch = Watch::new(scenario.traffic.arrivals, share);
        let (mut scheduled, mut sent) = (watch.clone(), watch);
        let mut sent_in = BTreeMap::new();
        for (arrival, at) in all.iter().filter(|(arrival, _)| share.owns(arrival.number)) {
            scheduled.see(&profile, *arrival, arrival.at);
            sent.see(&profile, *arrival, *at);
            *sent_in.entry((START + *at).second()).or_insert(0) += 1;
            let ok = OutcomeWindow { n: 1, ..OutcomeWindow::default() };
            record.push(Line::Window(Window {
                second: (START + arrival.at).second(),
                phase: arrival.phase,
                owed: 1,
                outcomes: BTreeMap::from([(highwater_model::outcome::Outcome::Ok, ok)]),
            }));
        }
        let (scheduled, sent) = (scheduled.counts().clone(), sent.counts().clone());
        record.push(Line::Sample(Sample {
            generator: share.index,
            sent_in: sent_in.into_iter().collect(),
            arrivals: Some(Box::new(Arrivals { scheduled, sent })),
            ..Sample::default()
        }));
    }
    record.push(Line::Footer(Footer {
        end: Timestamp(100 * SECOND),
        reason: EndReason::Completed,
        message: String::new(),
        lines: 0,
        limits: Limits::default(),
    }));
    let mut found = Judge(Audit::default());
    judge(&record, &Requests::default(), &mut found);
    found.0
}

/// Sent `late` after they were scheduled.
fn sent(
    schedule: impl Iterator<Item = Arrival>,
    late: impl Fn(&Arrival) -> u64,
) -> Vec<(Arrival, Nanos)> {
    let mut last = Nanos::ZERO;
    schedule
        .map(|arrival| {
            last = last.max(arrival.at + Nanos(late(&arrival)));
            (arrival, last)
        })
        .collect()
}

#[test]
fn sound_runs_pass_at_every_rate_and_number_of_generators() {
    for arrivals in ["poisson", "constant"] {
        for seed in 0..12 {
            let rate = [4.0, 30.0, 200.0, 1500.0][seed as usize % 4];
            let of = 1 + (seed % 3) as u32;
            let scenario = scenario(arrivals, rate, seed);
            // A tenth of a millisecond late, and now and then ten.
            let late = |arrival: &Arrival| {
                if arrival.number.is_multiple_of(97) { 10_000_000 } else { 100_000 }
            };
            let audit = audit(&scenario, of, &sent(schedule(&scenario), late));
            assert_eq!(audit.reasons, Vec::<String>::new(), "{arrivals} {seed}: {:?}", audit.facts);
            let facts = if arrivals == "constant" { 2 } else { 4 };
            assert_eq!(audit.facts.len(), if rate > 4.0 { facts } else { audit.facts.len() });
        }
    }
}

#[test]
fn whatever_is_wrong_with_the_arrivals_is_found() {
    let poisson = scenario("poisson", 200.0, 3);
    let even = scenario("constant", 200.0, 3);
    let none = |_: &Arrival| 0;
    type Row<'a> = (&'a str, &'a Scenario, Vec<(Arrival, Nanos)>, &'a str);
    let faster = |scenario: &Scenario, factor: f64| {
        let mut other = scenario.clone();
        other.traffic.phases.iter_mut().for_each(|phase| phase.scale = Some(factor));
        sent(schedule(&other), none)
    };
    let renumbered = |all: Vec<Arrival>| {
        let numbered = all.into_iter().enumerate();
        numbered.map(|(number, arrival)| Arrival { number: number as u64, ..arrival })
    };
    let doubled: Vec<Arrival> =
        schedule(&poisson).filter(|one| one.number % 2 == 0).flat_map(|one| [one, one]).collect();
    let on_the_tick: Vec<Arrival> = schedule(&poisson)
        .map(|one| Arrival { at: Nanos(one.at.0 / 20_000_000 * 20_000_000), ..one })
        .collect();
    let missing: Vec<Arrival> = schedule(&poisson).filter(|one| one.at.0 / SECOND != 12).collect();
    let uneven = schedule(&even).map(|one| Arrival { at: Nanos(one.at.0 + 40_000_000), ..one });
    let slow = |arrival: &Arrival| if arrival.at.0 / SECOND % 4 < 2 { 700_000_000 } else { 0 };
    let sparse = scenario("poisson", 12.0, 3);
    let ticking = |arrival: &Arrival| 40_000_000 - arrival.at.0 % 40_000_000;
    let rows: Vec<Row<'_>> = vec![
        ("even in place of Poisson", &poisson, sent(schedule(&even), none), "gaps between sched"),
        ("so too by second", &poisson, sent(schedule(&even), none), "scheduled requests by sec"),
        ("Poisson in place of even", &even, sent(schedule(&poisson), none), "off their place"),
        ("a tenth faster", &poisson, faster(&poisson, 1.1), "gaps between scheduled"),
        ("a sixth slower", &poisson, faster(&poisson, 0.84), "scheduled requests by second"),
        ("half the rate of even ones", &even, faster(&even, 0.5), "off their place"),
        ("two at once", &poisson, sent(renumbered(doubled), none), "gaps between scheduled"),
        ("every 20 ms", &poisson, sent(on_the_tick.into_iter(), none), "gaps between scheduled"),
        ("a hole of a second", &poisson, sent(renumbered(missing), none), "by second"),
        ("even ones 40 ms late", &even, sent(uneven, none), "off their place"),
        ("sent 700 ms late", &poisson, sent(schedule(&poisson), slow), "another second"),
        ("even ones sent 700 ms late", &even, sent(schedule(&even), slow), "another second"),
    ];
    for (what, scenario, all, fact) in rows {
        let audit = audit(scenario, 1, &all);
        let found = audit.facts.iter().find(|one| one.name.contains(fact));
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}", audit.facts));
        assert!(!found.holds, "{what}: {audit:?}");
        assert!(!audit.reasons.is_empty(), "{what}");
    }
    // A clock that ticks every 40 ms is late, and send lag says so; it is no other process.
    let audit = audit(&sparse, 1, &sent(schedule(&sparse), ticking));
    assert_eq!(audit.reasons, Vec::<String>::new(), "{:?}", audit.facts);
}

#[test]
fn gaps_of_sent_requests_are_judged_where_lag_leaves_them_apart() {
    let mut counts = ArrivalCounts { n: 2000, gaps: vec![100; GAP_BINS], ..Default::default() };
    let judged = |counts: &ArrivalCounts| {
        let mut found = Judge(Audit::default());
        gaps("gaps", counts, 0, &mut found);
        (found.0.facts[0].holds, found.0.facts[0].found.clone())
    };
    counts.moved = 10.0;
    assert!(judged(&counts).0);
    (counts.gaps[0], counts.gaps[1]) = (0, 300);
    assert!(!judged(&counts).0, "forty are explained by the lag, and not more");
    (counts.gaps[0], counts.gaps[1]) = (70, 130);
    assert!(judged(&counts).0);
    counts.moved = 100.0;
    assert_eq!(judged(&counts), (true, "send lag is 0.050 of the mean gap".to_owned()));
}

#[test]
fn records_without_counts_and_runs_that_were_ended_are_not_judged() {
    let scenario = scenario("poisson", 50.0, 1);
    let mut record = RunRecord::new(Header {
        schema: SCHEMA.into(),
        backend: BackendKind::Local,
        seed: 1,
        scenario,
        phases: vec![],
    });
    record.push(Line::Sample(Sample::default()));
    let mut found = Judge(Audit::default());
    judge(&record, &Requests::default(), &mut found);
    assert_eq!(found.0, Audit::default());
}

/// The logarithm of the chance of a Poisson count, and its deviance, for all counts that matter.
fn poisson(mean: f64) -> Vec<(f64, f64)> {
    let (mut log, mut all) = (-mean, Vec::new());
    for n in 0..(mean * 8.0) as u32 + 200 {
        if n > 0 {
            log += (mean / f64::from(n)).ln();
        }
        all.push((log, deviance(f64::from(n), mean)));
    }
    all
}

/// The limits hold for real counts, which are not quite chi-square: the exact Chernoff bound of the
/// sum of `bins` deviances stays below 1e-7 on each side, so that the tests of a run fail together
/// with a chance below 1e-6.
#[test]
fn a_sound_run_fails_with_a_chance_below_one_in_a_million() {
    for mean in [20.0, EXPECTED_MIN, 75.5, 1000.0] {
        let counts = poisson(mean);
        for bins in [1usize, 2, 5, 15, 19, 60, 600, 3600] {
            let (low, high) = limits(bins);
            let bound = |s: f64, limit: f64| {
                let mean: f64 = counts.iter().map(|(log, dev)| (log + s * dev).exp()).sum();
                bins as f64 * mean.ln() - s * limit
            };
            let above = (1..200).map(|step| bound(f64::from(step) / 400.0, high));
            let above = above.fold(0.0, f64::min);
            assert!(above < 1e-7f64.ln(), "{bins} of {mean}: {above} above {high}");
            if bins >= EVEN_MIN {
                let fine = (1..200).map(|step| bound(-f64::from(step) / 400.0, low));
                let below = fine.chain((1..200).map(|step| bound(-f64::from(step) / 4.0, low)));
                let below = below.fold(0.0, f64::min);
                assert!(below < 1e-7f64.ln(), "{bins} of {mean}: {below} below {low}");
            }
        }
    }
}
