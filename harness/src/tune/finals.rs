//! Settings on the full simulator: the present one, the default of Kubernetes, and finalists.

use highwater_model::{
    elasticity::Steps,
    spec::{MetricSource, Scenario, TargetType},
    time::Timestamp,
};

use super::{
    cases::Case,
    journal::{Full, Ran},
    judge::{Score, missed_by},
    told::{TuneInterval, TuneRun, TuneSetting, TuneTotals},
    trial::{Problem, in_parallel},
};
use crate::{
    analyze::{self, Analysis},
    backend::sim,
    compare::stats::Estimate,
    plan::Plan,
    scenario::ScenarioError,
};

/// Cases with more requests than this are judged by the coarse model.
pub(super) const REQUESTS_MAX: f64 = 5e6;
/// The target that Kubernetes gives an autoscaler without metrics, per cent of the CPU request.
///
/// *Source*: `SetDefaults_HorizontalPodAutoscaler` in `pkg/apis/autoscaling/v2/defaults.go`.
const DEFAULT_TARGET: &str = "80";

/// A setting that is to be judged.
#[derive(Clone, Debug)]
pub(super) struct Finalist {
    pub(super) name: String,
    pub(super) sets: Vec<(String, String)>,
    pub(super) scenario: Scenario,
}

impl Finalist {
    pub(super) fn new(
        problem: &Problem<'_>,
        name: &str,
        sets: Vec<(String, String)>,
    ) -> Result<Self, ScenarioError> {
        let mut scenario = problem.variants.with(&sets)?;
        scenario.objectives.clone_from(&problem.goals.objectives);
        Ok(Self { name: name.into(), sets, scenario })
    }
}

/// The autoscaler as Kubernetes has it where nothing is said: no `behavior`, and 80 % where the
/// target is a utilisation. Bounds and metric are the scenario's.
pub(super) fn default_sets(scenario: &Scenario) -> Vec<(String, String)> {
    let Some(autoscaler) = &scenario.autoscaler else { return Vec::new() };
    let mut sets = Vec::new();
    if autoscaler.behavior.is_some() {
        sets.push(("autoscaler.behavior".into(), "{}".into()));
    }
    if let Some(MetricSource::Resource(metric)) =
        autoscaler.metrics.first().and_then(|m| m.source())
        && metric.target.kind == TargetType::Utilization
    {
        let path = "autoscaler.metrics[0].resource.target.averageUtilization";
        sets.push((path.into(), DEFAULT_TARGET.into()));
    }
    sets
}

/// Judges settings on all cases; `is_held_out` says which of these were not searched with.
pub(super) fn judge(
    problem: &Problem<'_>,
    cases: &[(&Case, bool)],
    finalists: &[Finalist],
    price: Option<f64>,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> Vec<TuneSetting> {
    let count = finalists.len() * cases.len();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let runs = in_parallel(problem.threads, count, |place| {
        let (finalist, case) = (&finalists[place / cases.len()], cases[place % cases.len()].0);
        let run = known(problem, finalist, case);
        let before = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tell(before + 1, count);
        run
    });
    finalists
        .iter()
        .zip(runs.chunks(cases.len()))
        .map(|(finalist, runs)| setting(finalist, runs, cases, price))
        .collect()
}

fn setting(
    finalist: &Finalist,
    runs: &[Ran],
    cases: &[(&Case, bool)],
    price: Option<f64>,
) -> TuneSetting {
    let of = |held_out: bool| {
        let is_of = |(_, case): &(&(TuneRun, _), &(&Case, bool))| case.1 == held_out;
        let runs: Vec<&TuneRun> =
            runs.iter().zip(cases).filter(is_of).map(|((run, _), _)| run).collect();
        totals(&runs, price)
    };
    TuneSetting {
        name: finalist.name.clone(),
        set: finalist.sets.iter().map(|(path, value)| format!("{path}={value}")).collect(),
        searched: of(false),
        held_out: of(true),
        against_default: None,
        regret: regret(runs),
        ready: runs.first().map(|run| run.1.clone()).unwrap_or_default(),
        runs: runs.iter().map(|run| run.0.clone()).collect(),
    }
}

fn regret(runs: &[Ran]) -> Option<f64> {
    let oracle: Option<f64> = runs.iter().map(|run| run.0.oracle_hours).sum();
    let hours: f64 = runs.iter().map(|run| run.0.pod_hours).sum();
    highwater_model::elasticity::regret(hours, oracle?)
}

fn totals(runs: &[&TuneRun], price: Option<f64>) -> TuneTotals {
    let mean = |of: fn(&TuneRun) -> f64| {
        runs.iter().map(|run| of(run)).sum::<f64>() / runs.len().max(1) as f64
    };
    let pod_hours = mean(|run| run.pod_hours);
    TuneTotals {
        met: runs.iter().filter(|run| run.missed.is_empty()).count(),
        of: runs.len(),
        pod_hours,
        cost: price.map(|price| price * pod_hours),
        p99_ms: runs.iter().map(|run| run.p99_ms).fold(0.0, f64::max),
        lost: runs.iter().map(|run| run.lost).sum(),
        changes: mean(|run| run.changes as f64),
    }
}

/// What is told of a run as a score; pod-hours are those while traffic ran.
pub(super) fn score((run, _): &Ran) -> Score {
    Score {
        shortfall: run.shortfall,
        pod_hours: run.pod_hours,
        p99: run.p99_ms / 1e3,
        lost: run.lost as f64 / run.owed.max(1) as f64,
        changes: run.changes as f64,
    }
}

/// [`run`], unless the journal knows it.
pub(super) fn known(problem: &Problem<'_>, finalist: &Finalist, case: &Case) -> Ran {
    let find = || run(problem, finalist, case);
    let Some(journal) = problem.journal else { return find() };
    let (sets, name) = (finalist.sets.clone(), case.name.clone());
    journal.full(Full { sets, case: name, seed: case.seed }, find)
}

fn run(problem: &Problem<'_>, finalist: &Finalist, case: &Case) -> Ran {
    let scenario = case.scenario(&finalist.scenario);
    if case.is_large() {
        return coarse(problem, &finalist.scenario, case);
    }
    let plan = match Plan::new(scenario) {
        Ok(plan) => plan,
        Err(error) => return (failed(&error), Vec::new()),
    };
    let record = match sim::record(&plan) {
        Ok(record) => record,
        Err(error) => return (failed(&error), Vec::new()),
    };
    match analyze::analyze(&record) {
        Ok(analysis) => (figures(&plan.scenario, &analysis), ready(&analysis)),
        Err(error) => (failed(&error), Vec::new()),
    }
}

/// A run that was not carried out holds nothing.
fn failed(error: &dyn std::error::Error) -> TuneRun {
    let shortfall = Score::HOPELESS.shortfall;
    TuneRun { missed: vec![error.to_string()], shortfall, ..TuneRun::default() }
}

fn coarse(problem: &Problem<'_>, scenario: &Scenario, case: &Case) -> Ran {
    let score = problem.try_on(scenario, case, None);
    let owed: f64 = case.load.counts().sum();
    let missed = (score.shortfall > 0.0).then(|| "missed on the coarse model".to_owned());
    let run = TuneRun {
        missed: missed.into_iter().collect(),
        shortfall: score.shortfall,
        pod_hours: score.pod_hours,
        oracle_hours: None,
        p99_ms: score.p99 * 1e3,
        lost: (score.lost * owed).round() as u64,
        owed: owed as u64,
        attainment: None,
        changes: score.changes as u64,
    };
    (run, Vec::new())
}

/// What a run of a scenario came to.
pub(super) fn figures(scenario: &Scenario, analysis: &Analysis) -> TuneRun {
    let missed = analysis.objectives.iter().filter(|one| !one.met);
    let owed = analysis.requests.owed;
    let judged = scenario.objectives.iter().zip(&analysis.objectives);
    let elastic = analysis.scorecard.elastic.as_ref().ok();
    TuneRun {
        missed: missed.map(|one| format!("{}: {}", one.name, one.shown)).collect(),
        shortfall: judged.map(|(objective, result)| missed_by(objective, result, owed)).sum(),
        pod_hours: elastic.map_or(analysis.pod_hours, |known| known.pod_hours),
        oracle_hours: elastic.map(|known| known.oracle_hours),
        p99_ms: analysis.latency.p99 as f64 / 1e6,
        lost: analysis.requests.failed + analysis.requests.unsent,
        owed: analysis.requests.owed,
        attainment: analysis.scorecard.attainment.as_ref().map(|known| known.share()),
        changes: analysis.autoscaling.decisions.len() as u64,
    }
}

/// Ready pods since the start of the traffic.
fn ready(analysis: &Analysis) -> Vec<(f64, u32)> {
    let timeline = &analysis.timeline;
    let mut steps = Steps::default();
    for point in &timeline.replicas {
        steps.set(point.at, point.ready);
    }
    let steps = steps.since(timeline.traffic_start);
    let end = Timestamp::ZERO + timeline.traffic_end.since(timeline.traffic_start);
    let first = std::iter::once((0.0, steps.first()));
    let others = steps.iter().take_while(|(at, _)| *at < end);
    first.chain(others.map(|(at, pods)| (at.as_secs_f64(), pods))).collect()
}

/// The relative difference of pod-hours, paired by case.
///
/// *Source*: Student's t on paired differences.
pub(super) fn against(one: &TuneSetting, default: &TuneSetting) -> Option<TuneInterval> {
    let pairs = one.runs.iter().zip(&default.runs);
    let shares: Vec<f64> = pairs
        .filter(|(_, base)| base.pod_hours > 0.0)
        .map(|(run, base)| run.pod_hours / base.pod_hours - 1.0)
        .collect();
    let (mean, variance) = crate::compare::stats::moments(&shares);
    let count = shares.len() as f64;
    let estimate =
        Estimate { value: mean, error: (variance? / count).sqrt(), freedom: count - 1.0 };
    let (low, high) = estimate.interval(0.95);
    Some(TuneInterval { mean, low, high })
}
