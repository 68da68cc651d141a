//! Each purpose has a stream of its own: what is said of one thing does not move the chance of
//! another.

use super::*;

const SCENARIO: &str = r#"{"name":"s","seed":9,
    "target":{"service":{"cpu":"1ms","latency":{"lognormal":{"median":"8ms","p99":"40ms"}},
      "startup":"300ms"},"deployment":{"replicas":3,"template":{TEMPLATE
      "readinessProbe":{"httpGet":{"path":"/readyz"},"periodSeconds":1}}}},
    "path":{"kind":"l7","balancing":"random"PATH},MORE
    "traffic":{"phases":[{"hold":"60/s","for":"20s"}],
      "requests":[{"get":"/work","weight":4},{"post":"/work","weight":1}]},
    "events":[{"at":"5s","kill":{"pod":"oldest"}}]}"#;

fn with(template: &str, path: &str, more: &str) -> Notes {
    play(&SCENARIO.replace("TEMPLATE", template).replace("PATH", path).replace("MORE", more))
}

#[test]
fn what_is_added_moves_neither_arrivals_nor_what_it_has_nothing_to_do_with() {
    let plain = with("", "", "");
    let liveness = r#""livenessProbe":{"httpGet":{"path":"/livez"},"periodSeconds":2},"#;
    let startup = r#""startupProbe":{"httpGet":{"path":"/startupz"},"periodSeconds":1},"#;
    let scaler = r#""autoscaler":{"minReplicas":3,"maxReplicas":3,"metrics":[{"type":"Resource",
        "resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"1"}}}]},"#;
    // What is added, and whether every request goes on as before.
    let rows = [
        ((liveness, "", ""), true),
        ((r#""terminationGracePeriodSeconds":7,"#, "", ""), true),
        ((r#""resources":{"requests":{"cpu":"100m"}},"#, "", ""), true),
        ((r#""lifecycle":{"preStop":{"sleep":{"seconds":1}}},"#, "", ""), true),
        (("", "", scaler), true),
        (("", "", r#""nodes":{"count":3},"#), true),
        ((startup, "", ""), false),
        (("", r#","retry":"idempotent""#, ""), false),
        (("", r#","propagation":"1s""#, ""), false),
    ];
    for ((template, path, more), is_as_before) in rows {
        let why = format!("{template}{path}{more}");
        let notes = with(template, path, more);
        assert_eq!(notes.arrivals, plain.arrivals, "{why}");
        if is_as_before {
            assert_eq!(notes.latency, plain.latency, "{why}");
            assert_eq!(notes.outcomes, plain.outcomes, "{why}");
        }
    }
    assert_eq!(plain.arrivals.len() as u64, plain.owed);
}
