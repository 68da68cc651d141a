//! Pods that find no room.

use super::*;

/// Three pods of half a core; two fit on each node of which there is one at first. The load wants
/// more from 60 s on.
fn grow(nodes: &str) -> Notes {
    play(&format!(
        r#"{{"name":"n","seed":4,"nodes":{nodes},
        "target":{{"service":{{"latency":"5ms"}},"deployment":{{"replicas":2,
          "template":{{"readinessProbe":{{"httpGet":{{"path":"/readyz"}},"periodSeconds":1}},
          "resources":{{"requests":{{"cpu":"500m"}}}}}}}}}},
        "traffic":{{"phases":[{{"hold":"20/s","for":"300s"}}]}},
        "events":[{{"at":"60s","scale":{{"replicas":5}}}},{{"at":"200s","scale":{{"replicas":2}}}}]}}"#
    ))
}

/// When each pod was told to be without room, was given a node, and was ready: from its creation.
fn lives(notes: &Notes) -> BTreeMap<String, [Option<Nanos>; 3]> {
    let mut created: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut lives: BTreeMap<String, [Option<Nanos>; 3]> = BTreeMap::new();
    for (at, kind) in &notes.events {
        let (pod, place) = match kind {
            EventKind::PodCreated { pod, .. } => {
                created.insert(pod.clone(), *at);
                lives.insert(pod.clone(), [None; 3]);
                continue;
            }
            EventKind::PodUnschedulable { pod, message } => {
                assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."));
                (pod, 0)
            }
            EventKind::PodScheduled { pod, .. } => (pod, 1),
            EventKind::PodReady { pod } => (pod, 2),
            _ => continue,
        };
        let span = at.since(created[pod]);
        lives.get_mut(pod).expect("it was made")[place].get_or_insert(span);
    }
    lives
}

#[test]
fn pods_wait_for_room_until_a_node_comes() {
    let notes = grow(
        r#"{"count":1,"allocatable":{"cpu":"1"},
        "clusterAutoscaler":{"maxNodesTotal":3,"provisionTime":"40s"}}"#,
    );
    let lives = lives(&notes);
    let waited: Vec<_> = lives.values().filter(|[no_room, ..]| no_room.is_some()).collect();
    assert_eq!((lives.len(), waited.len()), (5, 3), "{lives:?}");
    for [no_room, scheduled, ready] in waited {
        assert_eq!(*no_room, Some(Nanos::ZERO));
        let scheduled = scheduled.expect("a node came").as_secs_f64();
        assert!((40.0..50.0).contains(&scheduled), "{scheduled}");
        assert!(ready.is_some_and(|ready| ready.as_secs_f64() < scheduled + 4.0));
    }
    let ready = |kind: &EventKind| {
        let is = |text: &str, other: &str| text == other;
        matches!(kind, EventKind::NodeCondition { condition, status, .. }
            if is(condition, "Ready") && is(status, "True"))
    };
    assert_eq!(notes.events.iter().filter(|(_, kind)| ready(kind)).count(), 2);
    assert_eq!(notes.outcomes.len(), 1, "{:?}", notes.outcomes);
}

#[test]
fn without_more_nodes_they_wait_and_go_first() {
    let notes = grow(r#"{"count":1,"allocatable":{"cpu":"1"}}"#);
    let lives = lives(&notes);
    let never = lives.values().filter(|[_, scheduled, _]| scheduled.is_none()).count();
    assert_eq!((lives.len(), never), (5, 3));
    let gone: Vec<&str> = notes
        .events
        .iter()
        .filter_map(|(_, kind)| match kind {
            EventKind::PodGone { pod } => Some(pod.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(gone.len(), 3);
    assert!(gone.iter().all(|pod| lives[*pod][1].is_none()), "those without a node go: {gone:?}");
}

#[test]
fn room_enough_changes_nothing_but_what_is_told_of_nodes() {
    let with = |nodes: &str| {
        let notes = play(
            &ROLLOUT
                .replace("MISBEHAVE", "")
                .replace("KIND", "l7")
                .replace("KEEP", "true")
                .replace("\"seed\":3", nodes),
        );
        let told = |line: &&str| !line.contains("PodScheduled");
        notes.calls.lines().filter(told).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(with("\"seed\":3"), with("\"seed\":3,\"nodes\":{\"count\":1}"));
}
