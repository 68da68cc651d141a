//! The words of the controller: conditions, events, errors.
//!
//! They are kept as data and become text only when someone reads them. The texts are those that
//! users know from `kubectl describe hpa`; the conformance tests compare them to the letter.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::spec::{LabelSelector, MetricIdentifier};

/// Why an API gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Its own words.
    Failed(String),
    /// It answered without any value.
    Nothing,
}

/// What keeps a metric from giving a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// `metrics.k8s.io` gave nothing.
    ResourceApi {
        /// `cpu` or `memory`.
        resource: String,
        /// Why.
        error: NoAnswer,
    },
    /// `custom.metrics.k8s.io` gave nothing about the pods.
    PodsApi {
        /// The metric.
        metric: String,
        /// Why.
        error: NoAnswer,
    },
    /// `custom.metrics.k8s.io` gave nothing about an object.
    ObjectApi {
        /// The metric.
        metric: String,
        /// The object's kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        error: NoAnswer,
    },
    /// `external.metrics.k8s.io` gave nothing.
    ExternalApi {
        /// The autoscaler's namespace.
        namespace: String,
        /// The metric.
        metric: MetricIdentifier,
        /// Why.
        error: NoAnswer,
    },
    /// The selector matches no pod.
    NoPods,
    /// No pod that counts has a sample.
    NoSamples,
    /// No sample is of a pod with a request.
    NoMatch,
    /// A container requests none of the resource.
    NoRequest {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
        /// Its pod.
        pod: String,
    },
    /// A pod that requests something as a whole requests none of the resource.
    NoPodRequest {
        /// The resource.
        resource: String,
        /// The pod.
        pod: String,
    },
    /// A pod has no such container.
    NoContainer {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResourceApi { resource, error } => {
                write!(f, "unable to get metrics for resource {resource}: ")?;
                error.tell(f, "resource")
            }
            Self::PodsApi { metric, error } => {
                write!(f, "unable to get metric {metric}: ")?;
                error.tell(f, "custom")
            }
            // The order of the words is upstream's.
            Self::ObjectApi { metric, kind, namespace, name, error } => {
                write!(f, "unable to get metric {metric}: {kind} on {namespace} {name}/")?;
                error.tell(f, "custom")
            }
            Self::ExternalApi { namespace, metric, error } => {
                let selector = Selector(metric.selector.as_ref());
                let name = &metric.name;
                write!(f, "unable to get external metric {namespace}/{name}/{selector}: ")?;
                error.tell(f, "external")
            }
            Self::NoPods => {
                f.write_str("no pods returned by selector while calculating replica count")
            }
            Self::NoSamples => {
                f.write_str("did not receive metrics for targeted pods (pods might be unready)")
            }
            Self::NoMatch => f.write_str("no metrics returned matched known pods"),
            Self::NoRequest { resource, container, pod } => {
                write!(f, "missing request for {resource} in container {container} of Pod {pod}")
            }
            Self::NoPodRequest { resource, pod } => {
                write!(f, "missing pod-level request for {resource} in Pod {pod}")
            }
            Self::NoContainer { container, pod } => {
                write!(f, "container {container} not found in Pod {pod}")
            }
        }
    }
}

impl NoAnswer {
    fn tell(&self, f: &mut fmt::Formatter<'_>, api: &str) -> fmt::Result {
        match self {
            Self::Failed(error) => {
                write!(f, "unable to fetch metrics from {api} metrics API: {error}")
            }
            Self::Nothing => write!(f, "no metrics returned from {api} metrics API"),
        }
    }
}

/// At what a metric failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A percentage of the requests.
    Utilization,
    /// A value per pod of a resource.
    Usage,
    /// Counting the ready pods.
    ReadyPods,
    /// Nothing more particular.
    Plain,
}

/// Which metric failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A resource of the pods.
    Resource(String),
    /// A resource of one container.
    Container {
        /// The resource.
        resource: String,
        /// The container.
        container: String,
    },
    /// A custom metric of the pods.
    Pods,
    /// A metric of an object; its name where it is aimed at per pod.
    Object(Option<String>),
    /// An external metric.
    External {
        /// Its name.
        name: String,
        /// Whether it is aimed at per pod.
        is_average: bool,
    },
}

/// A metric that gives no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What keeps it.
    pub obstacle: Obstacle,
    /// At what.
    pub stage: Stage,
    /// Which metric.
    pub whose: Whose,
}

impl Failure {
    /// The reason of condition and event.
    pub const fn reason(&self) -> &'static str {
        match self.whose {
            Whose::Resource(_) => "FailedGetResourceMetric",
            Whose::Container { .. } => "FailedGetContainerResourceMetric",
            Whose::Pods => "FailedGetPodsMetric",
            Whose::Object(_) => "FailedGetObjectMetric",
            Whose::External { .. } => "FailedGetExternalMetric",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = match &self.whose {
            Whose::Resource(resource) | Whose::Container { resource, .. } => resource.as_str(),
            Whose::Pods | Whose::Object(_) | Whose::External { .. } => "",
        };
        match self.stage {
            Stage::Utilization => write!(f, "failed to get {resource} utilization: ")?,
            Stage::Usage => write!(f, "failed to get {resource} usage: ")?,
            Stage::ReadyPods => f.write_str("unable to calculate ready pods: ")?,
            Stage::Plain => {}
        }
        write!(f, "{}", self.obstacle)
    }
}

/// That some metrics, or all, give no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// How many.
    pub invalid: usize,
    /// Of how many.
    pub of: usize,
    /// The first of them.
    pub first: Box<Failure>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invalid, of, first } = self;
        write!(f, "invalid metrics ({invalid} invalid out of {of}), first error is: ")?;
        match &first.whose {
            Whose::Resource(resource) => {
                write!(f, "failed to get {resource} resource metric value: ")?;
            }
            Whose::Container { container, .. } => {
                write!(f, "failed to get {container} container metric value: ")?;
            }
            Whose::Pods => f.write_str("failed to get pods metric value: ")?,
            Whose::Object(name) => {
                f.write_str("failed to get object metric value: ")?;
                if let Some(name) = name {
                    write!(f, "failed to get {name} object metric: ")?;
                }
            }
            Whose::External { name, is_average } => {
                write!(f, "failed to get {name} external metric value: ")?;
                if *is_average {
                    write!(f, "failed to get {name} external metric: ")?;
                } else {
                    write!(f, "failed to get external metric {name}: ")?;
                }
            }
        }
        write!(f, "{first}")
    }
}

/// Several autoscalers whose selectors match a same pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The selector of this one's target.
    pub selector: String,
    /// All of them, this one included, as `NAMESPACE/NAME`. Upstream's order is a map's: any.
    pub autoscalers: Vec<String>,
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, autoscalers } = self;
        let all = autoscalers.join(" ");
        write!(f, "pods by selector {selector} are controlled by multiple HPAs: [{all}]")
    }
}

/// A metric, as reasons name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricName {
    /// None at all.
    None,
    /// A percentage of the requests.
    Utilization {
        /// The resource.
        resource: String,
        /// Whether it is of one container.
        is_container: bool,
    },
    /// A resource per pod.
    Resource(String),
    /// A custom metric of the pods.
    Pods(String),
    /// A metric of an object.
    Object {
        /// The object's kind.
        kind: String,
        /// The metric.
        name: String,
    },
    /// An external metric, or one of an object that is aimed at per pod: upstream calls it so.
    External(MetricIdentifier),
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Utilization { resource, is_container } => {
                let container = if *is_container { "container " } else { "" };
                write!(f, "{resource} {container}resource utilization (percentage of request)")
            }
            Self::Resource(resource) => write!(f, "{resource} resource"),
            Self::Pods(name) => write!(f, "pods metric {name}"),
            Self::Object { kind, name } => write!(f, "{kind} metric {name}"),
            Self::External(metric) => {
                let selector = Selector(metric.selector.as_ref());
                write!(f, "external metric {}({selector})", metric.name)
            }
        }
    }
}

/// A selector as Go prints it.
struct Selector<'a>(Option<&'a LabelSelector>);

impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(selector) = self.0 else { return f.write_str("nil") };
        f.write_str("&LabelSelector{MatchLabels:map[string]string{")?;
        for (name, value) in &selector.match_labels {
            write!(f, "{name}: {value},")?;
        }
        f.write_str("},MatchExpressions:[]LabelSelectorRequirement{},}")
    }
}

/// Why the number changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does not, by the metrics.
    None,
    /// It was above `maxReplicas`.
    AboveMax,
    /// It was below `minReplicas`.
    BelowMin,
    /// A metric asks for more.
    AboveTarget(MetricName),
    /// All metrics ask for less.
    BelowTarget,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AboveMax => f.write_str("Current number of replicas above Spec.MaxReplicas"),
            Self::BelowMin => f.write_str("Current number of replicas below Spec.MinReplicas"),
            Self::AboveTarget(metric) => write!(f, "{metric} above target"),
            Self::BelowTarget => f.write_str("All metrics below target"),
        }
    }
}

/// An event about the autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The scale could not be read.
    FailedGetScale(String),
    /// A metric gives no number.
    FailedGetMetric(Failure),
    /// Other autoscalers have the same pods.
    AmbiguousSelector(Ambiguous),
    /// The metrics give no number.
    FailedComputeMetricsReplicas(Invalid),
    /// They were not looked at, as other autoscalers have the same pods.
    Undecided(Ambiguous),
    /// The scale could not be written.
    FailedRescale {
        /// The number that was wanted.
        to: u32,
        /// Why.
        because: Cause,
        /// Why not.
        error: String,
    },
    /// The scale was written.
    SuccessfulRescale {
        /// The number.
        to: u32,
        /// Why.
        because: Cause,
    },
}

impl Note {
    /// The event's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::FailedGetScale(_) => "FailedGetScale",
            Self::FailedGetMetric(failure) => failure.reason(),
            Self::AmbiguousSelector(_) => "AmbiguousSelector",
            Self::FailedComputeMetricsReplicas(_) | Self::Undecided(_) => {
                "FailedComputeMetricsReplicas"
            }
            Self::FailedRescale { .. } => "FailedRescale",
            Self::SuccessfulRescale { .. } => "SuccessfulRescale",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedGetScale(error) => f.write_str(error),
            Self::FailedGetMetric(failure) => write!(f, "{failure}"),
            Self::FailedComputeMetricsReplicas(invalid) => write!(f, "{invalid}"),
            Self::AmbiguousSelector(all) | Self::Undecided(all) => write!(f, "{all}"),
            Self::FailedRescale { to, because, error } => {
                write!(f, "New size: {to}; reason: {because}; error: {error}")
            }
            Self::SuccessfulRescale { to, because } => {
                write!(f, "New size: {to}; reason: {because}")
            }
        }
    }
}

/// What the controller's log tells of a pass that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The scale could not be read.
    Scale {
        /// The target.
        reference: String,
        /// Why.
        error: String,
    },
    /// The scale could not be written.
    Rescale {
        /// The target.
        reference: String,
        /// Why.
        error: String,
    },
    /// The metrics give no number.
    Metrics {
        /// The target.
        reference: String,
        /// Which.
        invalid: Invalid,
    },
    /// Other autoscalers have the same pods.
    Ambiguous {
        /// The target.
        reference: String,
        /// Which.
        all: Ambiguous,
    },
    /// Some metrics give no number; it went on with the others.
    SomeMetrics(Invalid),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale { reference, error } => {
                write!(f, "failed to query scale subresource for {reference}: {error}")
            }
            Self::Rescale { reference, error } => {
                write!(f, "failed to rescale {reference}: {error}")
            }
            Self::Metrics { reference, invalid } => write!(
                f,
                "failed to compute desired number of replicas based on listed metrics for \
                 {reference}: {invalid}"
            ),
            Self::Ambiguous { reference, all } => write!(
                f,
                "failed to compute desired number of replicas based on listed metrics for \
                 {reference}: {all}"
            ),
            Self::SomeMetrics(invalid) => write!(f, "{invalid}"),
        }
    }
}

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// Whether the scale can be read and written, and nothing holds a change back.
    AbleToScale,
    /// Whether the metrics give a number.
    ScalingActive,
    /// Whether a bound or a policy changed the number.
    ScalingLimited,
    /// Whether it went to zero itself; since 1.36.
    ScaledToZero,
}

impl ConditionType {
    /// As the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
            Self::ScaledToZero => "ScaledToZero",
        }
    }
}

/// A condition of the autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// Why.
    pub reason: Reason,
}

/// Why a condition is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The scale could not be read.
    FailedGetScale(String),
    /// The scale could be read.
    SucceededGetScale,
    /// The scale could not be written.
    FailedUpdateScale(String),
    /// The scale was written.
    SucceededRescale(u32),
    /// The number is what the metrics ask for.
    ReadyForNewScale,
    /// It is held up by what was recommended before.
    ScaleDownStabilized,
    /// It is held down by what was recommended before.
    ScaleUpStabilized,
    /// The target has no replicas.
    ScalingDisabled,
    /// Other autoscalers have the same pods.
    AmbiguousSelector(Ambiguous),
    /// A metric gives a number.
    ValidMetricFound(MetricName),
    /// The metrics give no number.
    Unable(Failure),
    /// Nothing limits the number.
    DesiredWithinRange,
    /// `minReplicas` does.
    TooFewReplicas,
    /// `maxReplicas` does.
    TooManyReplicas,
    /// A policy of the way up does.
    ScaleUpLimit,
    /// A policy of the way down does.
    ScaleDownLimit,
    /// It went to zero itself.
    ScaledToZero,
    /// It did not.
    NotScaledToZero,
}

impl Condition {
    /// A condition; its type is its reason's.
    pub const fn new(holds: bool, reason: Reason) -> Self {
        Self { holds, reason }
    }

    /// Its type.
    pub const fn kind(&self) -> ConditionType {
        match self.reason {
            Reason::FailedGetScale(_)
            | Reason::SucceededGetScale
            | Reason::FailedUpdateScale(_)
            | Reason::SucceededRescale(_)
            | Reason::ReadyForNewScale
            | Reason::ScaleDownStabilized
            | Reason::ScaleUpStabilized => ConditionType::AbleToScale,
            Reason::ScalingDisabled
            | Reason::AmbiguousSelector(_)
            | Reason::ValidMetricFound(_)
            | Reason::Unable(_) => ConditionType::ScalingActive,
            Reason::DesiredWithinRange
            | Reason::TooFewReplicas
            | Reason::TooManyReplicas
            | Reason::ScaleUpLimit
            | Reason::ScaleDownLimit => ConditionType::ScalingLimited,
            Reason::ScaledToZero | Reason::NotScaledToZero => ConditionType::ScaledToZero,
        }
    }

    /// The reason's word.
    pub const fn word(&self) -> &'static str {
        match &self.reason {
            Reason::FailedGetScale(_) => "FailedGetScale",
            Reason::SucceededGetScale => "SucceededGetScale",
            Reason::FailedUpdateScale(_) => "FailedUpdateScale",
            Reason::SucceededRescale(_) => "SucceededRescale",
            Reason::ReadyForNewScale => "ReadyForNewScale",
            Reason::ScaleDownStabilized => "ScaleDownStabilized",
            Reason::ScaleUpStabilized => "ScaleUpStabilized",
            Reason::ScalingDisabled => "ScalingDisabled",
            Reason::AmbiguousSelector(_) => "AmbiguousSelector",
            Reason::ValidMetricFound(_) => "ValidMetricFound",
            Reason::Unable(failure) => failure.reason(),
            Reason::DesiredWithinRange => "DesiredWithinRange",
            Reason::TooFewReplicas => "TooFewReplicas",
            Reason::TooManyReplicas => "TooManyReplicas",
            Reason::ScaleUpLimit => "ScaleUpLimit",
            Reason::ScaleDownLimit => "ScaleDownLimit",
            Reason::ScaledToZero => "ScaledToZero",
            Reason::NotScaledToZero => "NotScaledToZero",
        }
    }
}

/// The message.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.reason {
            Reason::FailedGetScale(error) => {
                return write!(
                    f,
                    "the HPA controller was unable to get the target's current scale: {error}"
                );
            }
            Reason::FailedUpdateScale(error) => {
                return write!(
                    f,
                    "the HPA controller was unable to update the target scale: {error}"
                );
            }
            Reason::SucceededRescale(to) => {
                return write!(f, "the HPA controller was able to update the target scale to {to}");
            }
            Reason::ValidMetricFound(metric) => {
                return write!(
                    f,
                    "the HPA was able to successfully calculate a replica count from {metric}"
                );
            }
            Reason::AmbiguousSelector(all) => return write!(f, "{all}"),
            Reason::Unable(failure) => {
                return write!(f, "the HPA was unable to compute the replica count: {failure}");
            }
            Reason::SucceededGetScale => {
                "the HPA controller was able to get the target's current scale"
            }
            Reason::ReadyForNewScale => "recommended size matches current size",
            Reason::ScaleDownStabilized => {
                "recent recommendations were higher than current one, applying the highest recent \
                 recommendation"
            }
            Reason::ScaleUpStabilized => {
                "recent recommendations were lower than current one, applying the lowest recent \
                 recommendation"
            }
            Reason::ScalingDisabled => {
                "scaling is disabled since the replica count of the target is zero"
            }
            Reason::DesiredWithinRange => "the desired count is within the acceptable range",
            Reason::TooFewReplicas => {
                "the desired replica count is less than the minimum replica count"
            }
            Reason::TooManyReplicas => {
                "the desired replica count is more than the maximum replica count"
            }
            Reason::ScaleUpLimit => {
                "the desired replica count is increasing faster than the maximum scale rate"
            }
            Reason::ScaleDownLimit => {
                "the desired replica count is decreasing faster than the maximum scale rate"
            }
            Reason::ScaledToZero => "the HPA controller scaled the workload to zero",
            Reason::NotScaledToZero => "the HPA controller did not scale the workload to zero",
        })
    }
}
