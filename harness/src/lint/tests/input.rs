//! Documents of all kinds, bad ones and hostile ones.

use super::{BASE, HPA, Level, args, changed, lint, lint_text, scaled};

#[test]
fn relations_hold_across_documents_lists_versions_and_json() {
    let request = ("requests: {cpu: 500m, memory: 256Mi}", "requests: {memory: 256Mi}");
    let bare = scaled(&[request]);
    let old = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: Deployment, name: web}\n  minReplicas: 2\n  maxReplicas: 9\n";
    let beta = "apiVersion: autoscaling/v2beta1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {kind: Deployment, name: web}\n  minReplicas: 2\n  maxReplicas: 9\n  metrics: [{type: Resource, resource: {name: cpu, targetAverageUtilization: 50}}]\n";
    let base = changed(BASE, &[request, ("  replicas: 3\n", "")]);
    let indented = bare.replace("---\n", "").replace('\n', "\n    ");
    let items = indented.replace("    apiVersion", "  - apiVersion");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  - {items}");
    for (what, text) in [
        ("documents", bare.clone()),
        ("a list", list),
        ("v1 without namespace", format!("{base}---\n{old}")),
        ("v2beta1", format!("{base}---\n{beta}")),
    ] {
        let report = lint(&text);
        assert!(report.unreadable.is_empty(), "{what}: {:?}\n{text}", report.unreadable);
        let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules, ["utilization-without-request"], "{what}:\n{text}");
    }
    let other = HPA.replace("namespace: shop", "namespace: other");
    let report = lint(&format!("{base}{other}"));
    assert!(report.findings.iter().all(|finding| finding.rule != "utilization-without-request"));
}

#[test]
fn other_kinds_are_passed_over_whatever_is_in_them() {
    let more = "---\n---\napiVersion: example.com/v1\nkind: Deployment\nspec: {replicas: many}\n---\nkind: ConfigMap\napiVersion: v1\ndata: &d {a: b}\nmore: *d\n---\nvalues: {no: kind}\n";
    let report = lint(&format!("{BASE}{more}"));
    assert_eq!((report.passed_over, report.findings.len()), (3, 0), "{report:?}");
    assert!(report.unreadable.is_empty(), "{report:?}");
}

#[test]
fn keys_without_a_value_are_none_and_ports_aside_serve_nobody() {
    let nulls = changed(
        BASE,
        &[
            ("requests: {cpu: 500m,", "requests: {cpu: ~,"),
            ("replicas: 3", "replicas:\n  paused: null"),
        ],
    );
    let report = lint(&nulls);
    assert!(report.unreadable.is_empty(), "{report:?}");
    let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, ["single-replica"]);
    // Without any Service, a port makes a Deployment a served one, but not any port.
    let deployment = |port: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{containers: [{{name: a, ports: [{port}]}}]}}}}}}\n"
        )
    };
    for (port, is_served) in [
        ("{containerPort: 80}", true),
        ("{name: http-metrics, containerPort: 80}", false),
        ("{containerPort: 53, protocol: UDP}", false),
        ("{containerPort: 53, protocol: UDP}, {name: dns, containerPort: 53}", true),
    ] {
        let report = lint(&deployment(port));
        assert_eq!(!report.findings.is_empty(), is_served, "{port}: {report:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_file_document_and_line_and_the_rest_is_looked_at() {
    for (change, expected) in [
        (("replicas: 3", "replicas: three"), "stdin:12:"),
        (("periodSeconds: 2", "periodSeconds: {}"), "(document 2)"),
        (
            ("containerPort: 8080", "containerPort: http"),
            "spec.template.spec.containers[0].ports[0].containerPort",
        ),
    ] {
        let bad = changed(BASE, &[change]);
        let report = lint(&format!(
            "{bad}---\n{}",
            BASE.replace("sleep: {seconds: 10}", "sleep: {seconds: 45}")
        ));
        assert_eq!(report.unreadable.len(), 1);
        assert!(report.unreadable[0].contains(expected), "{expected}: {:?}", report.unreadable);
        assert!(report.findings.iter().any(|finding| finding.rule == "pre-stop-eats-grace"));
    }
}

#[test]
fn hostile_input_is_refused_with_a_word() {
    let (deep, deeper) = (format!("a: {}", "[".repeat(200)), "[".repeat(50_000));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    for (text, expected) in [
        (deep.as_str(), "nested more than 128"),
        (deeper.as_str(), "recursion limit"),
        (bomb.as_str(), "more than 1000000 values"),
        ("{{- if .Values.x }}\na: 1\n{{- end }}\n", "helm template"),
        ("- a\n", "document 1 is no object"),
        ("just text", "document 1 is no object"),
        ("kind: Deployment\nkind: Deployment\n", "stands twice"),
        ("a: 1\n---\na: [\n", "(document 2)"),
        ("name: x\ntraffic: {phases: []}\n", "stdin"),
    ] {
        let report = lint(text);
        assert_eq!(report.unreadable.len(), 1, "{expected}");
        let told = &report.unreadable[0];
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn numbers_at_the_ends_of_their_types_are_no_trouble() {
    for value in ["0", "4294967295", "-1", "2147483647", "9223372036854775807", "1e9", "''", "null"]
    {
        for key in [
            "replicas: 3",
            "maxSurge: 1",
            "seconds: 10",
            "Seconds: 45",
            "periodSeconds: 2",
            "periodSeconds: 10",
            "timeoutSeconds: 5",
            "failureThreshold: 40",
            "minReplicas: 3",
            "maxReplicas: 10",
            "averageUtilization: 70",
            "stabilizationWindowSeconds: 300",
            "containerPort: 8080",
            "cpu: 500m",
        ] {
            let (name, _) = key.split_once(": ").expect("a key");
            let all = format!("{BASE}{HPA}");
            let text = all.replacen(key, &format!("{name}: {value}"), 1);
            let report = lint(&text);
            let _ = crate::lint::text::render(&report);
        }
    }
}

#[test]
fn scenarios_are_looked_at_as_what_they_describe() {
    let scenario = "name: mine\ntarget:\n  deployment:\n    replicas: 4\n    template:\n      terminationGracePeriodSeconds: 10\n      lifecycle: {preStop: {sleep: {seconds: 10}}}\n      readinessProbe: {httpGet: {path: /readyz}}\n      resources: {requests: {cpu: 100m}}\nautoscaler: {maxReplicas: 8}\ntraffic: {phases: [{hold: 10/s, for: 10s}]}\n";
    let report = lint(scenario);
    assert!(report.unreadable.is_empty(), "{:?}", report.unreadable);
    let found: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.level > Level::Note)
        .map(|finding| (finding.rule.as_str(), finding.path.as_str(), finding.line))
        .collect();
    assert_eq!(
        found,
        [
            ("rollout-cuts-capacity", "target.deployment.strategy.rollingUpdate.maxUnavailable", 4),
            (
                "pre-stop-eats-grace",
                "target.deployment.template.lifecycle.preStop.sleep.seconds",
                7
            ),
            ("hpa-min-one", "autoscaler.minReplicas", 10),
        ]
    );
    let patch = report.findings.iter().find_map(|finding| finding.patch.as_deref());
    assert_eq!(
        patch,
        Some(
            "target:\n  deployment:\n    strategy:\n      rollingUpdate:\n        maxUnavailable: 0\n"
        )
    );
}

#[test]
fn bundled_scenarios_have_no_error_but_the_wrong_ones() {
    for (name, text) in crate::scenario::BUNDLED {
        let mut strict = args();
        strict.level = Level::Error;
        let report = lint_text(text, &strict).expect("no rule is named");
        let rules: Vec<_> = report.findings.iter().map(|finding| &finding.rule).collect();
        assert!(report.unreadable.is_empty(), "{name}: {:?}", report.unreadable);
        assert!(name.ends_with("-wrong") || rules.is_empty(), "{name}: {rules:?}");
    }
}
