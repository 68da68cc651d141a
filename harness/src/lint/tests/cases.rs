//! The table of rules: what trips each, and a near twin.

use super::{BASE, Level, Report, args, changed, lint, lint_text, scaled};
use crate::lint::table::{self, RULES};

const SLEEP: &str = "            preStop:\n              sleep: {seconds: 10}\n";
const HOOK: &str = "sleep: {seconds: 10}";
const COMMAND: &str = "command: [/web]";
const READINESS: &str = "          readinessProbe:\n            httpGet: {path: /readyz, port: http}\n            periodSeconds: 2\n";
const STARTUP: &str = "          startupProbe:\n            httpGet: {path: /startz, port: http}\n            periodSeconds: 1\n            failureThreshold: 40\n";
const BUDGET: &str = "kind: PodDisruptionBudget";
const AFFINITY: &str = "      affinity:\n        podAntiAffinity:\n          RULEDuringSchedulingIgnoredDuringExecution:\n";
const CLAIM: &str = "      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n      terminationGracePeriodSeconds: 45";

/// A rule, what trips it, a near twin, and a part of what is said.
type Case = (&'static str, Level, String, String, &'static str);

fn case(
    rule: &'static str,
    level: Level,
    trips: &[(&str, &str)],
    twin: &[(&str, &str)],
    said: &'static str,
) -> Case {
    (rule, level, changed(BASE, trips), changed(BASE, twin), said)
}

fn hpa_case(
    rule: &'static str,
    level: Level,
    trips: &[(&str, &str)],
    twin: &[(&str, &str)],
    said: &'static str,
) -> Case {
    (rule, level, scaled(trips), scaled(twin), said)
}

fn with(more: &str, changes: &[(&str, &str)]) -> String {
    format!("{}---\n{more}", changed(BASE, changes))
}

fn cases() -> Vec<Case> {
    let mut all = endings();
    all.extend(probes());
    all.extend(rollouts());
    all.extend(evictions());
    all.extend(autoscalers());
    all.extend(edges());
    all
}

fn endings() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let exec = |command: &str| format!("exec: {{command: {command}}}");
    let distroless = ("registry.example/web:1", "gcr.io/distroless/cc:nonroot");
    let unready = "readinessProbe:\n            exec: {command: [cat, /tmp/ready]}";
    let readiness = "readinessProbe:\n            httpGet: {path: /readyz, port: http}";
    let gone = exec("[sh, -c, 'rm /tmp/ready && sleep 10']");
    let ingress = |seconds: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  namespace: \
             shop\n  annotations: {{nginx.ingress.kubernetes.io/proxy-read-timeout: \"{seconds}\"}}\n\
             spec:\n  rules:\n  - http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: \
             {{name: web, port: {{number: 80}}}}}}}}]}}\n"
        )
    };
    vec![
        case(
            "no-pre-stop",
            Warning,
            &[(SLEEP, "            postStart: {sleep: {seconds: 1}}\n")],
            &[(HOOK, "httpGet: {path: /drain, port: http}")],
            "no preStop hook",
        ),
        case(
            "pre-stop-eats-grace",
            Error,
            &[(HOOK, "sleep: {seconds: 45}")],
            &[(HOOK, "sleep: {seconds: 40}")],
            "SIGKILL 2 s later",
        ),
        case(
            "pre-stop-eats-grace",
            Warning,
            &[(HOOK, &exec("[sh, -c, sleep 41; kill 1]"))],
            &[(HOOK, &exec("[sh, -c, sleep 39; kill 1]"))],
            "SIGKILL 4 s later",
        ),
        // Of a short grace period it is not the hook that takes it.
        case(
            "pre-stop-eats-grace",
            Warning,
            &[(HOOK, "sleep: {seconds: 5}"), ("Seconds: 45", "Seconds: 8")],
            &[(HOOK, "sleep: {seconds: 3}"), ("Seconds: 45", "Seconds: 7")],
            "SIGKILL 3 s later",
        ),
        case(
            "pre-stop-eats-grace",
            Error,
            &[("Seconds: 45", "Seconds: 0")],
            &[("Seconds: 45", "Seconds: 20")],
            "not run at all",
        ),
        case(
            "pre-stop-needs-program",
            Warning,
            &[(HOOK, &exec("[/bin/sleep, '10']")), distroless],
            &[(HOOK, HOOK), distroless],
            "no shell",
        ),
        case(
            "pre-stop-needs-program",
            Note,
            &[(HOOK, &exec("[sleep, '10']"))],
            &[(HOOK, &exec("[/web, drain]"))],
            "needs `sleep`",
        ),
        case(
            "shell-swallows-signal",
            Warning,
            &[(COMMAND, "command: [sh, -c, /web --port 8080]")],
            &[(COMMAND, "command: [sh, -c, exec /web --port 8080]")],
            "lingers for 45 s",
        ),
        case(
            "shell-swallows-signal",
            Warning,
            &[(COMMAND, "command: [/bin/sh, -ec]\n          args: [\"migrate && /web\"]")],
            &[(COMMAND, "command: [bash, -c, \"migrate && /web\"]")],
            "process 1",
        ),
        case(
            "shell-swallows-signal",
            Warning,
            &[(COMMAND, "command: [sh, -c, \"a; /web\"]")],
            &[(COMMAND, "command: [tini, --, sh, -c, \"a; /web\"]")],
            "process 1",
        ),
        (
            "unready-last-pod",
            Warning,
            changed(BASE, &[(HOOK, &gone), (readiness, unready), ("replicas: 3", "replicas: 1")]),
            changed(BASE, &[(HOOK, &gone), (readiness, unready)]),
            "falls back",
        ),
        (
            "grace-too-short",
            Note,
            with(&ingress("60"), &[]),
            with(&ingress("30"), &[]),
            "more than 35 s to go",
        ),
    ]
}

fn probes() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let readiness = "/readyz, port: http}\n            periodSeconds: 2";
    let late =
        "/readyz, port: http}\n            periodSeconds: 2\n            initialDelaySeconds: 60";
    vec![
        case(
            "no-readiness-probe",
            Warning,
            &[
                (READINESS, ""),
                (STARTUP, ""),
                ("periodSeconds: 10", "periodSeconds: 10\n            initialDelaySeconds: 60"),
            ],
            &[(READINESS, "")],
            "until it listens",
        ),
        case(
            "liveness-is-readiness",
            Warning,
            &[("path: /readyz", "path: /livez"), ("periodSeconds: 2", "periodSeconds: 20")],
            &[("path: /readyz", "path: /livez")],
            "every pod is restarted",
        ),
        case(
            "tight-liveness",
            Warning,
            &[("failureThreshold: 4\n", "failureThreshold: 1\n")],
            &[("failureThreshold: 4\n", "failureThreshold: 2\n")],
            "5 s of slow answers",
        ),
        case(
            "tight-liveness",
            Warning,
            &[("periodSeconds: 2", "periodSeconds: 30")],
            &[("periodSeconds: 2", "periodSeconds: 17")],
            "go on",
        ),
        case(
            "liveness-before-start",
            Error,
            &[(STARTUP, ""), (readiness, late)],
            &[(readiness, late), ("failureThreshold: 40", "failureThreshold: 70")],
            "killed and tried again",
        ),
        case(
            "liveness-before-start",
            Note,
            &[(STARTUP, ""), ("failureThreshold: 4\n", "failureThreshold: 3\n")],
            &[(STARTUP, "")],
            "longer than 25 s",
        ),
        case(
            "no-warm-up",
            Note,
            &[("failureThreshold: 40", "failureThreshold: 90")],
            &[
                ("failureThreshold: 40", "failureThreshold: 90"),
                ("replicas: 3", "replicas: 3\n  minReadySeconds: 10"),
            ],
            "tooth",
        ),
    ]
}

fn rollouts() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let strategy = "  strategy:\n    rollingUpdate:\n      maxSurge: 1\n      maxUnavailable: 0\n";
    let pod = "      terminationGracePeriodSeconds: 45";
    let nodes = |rule: &str, rest: &str| format!("{}{rest}\n{pod}", AFFINITY.replace("RULE", rule));
    let apart = "          - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}";
    let rather = "          - {weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}}";
    let claim = |mode: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: shop}}\nspec: {{accessModes: [{mode}]}}\n"
        )
    };
    let quota = |pods: u32| {
        format!(
            "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: q, namespace: shop}}\nspec: {{hard: {{pods: {pods}}}}}\n"
        )
    };
    let cpu = |cpu: &str| {
        format!(
            "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: q, namespace: shop}}\nspec: {{hard: {{requests.cpu: '{cpu}'}}}}\n"
        )
    };
    let port = "containerPort: 8080";
    vec![
        case(
            "rollout-takes-all",
            Error,
            &[("maxSurge: 1", "maxSurge: 0"), ("maxUnavailable: 0", "maxUnavailable: 3")],
            &[("maxUnavailable: 0", "maxUnavailable: 0%"), ("maxSurge: 1", "maxSurge: 1")],
            "ending all pods",
        ),
        case(
            "rollout-cuts-capacity",
            Warning,
            &[(strategy, ""), ("replicas: 3", "replicas: 4")],
            &[(strategy, "")],
            "the other 3 carry 133.3 %",
        ),
        case(
            "rollout-cuts-capacity",
            Note,
            &[("maxUnavailable: 0", "maxUnavailable: 1"), ("replicas: 3", "replicas: 10")],
            &[("maxUnavailable: 0", "maxUnavailable: 9%"), ("replicas: 3", "replicas: 10")],
            "the other 9 carry 111.1 %",
        ),
        case(
            "all-at-once",
            Warning,
            &[("maxSurge: 1", "maxSurge: 100%")],
            &[("maxSurge: 1", "maxSurge: 66%")],
            "all 3 old pods",
        ),
        case(
            "recreate-while-served",
            Warning,
            &[(strategy, "  strategy: {type: Recreate}\n")],
            &[(strategy, "  strategy: {type: RollingUpdate}\n")],
            "up to 45 s",
        ),
        case(
            "recreate-while-served",
            Note,
            &[(strategy, "  strategy: {type: Recreate}\n"), (pod, CLAIM)],
            &[(pod, CLAIM)],
            "nobody answers",
        ),
        case(
            "surge-cannot-start",
            Warning,
            &[(pod, &nodes("required", apart))],
            &[(pod, &nodes("preferred", rather))],
            "4 nodes",
        ),
        (
            "surge-cannot-start",
            Warning,
            with(&claim("ReadWriteOnce"), &[(pod, CLAIM)]),
            with(&claim("ReadWriteMany"), &[(pod, CLAIM)]),
            "one node at a time",
        ),
        ("surge-cannot-start", Error, with(&quota(3), &[]), with(&quota(4), &[]), "allows 3 pods"),
        (
            "surge-cannot-start",
            Error,
            with(&cpu("1900m"), &[]),
            with(&cpu("2"), &[]),
            "1900m, not 2",
        ),
        case(
            "host-port-clash",
            Warning,
            &[(port, "containerPort: 8080, hostPort: 80")],
            &[(port, "containerPort: 8080, hostPort: 0")],
            "stands still",
        ),
        case(
            "host-port-clash",
            Warning,
            &[(pod, &format!("      hostNetwork: true\n{pod}"))],
            &[(pod, &format!("      hostNetwork: false\n{pod}"))],
            "port 8080",
        ),
    ]
}

fn evictions() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let budget = "maxUnavailable: 1\n  selector";
    let version = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: v2, namespace: shop}\nspec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a}]}}}\n";
    vec![
        case(
            "budget-blocks-drain",
            Error,
            &[(budget, "minAvailable: 3\n  selector")],
            &[(budget, "minAvailable: 2\n  selector")],
            "no eviction ever",
        ),
        case(
            "budget-blocks-drain",
            Error,
            &[(budget, "minAvailable: 67%\n  selector")],
            &[(budget, "minAvailable: 66%\n  selector")],
            "no eviction ever",
        ),
        case(
            "budget-blocks-drain",
            Error,
            &[(budget, "maxUnavailable: 0\n  selector")],
            &[(budget, "maxUnavailable: 1%\n  selector")],
            "no eviction ever",
        ),
        hpa_case(
            "budget-blocks-drain",
            Warning,
            &[(budget, "minAvailable: 3\n  selector")],
            &[(budget, "minAvailable: 60%\n  selector")],
            "the autoscaler's least",
        ),
        case("no-budget", Warning, &[(BUDGET, "kind: Other")], &[(BUDGET, BUDGET)], "evict all 3"),
        case(
            "single-replica",
            Warning,
            &[("replicas: 3", "replicas: 1")],
            &[("replicas: 3", "replicas: 2")],
            "nothing gives it a second",
        ),
        // Two versions side by side behind one Service.
        (
            "single-replica",
            Warning,
            changed(BASE, &[("replicas: 3", "replicas: 1")]),
            with(version, &[("replicas: 3", "replicas: 1")]),
            "40 s more",
        ),
        case(
            "single-replica",
            Note,
            &[("replicas: 3", "replicas: 1"), ("      terminationGracePeriodSeconds: 45", CLAIM)],
            &[("replicas: 3", "replicas: 0")],
            "outage",
        ),
    ]
}

fn autoscalers() -> Vec<Case> {
    use Level::{Error, Note, Warning};
    let request = "requests: {cpu: 500m, memory: 256Mi}";
    let limit = "limits: {memory: 256Mi}";
    let window = "stabilizationWindowSeconds: 300";
    let slowly = "stabilizationWindowSeconds: 0\n      policies: [{type: Pods, value: 1, periodSeconds: 60}]";
    let container = "    - type: ContainerResource\n      containerResource:\n        container: app\n        name: cpu";
    let whole = "    - type: Resource\n      resource:\n        name: cpu";
    let range = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l, namespace: shop}\nspec: {limits: [{type: Container, defaultRequest: {cpu: 100m}}]}\n";
    let bare = scaled(&[(request, "requests: {memory: 256Mi}")]);
    let sidecar = "        - name: sidecar\n          image: proxy:1\n        - name: app";
    vec![
        hpa_case(
            "utilization-without-request",
            Error,
            &[(request, "requests: {memory: 256Mi}")],
            &[(request, "requests: {cpu: 1m}")],
            "FailedGetResourceMetric",
        ),
        (
            "utilization-without-request",
            Error,
            bare.clone(),
            format!("{bare}---\n{range}"),
            "requests none",
        ),
        hpa_case(
            "utilization-without-request",
            Error,
            &[("        - name: app", sidecar)],
            &[("        - name: app", sidecar), (whole, container)],
            "`sidecar` requests none",
        ),
        hpa_case(
            "utilization-without-request",
            Error,
            &[(whole, &container.replace("app", "ap"))],
            &[(whole, container)],
            "container `ap`",
        ),
        hpa_case(
            "limit-hides-load",
            Error,
            &[
                (limit, "limits: {cpu: 550m}"),
                (request, "requests: {cpu: 500m}"),
                ("Utilization: 70", "Utilization: 100"),
                (COMMAND, "args: []"),
            ],
            &[(limit, "limits: {cpu: 1200m}"), ("Utilization: 70", "Utilization: 100")],
            "whatever the load",
        ),
        hpa_case(
            "cpu-limit-throttles",
            Note,
            &[(limit, "limits: {cpu: 900m}")],
            &[(limit, "limits: {cpu: 1}")],
            "90 ms of work",
        ),
        hpa_case(
            "cpu-limit-throttles",
            Warning,
            &[(limit, "limits: {cpu: 100m}"), (request, "requests: {cpu: 50m}")],
            &[(limit, "limits: {cpu: 1000m}")],
            "still for 90 ms",
        ),
        hpa_case(
            "hpa-min-one",
            Warning,
            &[("minReplicas: 3", "minReplicas: 1")],
            &[("minReplicas: 3", "minReplicas: 2")],
            "one pod takes all",
        ),
        hpa_case(
            "no-down-stabilization",
            Warning,
            &[(window, "stabilizationWindowSeconds: 0")],
            &[(window, slowly)],
            "up to 7 pods",
        ),
        (
            "replicas-and-hpa",
            Error,
            format!("{BASE}{}", super::HPA),
            scaled(&[]),
            "ends 7 pods in one moment",
        ),
        case(
            "unknown-rule",
            Warning,
            &[(
                "  name: web\n  namespace: shop\nspec:\n  replicas",
                "  name: web\n  namespace: shop\n  annotations: {highwater.dev/lint-disable: no-pre-stopp}\nspec:\n  replicas",
            )],
            &[(
                "  name: web\n  namespace: shop\nspec:\n  replicas",
                "  name: web\n  namespace: shop\n  annotations: {highwater.dev/lint-disable: no-pre-stop}\nspec:\n  replicas",
            )],
            "did you mean `no-pre-stop`?",
        ),
    ]
}

fn edges() -> Vec<Case> {
    use Level::{Note, Warning};
    let ingress = |kind: &str, space: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  namespace: \
             {space}\n  annotations: {{alb.ingress.kubernetes.io/target-type: {kind}}}\nspec:\n  \
             ingressClassName: alb\n  defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}\n"
        )
    };
    let gate = "  name: shop\n  labels: {elbv2.k8s.aws/pod-readiness-gate-inject: enabled}\n";
    vec![
        (
            "no-readiness-gate",
            Warning,
            with(&ingress("ip", "shop"), &[]),
            with(&ingress("instance", "shop"), &[]),
            "has no label",
        ),
        (
            "no-readiness-gate",
            Warning,
            with(&ingress("ip", "shop"), &[]),
            with(&ingress("ip", "shop"), &[("  name: shop\n", gate)]),
            "30 s",
        ),
        (
            "no-readiness-gate",
            Note,
            with(&ingress("ip", "shop"), &[("kind: Namespace", "kind: Other")]),
            with(&ingress("ip", "other"), &[("kind: Namespace", "kind: Other")]),
            "is among the files",
        ),
    ]
}

fn of<'a>(report: &'a Report, rule: &str) -> Vec<&'a crate::lint::finding::Finding> {
    report.findings.iter().filter(|finding| finding.rule == rule).collect()
}

#[test]
fn nothing_is_found_where_all_is_well() {
    for text in [BASE.to_owned(), scaled(&[])] {
        let report = lint(&text);
        assert_eq!(report.findings, [], "{text}");
        assert!(report.unreadable.is_empty());
    }
}

#[test]
fn each_rule_is_tripped_and_a_near_twin_is_not() {
    for (rule, level, trips, twin, said) in cases() {
        let report = lint(&trips);
        assert!(report.unreadable.is_empty(), "{rule}: {:?}", report.unreadable);
        let found = of(&report, rule);
        assert_eq!(found.len(), 1, "{rule} trips once:\n{trips}\n{report:#?}");
        let finding = found[0];
        assert_eq!(finding.level, level, "{rule}: {finding:?}");
        let all = format!("{} {} {}", finding.message, finding.consequence, finding.fix);
        assert!(all.contains(said), "{rule} says `{said}`: {all}");
        assert!(finding.line > 1 && !finding.path.is_empty(), "{finding:?}");
        let report = lint(&twin);
        assert!(report.unreadable.is_empty(), "{rule}: {:?}", report.unreadable);
        assert_eq!(of(&report, rule), Vec::<&_>::new(), "the twin of {rule}:\n{twin}");
    }
}

#[test]
fn every_rule_is_in_the_table_of_cases() {
    let cases = cases();
    for rule in RULES {
        assert!(cases.iter().any(|(name, ..)| *name == rule.name), "{}", rule.name);
        assert_eq!(table::rule(rule.name).map(|found| found.name), Some(rule.name));
    }
}

#[test]
fn every_rule_can_be_switched_off_by_name_and_by_annotation() {
    for (rule, _, trips, ..) in cases() {
        let mut off = args();
        off.disable = vec![rule.into()];
        let report = lint_text(&trips, &off).expect("a rule");
        assert_eq!(of(&report, rule), Vec::<&_>::new(), "--disable {rule}");
        let mut only = args();
        only.only = vec![rule.into()];
        let report = lint_text(&trips, &only).expect("a rule");
        assert_eq!(report.findings.len(), 1, "--only {rule}");
        if rule == "unknown-rule" {
            continue;
        }
        // Of the Deployment, whatever object the finding is about.
        let annotation = format!("  annotations: {{highwater.dev/lint-disable: '{rule}, all'}}\n");
        let place = "kind: Deployment\nmetadata:\n";
        let annotated = changed(&trips, &[(place, &format!("{place}{annotation}"))]);
        let report = lint(&annotated);
        assert_eq!(of(&report, rule), Vec::<&_>::new(), "{annotated}");
        assert!(report.suppressed > 0);
    }
    let mut wrong = args();
    wrong.disable = vec!["no-prestop".into()];
    let error = lint_text(BASE, &wrong).expect_err("no such rule").to_string();
    assert!(error.contains("did you mean `no-pre-stop`?"), "{error}");
}

#[test]
fn what_is_known_makes_numbers() {
    let mut known = args();
    known.propagation = Some("15s".parse().expect("a span"));
    known.rate = Some("300/s".parse().expect("a rate"));
    known.slowest = Some("40s".parse().expect("a span"));
    let report = lint_text(BASE, &known).expect("no rule is named");
    let race = of(&report, "no-pre-stop")[0];
    // 300/s over 3 pods, for the 5 s that the hook of 10 s is too short.
    assert_eq!(race.figures["lost_requests_per_pod"], 500.0);
    assert_eq!(race.figures["lost_requests_per_rollout"], 1_500.0);
    assert!(race.patch.as_deref().is_some_and(|patch| patch.contains("seconds: 16")), "{race:?}");
    let cut = of(&report, "grace-too-short")[0];
    assert_eq!((cut.figures["drain_s"], cut.figures["slowest_s"]), (35.0, 40.0));
    assert_eq!(cut.level, Level::Warning);
}
