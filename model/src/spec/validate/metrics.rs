//! The pipeline of metrics, and the settings of the autoscaler's controller.

use alloc::{collections::BTreeSet, format};

use super::{NAME_CHARS_MAX, Problems};
use crate::{
    spec::{MetricsPipeline, Scenario},
    time::Nanos,
};

/// The shortest time between two looks of any part: below it a run would be busy looking.
const INTERVAL_MIN: Nanos = Nanos::from_millis(100);
/// The longest.
const INTERVAL_MAX: Nanos = Nanos::from_secs(3600);
/// The longest path of a page of metrics.
const PATH_CHARS_MAX: usize = 300;

pub(super) fn check(found: &mut Problems, scenario: &Scenario) {
    check_pipeline(found, &scenario.metrics_pipeline);
    let manager = &scenario.controller_manager;
    check_interval(
        found,
        "controllerManager.horizontalPodAutoscalerSyncPeriod",
        manager.horizontal_pod_autoscaler_sync_period,
    );
    for (key, span) in [
        (
            "DownscaleStabilizationWindow",
            manager.horizontal_pod_autoscaler_downscale_stabilization_window,
        ),
        ("CPUInitializationPeriod", manager.horizontal_pod_autoscaler_cpu_initialization_period),
        ("InitialReadinessDelay", manager.horizontal_pod_autoscaler_initial_readiness_delay),
    ] {
        found.check_span(format!("controllerManager.horizontalPodAutoscaler{key}"), span);
    }
    if manager.horizontal_pod_autoscaler_tolerance.milli() < 0 {
        found.add(
            "controllerManager.horizontalPodAutoscalerTolerance",
            "must not be negative; it is a share, such as 0.1",
        );
    }
}

fn check_pipeline(found: &mut Problems, pipeline: &MetricsPipeline) {
    let path = "metricsPipeline";
    let kubelet = &pipeline.kubelet_interval;
    if let Some(problem) = kubelet.problem() {
        found.add(format!("{path}.kubeletInterval"), problem);
    } else {
        check_interval(found, &format!("{path}.kubeletInterval"), kubelet.quantile(1e-6));
    }
    let resolution = pipeline.metric_resolution;
    check_interval(found, &format!("{path}.metricResolution"), resolution);
    let prometheus = &pipeline.prometheus;
    let path = "metricsPipeline.prometheus";
    check_interval(found, &format!("{path}.scrapeInterval"), prometheus.scrape_interval);
    check_interval(found, &format!("{path}.window"), prometheus.window);
    if prometheus.window < prometheus.scrape_interval + prometheus.scrape_interval {
        found.add(
            format!("{path}.window"),
            "must be twice scrapeInterval at least: a rate needs two points in it",
        );
    }
    found.check_span(format!("{path}.cache"), prometheus.cache);
    let page = &prometheus.path;
    if !page.starts_with('/') || !page.bytes().all(|byte| byte.is_ascii_graphic()) {
        found.add(format!("{path}.path"), "must begin with `/` and have no spaces");
    } else if page.len() > PATH_CHARS_MAX {
        found.add(format!("{path}.path"), format!("is longer than {PATH_CHARS_MAX} characters"));
    }
    check_rules(found, pipeline);
}

fn check_rules(found: &mut Problems, pipeline: &MetricsPipeline) {
    let rules = &pipeline.prometheus.rules;
    found.check_entries("metricsPipeline.prometheus.rules", rules.len());
    let mut names = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("metricsPipeline.prometheus.rules[{index}]");
        if rule.name.is_empty() || rule.name.len() > NAME_CHARS_MAX {
            let message = format!("must have between 1 and {NAME_CHARS_MAX} characters");
            found.add(format!("{path}.name"), message);
        }
        if !names.insert(&rule.name) {
            found.add(format!("{path}.name"), format!("another rule is called `{}`", rule.name));
        }
        if rule.recipe().is_none() {
            found.add(
                path.as_str(),
                "needs exactly one of rate, gauge and quantile, such as \
                 {name: rps, rate: http_requests_total}",
            );
        }
        if let Some(quantile) = &rule.quantile
            && !(quantile.q > 0.0 && quantile.q < 1.0)
        {
            found.add(format!("{path}.quantile.q"), "must lie between 0 and 1, such as 0.99");
        }
    }
}

fn check_interval(found: &mut Problems, path: &str, span: Nanos) {
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&span) {
        found.add(path, format!("must lie between {INTERVAL_MIN} and {INTERVAL_MAX}"));
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use super::*;

    fn problems(pipeline: &str, manager: &str) -> Vec<String> {
        let scenario = format!(
            r#"{{"name":"x","metricsPipeline":{pipeline},"controllerManager":{manager},
            "traffic":{{"phases":[{{"hold":"1/s","for":"1s"}}]}}}}"#
        );
        let scenario: Scenario = serde_json::from_str(&scenario).expect("reads");
        let mut found = Problems::default();
        check(&mut found, &scenario);
        found.0.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn what_no_pipeline_can_do_is_named() {
        let rules = "metricsPipeline.prometheus.rules[0]";
        for (pipeline, wrong) in [
            ("{}", Vec::new()),
            (r#"{"metricResolution":"5s","kubeletInterval":"2s"}"#, Vec::new()),
            (r#"{"metricResolution":"1ms"}"#, Vec::from(["metricsPipeline.metricResolution"])),
            (r#"{"kubeletInterval":"0s"}"#, Vec::from(["metricsPipeline.kubeletInterval"])),
            (
                r#"{"prometheus":{"scrapeInterval":"1m"}}"#,
                Vec::from(["metricsPipeline.prometheus.window"]),
            ),
            (
                r#"{"prometheus":{"path":"metrics"}}"#,
                Vec::from(["metricsPipeline.prometheus.path"]),
            ),
            (r#"{"prometheus":{"rules":[{"name":"a"}]}}"#, Vec::from([rules])),
            (
                r#"{"prometheus":{"rules":[{"name":"a","rate":"b","gauge":"c"}]}}"#,
                Vec::from([rules]),
            ),
        ] {
            assert_eq!(problems(pipeline, "{}"), wrong, "{pipeline}");
        }
        let quantile = r#"{"prometheus":{"rules":[{"name":"a","quantile":{"of":"h","q":99}}]}}"#;
        assert_eq!(problems(quantile, "{}"), [format!("{rules}.quantile.q")]);
    }

    #[test]
    fn settings_of_the_controller_have_bounds() {
        let fine = r#"{"horizontalPodAutoscalerSyncPeriod":"5s",
            "horizontalPodAutoscalerCPUInitializationPeriod":"0s"}"#;
        assert_eq!(problems("{}", fine), Vec::<String>::new());
        let wrong = r#"{"horizontalPodAutoscalerSyncPeriod":"0s",
            "horizontalPodAutoscalerTolerance":"-0.1"}"#;
        assert_eq!(problems("{}", wrong).len(), 2);
    }
}
