//! The autoscaler, as `autoscaling/v2` has it: a block of a manifest's `spec`, without its
//! `scaleTargetRef`.
//!
//! *Source*: kubernetes/api `autoscaling/v2/types.go` (Kubernetes 1.35).

use alloc::{borrow::Cow, collections::BTreeMap, string::String, vec::Vec};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// `HorizontalPodAutoscalerSpec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaler {
    /// Fewest replicas.
    #[serde(default = "one")]
    pub min_replicas: u32,
    /// Most replicas.
    pub max_replicas: u32,
    /// What is measured; the metric that asks for most wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// How fast it goes up and down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

const fn one() -> u32 {
    1
}

/// `MetricSpec`: exactly one of the sources, the one that `type` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSpec {
    /// Which of the sources.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// CPU or memory of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetric>,
    /// CPU or memory of one container of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerResourceMetric>,
    /// A custom metric of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsMetric>,
    /// A custom metric of one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetric>,
    /// A metric from outside of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMetric>,
}

/// See [`MetricSpec::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricType {
    /// `resource`.
    Resource,
    /// `containerResource`.
    ContainerResource,
    /// `pods`.
    Pods,
    /// `object`.
    Object,
    /// `external`.
    External,
}

/// The source of a metric, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricSource<'a> {
    /// CPU or memory of the pods.
    Resource(&'a ResourceMetric),
    /// CPU or memory of one container of the pods.
    ContainerResource(&'a ContainerResourceMetric),
    /// A custom metric of each pod.
    Pods(&'a PodsMetric),
    /// A custom metric of one object.
    Object(&'a ObjectMetric),
    /// A metric from outside of the cluster.
    External(&'a ExternalMetric),
}

impl<'a> MetricSource<'a> {
    /// What it aims at.
    pub const fn target(self) -> &'a MetricTarget {
        match self {
            Self::Resource(metric) => &metric.target,
            Self::ContainerResource(metric) => &metric.target,
            Self::Pods(metric) => &metric.target,
            Self::Object(metric) => &metric.target,
            Self::External(metric) => &metric.target,
        }
    }

    /// The metric's name.
    pub const fn name(self) -> &'a String {
        match self {
            Self::Resource(metric) => &metric.name,
            Self::ContainerResource(metric) => &metric.name,
            Self::Pods(metric) => &metric.metric.name,
            Self::Object(metric) => &metric.metric.name,
            Self::External(metric) => &metric.metric.name,
        }
    }

    /// The API group that it is read from.
    pub const fn api_group(self) -> &'static str {
        match self {
            Self::Resource(_) | Self::ContainerResource(_) => "metrics.k8s.io",
            Self::Pods(_) | Self::Object(_) => "custom.metrics.k8s.io",
            Self::External(_) => "external.metrics.k8s.io",
        }
    }
}

impl MetricSpec {
    /// Its source; `None` unless exactly the one that `type` says is given.
    pub fn source(&self) -> Option<MetricSource<'_>> {
        let given = [
            self.resource.is_some(),
            self.container_resource.is_some(),
            self.pods.is_some(),
            self.object.is_some(),
            self.external.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return None;
        }
        match self.kind {
            MetricType::Resource => self.resource.as_ref().map(MetricSource::Resource),
            MetricType::ContainerResource => {
                self.container_resource.as_ref().map(MetricSource::ContainerResource)
            }
            MetricType::Pods => self.pods.as_ref().map(MetricSource::Pods),
            MetricType::Object => self.object.as_ref().map(MetricSource::Object),
            MetricType::External => self.external.as_ref().map(MetricSource::External),
        }
    }
}

/// `ResourceMetricSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    pub name: String,
    /// How much.
    pub target: MetricTarget,
}

/// `ContainerResourceMetricSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerResourceMetric {
    /// `cpu` or `memory`.
    pub name: String,
    /// Of which container.
    pub container: String,
    /// How much.
    pub target: MetricTarget,
}

/// `PodsMetricSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodsMetric {
    /// Which.
    pub metric: MetricIdentifier,
    /// How much.
    pub target: MetricTarget,
}

/// `ObjectMetricSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectMetric {
    /// Of which object.
    pub described_object: ObjectReference,
    /// Which.
    pub metric: MetricIdentifier,
    /// How much.
    pub target: MetricTarget,
}

/// `ExternalMetricSource`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalMetric {
    /// Which.
    pub metric: MetricIdentifier,
    /// How much.
    pub target: MetricTarget,
}

/// `CrossVersionObjectReference`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectReference {
    /// API version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// `MetricIdentifier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricIdentifier {
    /// Name.
    pub name: String,
    /// Which of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// `LabelSelector`, by equality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels and their values.
    pub match_labels: BTreeMap<String, String>,
}

/// `MetricTarget`: exactly one of the values, the one that `type` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricTarget {
    /// Which of the values.
    #[serde(rename = "type")]
    pub kind: TargetType,
    /// Percent of the pods' requests, averaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_utilization: Option<u32>,
    /// Per pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value: Option<Quantity>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
}

/// See [`MetricTarget::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetType {
    /// `averageUtilization`.
    Utilization,
    /// `averageValue`.
    AverageValue,
    /// `value`.
    Value,
}

/// `HorizontalPodAutoscalerBehavior`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behavior {
    /// On the way up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// On the way down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// `HPAScalingRules`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScalingRules {
    /// How far it looks back at what it wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<u32>,
    /// Which of the policies holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// How much may change within a time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<ScalingPolicy>,
    /// How far the metric may be from its target before anything is done, as a share (`0.1`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Quantity>,
}

/// See [`ScalingRules::select_policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The one that changes most.
    Max,
    /// The one that changes least.
    Min,
    /// No change this way.
    Disabled,
}

/// `HPAScalingPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingPolicy {
    /// What `value` counts.
    #[serde(rename = "type")]
    pub kind: ScalingPolicyType,
    /// How much.
    pub value: u32,
    /// Within how long.
    pub period_seconds: u32,
}

/// See [`ScalingPolicy::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingPolicyType {
    /// Pods.
    Pods,
    /// Percent of the replicas.
    Percent,
}

/// A Kubernetes quantity as it was written: `100m`, `1.5`, `64Mi`, `2e3`.
///
/// *Source*: `apimachinery pkg/api/resource/quantity.go`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity(String);

impl Quantity {
    /// The quantity that `text` says; `None` if it says none, or one out of range.
    pub fn parse(text: &str) -> Option<Self> {
        milli(text).map(|_| Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In thousandths, rounded away from zero as upstream's `MilliValue` does.
    pub fn milli(&self) -> i64 {
        // It was parsed when it was made.
        milli(&self.0).unwrap_or(0)
    }

    /// As a double, by the very steps that upstream takes, so that the last bit is the same.
    ///
    /// *Source*: `quantity.go`, `AsApproximateFloat64`.
    pub fn approximate(&self) -> f64 {
        let Some((sign, whole, fraction, scale)) = digits(&self.0) else { return 0.0 };
        let mantissa = whole.bytes().chain(fraction.bytes());
        let mantissa = mantissa.fold(0.0, |sum, digit| sum * 10.0 + f64::from(digit - b'0'));
        let places = fraction.len() as i32;
        let (factor, power) = match scale {
            Scale::Two(bits) => (libm::exp2(f64::from(bits)), -places),
            Scale::Ten(power) => (1.0, power - places),
        };
        let base = f64::from(sign) * mantissa * factor;
        if power == 0 { base } else { base * libm::exp10(f64::from(power)) }
    }
}

/// Suffixes and what they multiply by: a power of two, or a power of ten.
const SUFFIXES: &[(&str, Scale)] = &[
    ("Ki", Scale::Two(10)),
    ("Mi", Scale::Two(20)),
    ("Gi", Scale::Two(30)),
    ("Ti", Scale::Two(40)),
    ("Pi", Scale::Two(50)),
    ("Ei", Scale::Two(60)),
    ("n", Scale::Ten(-9)),
    ("u", Scale::Ten(-6)),
    ("m", Scale::Ten(-3)),
    ("k", Scale::Ten(3)),
    ("M", Scale::Ten(6)),
    ("G", Scale::Ten(9)),
    ("T", Scale::Ten(12)),
    ("P", Scale::Ten(15)),
    ("E", Scale::Ten(18)),
];

#[derive(Clone, Copy)]
enum Scale {
    Two(u32),
    Ten(i32),
}

/// Sign, digits before and after the point, and scale.
fn digits(text: &str) -> Option<(i32, &str, &str, Scale)> {
    let (digits, scale) = split(text)?;
    let (sign, digits) = match digits.as_bytes().first()? {
        b'-' => (-1, &digits[1..]),
        b'+' => (1, &digits[1..]),
        _ => (1, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // Eighteen digits hold every quantity that an int64 does.
    (whole.len() + fraction.len() <= 18).then_some((sign, whole, fraction, scale))
}

fn milli(text: &str) -> Option<i64> {
    let (sign, whole, fraction, scale) = digits(text)?;
    let number = whole.bytes().chain(fraction.bytes());
    let mantissa = number.fold(0i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    let places = fraction.len() as i32;
    let (factor, power) = match scale {
        Scale::Two(bits) => (1i128 << bits, 3 - places),
        Scale::Ten(power) => (1, power + 3 - places),
    };
    let scaled = mantissa.checked_mul(factor)?;
    let ten = 10i128.checked_pow(power.unsigned_abs())?;
    let milli = if power >= 0 {
        scaled.checked_mul(ten)?
    } else {
        scaled / ten + i128::from(scaled % ten != 0)
    };
    i64::try_from(milli * i128::from(sign)).ok()
}

fn split(text: &str) -> Option<(&str, Scale)> {
    if let Some((digits, scale)) =
        SUFFIXES.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)))
    {
        return Some((digits, scale));
    }
    match text.split_once(['e', 'E']) {
        Some((digits, power)) => {
            let power: i32 = power.parse().ok()?;
            (-18..=18).contains(&power).then_some((digits, Scale::Ten(power)))
        }
        None => Some((text, Scale::Ten(0))),
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::units::deserialize_scalar(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(alloc::format!("`{text}` is no quantity such as 100m, 1.5 or 64Mi"))
        })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "description": "A quantity: 100m, 1.5, 64Mi"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("100m", Some(100)),
            ("1", Some(1_000)),
            ("1.5", Some(1_500)),
            (".5", Some(500)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("2k", Some(2_000_000)),
            ("2e3", Some(2_000_000)),
            ("1500n", Some(1)),
            ("-1", Some(-1_000)),
            ("", None),
            (".", None),
            ("m", None),
            ("1 Mi", None),
            ("0x10", None),
            ("1e99", None),
            ("9999999999999999999", None),
            ("9223372036854775807", None),
            ("NaN", None),
            ("١", None),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.milli()), milli, "{text}");
        }
    }

    #[test]
    fn a_block_of_a_manifest_reads_and_prints_the_same() {
        let json = r#"{"minReplicas":2,"maxReplicas":10,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":60}}}],"behavior":{"scaleDown":{"stabilizationWindowSeconds":60,"selectPolicy":"Max","policies":[{"type":"Pods","value":1,"periodSeconds":15}],"tolerance":"0.05"}}}"#;
        let read: Autoscaler = serde_json::from_str(json).expect("reads");
        let source = read.metrics[0].source().expect("a source");
        assert_eq!((source.name().as_str(), source.api_group()), ("cpu", "metrics.k8s.io"));
        assert_eq!(serde_json::to_string(&read).expect("prints"), json);
        let mut wrong = read.metrics[0].clone();
        wrong.kind = MetricType::Pods;
        assert_eq!(wrong.source(), None);
    }
}
