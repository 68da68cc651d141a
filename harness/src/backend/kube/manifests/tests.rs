use super::*;
use crate::scenario;

fn scenario(sets: &[&str]) -> Scenario {
    let overrides = scenario::Overrides {
        sets: sets.iter().map(|set| (*set).to_string()).collect(),
        seed: Some(7),
    };
    scenario::load("rolling-update", &overrides).expect("a bundled scenario").scenario
}

fn making(scenario: &Scenario) -> Making<'_> {
    Making { scenario, namespace: "highwater", run: "ab12", image: "example.test/highwater:1" }
}

fn container(deployment: &Deployment) -> Value {
    let value = serde_json::to_value(deployment).expect("prints");
    value["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn the_blocks_of_the_scenario_are_those_of_the_deployment() {
    let scenario = scenario(&[
        "target.deployment.template.lifecycle={preStop: {sleep: {seconds: 5}}}",
        "target.deployment.template.resources={requests: {cpu: 100m, memory: 64Mi}}",
    ]);
    let deployment = making(&scenario).deployment();
    let value = serde_json::to_value(&deployment).expect("prints");
    let spec = &value["spec"];
    assert_eq!(spec["replicas"], 3);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    );
    assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 30);
    assert_eq!(spec["template"]["spec"]["automountServiceAccountToken"], false);
    let container = container(&deployment);
    assert_eq!(container["lifecycle"], json!({"preStop": {"sleep": {"seconds": 5}}}));
    assert_eq!(container["resources"], json!({"requests": {"cpu": "100m", "memory": "64Mi"}}));
    assert_eq!(
        container["readinessProbe"]["httpGet"],
        json!({"path": "/readyz", "port": "health"}),
        "a probe without a port goes to the health port"
    );
    assert_eq!(container["livenessProbe"]["failureThreshold"], 6);
    let labels = &spec["template"]["metadata"]["labels"];
    assert_eq!(labels, &spec["selector"]["matchLabels"]);
    assert_eq!(labels[names::RUN], "ab12");
}

#[test]
fn a_stop_signal_comes_with_the_system_that_the_api_server_asks_for() {
    let pod = |sets: &[&str]| {
        let value = serde_json::to_value(making(&scenario(sets)).deployment()).expect("prints");
        value["spec"]["template"]["spec"].clone()
    };
    let with = pod(&["target.deployment.template.lifecycle={stopSignal: SIGQUIT}"]);
    assert_eq!(with["containers"][0]["lifecycle"], json!({"stopSignal": "SIGQUIT"}));
    assert_eq!(with["os"], json!({"name": "linux"}));
    assert_eq!(pod(&[])["os"], Value::Null);
}

#[test]
fn only_a_self_scaling_target_gets_a_token_and_only_for_its_own_scale() {
    let clean = scenario(&[]);
    assert_eq!(making(&clean).self_scaling(), None);
    let wrong = scenario(&["target.misbehave=[self-scaling]"]);
    let (account, role, _) = making(&wrong).self_scaling().expect("has the right");
    let rules = role.rules.expect("has rules");
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].resources, Some(vec!["deployments/scale".to_string()]));
    assert_eq!(rules[0].resource_names, Some(vec!["rolling-update".to_string()]));
    let pod = making(&wrong).deployment().spec.and_then(|spec| spec.template.spec).expect("a pod");
    assert_eq!(pod.service_account_name, account.metadata.name);
}

#[test]
fn a_scenario_that_kills_has_an_init_as_process_one() {
    let kills = scenario(&["events=[{at: 5s, kill: {}}]"]);
    assert_eq!(
        making(&kills).target_args(&[])[..4],
        ["init", "--", "/highwater", "target-service"]
    );
    assert_eq!(making(&scenario(&[])).target_args(&[])[0], "target-service");
}

#[test]
fn the_autoscaler_is_the_scenarios_and_aims_at_the_target() {
    let scenario = scenario(&[
        "target.deployment.template.resources={requests: {cpu: 100m}}",
        "autoscaler={minReplicas: 2, maxReplicas: 9, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}], behavior: {scaleDown: {stabilizationWindowSeconds: 30}}}",
    ]);
    let autoscaler = serde_json::to_value(making(&scenario).autoscaler()).expect("prints");
    assert_eq!(
        autoscaler["spec"],
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rolling-update"},
            "minReplicas": 2,
            "maxReplicas": 9,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
        })
    );
}

#[test]
fn generators_are_an_indexed_job_that_is_run_once_and_ends_by_itself() {
    let scenario = scenario(&[]);
    let job = making(&scenario).generators(3, 600);
    let spec = job.spec.expect("has a spec");
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!(
        (spec.completions, spec.parallelism, spec.backoff_limit_per_index),
        (Some(3), Some(3), Some(0))
    );
    // A limit of the whole Job, or of its failed indexes, would end the others with the first.
    assert_eq!((spec.backoff_limit, spec.max_failed_indexes), (None, None));
    assert_eq!(spec.active_deadline_seconds, Some(600));
}

#[test]
fn every_pod_meets_the_restricted_standard() {
    let scenario = scenario(&[]);
    let making = making(&scenario);
    let job = serde_json::to_value(making.generators(1, 60)).expect("prints");
    let deployments = [making.deployment(), making.proxy()];
    let values = deployments.iter().map(|d| serde_json::to_value(d).expect("prints"));
    for value in values.chain([job]) {
        let pod = &value["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(security["readOnlyRootFilesystem"], true);
        }
    }
}

#[test]
fn an_image_that_no_registry_can_have_is_not_asked_for() {
    for (image, policy) in [
        ("highwater.test/highwater:1", "Never"),
        ("registry.test:5000/highwater:1", "Never"),
        ("ghcr.io/x/highwater:1", "IfNotPresent"),
        ("localhost:5000/highwater.test/x:1", "IfNotPresent"),
        ("highwater:1", "IfNotPresent"),
    ] {
        assert_eq!(pull_policy(image), policy, "{image}");
    }
}
