//! Shapes and what they are composed of: rates against their formulas, arrivals against rates.

use alloc::{format, string::String, vec::Vec};

use super::*;
use serde_json::{Value, json};

fn phase(value: Value) -> Phase {
    serde_json::from_value(value).expect("a phase")
}

fn profile(phases: Value) -> Profile {
    let phases: Vec<Phase> = serde_json::from_value(phases).expect("phases");
    Profile::new(&traffic(phases)).expect("shapes")
}

fn at(seconds: f64) -> Nanos {
    Nanos::from_secs_f64(seconds)
}

#[test]
fn each_shape_has_the_rates_that_it_says() {
    let step = json!({"step": {"from": 10, "to": 40, "steps": 4, "each": "5s"}});
    let spike =
        json!({"spike": {"base": 10, "peak": 90, "rise": "2s", "hold": "3s", "fall": "4s"}});
    let cliff = json!({"spike": {"base": 10, "peak": 90, "hold": "3s"}, "for": "5s"});
    let curve = json!({"curve": {"points": [["10s", 10], ["20s", 30], ["40s", 0]]}});
    let stairs = json!({"curve": {
        "points": [["0s", 10], ["20s", 30]], "interpolation": "step", "speed": 10}});
    let cut = json!({"curve": {
        "points": [["10s", 10], ["20s", 30], ["40s", 0]], "from": "15s", "until": "30s"}});
    let sum = json!({"sum": [{"hold": 5}, {"ramp": {"to": 10}, "over": "4s", "at": "2s"}]});
    let product = json!({"product": [{"hold": 5, "for": "1s"}, {"hold": 3}], "for": "9s"});
    let scaled = json!({"ramp": {"from": 10, "to": 20}, "over": "10s", "scale": 0.5});
    let longer = json!({"ramp": {"from": 10, "to": 20}, "over": "10s", "for": "20s"});
    let sine = json!({"sine": {"mean": 50, "amplitude": 20, "period": "8s"}, "for": "20s"});
    let top = json!({
        "sine": {"mean": 50, "amplitude": 20, "period": "8s", "phase": 0.25}, "for": "20s"});
    for (shape, lasts, expected, rates) in [
        (&step, 20, 500.0, &[(0.0, 10.0), (4.9, 10.0), (5.0, 20.0), (19.0, 40.0)][..]),
        (&spike, 9, 100.0 + 270.0 + 200.0, &[(1.0, 50.0), (2.0, 90.0), (4.9, 90.0), (7.0, 50.0)]),
        (&cliff, 5, 270.0 + 20.0, &[(0.0, 90.0), (2.9, 90.0), (3.0, 10.0), (4.9, 10.0)]),
        (&curve, 30, 200.0 + 300.0, &[(0.0, 10.0), (5.0, 20.0), (10.0, 30.0), (20.0, 15.0)]),
        (&stairs, 4, 80.0, &[(0.0, 10.0), (1.9, 10.0), (2.0, 30.0), (3.9, 30.0)]),
        (&cut, 15, 125.0 + 225.0, &[(0.0, 20.0), (5.0, 30.0), (10.0, 22.5)]),
        (&sum, 6, 50.0, &[(1.0, 5.0), (2.0, 5.0), (4.0, 10.0)]),
        (&product, 9, 135.0, &[(0.0, 15.0), (8.0, 15.0)]),
        (&scaled, 10, 75.0, &[(0.0, 5.0), (5.0, 7.5)]),
        (&longer, 20, 350.0, &[(5.0, 15.0), (15.0, 20.0)]),
        (&sine, 20, 1000.0 + 2.0 * 20.0 * 4.0 / core::f64::consts::PI, &[(2.0, 70.0), (6.0, 30.0)]),
        (&top, 20, 1000.0, &[(0.0, 70.0), (4.0, 30.0)]),
    ] {
        let profile = profile(json!([shape]));
        assert_eq!(profile.lasts(), Nanos::from_secs(lasts), "{shape}");
        assert!((profile.expected() - expected).abs() < 1e-4 * expected, "{shape}: {profile:?}");
        for (time, rate) in rates {
            let found = profile.rate(at(*time));
            assert!((found - rate).abs() < 1e-6, "{shape} at {time}: {found}");
        }
    }
}

#[test]
fn a_phase_goes_on_from_the_last_rate_of_any_shape() {
    let spike = json!({"spike": {"base": 10, "peak": 90, "rise": "2s", "fall": "4s"}});
    let ramp = json!({"ramp": {"to": 0}, "over": "10s"});
    let profile = profile(json!([spike, ramp]));
    assert!((profile.rate(at(11.0)) - 5.0).abs() < 1e-9);
    let phases: Vec<_> = profile.phases().collect();
    assert_eq!(phases, [(at(0.0), at(6.0)), (at(6.0), at(16.0))]);
    assert_eq!(profile.rises().collect::<Vec<_>>(), [at(0.0)]);
    assert!((profile.peak(at(3.0), at(16.0)) - 90.0).abs() < 1e-9);
    assert!((profile.peak(at(7.0), at(16.0)) - 10.0).abs() < 1e-9);
}

#[test]
fn rises_are_where_the_rate_begins_to_climb() {
    let sine = json!({"sine": {"mean": 50, "amplitude": 20, "period": "8s"}, "for": "16s"});
    let stairs = json!({"step": {"from": 60, "to": 80, "steps": 2, "each": "4s"}});
    let ramp = json!({"ramp": {"to": 100}, "over": "4s"});
    let rises: Vec<_> = profile(json!([sine, stairs, ramp])).rises().collect();
    // It also climbs from the beginning, but that is already the rise from nothing.
    assert_eq!(rises, [at(0.0), at(6.0), at(14.0), at(16.0), at(20.0), at(24.0)]);
}

#[test]
fn shapes_that_make_no_sense_are_refused_by_key() {
    let sine = |mean: f64, amplitude: f64, period: &str, phase: f64| {
        json!({"sine": {"mean": mean, "amplitude": amplitude, "period": period, "phase": phase},
            "for": "9s"})
    };
    let step = |steps: u32, each: &str| json!({"step": {"from": 1, "to": 2, "steps": steps, "each": each}});
    let curve = |points: Value| json!({"curve": {"points": points}});
    for (value, key, problem) in [
        (json!({}), "", "no shape"),
        (json!({"hold": 1, "sum": [{"hold": 1}], "for": "1s"}), "", "more than one"),
        (json!({"hold": 1}), "", "needs `for`"),
        (json!({"hold": 1, "for": "1s", "over": "1s"}), "over", "ramp"),
        (json!({"ramp": {"to": 1}, "for": "1s"}), "", "needs `over`"),
        (json!({"hold": 1, "for": "1s", "at": "1s"}), "at", "parts"),
        (json!({"hold": 1, "for": "1s", "scale": -1}), "scale", "above 0"),
        (json!({"sum": [{"hold": 1}]}), "", "give the whole a `for`"),
        (step(1, "1s"), "step.steps", "between"),
        (step(2, "0s"), "step.each", "above zero"),
        (json!({"spike": {"base": 1, "peak": 2}}), "spike", "lasts no time"),
        (sine(1.0, 2.0, "1s", 0.0), "sine.amplitude", "above the mean"),
        (sine(1.0, 1.0, "1ms", 0.0), "sine.period", "10ms"),
        (sine(1.0, 1.0, "1s", 2.0), "sine.phase", "between"),
        (curve(json!([])), "curve", "two `points`"),
        (curve(json!([["1s", 1]])), "curve", "two `points`"),
        (curve(json!([["1s", 1], ["1s", 2]])), "curve.points", "ascend"),
        (
            json!({"curve": {"points": [["1s", 1], ["2s", 2]], "speed": 0}}),
            "curve.speed",
            "between",
        ),
        (
            json!({"curve": {"points": [["1s", 1], ["2s", 2]], "from": "3s"}}),
            "curve",
            "empty between",
        ),
    ] {
        let shape = phase(value.clone());
        let fault = shape.fault(false).unwrap_or_else(|| panic!("{value} passes"));
        assert_eq!(fault.0, key, "{value}: {}", fault.1);
        assert!(fault.1.contains(problem), "{value}: {}", fault.1);
        assert!(Profile::new(&traffic(vec![shape])).is_err(), "{value}");
    }
    let named = phase(json!({"sum": [{"hold": 1, "name": "a"}], "for": "1s"}));
    assert!(named.sum[0].fault(true).expect("a fault").1.contains("names a part"));
    assert!(Profile::new(&traffic(vec![named])).is_err(), "parts are looked at too");
}

#[test]
fn what_would_fill_the_memory_is_refused_before_it_does() {
    let wave = json!({"sine": {"mean": 1, "amplitude": 1, "period": "10ms"}, "for": "168h"});
    let many = json!({"hold": 9_999_999, "for": "1s", "scale": 2});
    for (value, problem) in [(wave, "straight lines"), (many, "highest rate")] {
        let error = Profile::new(&traffic(vec![phase(value)])).expect_err(problem);
        assert!(error.1.contains(problem), "{}", error.1);
    }
    let parts: Vec<Value> = (0..65).map(|_| json!({"hold": 1})).collect();
    let fault = phase(json!({"sum": parts, "for": "1s"})).fault(false).expect("a fault");
    assert!(fault.1.contains("64 parts"));
}

/// A shape of any kind that lasts some seconds, with parts down to `deep` levels.
fn any_shape(deep: u32) -> BoxedStrategy<Value> {
    let rate = || (0..300u32).prop_map(f64::from);
    let secs = || (1..8u32).prop_map(|secs| format!("{secs}s"));
    let spike =
        (rate(), rate(), secs(), secs(), 0..5u32).prop_map(|(base, peak, rise, hold, fall)| {
            let fall = format!("{fall}s");
            json!({"spike": {"base": base, "peak": peak, "rise": rise, "hold": hold, "fall": fall}})
        });
    let sine = (rate(), 0.0..=1.0f64, 50..9000u32, 0.0..=1.0f64, secs()).prop_map(
        |(mean, share, period, phase, lasts): (f64, f64, u32, f64, String)| {
            let period = format!("{period}ms");
            json!({"sine": {"mean": mean, "amplitude": mean * share, "period": period,
                "phase": phase}, "for": lasts})
        },
    );
    let points = proptest::collection::vec((1..3000u32, rate()), 2..9);
    let curve = (points, any::<bool>(), 0.2..5.0f64).prop_map(|(points, is_step, speed)| {
        let mut time = 0;
        let points: Vec<Value> = points
            .into_iter()
            .map(|(gap, rate)| {
                time += gap;
                json!([format!("{time}ms"), rate])
            })
            .collect();
        let interpolation = if is_step { "step" } else { "linear" };
        json!({"curve": {"points": points, "interpolation": interpolation, "speed": speed}})
    });
    let leaf = prop_oneof![
        (rate(), secs()).prop_map(|(rate, lasts)| json!({"hold": rate, "for": lasts})),
        (rate(), rate(), secs())
            .prop_map(|(from, to, over)| json!({"ramp": {"from": from, "to": to}, "over": over})),
        (rate(), rate(), 2..6u32, secs()).prop_map(|(from, to, steps, each)| {
            json!({"step": {"from": from, "to": to, "steps": steps, "each": each}})
        }),
        spike,
        sine,
        curve,
    ];
    if deep == 0 {
        return leaf.boxed();
    }
    let parts = || proptest::collection::vec(any_shape(deep - 1), 1..4);
    let sum = (parts(), 0..3u32).prop_map(|(mut parts, at)| {
        parts[0]["at"] = json!(format!("{at}s"));
        json!({"sum": parts, "scale": 0.5})
    });
    let product = parts().prop_map(|parts| json!({"product": parts, "scale": 1e-4}));
    prop_oneof![2 => leaf, 1 => sum, 1 => product].boxed()
}

proptest! {
    #[test]
    fn arrivals_of_any_shapes_ascend_within_their_phase_and_follow_the_profile(
        shapes in proptest::collection::vec(any_shape(2), 1..4),
        poisson in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let phases: Vec<Phase> = shapes.into_iter().map(phase).collect();
        let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
        let profile = Profile::new(&traffic(phases));
        // A product of scaled parts may be too high.
        prop_assume!(profile.is_ok());
        let profile = profile.expect("assumed");
        prop_assume!(profile.expected() < 20_000.0);
        let spans: Vec<_> = profile.phases().collect();
        let mut last = Nanos::ZERO;
        let mut count = 0u64;
        for arrival in Schedule::new(profile.clone(), arrivals, seed) {
            prop_assert!(arrival.at >= last);
            let (start, end) = spans[usize::from(arrival.phase)];
            prop_assert!(arrival.at >= start && arrival.at < end);
            // A nanosecond of rounding, at the highest rate.
            let slack = 1e-6 + 2e-9 * profile.peak(Nanos::ZERO, profile.lasts());
            if !poisson {
                let expected = profile.expected_until(arrival.at);
                prop_assert!((expected - count as f64 - 0.5).abs() < slack, "{expected} at {count}");
            }
            last = arrival.at;
            count += 1;
        }
        if !poisson {
            prop_assert!((count as f64 - profile.expected()).abs() <= 0.5 + 1e-6);
        }
    }

    #[test]
    fn the_expected_count_is_the_integral_of_the_rate(
        shape in any_shape(2),
        cuts in proptest::collection::vec(0.0..1.0f64, 40),
    ) {
        let profile = Profile::new(&traffic(vec![phase(shape)]));
        prop_assume!(profile.is_ok());
        let profile = profile.expect("assumed");
        let mut times: Vec<u64> =
            cuts.iter().map(|cut| (cut * profile.lasts().0 as f64) as u64).collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            let (from, to) = (Nanos(pair[0]), Nanos(pair[1]));
            let counted = profile.expected_until(to) - profile.expected_until(from);
            let most = profile.peak(from, to) * Nanos(to.0 - from.0).as_secs_f64();
            prop_assert!(counted >= -1e-9 && counted <= most + 1e-6, "{counted} of {most}");
        }
        let (middle, step) = (Nanos(times[20]), 1000);
        let around = profile.expected_until(Nanos(middle.0 + step)) - profile.expected_until(middle);
        let rates = [profile.rate(middle), profile.rate(Nanos(middle.0 + step))];
        let is_smooth = (rates[0] - rates[1]).abs() < 1.0;
        // The difference of two counts of up to some thousand has an error of some 1e-12.
        let per_second = around * 1e9 / step as f64;
        prop_assert!(!is_smooth || (per_second - rates[0]).abs() < 2.0, "{per_second} {rates:?}");
    }

    /// The bounds that the module `lines` states.
    #[test]
    fn a_sine_and_a_product_stay_within_their_stated_errors(
        mean in 1.0..1000.0f64,
        share in 0.0..=1.0f64,
        period in 0.2..60.0f64,
        begin in 0.0..=1.0f64,
        ramp in (0.0..2.0f64, 0.0..2.0f64),
        times in proptest::collection::vec(0.0..30.0f64, 100),
    ) {
        let period = Nanos::from_secs_f64(period);
        let wave = json!({"sine": {"mean": mean, "amplitude": mean * share, "phase": begin,
            "period": format!("{period}")}, "for": "30s"});
        let (from, to) = ramp;
        let ramp = json!({"ramp": {"from": from, "to": to}, "over": "30s"});
        let alone = profile(json!([wave.clone()]));
        let both = profile(json!([{"product": [wave, ramp]}]));
        let amplitude = mean * share;
        let chord = core::f64::consts::TAU / TURN_CHORDS as f64;
        let bound = amplitude * chord * chord / 8.0 + 1e-6 * mean;
        for time in times {
            let turn = time / period.as_secs_f64() + begin;
            let sine = mean + amplitude * libm::sin(core::f64::consts::TAU * turn);
            let found = alone.rate(at(time));
            prop_assert!((found - sine).abs() <= bound, "{found} for {sine}");
            let line = from + (to - from) * time / 30.0;
            let found = both.rate(at(time));
            let bound = bound * line.max(1e-9) + CHORD_ERROR * (mean + amplitude) * from.max(to) + 1e-6 * mean;
            prop_assert!((found - sine * line).abs() <= bound, "{found} for {}", sine * line);
        }
        // Over whole turns nothing is lost.
        let turns = (30.0 / period.as_secs_f64()) as u64;
        let until = Nanos(period.0 * turns);
        let counted = alone.expected_until(until);
        let exact = mean * until.as_secs_f64();
        prop_assert!((counted - exact).abs() <= 1e-6 * exact + 1e-6, "{counted} for {exact}");
    }
}
