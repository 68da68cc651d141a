//! The search loses no rank: what it likes holds the best that there is.

use highwater_model::coarse::Station;

use super::{BURST, scenario_of, spike};
use crate::{
    scenario::{Loaded, Variants},
    tune::{
        cases::{Case, Cases},
        finals::{Finalist, judge},
        judge::Goals,
        search::{Search, Tried},
        space::Space,
        trial::Problem,
    },
};

/// Runs every setting of a space on the full simulator, searches the same space with `wanted`
/// settings on the coarse model, and asserts that the search's ten best hold the best of all.
fn the_best_is_among_ten(loaded: &Loaded, parameters: &[&str], (size, wanted): (usize, usize)) {
    let variants = Variants::new(loaded).expect("a scenario");
    let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
    let space = Space::new(&variants, &parameters).expect("a space");
    let goals = Goals::of(variants.base(), &Station::new(variants.base()));
    let problem = Problem::new(&variants, &space, &goals, 2);
    let mut cases = Cases::new(variants.base(), &[]).expect("cases").train;
    cases.truncate(1);
    let search = |wanted| {
        let (is_over, tell) = (|| false, |_: usize, _: usize| {});
        let (cases, is_over, tell) = (&cases[..], &is_over, &tell);
        Search { problem: &problem, cases, wanted, seed: 7, is_over, tell }.run().tried
    };
    let of: Vec<(&Case, bool)> = cases.iter().map(|case| (case, false)).collect();
    // Whether the objectives held, and for how many pod-hours.
    let full = |tried: &[Tried]| -> Vec<(bool, f64)> {
        let finalist = |one: &Tried| Finalist::new(&problem, "", space.sets(&one.setting));
        let finalists: Vec<Finalist> =
            tried.iter().map(|one| finalist(one).expect("a setting")).collect();
        let judged = judge(&problem, &of, &finalists, None, &|_, _| {});
        let searched = judged.iter().map(|one| &one.searched);
        searched.map(|one| (one.met == one.of, one.pod_hours)).collect()
    };
    let best = |runs: &[(bool, f64)]| {
        let held = runs.iter().filter(|(holds, _)| *holds).map(|(_, hours)| *hours);
        held.fold(f64::INFINITY, f64::min)
    };
    let every = full(&search(size));
    assert_eq!(every.len(), size, "one case alone has no rungs");
    let holding = every.iter().filter(|(holds, _)| *holds).count();
    assert!((1..size).contains(&holding), "{holding} of {size} hold: nothing is told apart");
    let fast = search(wanted);
    assert!(fast.len() < size, "a search that tries everything proves nothing");
    let (found, best) = (best(&full(&fast[..10])), best(&every));
    assert!(found <= best, "{found} and {best} pod-hours; {holding} of {size} hold");
}

#[test]
fn the_ten_best_of_a_search_hold_the_best_of_all() {
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,50,70,90,110",
        "down-window=0,5,15,30",
        "min=1,2,3",
    ];
    the_best_is_among_ten(&scenario_of(BURST), &parameters, (60, 30));
}

#[test]
#[ignore = "does not hold: under a quota the coarse latency is too long, and the best of 100 settings is the eleventh or later"]
fn the_ten_best_of_a_search_for_the_spike_hold_the_best_of_all() {
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,45,60,75,90",
        "down-window=0,15,30,60,120",
        "min=1,2,3,4",
    ];
    // With a limit, too few pods are felt.
    let loaded = spike(&[
        "objectives=[{failed: 0}, {latency.p99: <150ms}]",
        "target.deployment.template.resources={requests: {cpu: 100m}, limits: {cpu: 200m}}",
    ]);
    the_best_is_among_ten(&loaded, &parameters, (100, 60));
}
