//! An explanation as data: what `--format json` prints and what the text is made from.

use schemars::JsonSchema;
use serde::Serialize;

/// The version of this form; a change that programs would stumble over raises it.
pub const VERSION: u32 = 1;
/// The address under which the schema is known.
pub const SCHEMA_ID: &str = "https://highwater.dev/schema/explanation-v1.json";

/// What an autoscaler does, pass by pass, and why.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The version of this form: 1.
    pub version: u32,
    /// Whose controller it follows: `1.35`.
    pub kubernetes: String,
    /// The autoscaler.
    pub autoscaler: About,
    /// What a reader has to know.
    pub notes: Vec<String>,
    /// The passes in the order of time; at least one.
    pub passes: Vec<Pass>,
}

/// An autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it scales: `Deployment/web`.
    pub target: String,
    /// `minReplicas`.
    pub min_replicas: u32,
    /// `maxReplicas`.
    pub max_replicas: u32,
    /// Whether it has a `behavior`; without, other rules hold than those of an empty one.
    pub has_behavior: bool,
}

/// One pass of the controller.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pass {
    /// When: from the beginning, or a date.
    pub at: String,
    /// Seconds from the first pass.
    pub seconds: f64,
    /// What it did.
    pub outcome: Outcome,
    /// `spec.replicas` before; none if it could not be read.
    pub from: Option<u32>,
    /// `status.replicas`.
    pub status_replicas: Option<u32>,
    /// `spec.replicas` afterwards; none if it could not be read.
    pub to: Option<u32>,
    /// What each metric asks for; empty if none was looked at.
    pub metrics: Vec<Metric>,
    /// The metric that asks for most, by its place.
    pub winner: Option<usize>,
    /// What became of that number; none if the metrics gave none.
    pub limits: Option<Limits>,
    /// What an autoscaler would do that has wanted the same for all of its windows, where that is
    /// something else: this one has just been seen for the first time.
    pub settled: Option<u32>,
    /// As `kubectl describe hpa` shows them.
    pub conditions: Vec<Condition>,
    /// Events of this pass.
    pub events: Vec<Event>,
    /// What the controller's log tells, if something went wrong.
    pub error: Option<String>,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It changed the replicas by its metrics.
    Scaled,
    /// It left them.
    Unchanged,
    /// It brought them within minReplicas and maxReplicas, without a look at any metric.
    Bounded,
    /// It does nothing: the target was set to zero.
    Paused,
    /// Its metrics give no number, or the scale could not be read, or others have the same pods.
    Failed,
}

/// A value: percent of the requests, or thousandths of the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// Percent.
    Percent(i64),
    /// Thousandths.
    Milli(i64),
}

/// What one metric asks for, and why.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// `Resource`, `ContainerResource`, `Pods`, `Object` or `External`.
    pub source: &'static str,
    /// The metric's name.
    pub name: String,
    /// The container, or the object (`Ingress/web`).
    pub of: Option<String>,
    /// What is aimed at.
    pub target: Amount,
    /// How the target is meant.
    pub target_type: TargetKind,
    /// Why it gives no number; the rest is missing then.
    pub error: Option<String>,
    /// What was measured.
    pub measured: Option<Amount>,
    /// `measured / target`; none where a double has no such number.
    pub ratio: Option<f64>,
    /// What would be measured with what is assumed of missing and unready pods.
    pub assumed: Option<Amount>,
    /// The ratio again, with that.
    pub adjusted_ratio: Option<f64>,
    /// The ratios at which nothing is done, both ends included.
    pub tolerance: Option<(f64, f64)>,
    /// The pods that the ratio is multiplied by; none if it is by none.
    pub multiplied_by: Option<u32>,
    /// The product, rounded up.
    pub rounded: Option<i32>,
    /// What the number is.
    pub shape: Option<Shape>,
    /// What it asks for.
    pub replicas: Option<i32>,
    /// The pods as this metric sees them; empty if it looks at none.
    pub pods: Vec<Pod>,
}

/// How a target is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Percent of the requests, averaged.
    Utilization,
    /// Per pod.
    AverageValue,
    /// In all.
    Value,
}

/// What a metric's number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The product, rounded up.
    Computed,
    /// As many as there are: the ratio is within tolerance.
    WithinTolerance,
    /// As many as there are: with the assumptions it would go the other way.
    Turned,
    /// As many as there are: rounded it would go the other way.
    Backwards,
}

/// A pod as a metric sees it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// What it counts as.
    pub standing: Standing,
    /// Why it does not count; empty if it does.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// Its sample, thousandths.
    pub usage_milli: Option<i64>,
    /// What it requests, thousandths; where the target is percent of that.
    pub request_milli: Option<i64>,
    /// What it is assumed to use, thousandths.
    pub assumed_milli: Option<i64>,
}

/// What a pod counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It counts.
    Counted,
    /// It has no sample.
    Missing,
    /// It has not settled.
    Unready,
    /// It is left out.
    Ignored,
}

/// From what the metrics ask for to what is written.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// What the metrics ask for.
    pub proposal: u32,
    /// The lowest recommendation of the way up's window; none without a behaviour.
    pub lowest: Option<Recommendation>,
    /// The highest recommendation of the way down's window.
    pub highest: Recommendation,
    /// After the stabilisation.
    pub stabilized: u32,
    /// How far the rate lets it go in this pass; none if it stays where it is, or if nothing limits
    /// the rate.
    pub rate: Option<Rate>,
    /// What limited the number in the end.
    pub limited_by: LimitedBy,
    /// What is wanted.
    pub desired: u32,
}

/// A recommendation.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recommendation {
    /// Replicas.
    pub replicas: u32,
    /// How many seconds before this pass; 0 for its own.
    pub seconds_ago: f64,
    /// How many seconds are looked back.
    pub window_seconds: f64,
}

/// How far the rate lets a number go.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Replicas.
    pub limit: i64,
    /// What says so, in words.
    pub by: String,
    /// The replicas at the start of that policy's period.
    pub start: i64,
}

/// What limited a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LimitedBy {
    /// Nothing.
    Nothing,
    /// `minReplicas`.
    MinReplicas,
    /// `maxReplicas`.
    MaxReplicas,
    /// The rate of the way up.
    ScaleUpRate,
    /// The rate of the way down.
    ScaleDownRate,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it holds.
    pub status: bool,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}
