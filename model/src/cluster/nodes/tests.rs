use std::{string::ToString as _, vec, vec::Vec};

use super::*;

fn nodes(spec: &str, resources: &str) -> Nodes {
    let spec: Spec = serde_json::from_str(spec).expect("nodes");
    let resources: Resources = serde_json::from_str(resources).expect("resources");
    Nodes::new(&spec, &resources, 7)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Nanos::from_secs(seconds)
}

fn add(nodes: &mut Nodes, pods: core::ops::Range<u32>) -> Vec<News> {
    let mut news = Vec::new();
    pods.for_each(|pod| nodes.add(pod, &mut news));
    news
}

fn bound(news: &[News]) -> Vec<(u32, u32)> {
    let of = |news: &News| match news {
        News::Bound { pod, node } => Some((*pod, *node)),
        _ => None,
    };
    news.iter().filter_map(of).collect()
}

#[test]
fn pods_go_where_the_fewest_are_and_the_rest_waits_with_a_reason() {
    let rows = [
        (
            r#"{"count":2,"allocatable":{"cpu":"1"}}"#,
            r#"{"requests":{"cpu":"400m"}}"#,
            4,
            "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: \
             2 No preemption victims found for incoming pod.",
        ),
        (
            r#"{"count":2,"allocatable":{"cpu":"1","memory":"1Gi"}}"#,
            r#"{"requests":{"cpu":"500m","memory":"512Mi"}}"#,
            4,
            "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/2 \
             nodes are available: 2 No preemption victims found for incoming pod.",
        ),
        (
            r#"{"count":3,"allocatable":{"pods":1}}"#,
            r#"{"requests":{"cpu":"400m"}}"#,
            3,
            "0/3 nodes are available: 3 Too many pods. preemption: 0/3 nodes are available: \
             3 No preemption victims found for incoming pod.",
        ),
        (
            r#"{"count":1,"allocatable":{"cpu":"1"}}"#,
            r#"{"limits":{"cpu":"2"}}"#,
            0,
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
             1 Preemption is not helpful for scheduling.",
        ),
        (r#"{"count":0}"#, "{}", 0, "no nodes available to schedule pods"),
    ];
    for (spec, resources, fit, message) in rows {
        let mut nodes = nodes(spec, resources);
        let count = nodes.count();
        let news = add(&mut nodes, 0..6);
        let expected: Vec<(u32, u32)> = (0..fit).map(|pod| (pod, pod % count)).collect();
        assert_eq!(bound(&news), expected, "{spec} {resources}");
        let waits = |news: &News| match news {
            News::NoRoom { pod, message } => Some((*pod, message.to_string())),
            _ => None,
        };
        let waiting: Vec<_> = news.iter().filter_map(waits).collect();
        let expected: Vec<_> = (fit..6).map(|pod| (pod, message.to_string())).collect();
        assert_eq!(waiting, expected, "{spec} {resources}");
        assert_eq!(nodes.next_deadline(), None, "nobody adds nodes");
    }
}

#[test]
fn what_is_not_bounded_or_not_requested_always_has_room() {
    for (spec, resources) in [
        (r#"{"count":1}"#, r#"{"requests":{"cpu":"64"}}"#),
        (r#"{"count":1,"allocatable":{"cpu":"100m","memory":"1Mi"}}"#, "{}"),
    ] {
        let mut nodes = nodes(spec, resources);
        assert_eq!(bound(&add(&mut nodes, 0..110)).len(), 110, "{spec}");
        assert_eq!(bound(&add(&mut nodes, 110..111)), [], "a kubelet takes 110");
    }
}

#[test]
fn who_waited_longest_gets_the_room_of_who_leaves() {
    let spec = r#"{"count":1,"allocatable":{"cpu":"1"}}"#;
    let mut nodes = nodes(spec, r#"{"requests":{"cpu":"500m"}}"#);
    add(&mut nodes, 0..5);
    let mut news = Vec::new();
    nodes.remove(3, &mut news);
    assert_eq!(news, [], "one that had none");
    nodes.remove(0, &mut news);
    nodes.remove(1, &mut news);
    assert_eq!(bound(&news), [(2, 0), (4, 0)]);
}

#[test]
fn nodes_come_after_a_look_and_their_time_and_no_more_than_are_needed_or_allowed() {
    let of = |most: u32, waiting: u32| {
        let spec = alloc::format!(
            r#"{{"count":1,"allocatable":{{"cpu":"1"}},"clusterAutoscaler":{{
            "maxNodesTotal":{most},"scanInterval":"10s","provisionTime":"60s"}}}}"#
        );
        let mut nodes = nodes(&spec, r#"{"requests":{"cpu":"500m"}}"#);
        nodes.wake(at(100));
        let mut news = add(&mut nodes, 0..2 + waiting);
        let looks = nodes.next_deadline();
        let mut ready = Vec::new();
        while let Some(now) = nodes.next_deadline() {
            let before = news.len();
            nodes.fire(now, &mut news);
            let is_node = |one: &&News| matches!(one, News::Ready { .. });
            ready.extend(news[before..].iter().filter(is_node).map(|_| now));
            assert!(now < at(1_000), "it comes to an end");
        }
        (looks, ready, bound(&news).len() as u32)
    };
    let (looks, ready, placed) = of(10, 5);
    let looks = looks.expect("somebody waits");
    assert!(at(100) <= looks && looks < at(110), "{looks:?}");
    assert_eq!(ready, vec![looks + Nanos::from_secs(60); 3]);
    assert_eq!(placed, 7);
    assert_eq!(of(3, 5).2, 6, "no more than three in all");
    assert_eq!(of(1, 5), (None, vec![], 2), "there may be none more");
    assert_eq!(of(10, 0), (None, vec![], 2), "nobody waits");
}
