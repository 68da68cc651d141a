//! Which differences are upstream's own.
//!
//! Where two controllers have work at the same instant, a real cluster decides by chance who comes
//! first. A case that differs is run in all other orders of the controllers. Its difference is
//! upstream's randomness if upstream decides differently in one of these, just as we did, and if
//! our answer in that order is upstream's to the letter.
//!
//! Which of many pods a ReplicaSet takes can be chance as well ([`Difference::Delete`]): a case may
//! differ from such a choice on.
//!
//! [`Difference::Delete`]: highwater_model::cluster::replicaset::Difference

use serde_json::{Value, json};

use crate::{
    Answer,
    case::{CONTROLLERS, order},
    compared::Compared,
};

/// Of all cases, one in so many may be upstream's randomness; one may always be.
const SHARE: usize = 100;

/// A case in all orders of the controllers but its own.
pub(crate) fn others(case: &Value) -> Vec<Value> {
    let [a, b, c] = CONTROLLERS;
    [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
        .into_iter()
        .filter(|other| order(case) != *other)
        .map(|other| {
            let mut case = case.clone();
            case["order"] = json!(other);
            case
        })
        .collect()
}

/// Whether the difference of a case is upstream's own. `others` are its answers in other orders.
pub(crate) fn is_upstreams(differing: &Answer, others: &[Answer]) -> bool {
    let ours = differing.ours();
    let is_explained = |other: &Answer| {
        let upstream = &other.upstream;
        upstream.decisions() != differing.upstream.decisions()
            && upstream.decisions() == ours.decisions()
            && other.difference().is_none()
    };
    others.iter().filter(|other| other.case["id"] == differing.case["id"]).any(is_explained)
}

/// Whether a case differs from a choice of victims on that upstream makes by chance.
pub(crate) fn are_victims_by_chance(differing: &Answer) -> bool {
    differing.upstream.begins_by_chance(&differing.ours())
}

/// Whether so many of `all` cases are as few as upstream's randomness makes them.
pub(crate) fn are_few(differing: usize, all: usize) -> bool {
    differing <= (all / SHARE).max(1)
}

#[test]
fn only_another_order_of_upstream_that_decides_as_we_do_explains_a_difference() {
    let answer = |race: &Answer, order: [&str; 3], upstream: &Compared| {
        let mut case = race.case.clone();
        case["order"] = json!(order);
        Answer { case, upstream: upstream.clone(), names: race.names.clone() }
    };
    let [deployment, set, slice] = CONTROLLERS;
    let (set_first, also_set_first) = ([set, deployment, slice], [set, slice, deployment]);
    let (first, also_first) = ([deployment, set, slice], [deployment, slice, set]);
    // A kept case whose answer depends on who comes first.
    let is_race = |kept: &Answer| {
        let theirs = answer(kept, set_first, &kept.upstream).ours();
        answer(kept, first, &kept.upstream).ours().decisions() != theirs.decisions()
    };
    let race = &crate::kept().into_iter().find(is_race).unwrap();
    let theirs = &answer(race, set_first, &race.upstream).ours();
    let ours = &answer(race, first, &race.upstream).ours();
    let mut other = ours.clone();
    other.entries.pop();

    let differing = answer(race, first, theirs);
    let rows = [
        ("upstream decides as we do", vec![answer(race, also_first, ours)], true),
        ("no other order was tried", vec![], false),
        ("upstream is of one mind", vec![answer(race, also_set_first, theirs)], false),
        ("upstream decides otherwise still", vec![answer(race, also_first, &other)], false),
        ("we differ there, too", vec![answer(race, also_set_first, ours)], false),
    ];
    for (name, others, want) in rows {
        assert_eq!(is_upstreams(&differing, &others), want, "{name}");
    }
}

#[test]
fn a_case_is_run_in_all_other_orders() {
    let others = others(&json!({"id": "a", "order": ["endpointslice"]}));
    let orders: Vec<Vec<String>> = others.iter().map(order).collect();
    assert_eq!(orders.len(), 5);
    assert!(!orders.contains(&vec![
        "endpointslice".into(),
        "deployment".into(),
        "replicaset".into()
    ]));
}
