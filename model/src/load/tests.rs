//! Rates, arrivals and shares.

mod shapes;
mod traces;

use super::*;
use crate::{
    spec::{Arrivals, Phase, Ramp, Traffic},
    time::{Nanos, SECOND},
    units::RatePerSec,
};
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

fn hold(rate: f64, seconds: u64) -> Phase {
    Phase {
        hold: Some(RatePerSec(rate)),
        for_: Some(Nanos::from_secs(seconds)),
        ..Phase::default()
    }
}

fn ramp(to: f64, seconds: u64) -> Phase {
    Phase {
        ramp: Some(Ramp { from: None, to: RatePerSec(to) }),
        over: Some(Nanos::from_secs(seconds)),
        ..Phase::default()
    }
}

fn traffic(phases: Vec<Phase>) -> Traffic {
    Traffic {
        arrivals: Arrivals::Constant,
        phases,
        requests: vec![],
        timeout: Nanos::from_secs(1),
        keep_alive: true,
        max_connections: 1,
        generators: None,
        saturate: None,
        threads: None,
    }
}

fn schedule(phases: Vec<Phase>, arrivals: Arrivals, seed: u64) -> Schedule {
    Schedule::new(Profile::new(&traffic(phases)).expect("shapes"), arrivals, seed)
}

#[test]
fn constant_arrivals_are_as_many_as_expected_and_even() {
    let arrivals: Vec<Arrival> =
        schedule(vec![hold(50.0, 20), hold(200.0, 10)], Arrivals::Constant, 1).collect();
    assert_eq!(arrivals.len(), 3000);
    assert_eq!(arrivals.iter().filter(|arrival| arrival.phase == 0).count(), 1000);
    assert_eq!(arrivals[0].at, Nanos::from_millis(10));
    assert_eq!(arrivals[1].at, Nanos::from_millis(30));
    assert_eq!(arrivals[1000].at, Nanos(20 * SECOND + 2_500_000));
}

#[test]
fn a_ramp_goes_on_from_the_phase_before() {
    let profile = Profile::new(&traffic(vec![hold(50.0, 20), ramp(200.0, 10), hold(200.0, 10)]))
        .expect("shapes");
    assert!((profile.rate(Nanos::from_secs(25)) - 125.0).abs() < 1e-9);
    assert!((profile.expected() - (1000.0 + 1250.0 + 2000.0)).abs() < 1e-9);
    assert!((profile.expected_until(Nanos::from_secs(25)) - (1000.0 + 437.5)).abs() < 1e-9);
    assert_eq!(profile.rate(Nanos::from_secs(41)), 0.0);
    let owed =
        schedule(vec![hold(50.0, 20), ramp(200.0, 10), hold(200.0, 10)], Arrivals::Constant, 1);
    assert_eq!(owed.count(), 4250);
}

#[test]
fn a_silent_phase_owes_nothing_and_time_goes_on() {
    let arrivals: Vec<Arrival> =
        schedule(vec![hold(10.0, 1), hold(0.0, 100), hold(10.0, 1)], Arrivals::Constant, 1)
            .collect();
    assert_eq!(arrivals.len(), 20);
    assert_eq!((arrivals[9].phase, arrivals[10].phase), (0, 2));
    assert!(arrivals[10].at > Nanos::from_secs(101));
}

#[test]
fn poisson_arrivals_have_exponential_gaps() {
    let gaps: Vec<f64> = {
        let arrivals: Vec<Arrival> =
            schedule(vec![hold(1000.0, 100)], Arrivals::Poisson, 9).collect();
        arrivals.windows(2).map(|pair| (pair[1].at.0 - pair[0].at.0) as f64 / 1e6).collect()
    };
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance =
        gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
    assert!((mean - 1.0).abs() < 0.02, "mean {mean} ms");
    assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
}

#[test]
fn the_seed_alone_moves_poisson_arrivals() {
    let of = |seed| schedule(vec![hold(100.0, 5)], Arrivals::Poisson, seed).collect::<Vec<_>>();
    assert_eq!(of(4), of(4));
    assert_ne!(of(4), of(5));
}

#[test]
fn phases_without_a_shape_are_refused() {
    assert_eq!(Profile::new(&traffic(vec![hold(1.0, 1), Phase::default()])).unwrap_err().0, 1);
    assert!(Profile::new(&traffic(vec![hold(1.0, 0)])).is_err());
}

type Counts = std::collections::BTreeMap<(u64, u16), u64>;

/// Arrivals by second and phase.
fn counts(schedule: impl Iterator<Item = Arrival>) -> Counts {
    let mut counts = Counts::new();
    for arrival in schedule {
        *counts.entry((arrival.at.0 / SECOND, arrival.phase)).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn shares_add_up_to_the_whole_second_by_second_and_phase_by_phase(
        rates in proptest::collection::vec((0.0..300.0f64, 1u64..4, any::<bool>()), 1..5),
        poisson in any::<bool>(),
        seed in any::<u64>(),
        of in 1u32..=8,
        total in 1u32..5000,
    ) {
        let phases: Vec<Phase> = rates
            .iter()
            .map(|(rate, seconds, is_ramp)| if *is_ramp { ramp(*rate, *seconds) } else { hold(*rate, *seconds) })
            .collect();
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let whole = counts(schedule(phases.clone(), arrivals, seed));
        let mut sum = Counts::new();
        for share in Share::all(of) {
            let part = schedule(phases.clone(), arrivals, seed);
            for (window, n) in counts(part.filter(|arrival| share.owns(arrival.number))) {
                *sum.entry(window).or_default() += n;
            }
        }
        prop_assert_eq!(sum, whole);
        let parts: Vec<u32> = Share::all(of).map(|share| share.part(total)).collect();
        prop_assert_eq!(parts.iter().sum::<u32>(), total);
        prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
        let mut given: Vec<u64> = Share::all(of).flat_map(|share| (0..9).map(move |n| share.number(n))).collect();
        given.sort_unstable();
        prop_assert_eq!(given, (0..u64::from(of) * 9).collect::<Vec<u64>>());
    }

    #[test]
    fn arrivals_ascend_within_their_phase_and_never_run_ahead_of_the_profile(
        rates in proptest::collection::vec((0.0..500.0f64, 1u64..5, any::<bool>()), 1..6),
        poisson in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let phases: Vec<Phase> = rates
            .iter()
            .map(|(rate, seconds, is_ramp)| if *is_ramp { ramp(*rate, *seconds) } else { hold(*rate, *seconds) })
            .collect();
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let schedule = schedule(phases, arrivals, seed);
        let profile = schedule.profile().clone();
        let spans: Vec<_> = profile.phases().collect();
        let mut last = Nanos::ZERO;
        for (number, arrival) in schedule.enumerate() {
            prop_assert!(arrival.at >= last);
            let (start, end) = spans[usize::from(arrival.phase)];
            prop_assert!(arrival.at >= start && arrival.at < end);
            prop_assert_eq!(arrival.number, number as u64);
            if !poisson {
                let expected = profile.expected_until(arrival.at);
                prop_assert!((expected - (number as f64 + 0.5)).abs() < 0.01, "{} at {}", expected, number);
            }
            last = arrival.at;
        }
    }
}
