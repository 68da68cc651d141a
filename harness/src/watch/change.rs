//! What changed, and how it is printed.

use std::fmt::Write as _;

use highwater_model::{
    event::{AutoscalerCondition, MetricReading, MetricUnit},
    time::Nanos,
};
use k8s_openapi::jiff;
use serde::Serialize;

use super::judge::{Figures, PodFigure, Standing};

/// How many pods a line names one by one.
const NAMED_MAX: usize = 8;

/// One line: when, of which autoscaler, and what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The time of day at which it was seen.
    pub time: jiff::Timestamp,
    /// The autoscaler; none if it is of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<String>,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Change {
    /// Its settings, at first and whenever they changed.
    Settings {
        /// What it scales: `Deployment/web`.
        target: String,
        /// `minReplicas`.
        min: u32,
        /// `maxReplicas`.
        max: u32,
        /// Its metrics with what they aim at.
        metrics: Vec<MetricReading>,
    },
    /// Its replicas or its metrics.
    Status {
        /// Replicas that it saw.
        current: u32,
        /// Replicas that it wants.
        desired: u32,
        /// Its metrics.
        metrics: Vec<MetricReading>,
    },
    /// One of its conditions.
    Condition(AutoscalerCondition),
    /// An Event about it.
    Event {
        /// Whether it is a warning.
        warning: bool,
        /// Why, in a word.
        reason: String,
        /// In words.
        message: String,
        /// How often it was seen so far.
        count: u32,
    },
    /// What `metrics.k8s.io` shows of its pods.
    Pods(Figures),
    /// What a metrics API shows of a metric that is no resource of the pods.
    Metric {
        /// Its name.
        metric: String,
        /// The values by object.
        values: Vec<(String, f64)>,
    },
    /// What it goes by could not be read.
    Unread {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// It is gone.
    Gone,
    /// Nothing is heard of the cluster any more.
    Silent {
        /// Of what.
        what: String,
        /// Why.
        reason: String,
    },
    /// It is heard of again.
    Heard {
        /// Of what.
        what: String,
        /// After how long.
        after: Nanos,
    },
}

impl Line {
    /// As JSON on one line.
    pub fn json(&self) -> String {
        // Strings and finite numbers only: nothing that JSON has no word for.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As text on one line: time of day (UTC), autoscaler, what.
    pub fn text(&self) -> String {
        let time = self.time.strftime("%H:%M:%S%.3f");
        let of = self.autoscaler.as_deref().unwrap_or("-");
        // What a cluster says may have line ends in it.
        format!("{time} {of}  {}", text(&self.change)).replace(['\n', '\r'], " ")
    }
}

fn text(change: &Change) -> String {
    match change {
        Change::Settings { target, min, max, metrics } => {
            let aims = metrics.iter().map(|metric| {
                format!("{} {}", metric.name, figure(&metric.name, metric.target, metric.unit))
            });
            let aims = aims.collect::<Vec<_>>().join(", ");
            format!("scales {target} from {min} to {max}, aiming at {aims}")
        }
        Change::Status { current, desired, metrics } => {
            let metrics = metrics.iter().map(reading).collect::<Vec<_>>().join(", ");
            let arrow = if current == desired { "=" } else { "->" };
            format!("replicas {current} {arrow} {desired}; {metrics}")
        }
        Change::Condition(condition) => {
            let AutoscalerCondition { kind, status, reason, message } = condition;
            let status = if *status { "True" } else { "False" };
            format!("{kind}={status} {reason}: {message}")
        }
        Change::Event { warning, reason, message, count } => {
            let kind = if *warning { "warning" } else { "event" };
            let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
            format!("{kind} {reason}{times}: {message}")
        }
        Change::Pods(figures) => pods(figures),
        Change::Metric { metric, values } => {
            let named = values.iter().take(NAMED_MAX);
            let named = named.map(|(object, value)| format!("{object} {}", short(*value)));
            let mut text = format!("{metric}: {}", named.collect::<Vec<_>>().join(", "));
            if values.len() > NAMED_MAX {
                let _ = write!(text, " and {} more", values.len() - NAMED_MAX);
            }
            text
        }
        Change::Unread { what, reason } => format!("{what} cannot be read: {reason}"),
        Change::Gone => "is gone".into(),
        Change::Silent { what, reason } => format!("{what}: not heard of any more: {reason}"),
        Change::Heard { what, after } => {
            format!("{what}: heard of again after {:.1} s", after.as_secs_f64())
        }
    }
}

fn reading(metric: &MetricReading) -> String {
    let MetricReading { name, unit, current, target } = metric;
    let current = current.map_or("?".into(), |current| figure(name, current, *unit));
    format!("{name} {current}/{}", figure(name, *target, *unit))
}

/// A figure in the unit that people write it in: `77%`, `38m` of CPU, `64Mi` of memory.
fn figure(name: &str, value: f64, unit: MetricUnit) -> String {
    match unit {
        MetricUnit::Percent => format!("{}%", short(value)),
        MetricUnit::AverageValue | MetricUnit::Value => amount(name, value),
    }
}

fn amount(name: &str, value: f64) -> String {
    match name.rsplit('/').next() {
        Some("cpu") => format!("{}m", (value * 1e3).round()),
        Some("memory") => format!("{}Mi", short(value / 1_048_576.0)),
        _ => short(value),
    }
}

/// At most three decimals, and none that say nothing.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

fn pods(figures: &Figures) -> String {
    let of = |standing: Standing| {
        figures.pods.iter().filter(move |pod| pod.standing == standing).collect::<Vec<_>>()
    };
    let counted = of(Standing::Counted);
    let percent = match figures.percent {
        Some(percent) => format!("{percent}% of requests"),
        None => "no percentage".into(),
    };
    let mut text = format!(
        "pods by {}: {percent}, {} of {} counted",
        figures.resource,
        counted.len(),
        figures.pods.len()
    );
    let used = |pod: &PodFigure| {
        let amount = |value: f64| amount(&figures.resource, value);
        let request = pod.request.map_or("no request".into(), amount);
        format!("{} {}/{request}", pod.pod, pod.usage.map_or("?".into(), amount))
    };
    if counted.len() <= NAMED_MAX {
        counted.iter().for_each(|pod| text.push_str(&format!("; {}", used(pod))));
    } else {
        let by_usage = |a: &&&PodFigure, b: &&&PodFigure| {
            a.usage.unwrap_or(0.0).total_cmp(&b.usage.unwrap_or(0.0))
        };
        for (word, pod) in [
            ("lowest", counted.iter().min_by(by_usage)),
            ("highest", counted.iter().max_by(by_usage)),
        ] {
            if let Some(pod) = pod {
                let _ = write!(text, "; {word} {}", used(pod));
            }
        }
    }
    for (word, standing) in [
        ("missing", Standing::Missing),
        ("unready", Standing::Unready),
        ("ignored", Standing::Ignored),
    ] {
        let named = of(standing).into_iter().map(|pod| format!("{} {}", pod.pod, pod.why));
        append(&mut text, word, named.collect());
    }
    let without = figures.pods.iter().filter(|pod| pod.request.is_none());
    append(&mut text, "without a request", without.map(|pod| pod.pod.clone()).collect());
    text
}

fn append(text: &mut String, word: &str, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = write!(text, "; {word}: {named}{more}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(change: Change) -> Line {
        let time = jiff::Timestamp::from_millisecond(1_767_225_600_250).expect("in range");
        Line { time, autoscaler: Some("web".into()), change }
    }

    fn metric(name: &str, unit: MetricUnit, current: Option<f64>, target: f64) -> MetricReading {
        MetricReading { name: name.into(), unit, current, target }
    }

    fn pod(name: &str, usage: Option<f64>, standing: Standing, why: &'static str) -> PodFigure {
        PodFigure { pod: name.into(), usage, request: Some(0.05), standing, why }
    }

    #[test]
    fn every_change_is_one_line_of_text() {
        let metrics = || {
            vec![
                metric("cpu", MetricUnit::Percent, Some(77.0), 50.0),
                metric("web/cpu", MetricUnit::AverageValue, None, 0.05),
                metric("memory", MetricUnit::AverageValue, Some(1_572_864.0), 67_108_864.0),
                metric("rps", MetricUnit::Value, Some(1.25), 1000.0),
            ]
        };
        let condition = AutoscalerCondition {
            kind: "ScalingActive".into(),
            status: false,
            reason: "FailedGetResourceMetric".into(),
            message: "two\nlines".into(),
        };
        let figures = Figures {
            resource: "cpu".into(),
            percent: Some(88),
            pods: vec![
                pod("a", Some(0.044), Standing::Counted, ""),
                pod("b", None, Standing::Missing, "has no sample"),
                pod("c", Some(0.001), Standing::Unready, "is not ready"),
            ],
        };
        let rows = [
            (
                Change::Settings {
                    target: "Deployment/web".into(),
                    min: 2,
                    max: 4,
                    metrics: metrics(),
                },
                "scales Deployment/web from 2 to 4, aiming at cpu 50%, web/cpu 50m, memory 64Mi, rps 1000",
            ),
            (
                Change::Status { current: 2, desired: 4, metrics: metrics() },
                "replicas 2 -> 4; cpu 77%/50%, web/cpu ?/50m, memory 1.5Mi/64Mi, rps 1.25/1000",
            ),
            (Change::Status { current: 2, desired: 2, metrics: vec![] }, "replicas 2 = 2; "),
            (
                Change::Condition(condition),
                "ScalingActive=False FailedGetResourceMetric: two lines",
            ),
            (
                Change::Event { warning: true, reason: "R".into(), message: "m".into(), count: 3 },
                "warning R (3 times): m",
            ),
            (
                Change::Pods(figures),
                "pods by cpu: 88% of requests, 1 of 3 counted; a 44m/50m; missing: b has no sample; \
                 unready: c is not ready",
            ),
            (
                Change::Metric { metric: "rps".into(), values: vec![("Pod/a".into(), 2.5)] },
                "rps: Pod/a 2.5",
            ),
            (Change::Gone, "is gone"),
            (
                Change::Heard { what: "pods".into(), after: Nanos::from_millis(12_340) },
                "pods: heard of again after 12.3 s",
            ),
        ];
        for (change, wanted) in rows {
            assert_eq!(line(change).text(), format!("00:00:00.250 web  {wanted}"));
        }
    }

    #[test]
    fn many_pods_are_still_one_line() {
        let pods = (0..20).map(|number| {
            pod(&format!("p{number}"), Some(f64::from(number) / 1e3), Standing::Counted, "")
        });
        let mut pods: Vec<PodFigure> = pods.collect();
        pods.extend((0..10).map(|number| pod(&format!("x{number}"), None, Standing::Missing, "w")));
        for pod in &mut pods[..2] {
            pod.request = None;
        }
        let figures = Figures { resource: "cpu".into(), percent: None, pods };
        assert_eq!(
            text(&Change::Pods(figures)),
            "pods by cpu: no percentage, 20 of 30 counted; lowest p0 0m/no request; \
             highest p19 19m/50m; missing: x0 w, x1 w, x2 w, x3 w, x4 w, x5 w, x6 w, x7 w and 2 \
             more; without a request: p0, p1"
        );
    }

    #[test]
    fn json_lines_name_the_change() {
        let event =
            Change::Event { warning: false, reason: "R".into(), message: "m".into(), count: 1 };
        assert_eq!(
            line(event).json(),
            r#"{"time":"2026-01-01T00:00:00.25Z","autoscaler":"web","change":"event","warning":false,"reason":"R","message":"m","count":1}"#
        );
        assert_eq!(
            line(Change::Gone).json(),
            r#"{"time":"2026-01-01T00:00:00.25Z","autoscaler":"web","change":"gone"}"#
        );
    }
}
