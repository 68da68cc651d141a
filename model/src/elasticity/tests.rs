//! Curves with known answers, what must hold of any, and queues with closed forms.

use alloc::{format, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    load::Profile,
    spec::{Distribution, Scenario, Service, Traffic},
    units::MilliCpu,
};

const S: u64 = SECOND;

fn curve(first: u32, changes: &[(u64, u32)]) -> Steps {
    let mut steps = Steps::new(first);
    for (at, value) in changes {
        steps.set(Timestamp(*at), *value);
    }
    steps
}

fn secs(seconds: u64) -> Timestamp {
    Timestamp(seconds * S)
}

fn known(demand: &Steps, supply: &Steps, end: u64) -> Elasticity {
    measure(demand, supply, secs(end), Nanos(S)).expect("a run that lasts")
}

#[test]
fn the_metrics_of_simple_curves_are_those_on_paper() {
    let step = curve(2, &[(10 * S, 4)]);
    let late = curve(2, &[(15 * S, 4)]);
    let restless = curve(2, &[(10 * S, 5), (12 * S, 4), (13 * S, 5), (14 * S, 4)]);
    // Demand, supply, theta_U, theta_O, tau_U, tau_O, upsilon, jitter; over 20 s.
    let rows: [(&Steps, &Steps, [f64; 6]); 6] = [
        (&step, &step, [0.0; 6]),
        (&step, &late, [5.0 * 0.5 / 20.0, 0.0, 0.25, 0.0, 2.0 / 19.0, 0.0]),
        (&late, &step, [0.0, 5.0 / 20.0, 0.0, 0.25, 2.0 / 19.0, 0.0]),
        // The window of a second sees each change for a second, the first of them with the demand.
        (&step, &restless, [0.0, 3.0 * 0.25 / 20.0, 0.0, 0.15, 3.0 / 19.0, 540.0]),
        // An inert supply: one change too few in 20 s.
        (&step, &Steps::new(2), [0.25, 0.0, 0.5, 0.0, 1.0 / 19.0, -180.0]),
        // Nothing is demanded: three idle pods are as those of a demand of one.
        (&Steps::new(0), &Steps::new(3), [0.0, 3.0, 0.0, 1.0, 0.0, 0.0]),
    ];
    for (demand, supply, expected) in rows {
        let known = known(demand, supply, 20);
        let found = [
            known.under_accuracy,
            known.over_accuracy,
            known.under_timeshare,
            known.over_timeshare,
            known.instability,
            known.jitter_per_hour,
        ];
        let near = found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12);
        assert!(near, "{found:?}, not {expected:?}");
    }
    assert_eq!(known(&step, &late, 20).missing_pod_ns, u128::from(10 * S));
    assert_eq!(known(&late, &step, 20).idle_pod_ns, u128::from(10 * S));
}

#[test]
fn a_run_without_length_has_no_metrics_and_a_window_longer_than_it_no_instability() {
    let (one, two) = (curve(1, &[(S, 2)]), Steps::new(2));
    assert_eq!(measure(&one, &two, Timestamp::ZERO, Nanos(S)), None);
    for window in [0, 20 * S, u64::MAX] {
        let known = measure(&one, &two, secs(20), Nanos(window)).expect("it lasts");
        assert_eq!(known.instability, 0.0);
    }
}

#[test]
fn a_curve_keeps_the_last_value_of_an_instant_and_no_change_to_the_same() {
    let steps = curve(3, &[(0, 4), (5, 4), (7, 6), (7, 4), (9, 8), (2, 9)]);
    assert_eq!((steps.first(), steps.last(), steps.peak(Timestamp(9))), (4, 9, 4));
    assert_eq!(steps.iter().collect::<Vec<_>>(), [(Timestamp(9), 9)]);
    assert_eq!([8, 9, 10].map(|at| steps.at(Timestamp(at))), [4, 9, 9]);
    assert_eq!(steps.since(Timestamp(9)), Steps::new(9));
    assert_eq!(steps.since(Timestamp(5)), curve(4, &[(4, 9)]));
    assert_eq!(steps.pod_ns(Timestamp(11)), 9 * 4 + 2 * 9);
    let hours = curve(2, &[(3600 * S, 4)]).pod_hours(secs(5400));
    assert_eq!(hours, 2.0 + 2.0);
}

fn any_curve() -> impl Strategy<Value = Steps> {
    let changes = prop::collection::vec((1u64..1_000, 0u32..20), 0..30);
    (0u32..20, changes).prop_map(|(first, mut changes)| {
        changes.sort_unstable();
        curve(first, &changes)
    })
}

fn scaled(steps: &Steps, time: u64, pods: u32) -> Steps {
    let mut scaled = Steps::new(steps.first() * pods);
    for (at, value) in steps.iter() {
        scaled.set(Timestamp(at.0 * time), value * pods);
    }
    scaled
}

/// The published sum over samples at a distance, from a first place on.
fn sampled(demand: &Steps, supply: &Steps, end: u64, window: u64, first: u64) -> (u64, u64) {
    let at = |steps: &Steps, at: u64| i64::from(steps.at(Timestamp(at)));
    let instants = (first..end).step_by(window as usize).filter(|now| *now >= window);
    let (mut apart, mut count) = (0, 0);
    for now in instants {
        let moved = |steps| (at(steps, now) - at(steps, now - window)).signum();
        apart += (moved(demand) - moved(supply)).abs().min(1) as u64;
        count += 1;
    }
    (apart, count)
}

proptest! {
    #[test]
    fn time_in_other_units_changes_no_share(d in any_curve(), s in any_curve(), by in 2u64..50) {
        let end = 1_000;
        let one = measure(&d, &s, Timestamp(end), Nanos(15)).expect("it lasts");
        let (d, s) = (scaled(&d, by, 1), scaled(&s, by, 1));
        let many = measure(&d, &s, Timestamp(end * by), Nanos(15 * by)).expect("it lasts");
        prop_assert_eq!(many.missing_pod_ns, one.missing_pod_ns * u128::from(by));
        for (one, many) in [
            (one.under_accuracy, many.under_accuracy),
            (one.over_accuracy, many.over_accuracy),
            (one.under_timeshare, many.under_timeshare),
            (one.over_timeshare, many.over_timeshare),
            (one.instability, many.instability),
            (one.jitter_per_hour, many.jitter_per_hour * by as f64),
        ] {
            prop_assert!((one - many).abs() <= 1e-12 * one.abs().max(1.0), "{} {}", one, many);
        }
    }

    #[test]
    fn pods_of_another_size_change_nothing(d in any_curve(), s in any_curve(), by in 2u32..9) {
        // Where nothing is demanded, an idle pod of half the size is half an idle one.
        let mut more = Steps::new(d.first() + 1);
        d.iter().for_each(|(at, value)| more.set(at, value + 1));
        let one = measure(&more, &s, Timestamp(1_000), Nanos(15)).expect("it lasts");
        let (more, s) = (scaled(&more, 1, by), scaled(&s, 1, by));
        let many = measure(&more, &s, Timestamp(1_000), Nanos(15)).expect("it lasts");
        prop_assert!((one.under_accuracy - many.under_accuracy).abs() < 1e-12);
        prop_assert!((one.over_accuracy - many.over_accuracy).abs() < 1e-9);
        prop_assert_eq!(one.under_timeshare, many.under_timeshare);
        prop_assert_eq!(one.over_timeshare, many.over_timeshare);
        prop_assert_eq!(one.instability, many.instability);
    }

    #[test]
    fn supply_and_demand_swapped_swap_under_with_over(d in any_curve(), s in any_curve()) {
        let one = measure(&d, &s, Timestamp(1_000), Nanos(15)).expect("it lasts");
        let other = measure(&s, &d, Timestamp(1_000), Nanos(15)).expect("it lasts");
        prop_assert_eq!(one.missing_pod_ns, other.idle_pod_ns);
        prop_assert_eq!(one.idle_pod_ns, other.missing_pod_ns);
        prop_assert_eq!(one.under_timeshare, other.over_timeshare);
        prop_assert_eq!(one.over_timeshare, other.under_timeshare);
        prop_assert_eq!(one.instability, other.instability);
        prop_assert_eq!(one.jitter_per_hour, -other.jitter_per_hour);
    }

    #[test]
    fn both_curves_shifted_keep_their_areas(d in any_curve(), s in any_curve(), by in 1u64..500) {
        let one = measure(&d, &s, Timestamp(1_000), Nanos(15)).expect("it lasts");
        let (later_d, later_s) = (d.later(Nanos(by)), s.later(Nanos(by)));
        let end = Timestamp(1_000 + by);
        let other = measure(&later_d, &later_s, end, Nanos(15)).expect("it lasts");
        let before = u128::from(by) * u128::from(d.first().saturating_sub(s.first()));
        prop_assert_eq!(other.missing_pod_ns, one.missing_pod_ns + before);
        let (d, s) = (later_d.since(Timestamp(by)), later_s.since(Timestamp(by)));
        prop_assert_eq!(measure(&d, &s, Timestamp(1_000), Nanos(15)), Some(one));
    }

    #[test]
    fn shares_are_shares_and_the_areas_balance(d in any_curve(), s in any_curve()) {
        let known = measure(&d, &s, Timestamp(1_000), Nanos(15)).expect("it lasts");
        for share in [known.under_accuracy, known.under_timeshare, known.over_timeshare] {
            prop_assert!((0.0..=1.0).contains(&share));
        }
        prop_assert!(known.under_timeshare + known.over_timeshare <= 1.0);
        let end = Timestamp(1_000);
        prop_assert_eq!(s.pod_ns(end) + known.missing_pod_ns, d.pod_ns(end) + known.idle_pod_ns);
    }

    #[test]
    fn instability_is_the_mean_of_the_published_sum_over_all_places(
        d in any_curve(), s in any_curve(), window in 1u64..60,
    ) {
        let (mut apart, mut count) = (0, 0);
        for first in window..2 * window {
            let (one, of) = sampled(&d, &s, 1_000, window, first);
            apart += one;
            count += of;
        }
        let known = measure(&d, &s, Timestamp(1_000), Nanos(window)).expect("it lasts");
        prop_assert!((known.instability - apart as f64 / count as f64).abs() < 1e-12);
    }

    #[test]
    fn the_oracle_always_has_what_is_demanded_and_never_for_less_than_that(
        d in any_curve(), lead in 0u64..80, rest in 0u64..80,
    ) {
        let oracle = Oracle::new(&d, Nanos(lead), Nanos(rest));
        for at in (0..1_000).map(Timestamp) {
            prop_assert!(oracle.ready.at(at) >= d.at(at), "{:?}", at);
            prop_assert!(oracle.paid.at(at) >= oracle.ready.at(at), "{:?}", at);
        }
        let end = Timestamp(2_000);
        prop_assert_eq!(oracle.ready.last(), d.last());
        let known = measure(&d, &oracle.ready, end, Nanos(15)).expect("it lasts");
        prop_assert_eq!(known.under_timeshare, 0.0);
        if lead == 0 && rest == 0 {
            prop_assert_eq!((&oracle.ready, &oracle.paid), (&d, &d));
        }
    }
}

#[test]
fn the_oracle_starts_ahead_and_keeps_what_it_will_soon_need() {
    let ten = Nanos(10 * S);
    // Demand, what is ready, what is paid for; a pod takes 4 s to start.
    let rows = [
        (curve(1, &[(20 * S, 3)]), curve(1, &[(20 * S, 3)]), curve(1, &[(16 * S, 3)])),
        // At the beginning there is no time to be ahead.
        (curve(1, &[(2 * S, 2)]), curve(1, &[(2 * S, 2)]), Steps::new(2)),
        // A gap of 10 s is no rest, one of 11 s is.
        (curve(2, &[(20 * S, 1), (30 * S, 2)]), Steps::new(2), Steps::new(2)),
        (
            curve(2, &[(20 * S, 1), (31 * S, 2)]),
            curve(2, &[(20 * S, 1), (31 * S, 2)]),
            curve(2, &[(20 * S, 1), (27 * S, 2)]),
        ),
        // Each pod rests for itself.
        (
            curve(3, &[(20 * S, 1), (25 * S, 2), (40 * S, 3)]),
            curve(3, &[(20 * S, 2), (40 * S, 3)]),
            curve(3, &[(20 * S, 2), (36 * S, 3)]),
        ),
    ];
    for (demand, ready, paid) in rows {
        let oracle = Oracle::new(&demand, Nanos(4 * S), ten);
        assert_eq!((oracle.ready, oracle.paid), (ready, paid), "{demand:?}");
    }
    // A pod that takes longer to start than the gap lasts is not stopped for it.
    let demand = curve(2, &[(20 * S, 1), (31 * S, 2)]);
    let oracle = Oracle::new(&demand, Nanos(12 * S), Nanos::ZERO);
    assert_eq!(oracle.paid, Steps::new(2));
}

fn profile(phases: &str) -> Profile {
    let traffic: Traffic =
        serde_json::from_str(&format!(r#"{{"phases":[{phases}]}}"#)).expect("a traffic");
    Profile::new(&traffic).expect("a profile")
}

#[test]
fn the_demand_changes_where_the_rate_passes_what_the_pods_can_take() {
    let ramp = profile(
        r#"{"ramp":{"from":"0/s","to":"40/s"},"over":"40s"},{"hold":"40/s","for":"10s"},
        {"ramp":{"to":"10/s"},"over":"30s"},{"hold":"95/s","for":"5s"}"#,
    );
    let ceilings = Ceilings::new(&Capacity::Rate(10.0), 95.0).expect("a capacity");
    let found = demand(&ramp, &ceilings, 1);
    let expected = [
        (10, 2),
        (20, 3),
        (30, 4),
        // Down again: what n pods can take, they do take.
        (60, 3),
        (70, 2),
        (80, 10),
        (85, 1),
    ];
    let expected: Vec<_> = expected.map(|(at, pods)| (secs(at), pods)).into();
    assert_eq!(found.pods.iter().collect::<Vec<_>>(), expected);
    assert!(!found.is_capped);
    // Never below the least; and what was not looked at is told.
    let few = Ceilings::new(&Capacity::Rate(10.0), 30.0).expect("a capacity");
    let found = demand(&ramp, &few, 2);
    assert_eq!((found.is_capped, found.pods.peak(secs(100)), found.pods.first()), (true, 3, 2));
}

#[test]
fn rates_of_capacities_that_are_none_are_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Ceilings::new(&Capacity::Rate(rate), 9.0), Err(CapacityError::Nothing));
    }
    let ms = Nanos::from_millis;
    let free = Latency::of_service(&Service::default(), (2, None), (ms(9), 0.99), Sharing::Split);
    assert_eq!(free, Err(CapacityError::Free));
    let slow = Service { cpu: ms(10), ..Service::default() };
    for sharing in [Sharing::Split, Sharing::Pooled] {
        let slow = Latency::of_service(&slow, (2, None), (ms(9), 0.99), sharing).expect("costs");
        let ceilings = Ceilings::new(&Capacity::Latency(slow), 9.0);
        assert_eq!(ceilings, Err(CapacityError::Hopeless));
    }
}

/// Erlang's C by its sums.
fn erlang(servers: u32, offered: f64) -> f64 {
    let term = |n: u32| (1..=n).fold(1.0, |term, k| term * offered / f64::from(k));
    let last = term(servers) / (1.0 - offered / f64::from(servers));
    last / ((0..servers).map(term).sum::<f64>() + last)
}

/// The share of an M/M/c queue's requests that take longer than `limit`, by its closed form.
fn mmc_late(servers: u32, rate: f64, mean: f64, limit: f64) -> f64 {
    let (mu, waits) = (1.0 / mean, erlang(servers, rate * mean));
    let decay = f64::from(servers) * mu - rate;
    let alone = libm::exp(-mu * limit);
    let together = if (decay - mu).abs() < 1e-9 {
        mu * limit * alone
    } else {
        mu * (alone - libm::exp(-decay * limit)) / (decay - mu)
    };
    alone + waits * together
}

#[test]
fn the_queue_is_mmc_where_that_has_a_closed_form() {
    let held = Distribution::Exponential { mean: Nanos::from_millis(10) };
    for (servers, rate, limit) in
        [(1, 50.0, 60), (1, 90.0, 300), (4, 300.0, 30), (4, 380.0, 100), (20, 1_900.0, 80)]
    {
        let of = (Nanos::from_millis(limit), 0.95);
        let station = Latency::of_station(1, &held, of, Sharing::Pooled).expect("costs");
        let (found, exact) =
            (station.late_share(servers, rate), mmc_late(servers, rate, 0.01, limit as f64 / 1e3));
        assert!((found / exact - 1.0).abs() < 0.02, "{servers} at {rate}: {found}, not {exact}");
    }
}

#[test]
fn the_least_pods_are_those_of_erlang() {
    let held = Distribution::Exponential { mean: Nanos::from_millis(100) };
    let of = (Nanos::from_millis(450), 0.95);
    let pooled = Latency::of_station(1, &held, of, Sharing::Pooled).expect("costs");
    let ceilings = Ceilings::new(&Capacity::Latency(pooled), 400.0).expect("a capacity");
    for rate in [1.0, 3.0, 15.0, 77.0, 250.0, 399.0] {
        let holds = |servers: &u32| {
            f64::from(*servers) > rate * 0.1 && mmc_late(*servers, rate, 0.1, 0.45) <= 0.05
        };
        let least = (1..).find(holds).expect("some number holds");
        assert_eq!(ceilings.pods(rate), least, "{rate}/s");
    }
    assert_eq!(ceilings.pods(0.0), 0);
    // One queue per pod: its time in the system is exponential with mu - lambda.
    let split = Latency::of_station(1, &held, of, Sharing::Split).expect("costs");
    let ceilings = Ceilings::new(&Capacity::Latency(split), 400.0).expect("a capacity");
    let one = 10.0 - libm::log(20.0) / 0.45;
    assert!((ceilings.of(1) / one - 1.0).abs() < 0.01, "{} {one}", ceilings.of(1));
    assert_eq!(ceilings.pods(400.0), libm::ceil(400.0 / ceilings.of(1)) as u32);
}

#[test]
fn a_limit_below_a_core_stretches_the_work_and_workers_are_held_for_all_of_it() {
    let ms = Nanos::from_millis;
    let service = Service {
        cpu: ms(10),
        latency: Distribution::Fixed(ms(40)),
        workers: Some(4),
        ..Service::default()
    };
    let latency = |limit: Option<u64>| {
        let of = (2, limit.map(MilliCpu));
        Latency::of_service(&service, of, (ms(500), 0.99), Sharing::Split).expect("costs")
    };
    let station = |servers, mean| Station { servers, mean, scv: 0.0 };
    let rows = [
        (None, [station(2, 0.01), station(4, 0.05)]),
        (Some(1_000), [station(1, 0.01), station(4, 0.05)]),
        (Some(500), [station(1, 0.02), station(4, 0.06)]),
        (Some(1_500), [station(2, 0.01 * 2.0 / 1.5), station(4, 0.04 + 0.01 * 2.0 / 1.5)]),
    ];
    for (limit, stations) in rows {
        for (found, wanted) in latency(limit).stations.iter().zip(stations) {
            let near = (found.mean - wanted.mean).abs() < 1e-12;
            assert!(near && found.servers == wanted.servers, "{limit:?}: {found:?}");
            assert_eq!(found.scv, wanted.scv);
        }
    }
    // Half a core: 50 requests a second are all that it can do.
    let ceilings = Ceilings::new(&Capacity::Latency(latency(Some(500))), 10.0).expect("a capacity");
    assert!((40.0..50.0).contains(&ceilings.of(1)), "{}", ceilings.of(1));
}

#[test]
fn regret_is_what_was_paid_above_the_least() {
    assert_eq!(regret(3.0, 2.0), Some(0.5));
    assert_eq!(regret(1.0, 2.0), Some(-0.5));
    assert_eq!(regret(1.0, 0.0), None);
}

fn modelled(target: &str, objectives: &str) -> Result<Modelled, CapacityError> {
    let scenario = format!(
        r#"{{"name":"x","target":{target},"objectives":[{objectives}],"traffic":{{"phases":[]}}}}"#
    );
    Modelled::of(&serde_json::from_str::<Scenario>(&scenario).expect("a scenario"))
}

#[test]
fn a_scenario_says_what_its_pods_can_take() {
    let pod = r#","deployment":{"template":{"resources":{"requests":{"cpu":"100m"}}}}"#;
    let service = format!(r#"{{"service":{{"cpu":"4ms"}}{pod}}}"#);
    // A tenth of a core and 4 ms: 25/s at most, of which four fifths.
    let found = modelled(&service, r#"{"failed":0}"#).expect("a capacity");
    assert_eq!(found.capacity, Capacity::Rate(20.0));
    assert_eq!((found.cpu, found.objective), (Cpu::Request(MilliCpu(100)), None));
    // The strictest objective is that of the highest percentile.
    let objectives = r#"{"latency.p50":"<10ms"},{"latency.p99":"<1s"},{"latency.p99":"<500ms"},
        {"latency.max":"<5ms"}"#;
    let found = modelled(&service, objectives).expect("a capacity");
    assert_eq!(found.objective, Some((Nanos::from_millis(500), 0.99)));
    let ceilings = Ceilings::new(&found.capacity, 80.0).expect("a capacity");
    assert!((20.0..25.0).contains(&ceilings.of(1)), "{}", ceilings.of(1));
    let rows = [
        (r#"{"command":["serve"]}"#, CapacityError::NoModel),
        (r#"{"url":"http://127.0.0.1:80"}"#, CapacityError::NoModel),
        (r#"{"service":{"latency":"12ms"}}"#, CapacityError::Free),
        ("{}", CapacityError::Free),
    ];
    for (target, error) in rows {
        assert_eq!(modelled(target, ""), Err(error), "{target}");
    }
}
