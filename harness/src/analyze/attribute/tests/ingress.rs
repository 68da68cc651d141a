//! Through an ingress of the user's, which says nothing of what it met but 502, 503 and 504.

use super::{cluster::*, *};

fn calm() -> Cluster {
    Cluster::default()
        .pod("a", 1, 0.0, 0.0)
        .pod("b", 1, 0.0, 0.0)
        .endpoints(0.0, "a b")
        .through(Way::Ingress)
}

fn going() -> Cluster {
    calm().ends("a", 100.0, 0.1, 0).endpoints(100.02, "a! b").endpoints(101.0, "b")
}

#[test]
fn its_own_answers_are_joined_to_the_pods_that_can_have_been_behind_them() {
    use Outcome as O;
    let none = || calm().endpoints(100.0, "a? b?").endpoints(110.0, "c");
    let crashed = || calm().exited("a", 100.0, 139);
    let rows: [(&str, Cluster, Failure, Cause, &str); 21] = [
        ("502 as one goes", going(), new(O::Status502, 100.3), Cause::TerminationRace, "a"),
        (
            "502 by a worker that is late",
            going(),
            new(O::Status502, 104.3),
            Cause::TerminationRace,
            "a",
        ),
        (
            "502 by a load balancer that is very late",
            going(),
            new(O::Status502, 150.0),
            Cause::TerminationRace,
            "a",
        ),
        ("502 later than any", going(), new(O::Status502, 175.0), Cause::Unexplained, ""),
        ("502 on a crash", crashed(), new(O::Status502, 100.2), Cause::Crash, "a"),
        ("502, and nobody comes or goes", calm(), new(O::Status502, 50.0), Cause::Unexplained, ""),
        (
            "502 on the client's own kept connection",
            going(),
            reused(O::Status502, 5.0, 100.3, 1.0),
            Cause::TerminationRace,
            "a",
        ),
        ("504 after one went", going(), slow(O::Status504, 101.5), Cause::TerminationRace, "a"),
        ("504, and nobody goes", calm(), slow(O::Status504, 50.0), Cause::Overload, ""),
        ("silence", calm(), slow(O::Timeout, 50.0), Cause::Overload, ""),
        ("silence after one went", going(), slow(O::Timeout, 101.5), Cause::TerminationRace, "a"),
        ("503 without endpoints", none(), new(O::Status503, 105.0), Cause::NoReadyEndpoint, ""),
        (
            "503 by one that does not know of the new endpoint",
            none(),
            new(O::Status503, 111.0),
            Cause::NoReadyEndpoint,
            "",
        ),
        (
            "503 by one that does not choose the last one while it drains",
            calm().ends("a", 100.0, 9.0, 0).endpoints(100.1, "a!"),
            new(O::Status503, 101.0),
            Cause::NoReadyEndpoint,
            "",
        ),
        ("503 as one goes (Envoy)", going(), new(O::Status503, 100.3), Cause::TerminationRace, "a"),
        ("503, and nobody comes or goes", calm(), new(O::Status503, 50.0), Cause::Unexplained, ""),
        (
            "503 of the pod's own",
            going(),
            of("a", new(O::Status503, 100.3)),
            Cause::RefusedByApp,
            "a",
        ),
        ("500", calm(), new(O::StatusOther, 50.0), Cause::RefusedByApp, ""),
        (
            "an answer cut off",
            going(),
            reused(O::Truncated, 5.0, 100.0, 60.0),
            Cause::AbruptExit,
            "a",
        ),
        (
            "refused by the ingress itself",
            going(),
            new(O::ConnectRefused, 100.3),
            Cause::Unexplained,
            "",
        ),
        ("broken by the ingress", going(), new(O::ResetNew, 100.3), Cause::Unexplained, ""),
    ];
    for (what, cluster, failure, cause, pods) in rows {
        let (found, named, _) = cluster.judge(&[failure]).remove(0);
        assert_eq!((found, &*named.join(" ")), (cause, pods), "{what}");
    }
}

#[test]
fn how_an_attempt_finds_its_pod_is_the_paths_and_not_a_guess() {
    use crate::record::{BackendKind, Header};
    let header = |backend, path: &str| {
        let text = format!(r#"{{"name": "a", "path": {path}, "traffic": {{"phases": []}}}}"#);
        let scenario = serde_json::from_str(&text).expect("a scenario");
        let schema = crate::record::SCHEMA.into();
        Header { schema, backend, seed: 1, scenario, phases: Vec::new() }
    };
    let l7 = r#"{"kind": "l7"}"#;
    let url = r#"{"kind": "l7", "url": "http://10.0.0.1:80"}"#;
    for (backend, path, way) in [
        (BackendKind::Local, "{}", Way::Direct),
        (BackendKind::Sim, "{}", Way::Direct),
        (BackendKind::Local, l7, Way::Proxy),
        (BackendKind::Kube, "{}", Way::Service),
        (BackendKind::Kube, l7, Way::Proxy),
        (BackendKind::Kube, url, Way::Ingress),
    ] {
        assert_eq!(Way::of(&header(backend, path)), way, "{backend:?} {path}");
    }
    // The same refusal: no endpoint, a dead proxy, or a set to be inferred.
    let refused = [new(Outcome::ConnectRefused, 100.3)];
    for (way, cause) in [
        (Way::Direct, Cause::NoReadyEndpoint),
        (Way::Proxy, Cause::Unexplained),
        (Way::Service, Cause::TerminationRace),
        (Way::Ingress, Cause::Unexplained),
    ] {
        assert_eq!(going().through(way).judge(&refused)[0].0, cause, "{way:?}");
    }
}
