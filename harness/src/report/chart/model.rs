//! What a time axis shows, as plain data.

use serde::Serialize;

/// Panels above each other with one axis of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartModel {
    /// What is shown, in a few words.
    pub title: String,
    /// What is to be seen, for those who do not see it.
    pub description: String,
    /// Width of the plot in points.
    pub columns: u32,
    /// The axis of time.
    pub time: TimeAxis,
    /// Seconds that one point of a series stands for.
    pub step: u64,
    /// The phases of the traffic.
    pub phases: Vec<Band>,
    /// What the scenario did.
    pub actions: Vec<Annotation>,
    /// Times without traffic, in seconds.
    pub quiet: Vec<(f64, f64)>,
    /// Times in which nothing was heard of the cluster, in seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<(f64, f64)>,
    /// The panels from top to bottom.
    pub panels: Vec<Panel>,
}

/// The axis that all panels share. All times are seconds since the start of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeAxis {
    /// Left end.
    pub from: f64,
    /// Right end; more than `from`.
    pub to: f64,
    /// Marks, ascending, all within the axis.
    pub ticks: Vec<Tick>,
    /// What the labels of the marks are.
    pub label: String,
}

/// A mark of an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tick {
    /// Where.
    pub at: f64,
    /// What is written there.
    pub label: String,
}

/// A named stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// Begin.
    pub from: f64,
    /// End.
    pub to: f64,
    /// Its name.
    pub label: String,
}

/// A named instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Annotation {
    /// When.
    pub at: f64,
    /// What.
    pub label: String,
}

/// One picture over the shared axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Panel {
    /// Series of numbers.
    Values(ValuePanel),
    /// Lives of pods.
    Lanes(LanePanel),
}

/// Series over one axis of values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuePanel {
    /// What is shown.
    pub title: String,
    /// Unit and window: what one point is.
    pub note: String,
    /// Height of the plot in points.
    pub height: u32,
    /// The axis of values.
    pub axis: ValueAxis,
    /// Back to front.
    pub series: Vec<Series>,
    /// Where the autoscaler decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionMark>,
}

/// A decision of the autoscaler, or several near each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionMark {
    /// The first of them.
    pub at: f64,
    /// Whether they ended in more replicas than they began with.
    pub up: bool,
    /// `2 → 6`; empty where only the mark is wanted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
}

/// An axis of values.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueAxis {
    /// How values lie on it.
    pub scale: Scale,
    /// The unit of the series' values.
    pub unit: Unit,
    /// Lower end.
    pub from: f64,
    /// Upper end; more than `from`.
    pub to: f64,
    /// Marks, ascending.
    pub ticks: Vec<Tick>,
}

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; both ends are above zero.
    Log,
}

/// The unit of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Per second.
    PerSecond,
    /// A count within one point.
    Count,
    /// Nanoseconds.
    Nanoseconds,
    /// Pods.
    Pods,
    /// Percent.
    Percent,
    /// Whatever a metric counts.
    Amount,
}

/// A series of numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its colour and dash.
    pub ink: Ink,
    /// How it is drawn.
    pub shape: Shape,
    /// Ascending in time. Where points are missing there is no value.
    pub points: Vec<Point>,
}

/// Time in seconds, lowest and highest value of what the point stands for. In JSON `[t, lo, hi]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point(pub f64, pub f64, pub f64);

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Filled from zero, a flat piece per point.
    Area,
    /// A flat piece per point.
    Flats,
    /// A line through the highest values, shaded down to the lowest.
    Line,
    /// A bar per point, from lowest to highest.
    Bars,
    /// Each value holds until the next; one that is not a number (`null` in JSON) says that there
    /// is none until the next.
    Steps,
}

/// Lives above each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LanePanel {
    /// What is shown.
    pub title: String,
    /// What a mark is, and what is left out.
    pub note: String,
    /// From lane to lane in points.
    pub pitch: u32,
    /// The lanes from top to bottom.
    pub lanes: Vec<Lane>,
    /// The phases that occur.
    pub phases: Vec<PhaseKey>,
}

/// A phase and its look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseKey {
    /// Its name.
    pub name: &'static str,
    /// Its colour.
    pub ink: Ink,
    /// How much of the lane's height it takes, in percent: the second signal beside the colour.
    pub height: u32,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// Its name, shortened.
    pub label: String,
    /// The number of its node in the panel's note, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// Whether there is room for its name.
    pub labelled: bool,
    /// Requests lost in it.
    pub lost: u64,
    /// Phases, ascending.
    pub spans: Vec<LaneSpan>,
    /// While the pod could be chosen.
    pub routed: Vec<(f64, f64)>,
    /// Failures.
    pub marks: Vec<Mark>,
}

/// A phase within a lane.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneSpan {
    /// Begin.
    pub from: f64,
    /// End.
    pub to: f64,
    /// Index into [`LanePanel::phases`].
    pub phase: usize,
}

/// Failures near each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The first.
    pub from: f64,
    /// The last.
    pub to: f64,
    /// How many.
    pub n: u64,
}

macro_rules! inks {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// What a colour means. The page's style sheet says what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Ink {
            $(#[doc = $doc] $variant,)*
        }

        impl Ink {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in the style sheet.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

inks! {
    Text "text" "Titles.",
    Muted "muted" "Labels.",
    Grid "grid" "Lines of the grid.",
    Frame "frame" "The axes.",
    Quiet "quiet" "Times without traffic.",
    Boundary "boundary" "Where a phase of the traffic begins.",
    Action "action" "What the scenario did.",
    Offered "offered" "Requests that became due.",
    Answered "answered" "Good answers.",
    Lost "lost" "Requests that failed.",
    Unsent "unsent" "Requests that were not sent.",
    P50 "p50" "The median.",
    P99 "p99" "The 99th percentile.",
    P999 "p999" "The 99.9th percentile.",
    Desired "desired" "`spec.replicas`.",
    Current "current" "Pods that are not terminating.",
    Ready "ready" "Ready pods.",
    Terminating "terminating" "Pods on their way out.",
    PhasePending "phase-pending" "A pending pod.",
    PhaseStarting "phase-starting" "A starting pod.",
    PhaseReady "phase-ready" "A ready pod.",
    PhaseUnready "phase-unready" "A pod that was ready.",
    PhasePreStop "phase-pre-stop" "A pod in its preStop hook.",
    PhaseDraining "phase-draining" "A pod that got SIGTERM.",
    PhaseExited "phase-exited" "A pod whose process ended.",
    Routed "routed" "While a pod could be chosen.",
    Gap "gap" "Times in which nothing was heard of the cluster.",
    GapEdge "gap-edge" "Begin and end of such a time.",
    Decision "decision" "Where the autoscaler decided.",
    Target "target" "What a metric aims at.",
    MetricA "metric-a" "The first metric, or requests to the API server.",
    MetricB "metric-b" "The second metric, or conflicts.",
    MetricC "metric-c" "The third metric, or throttled requests.",
    MetricD "metric-d" "The fourth metric.",
}
