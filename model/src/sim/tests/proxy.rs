//! What a reverse proxy does of its own.

use super::*;
use crate::outcome::{Hop, HopError};

/// A rollout behind a proxy whose path says `path` in addition, to which go requests of `method`.
fn behind(misbehave: &str, path: &str, method: &str) -> Notes {
    let text = ROLLOUT.replace("MISBEHAVE", misbehave).replace("KIND", "l7");
    let requests = format!("\"requests\":[{{\"{method}\":\"/work\"}}],\"keepAlive\":true}},");
    let text = text
        .replace("\"keepAlive\":KEEP},\n    \"traffic\"", &format!("{path}}},\n    \"traffic\""));
    play(&text.replace("\"keepAlive\":KEEP},", &requests))
}

fn lost(notes: &Notes) -> u64 {
    notes.owed - notes.outcomes.get(&Outcome::Ok).copied().unwrap_or(0)
}

/// The attempts that were hidden: whether the request was rescued, and what was told of it.
fn hidden(notes: &Notes) -> Vec<(bool, &Hop)> {
    fn of((at, kind): &(Timestamp, EventKind)) -> Option<(bool, &Hop)> {
        match kind {
            EventKind::Retried { n, request_id, rescued, hop } => {
                assert_eq!((*n, request_id.is_some(), *at), (1, true, hop.ended));
                Some((*rescued, hop))
            }
            _ => None,
        }
    }
    notes.events.iter().filter_map(of).collect()
}

#[test]
fn retries_hide_what_they_may_and_tell_it() {
    let refused: &[HopError] = &[HopError::ConnectRefused];
    let cut: &[HopError] = &[HopError::Eof, HopError::Reset];
    // What the service does, the path, the method; whether something is hidden, of which errors,
    // and whether something is lost all the same.
    let rows = [
        ("close-listener-first", r#""retry":"none","keepAlive":false"#, "get", None, true),
        (
            "close-listener-first",
            r#""retry":"connect-failure","keepAlive":false"#,
            "post",
            Some(refused),
            false,
        ),
        (
            "close-listener-first",
            r#""retry":"idempotent","keepAlive":false"#,
            "get",
            Some(refused),
            false,
        ),
        ("exit-on-sigterm", r#""retry":"idempotent","retries":3"#, "get", Some(cut), false),
        ("exit-on-sigterm", r#""retry":"idempotent""#, "post", Some(refused), true),
        ("exit-on-sigterm", r#""retry":"connect-failure""#, "get", Some(refused), true),
        ("refuse-while-draining", r#""retry":"idempotent""#, "get", None, true),
    ];
    for (misbehave, path, method, hides, loses) in rows {
        let why = format!("{misbehave} {path} {method}");
        let notes = behind(&format!("\"{misbehave}\""), path, method);
        let hidden = hidden(&notes);
        assert_eq!(lost(&notes) > 0, loses, "{why}: {:?}", notes.outcomes);
        assert_eq!(hidden.is_empty(), hides.is_none(), "{why}: {hidden:?}");
        let errors: Vec<HopError> = hidden.iter().filter_map(|(_, hop)| hop.error).collect();
        let is_there = |error: &HopError| errors.contains(error);
        assert!(hides.is_none_or(|hides| hides.iter().any(is_there)), "{why}: {errors:?}");
        assert_eq!(errors.len(), hidden.len(), "{why}: each has met something");
        assert!(hidden.iter().all(|(_, hop)| hop.pod.is_some() && hop.tries > 0), "{why}");
        let is_sent = |hop: &Hop| hop.error != Some(HopError::ConnectRefused);
        let may_be_sent = path.contains("idempotent") && method == "get";
        assert!(may_be_sent || !hidden.iter().any(|(_, hop)| is_sent(hop)), "{why}: {errors:?}");
        assert_eq!(
            notes.failures.iter().map(|failure| failure.n).sum::<u64>(),
            lost(&notes),
            "{why}: each in detail"
        );
    }
}

#[test]
fn a_request_is_tried_as_often_as_is_asked_for_and_elsewhere() {
    // Three pods, none of which can be connected to from elsewhere.
    let all = |retries: u32| {
        play(&format!(
            r#"{{"name":"t","seed":1,"target":{{"misbehave":["bind-loopback"],
            "deployment":{{"replicas":3}}}},
            "path":{{"kind":"l7","retry":"connect-failure","retries":{retries}}},
            "traffic":{{"phases":[{{"hold":"20/s","for":"5s"}}]}}}}"#
        ))
    };
    for (retries, tries) in [(1, 2), (2, 3), (5, 6)] {
        let notes = all(retries);
        assert_eq!(lost(&notes), notes.owed);
        let mut pods: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for (_, kind) in &notes.events {
            if let EventKind::Retried { request_id: Some(id), rescued, hop, .. } = kind {
                assert!(!rescued, "{hop:?}");
                let pods = pods.entry(*id).or_default();
                pods.extend(hop.pod.as_deref());
                assert_eq!(hop.tries as usize, pods.len());
            }
        }
        assert_eq!(pods.len() as u64, notes.owed);
        for failure in &notes.failures {
            assert_eq!(failure.hop.as_ref().map(|hop| hop.tries), Some(tries));
            let pods = &mut pods.get_mut(&failure.request_id.unwrap_or(0)).expect("it is told");
            pods.extend(failure.pod.as_deref());
            let others = pods.len().min(3);
            pods[..others].sort_unstable();
            pods.truncate(3);
            pods.dedup();
            assert_eq!(pods.len(), 3.min(tries as usize), "to others first: {pods:?}");
        }
    }
}

#[test]
fn what_fails_is_passed_over_and_tried_again() {
    // The oldest of two pods stands still for a while: two requests meet the proxy's patience.
    let notes = play(
        r#"{"name":"p","seed":1,"target":{"service":{"latency":"5ms"},"deployment":{"replicas":2}},
        "path":{"kind":"l7","proxyWorkers":1,"responseTimeout":"200ms","passiveHealth":
          {"maxFails":2,"failTimeout":"2s"}},
        "traffic":{"phases":[{"hold":"20/s","for":"20s"}]},
        "events":[{"at":"5s","freeze":{"pod":"oldest","for":"3s"}}]}"#,
    );
    let ejected = |(at, kind): &(Timestamp, EventKind)| match kind {
        EventKind::EndpointEjected { consumer: 0, fails, .. } => Some((*at, *fails)),
        _ => None,
    };
    let ejected: Vec<(Timestamp, u32)> = notes.events.iter().filter_map(ejected).collect();
    assert_eq!(ejected.first().map(|(_, fails)| *fails), Some(2));
    let back = |(at, kind): &(Timestamp, EventKind)| {
        matches!(kind, EventKind::EndpointReadmitted { .. }).then_some(*at)
    };
    let back: Vec<Timestamp> = notes.events.iter().filter_map(back).collect();
    assert_eq!(back.len(), 1, "{ejected:?} {back:?}");
    assert!(back[0].since(ejected[0].0) >= Nanos::from_secs(2));
    // Those that were in flight as it was passed over, and the one that tried it in vain.
    let lost = lost(&notes);
    assert!((2..12).contains(&lost), "{lost}: {:?}", notes.outcomes);
    assert_eq!(notes.outcomes.get(&Outcome::Status504), Some(&lost), "{:?}", notes.outcomes);
}

#[test]
fn idle_connections_are_closed_by_whoever_is_first() {
    // The service gives them up after a second of idleness, and its clients learn of it 20 ms later.
    let of = |path: &str| {
        play(&format!(
            r#"{{"name":"i","seed":1,"target":{{"misbehave":["short-idle-timeout"]}},
            "path":{{"kind":"l7","proxyWorkers":1{path}}},
            "traffic":{{"phases":[{{"hold":"90/m","for":"2000s"}}]}}}}"#
        ))
    };
    let served = |notes: &Notes| {
        let hops = notes.failures.iter().filter_map(|failure| failure.hop.as_ref());
        hops.filter_map(|hop| Some(hop.connection.as_ref()?.served)).max()
    };
    let late = of("");
    assert!(lost(&late) > 0, "the race is lost now and then");
    assert!(served(&late) > Some(3));
    let few = of(r#","maxRequestsPerConnection":3"#);
    assert!(lost(&few) > 0 && served(&few) < Some(3), "{:?}", served(&few));
    assert_eq!(lost(&of(r#","idleTimeout":"500ms""#)), 0, "the proxy is first");
    let hides = of(r#","retry":"idempotent""#);
    assert!(lost(&hides) == 0 && !hidden(&hides).is_empty());
}

#[test]
fn the_least_loaded_pod_is_preferred_to_the_next() {
    // One of two pods is cold, and each of its first requests takes 3 s longer.
    let worst = |balancing: &str| {
        let notes = play(&format!(
            r#"{{"name":"b","seed":2,"target":{{"service":{{"latency":"50ms"}},
            "misbehave":["cold-start"],"deployment":{{"replicas":2}}}},
            "path":{{"kind":"l7","proxyWorkers":1,"balancing":"{balancing}"}},
            "traffic":{{"phases":[{{"hold":"40/s","for":"60s"}}],"timeout":"20s"}},
            "events":[{{"at":"20s","kill":{{"pod":"oldest"}}}}]}}"#
        ));
        let slow = notes.latency.iter().filter(|latency| **latency > 1_000_000_000);
        (lost(&notes), slow.count())
    };
    let (_, even) = worst("round-robin");
    let (_, least) = worst("least-request");
    let (_, random) = worst("random");
    assert!(even > 40 && random > 40, "{even} {random}: the first of each of three are cold");
    assert!(least > 0 && least <= even, "{least} {even}");
}
