//! The search loses no rank: what it likes holds the best that there is.

use std::{env, path::PathBuf};

use highwater_model::coarse::Station;

use super::{BURST, changed, scenario_of, spike};
use crate::{
    scenario::{Loaded, Variants},
    tune::{
        cases::{Case, Cases},
        finals::{Finalist, judge},
        judge::Goals,
        search::{Search, everything},
        space::{Setting, Space},
        trial::Problem,
    },
};

/// Runs every setting of a space on the full simulator, searches the same space with `wanted`
/// settings on the coarse model, and asserts that the search's ten best hold the best of all.
fn the_best_is_among_ten(
    loaded: &Loaded,
    traces: &[PathBuf],
    parameters: &[&str],
    (size, wanted): (usize, usize),
) {
    let variants = Variants::new(loaded).expect("a scenario");
    let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
    let space = Space::new(&variants, &parameters).expect("a space");
    let goals = Goals::of(variants.base(), &Station::new(variants.base()));
    let problem = Problem::new(&variants, &space, &goals, 2);
    let mut cases = Cases::new(variants.base(), traces).expect("cases").train;
    cases.truncate(1);
    let search = |wanted| {
        let (is_over, tell) = (|| false, |_: &'static str, _: usize, _: usize| {});
        let (cases, is_over, tell) = (&cases[..], &is_over, &tell);
        Search { problem: &problem, cases, wanted, seed: 7, is_over, tell }.run()
    };
    let of: Vec<(&Case, bool)> = cases.iter().map(|case| (case, false)).collect();
    // Whether the objectives held, and for how many pod-hours.
    let full = |settings: &[Setting]| -> Vec<(bool, f64)> {
        let finalist = |one: &Setting| Finalist::new(&problem, "", space.sets(one));
        let finalists: Vec<Finalist> =
            settings.iter().map(|one| finalist(one).expect("a setting")).collect();
        let judged = judge(&problem, &of, &finalists, None, &|_, _| {});
        let searched = judged.iter().map(|one| &one.searched);
        searched.map(|one| (one.met == one.of, one.pod_hours)).collect()
    };
    let best = |runs: &[(bool, f64)]| {
        let held = runs.iter().filter(|(holds, _)| *holds).map(|(_, hours)| *hours);
        held.fold(f64::INFINITY, f64::min)
    };
    let all = everything(&space);
    assert_eq!(all.len(), size, "the space");
    let every = full(&all);
    let holding = every.iter().filter(|(holds, _)| *holds).count();
    assert!((1..size).contains(&holding), "{holding} of {size} hold: nothing is told apart");
    let found = search(wanted);
    assert!(
        wanted == size || found.tried.len() < size,
        "a search that tries everything proves nothing"
    );
    assert!(
        found.simulated < size,
        "{}: a search that simulates everything proves nothing",
        found.simulated
    );
    let ten: Vec<Setting> = found.tried[..10].iter().map(|one| one.setting.clone()).collect();
    let (found, best) = (best(&full(&ten)), best(&every));
    assert!(found <= best, "{found} and {best} pod-hours; {holding} of {size} hold");
}

#[test]
fn the_ten_best_of_a_search_hold_the_best_of_all() {
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,50,70,90,110",
        "down-window=0,5,15,30",
        "min=1,2,3",
    ];
    the_best_is_among_ten(&scenario_of(BURST), &[], &parameters, (60, 30));
}

/// Pods that a CPU limit throttles, and an objective of their latency.
fn throttled(limit: &str, goal: &str) -> [String; 2] {
    [
        format!(
            "target.deployment.template.resources={{requests: {{cpu: 100m}}, limits: {{cpu: {limit}}}}}"
        ),
        format!("objectives=[{{failed: 0}}, {{{goal}}}]"),
    ]
}

/// The coarse model takes throttled pods with more than their share of the connections for too slow. In
/// each row, more than ten settings are better by it than the best.
#[test]
fn the_ten_best_hold_the_best_of_all_where_the_coarse_model_is_off() {
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,60,90",
        "down-window=0,10,30",
        "min=1,2,3,4",
    ];
    for (limit, goal, seed) in [("160m", "latency.p90: <200ms", 7), ("120m", "latency.p99: <1s", 8)]
    {
        let loaded = changed(BURST, &throttled(limit, goal), Some(seed));
        the_best_is_among_ten(&loaded, &[], &parameters, (36, 36));
    }
}

#[test]
#[ignore = "long: `just rank`"]
fn long_the_ten_best_of_a_hundred_hold_the_best_of_all() {
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,45,60,75,90",
        "down-window=0,15,30,60,120",
        "min=1,2,3,4",
    ];
    for limit in ["150m", "200m"] {
        for goal in ["latency.p99: <150ms", "latency.p95: <100ms"] {
            for seed in [7, 8] {
                let loaded = spike(&throttled(limit, goal), Some(seed));
                the_best_is_among_ten(&loaded, &[], &parameters, (100, 100));
            }
        }
    }
}

/// The search of `just bench-tune`, beside all its settings on the full simulator.
#[test]
#[ignore = "long: `just rank`, which has the day"]
fn long_the_ten_best_of_a_day_hold_the_best_of_all() {
    let day = env::var_os("HIGHWATER_DAY").expect("HIGHWATER_DAY: a rate curve");
    let loaded = spike(&throttled("200m", "latency.p99: <1s"), None);
    let parameters = ["target=20..95:5", "min=1..8", "down-window=0,30,60,120,300,600,900,1200"];
    the_best_is_among_ten(&loaded, &[day.into()], &parameters, (1024, 1024));
}
