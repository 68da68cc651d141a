//! What is compared: the measures, where each counts, and what one run says of each.

use highwater_model::time::{Nanos, human};

use super::run::{Cell, Counts, RunFigures};
use crate::{
    analyze::Cause,
    record::hist::{self, DecodeError, Hist},
};

/// The percentiles of latency that are compared, with their names.
pub const QUANTILES: [(f64, &str); 4] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Sent requests that failed, per sent request.
    Lost,
    /// Those of one cause.
    LostTo(Cause),
    /// Owed requests that were not sent, per owed request.
    Unsent,
    /// Latency of good answers at one of [`QUANTILES`].
    Latency(usize),
    /// Mean number of pods while traffic ran.
    Pods,
    /// Most pods at a time.
    PodsMax,
    /// The slowest scale-up.
    TimeToScale,
}

/// How the sides of a measure are set against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By their ratio; values are logarithms.
    Ratio,
    /// Shares, by their difference.
    Share,
    /// By their difference.
    Difference,
}

/// A measure over the whole run or one phase.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    /// What.
    pub what: What,
    /// The phase; `None` for the whole run.
    pub phase: Option<String>,
}

/// A number of requests out of so many.
pub type Part = (u64, u64);

impl What {
    /// What the logarithm of a mean number of pods is rounded to.
    pub const PODS_STEP: f64 = 0.001;

    /// The name: `latency.p99`, `failed.termination-race`.
    pub fn name(self) -> String {
        match self {
            Self::Lost => "error-rate".into(),
            Self::LostTo(cause) => format!("error-rate.{}", cause.name()),
            Self::Unsent => "unsent-rate".into(),
            Self::Latency(index) => format!("latency.{}", QUANTILES[index].1),
            Self::Pods => "pods".into(),
            Self::PodsMax => "pods.max".into(),
            Self::TimeToScale => "time-to-scale".into(),
        }
    }

    /// How it is set against the other side.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Lost | Self::LostTo(_) | Self::Unsent => Kind::Share,
            Self::Latency(_) | Self::Pods | Self::TimeToScale => Kind::Ratio,
            Self::PodsMax => Kind::Difference,
        }
    }

    /// The least deviation from run to run that is believed: what the value is rounded to, over the
    /// square root of twelve. It keeps values that are equal by rounding from being certain.
    pub fn deviation_min(self) -> f64 {
        let rounding = match self {
            // Three digits of a histogram.
            Self::Latency(_) => 0.001,
            Self::Pods => Self::PODS_STEP,
            // Read once per second.
            Self::TimeToScale => 0.01,
            Self::PodsMax => 1.0,
            Self::Lost | Self::LostTo(_) | Self::Unsent => 0.0,
        };
        rounding / 12f64.sqrt()
    }

    /// A value in this measure's own unit, as people read it.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Lost | Self::LostTo(_) | Self::Unsent => share(value),
            Self::Latency(_) | Self::TimeToScale => human(Nanos(value.max(0.0) as u64)),
            Self::Pods => format!("{value:.2}"),
            Self::PodsMax => format!("{value:.1}").trim_end_matches(".0").into(),
        }
    }
}

/// A share with as many digits as it takes: `0 %`, `0.012 %`.
pub fn share(value: f64) -> String {
    let percent = value * 100.0;
    let digits = match percent.abs() {
        p if p == 0.0 || p >= 10.0 => 1,
        p if p >= 1.0 => 2,
        p if p >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{percent:.digits$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{} %", if text == "-0" || text.is_empty() { "0" } else { text })
}

impl Measure {
    /// Over the whole run.
    pub const fn whole(what: What) -> Self {
        Self { what, phase: None }
    }

    /// The name with its phase: `latency.p99 during hold-2`.
    pub fn name(&self) -> String {
        match &self.phase {
            None => self.what.name(),
            Some(phase) => format!("{} during {phase}", self.what.name()),
        }
    }

    /// The cells of a run that count.
    pub fn cells<'a>(&self, run: &'a RunFigures) -> impl Iterator<Item = &'a Cell> {
        let wanted = self
            .phase
            .as_ref()
            .map(|name| run.phases.iter().position(|phase| phase == name).unwrap_or(usize::MAX));
        run.cells
            .iter()
            .filter(move |cell| wanted.is_none_or(|phase| phase == usize::from(cell.phase)))
    }

    /// The sum of a run's counts.
    pub fn counts(&self, run: &RunFigures) -> Counts {
        if self.phase.is_none() {
            return run.counts;
        }
        let mut sum = Counts::default();
        self.cells(run).for_each(|cell| sum.add(cell.counts));
        sum
    }

    /// For shares: how many of how many in one run.
    pub fn part(&self, run: &RunFigures) -> Part {
        let counts = self.counts(run);
        let sent = counts.sent();
        match self.what {
            What::Lost => (counts.failed, sent),
            What::LostTo(cause) if self.phase.is_none() => {
                (run.lost.get(&cause).copied().unwrap_or_default(), sent)
            }
            What::LostTo(cause) => {
                (self.cells(run).filter_map(|cell| cell.lost.get(&cause)).sum(), sent)
            }
            What::Unsent => (counts.unsent, counts.owed),
            _ => (0, 0),
        }
    }

    /// The same of one cell.
    pub fn part_of_cell(&self, cell: &Cell) -> Part {
        match self.what {
            What::LostTo(cause) => {
                (cell.lost.get(&cause).copied().unwrap_or_default(), cell.counts.sent())
            }
            What::Unsent => (cell.counts.unsent, cell.counts.owed),
            _ => (cell.counts.failed, cell.counts.sent()),
        }
    }

    /// Adds a run's latencies.
    ///
    /// # Errors
    /// If a histogram is damaged.
    pub fn add_latency(&self, run: &RunFigures, into: &mut Hist) -> Result<(), DecodeError> {
        self.cells(run).try_for_each(|cell| cell.latency.add_to(into))
    }

    /// What one run says, in the measure's own unit (share, nanoseconds, pods); `None` if nothing.
    ///
    /// # Errors
    /// If a histogram is damaged.
    pub fn value(&self, run: &RunFigures) -> Result<Option<f64>, DecodeError> {
        Ok(match self.what {
            What::Lost | What::LostTo(_) | What::Unsent => {
                let (k, n) = self.part(run);
                (n > 0).then(|| k as f64 / n as f64)
            }
            What::Latency(index) => return self.latency(std::slice::from_ref(run), index),
            What::Pods => {
                let n = run.pods.len() as f64;
                Some(run.pods.iter().sum::<f64>() / n).filter(|mean| *mean > 0.0)
            }
            What::PodsMax => (run.pods_max > 0).then_some(f64::from(run.pods_max)),
            What::TimeToScale => run.time_to_scale.filter(|span| *span > 0).map(|span| span as f64),
        })
    }

    /// What all runs of a side say together: of latencies the percentile of the pooled histogram,
    /// of shares that of all requests, of the rest the mean.
    ///
    /// # Errors
    /// If a histogram is damaged.
    pub fn pooled(&self, runs: &[RunFigures]) -> Result<Option<f64>, DecodeError> {
        match (self.what, self.what.kind()) {
            (What::Latency(index), _) => self.latency(runs, index),
            (_, Kind::Share) => {
                let (k, n) = self.pooled_part(runs);
                Ok((n > 0).then(|| k as f64 / n as f64))
            }
            _ => {
                let values: Result<Vec<_>, _> = runs.iter().map(|run| self.value(run)).collect();
                let known: Vec<f64> = values?.into_iter().flatten().collect();
                Ok((!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64))
            }
        }
    }

    /// How many of how many in all runs.
    pub fn pooled_part(&self, runs: &[RunFigures]) -> Part {
        runs.iter()
            .map(|run| self.part(run))
            .fold((0, 0), |(k, n): Part, (more, of)| (k.saturating_add(more), n.saturating_add(of)))
    }

    fn latency(&self, runs: &[RunFigures], index: usize) -> Result<Option<f64>, DecodeError> {
        let told: Vec<f64> =
            runs.iter().filter_map(|run| Some(run.told_latency?[index] as f64)).collect();
        if !told.is_empty() {
            // Percentiles without their histograms cannot be pooled; their mean is the best there is.
            let mean = told.iter().sum::<f64>() / told.len() as f64;
            return Ok(self.phase.is_none().then_some(mean));
        }
        let mut sum = hist::new();
        for run in runs {
            self.add_latency(run, &mut sum)?;
        }
        let value = sum.value_at_quantile(QUANTILES[index].0) as f64;
        Ok((!sum.is_empty()).then_some(value))
    }
}

/// The measures that some run knows: those of the whole first, then by phase.
pub fn all<'a>(runs: impl Iterator<Item = &'a RunFigures> + Clone) -> Vec<Measure> {
    let mut whole = vec![What::Lost];
    let mut causes: Vec<Cause> = runs.clone().flat_map(|run| run.lost.keys().copied()).collect();
    causes.sort_unstable();
    causes.dedup();
    whole.extend(causes.into_iter().map(What::LostTo));
    if runs.clone().any(|run| run.counts.unsent > 0) {
        whole.push(What::Unsent);
    }
    whole.extend((0..QUANTILES.len()).map(What::Latency));
    if runs.clone().any(|run| !run.pods.is_empty()) {
        whole.extend([What::Pods, What::PodsMax]);
    }
    if runs.clone().any(|run| run.time_to_scale.is_some()) {
        whole.push(What::TimeToScale);
    }
    let mut measures: Vec<Measure> = whole.into_iter().map(Measure::whole).collect();
    let phases: Vec<String> = runs.clone().next().map(|run| run.phases.clone()).unwrap_or_default();
    if phases.len() > 1 {
        let fails = runs.clone().any(|run| run.counts.failed > 0);
        let lost = fails.then_some(What::Lost);
        for phase in phases {
            let phase = |what| Measure { what, phase: Some(phase.clone()) };
            measures
                .extend(lost.into_iter().chain([What::Latency(0), What::Latency(2)]).map(phase));
        }
    }
    measures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{analyze::Percentiles, record::BackendKind};
    use proptest::prelude::*;

    #[test]
    fn shares_are_shown_with_the_digits_they_need() {
        let rows = [
            (0.0, "0 %"),
            (0.000_012, "0.0012 %"),
            (0.001, "0.1 %"),
            (0.051_23, "5.12 %"),
            (1.0, "100 %"),
            (-0.001_5, "-0.15 %"),
        ];
        for (value, shown) in rows {
            assert_eq!(share(value), shown);
        }
    }

    /// A run whose cells have these latencies.
    fn run(cells: &[Vec<u64>]) -> RunFigures {
        let cell = |(time, values): (usize, &Vec<u64>)| {
            let mut latency = hist::new();
            values.iter().for_each(|value| latency.saturating_record(*value));
            let ok = values.len() as u64;
            let counts = Counts { owed: ok, ok, failed: 0, unsent: 0 };
            let latency = hist::Encoded::new(&latency);
            Cell { time: time as u64, counts, latency, ..Cell::default() }
        };
        RunFigures {
            label: String::new(),
            scenario: String::new(),
            asked: None,
            backend: BackendKind::Sim,
            seed: 1,
            machine: None,
            doubts: Vec::new(),
            phases: Vec::new(),
            cell_seconds: 1,
            cells: cells.iter().enumerate().map(cell).collect(),
            pods: Vec::new(),
            counts: Counts::default(),
            lost: Default::default(),
            told_latency: None,
            pods_max: 0,
            pod_hours: 0.0,
            time_to_scale: None,
            unexplained: 0,
        }
    }

    proptest! {
        #[test]
        fn percentiles_of_merged_repeats_are_those_of_the_pooled_histogram(
            runs in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::collection::vec(0u64..4_000_000_000_000, 0..40), 0..5), 1..6)
        ) {
            let mut pooled = hist::new();
            runs.iter().flatten().flatten().for_each(|value| pooled.saturating_record(*value));
            let all = Percentiles::of(&pooled);
            let figures: Vec<RunFigures> = runs.iter().map(|cells| run(cells)).collect();
            // Through JSON, as a baseline goes.
            let text = serde_json::to_string(&figures).unwrap();
            let figures: Vec<RunFigures> = serde_json::from_str(&text).unwrap();
            for (index, expected) in [all.p50, all.p90, all.p99, all.p999].into_iter().enumerate() {
                let found = Measure::whole(What::Latency(index)).pooled(&figures).unwrap();
                prop_assert_eq!(found, (all.count > 0).then_some(expected as f64));
            }
        }
    }
}
