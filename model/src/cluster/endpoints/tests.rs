use std::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::time::Nanos;

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Nanos::from_millis(millis)
}

#[test]
fn an_endpoint_is_ready_if_it_serves_and_stays() {
    let rows = [
        ("starting", false, false, (false, false, false)),
        ("in service", true, false, (true, true, false)),
        ("draining", true, true, (false, true, true)),
        ("unready and going", false, true, (false, false, true)),
    ];
    for (name, is_ready, is_terminating, want) in rows {
        let Endpoint { ready, serving, terminating, .. } =
            Entry::new(0, "v1-1", is_ready, is_terminating).endpoint;
        assert_eq!((ready, serving, terminating), want, "{name}");
    }
}

#[test]
fn terminating_endpoints_are_chosen_only_where_none_is_ready() {
    let entry = |pod, is_ready, is_terminating| Entry::new(pod, "p", is_ready, is_terminating);
    let rows = [
        ("none", vec![], vec![]),
        (
            "ready ones",
            vec![entry(0, true, false), entry(1, false, false), entry(2, true, true)],
            vec![0],
        ),
        ("the last ones drain", vec![entry(0, true, true), entry(1, false, true)], vec![0]),
        ("all unready", vec![entry(0, false, true), entry(1, false, false)], vec![]),
    ];
    for (name, entries, want) in rows {
        assert_eq!(route(&entries), want, "{name}");
    }
}

#[test]
fn changes_within_the_delay_are_written_together() {
    let mut slice = Slice::new(Distribution::Fixed(Nanos::from_millis(50)), 1);
    let one = [Entry::new(0, "v1-1", false, false)];
    let two = [Entry::new(0, "v1-1", true, false)];
    slice.see(at(0), &one);
    slice.see(at(30), &two);
    assert_eq!(slice.next_deadline(), Some(at(50)));
    assert_eq!(slice.fire(at(50), &two), Some(1));
    assert_eq!(slice.written(), two);
    assert_eq!(slice.next_deadline(), None);
}

#[test]
fn what_is_undone_within_the_delay_is_never_written() {
    let mut slice = Slice::new(Distribution::Fixed(Nanos::from_millis(50)), 1);
    slice.see(at(0), &[Entry::new(0, "v1-1", true, false)]);
    assert_eq!(slice.fire(at(50), &[]), None);
}

#[test]
fn a_version_that_overtakes_makes_earlier_ones_void() {
    let mut view = View::new(0, Distribution::Fixed(Nanos::from_millis(100)), 1);
    view.send(at(0), 1, vec![1]);
    view.propagation = Distribution::Fixed(Nanos::from_millis(10));
    view.send(at(20), 2, vec![2]);
    assert_eq!(view.fire(at(30)), Some((2, vec![2])));
    assert_eq!(view.next_deadline(), None);
    assert_eq!(view.fire(at(100)), None);
    assert_eq!(view.routed(), [2]);
}

#[test]
fn a_version_with_the_same_choice_is_taken_over_silently() {
    let mut view = View::new(0, Distribution::default(), 1);
    view.send(at(0), 1, vec![1]);
    assert_eq!(view.fire(at(0)), Some((1, vec![1])));
    view.send(at(1), 2, vec![1]);
    assert_eq!(view.fire(at(1)), None);
}

proptest! {
    #[test]
    fn versions_at_a_consumer_never_go_back(
        gaps in prop::collection::vec(0u64..3_000, 1..40),
        seed in any::<u64>(),
    ) {
        let spread = Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(4));
        let mut view = View::new(0, spread, seed);
        let (mut now, mut seen) = (0, Vec::new());
        for (version, gap) in (1u64..).zip(&gaps) {
            now += gap;
            while let Some(due) = view.next_deadline().filter(|&due| due <= at(now)) {
                seen.extend(view.fire(due).map(|(version, _)| version));
            }
            view.send(at(now), version, vec![u32::try_from(version).expect("small")]);
        }
        while let Some(due) = view.next_deadline() {
            seen.extend(view.fire(due).map(|(version, _)| version));
        }
        prop_assert!(seen.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(seen.last().copied(), Some(gaps.len() as u64));
    }
}
