//! Many runs in a row: where did a measure change?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    changes,
    judge::shown_shift,
    measure::{Kind, Measure, What},
    result::RunLabel,
    run::RunFigures,
};
use crate::record::hist::DecodeError;

/// The version of the format.
pub const SCHEMA: &str = "highwater.trend/v1";

/// What is followed over the runs.
const FOLLOWED: [What; 5] =
    [What::Lost, What::Latency(0), What::Latency(2), What::Pods, What::TimeToScale];

/// Runs in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The runs in order.
    pub runs: Vec<RunLabel>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// The measures.
    pub series: Vec<TrendSeries>,
}

/// A measure over the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrendSeries {
    /// Which.
    pub name: String,
    /// `ns`, `share` or `pods`.
    pub unit: String,
    /// By run, in order; null where a run says nothing of it.
    pub values: Vec<Option<f64>>,
    /// Where it changed, ascending.
    pub changes: Vec<Change>,
}

/// A change between two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Index of the first run after it.
    pub at: usize,
    /// That run.
    pub run: String,
    /// The mean from the change before on (of latencies the geometric mean), in words.
    pub before: String,
    /// The mean until the next change.
    pub after: String,
    /// The difference, in words.
    pub shift: String,
    /// Whether it is for the worse.
    pub worse: bool,
}

/// Follows runs in the order given; there must be one at least.
///
/// # Errors
/// If a histogram is damaged.
pub fn trend(runs: &[RunFigures]) -> Result<Trend, DecodeError> {
    let notes = super::fit::along(runs);
    let mut series = Vec::new();
    for what in FOLLOWED {
        let measure = Measure::whole(what);
        let values: Result<Vec<_>, _> = runs.iter().map(|run| measure.value(run)).collect();
        let values = values?;
        if values.iter().any(Option::is_some) {
            series.push(of(what, values, runs));
        }
    }
    let label = |run: &RunFigures| RunLabel {
        label: run.label.clone(),
        seed: run.seed,
        doubts: run.doubts.clone(),
    };
    Ok(Trend {
        schema: SCHEMA.into(),
        scenario: runs[0].scenario.clone(),
        runs: runs.iter().map(label).collect(),
        notes,
        series,
    })
}

/// On the scale on which changes are sought: ratios of times, and the arcsine of the root of
/// shares, whose deviation does not depend on them.
fn scaled(what: What, value: f64) -> f64 {
    match what.kind() {
        Kind::Ratio => value.ln(),
        Kind::Share => value.clamp(0.0, 1.0).sqrt().asin(),
        Kind::Difference => value,
    }
}

fn unscaled(what: What, value: f64) -> f64 {
    match what.kind() {
        Kind::Ratio => value.exp(),
        Kind::Share => value.sin().powi(2),
        Kind::Difference => value,
    }
}

fn of(what: What, values: Vec<Option<f64>>, runs: &[RunFigures]) -> TrendSeries {
    let known: Vec<(usize, f64)> = values
        .iter()
        .enumerate()
        .filter_map(|(index, value)| Some((index, scaled(what, (*value)?))))
        .collect();
    let numbers: Vec<f64> = known.iter().map(|(_, value)| *value).collect();
    // The deviation of a share of few losses: one loss in all requests of a run.
    let requests = runs.iter().map(|run| run.counts.sent()).max().unwrap_or(1).max(1);
    let least = match what.kind() {
        Kind::Share => 0.5 / (requests as f64).sqrt(),
        _ => what.deviation_min(),
    };
    let found = changes::changes(&numbers, least);
    let mut edges = vec![0];
    edges.extend(&found);
    edges.push(numbers.len());
    let mean =
        |from: usize, to: usize| numbers[from..to].iter().sum::<f64>() / (to - from).max(1) as f64;
    let change = |edge: &[usize]| {
        let (before, after) = (mean(edge[0], edge[1]), mean(edge[1], edge[2]));
        let at = known[edge[1]].0;
        let shift = match what.kind() {
            Kind::Share => unscaled(what, after) - unscaled(what, before),
            _ => after - before,
        };
        Change {
            at,
            run: runs[at].label.clone(),
            before: what.show(unscaled(what, before)),
            after: what.show(unscaled(what, after)),
            shift: shown_shift(what, shift),
            worse: after > before,
        }
    };
    let changes = edges.windows(3).map(change).collect();
    let unit = match what.kind() {
        Kind::Share => "share",
        _ if what == What::Pods => "pods",
        _ => "ns",
    };
    TrendSeries { name: what.name(), unit: unit.into(), values, changes }
}
