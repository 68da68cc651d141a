//! What cannot be explained, and what is said of it.

use proptest::prelude::*;

use super::{example, explained};

/// A text with something replaced in the example `tolerance`, and a part of what is said.
const ROWS: [(&str, &str, &str); 33] = [
    (
        "maxReplicas: 20",
        "maxReplica: 20",
        "test.yaml:10:3: unknown key `maxReplica` in spec; did you mean `maxReplicas`?",
    ),
    ("maxReplicas: 20", "maxReplicas: many", "spec.maxReplicas: expected a whole number"),
    ("maxReplicas: 20", "maxReplicas: 99999999999", "must be a whole number between"),
    ("maxReplicas: 20", "maxReplicas: -1", "must be a whole number between"),
    ("maxReplicas: 20", "maxReplicas: 1", "spec.minReplicas: must not be above maxReplicas"),
    ("minReplicas: 2", "minReplicas: 0", "may be 0 only with an Object or External metric"),
    (
        "type: Resource",
        "type: Resources",
        "`Resources` is not known here; did you mean `Resource`?",
    ),
    ("type: Resource", "type: Pods", "needs exactly the block that `type` names"),
    ("averageUtilization: 50", "averageUtilization: 0", "must be above zero"),
    (
        "type: Utilization, averageUtilization: 50",
        "type: AverageValue, averageValue: 10q",
        "no quantity",
    ),
    (
        "type: Utilization, averageUtilization: 50",
        "type: Value, averageUtilization: 50",
        "needs exactly the value",
    ),
    ("apiVersion: autoscaling/v2\n", "apiVersion: autoscaling/v2beta2\n", "hpa.v2.autoscaling"),
    ("apiVersion: autoscaling/v2\n", "", "apiVersion `` is not read"),
    (
        "kind: HorizontalPodAutoscaler",
        "kind: Deployment",
        "no HorizontalPodAutoscaler in test.yaml",
    ),
    ("spec:\n", "spec: []\nspecs:\n", "spec: expected a mapping, found a list"),
    ("spec:\n", "specs:\n", "key `spec` is missing"),
    (
        "  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n",
        "",
        "key `kind` is missing in spec.scaleTargetRef",
    ),
    (
        "  minReplicas: 2",
        "  behavior: {scaleUp: {policies: [{type: Pods, value: 0, periodSeconds: 15}]}}\n  minReplicas: 2",
        "must be above zero",
    ),
    (
        "  minReplicas: 2",
        "  behavior: {scaleUp: {stabilizationWindowSeconds: 9999}}\n  minReplicas: 2",
        "must lie between 0 and 3600",
    ),
    ("states:\n", "states: []\nstats:\n", "unknown key `stats`"),
    ("- replicas: 4\n", "- replica: 4\n", "unknown key `replica` in states[0]"),
    ("- replicas: 4\n", "- statusReplicas: 4\n", "how many replicas are there?"),
    ("- replicas: 4\n", "- at: soon\n  replicas: 4\n", "states[0].at: expected a time"),
    ("count: 4", "count: 4000000000", "more than 2000 pods"),
    ("cpu: 55m", "cpu: fast", "no quantity"),
    ("usage: {cpu: 55m}", "age: -5s", "age"),
    (
        "- replicas: 4\n",
        "- replicas: 4\n- at: 10m\n- at: 5m\n- at: 11m\n",
        "must be later than the state before",
    ),
    (
        "- replicas: 4\n",
        "- replicas: 4\n- at: 2026-01-01T00:00:00Z\n",
        "all times are spans, or all are dates",
    ),
    ("- replicas: 4\n", "- replicas: 4\n- replicas: 5\n", "states[1]: has no `at`"),
    ("states:\n", "until: 100000h\nstates:\n", "are more than are explained"),
    ("states:\n", "until: 2026-01-01T00:00:00Z\nstates:\n", "a time like those of the states"),
    ("states:\n", "a: &a 1\nstates:\n", "anchors and aliases"),
    ("---\n", "---\n- 1\n---\n", "expected an object"),
];

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    let mut missed = Vec::new();
    for (place, wrong, said) in ROWS {
        let text = example("tolerance");
        assert!(text.contains(place), "{place}");
        match explained(&text.replacen(place, wrong, 1), &[]) {
            Ok(_) => missed.push(format!("{wrong}: explained")),
            Err(error) if error.to_string().contains(said) => {}
            Err(error) => missed.push(format!("{wrong}: {error}")),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let (tolerance, cluster) = (example("tolerance"), example("cluster"));
    let both = format!("{tolerance}---\n{}", cluster.split_once("---\n").expect("two").1);
    let twice = format!("{tolerance}---\n{}", tolerance.replace("name: web\n", "name: api\n"));
    let states = format!("{tolerance}---\nstates: [{{replicas: 1}}]\n");
    let v1 = tolerance.replace("autoscaling/v2", "autoscaling/v1").replace(
        "  name: web\n",
        "  name: web\n  annotations: {autoscaling.alpha.kubernetes.io/metrics: '[]'}\n",
    );
    let pod = "\n---\n{kind: Pod, apiVersion: v1, metadata: {name: a, namespace: shop, labels: {app: web}}}\n";
    let double = format!("{cluster}{pod}{pod}");
    let rows: [(&str, &[&str], &str); 12] = [
        (&both, &[], "`states` stand beside pods or metrics"),
        (&twice, &[], "2 HorizontalPodAutoscalers: say which with --hpa: shop/web, shop/api"),
        (&twice, &["--hpa", "x"], "there is none of that name"),
        (&states, &[], "join them in one list"),
        (&v1, &[], "hides a part of this autoscaler"),
        (&double, &[], "pod `a` is given twice"),
        (&tolerance, &["--now", "2026-01-01T00:00:00Z"], "--now goes with objects"),
        (&cluster, &["--now", "5m"], "--now is a time such as"),
        (&tolerance, &["--sync-period", "1ns"], "--sync-period"),
        (&tolerance, &["--tolerance", "NaN"], "--tolerance"),
        (&tolerance, &["--feature-gate", "HPAScaleToZero=maybe"], "--feature-gate"),
        ("", &[], "no HorizontalPodAutoscaler"),
    ];
    for (text, line, said) in rows {
        let error = explained(text, line).expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(
        explained(&twice.replacen("\nstates:", "\nothers:", 1), &["--hpa", "shop/api"]).is_ok()
    );
}

#[test]
fn text_of_a_file_cannot_deceive_a_terminal() {
    let text = example("failing")
        .replace("name: web, count: 4", "name: \"a\\u001b[31m\\u202e\\nb\"")
        .replace("the server is currently", "\"\\u001b]0;x\\u0007\\nConditions: the server is");
    let text = text.replace("handle the request}", "handle\"}");
    let told = explained(&text, &[]).expect("explained");
    let shown = super::super::text::render(&told);
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown}");
    assert!(!shown.contains("\nConditions: the server"), "{shown}");
}

#[test]
fn extreme_numbers_are_told_and_nothing_breaks() {
    for (place, wrong) in [
        ("cpu: 55m", "cpu: 9e15"),
        ("cpu: 55m", "cpu: -9e15"),
        ("cpu: 100m", "cpu: 0"),
        ("cpu: 100m", "cpu: -1"),
        ("cpu: 100m", "cpu: 9e15"),
        ("replicas: 4", "replicas: 4294967295"),
        ("replicas: 4", "replicas: 2147483648"),
        ("replicas: 4", "replicas: 0"),
        ("count: 4", "count: 0"),
        ("averageUtilization: 50", "averageUtilization: 4294967295"),
        ("count: 4", "age: 5124095h, window: 5124095h"),
    ] {
        let told = explained(&example("tolerance").replacen(place, wrong, 1), &[]);
        let told = told.unwrap_or_else(|error| panic!("{wrong}: {error}"));
        assert!(!super::super::text::render(&told).is_empty());
        assert!(serde_json::to_string(&told).is_ok(), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut out or put in, it is explained or refused.
    #[test]
    fn damaged_files_are_explained_or_refused(
        from in 0_usize..2_000, length in 0_usize..80, put in "[-a-z0-9:{}\\[\\] \n\"&*!|>#%]{0,12}",
        of_cluster: bool,
    ) {
        let text = example(if of_cluster { "cluster" } else { "failing" });
        let letters: Vec<char> = text.chars().collect();
        let from = from.min(letters.len());
        let to = (from + length).min(letters.len());
        let head: String = letters[..from].iter().collect();
        let tail: String = letters[to..].iter().collect();
        if let Ok(told) = explained(&format!("{head}{put}{tail}"), &[]) {
            prop_assert!(!super::super::text::render(&told).is_empty());
        }
    }
}
