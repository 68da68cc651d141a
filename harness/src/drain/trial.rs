//! Many endings under load, and what was lost in them.

use std::collections::BTreeMap;

use highwater_model::{
    spec::{
        LifecycleHandler, Objective, Phase, Repeat, RollingUpdate, Rollout, Scenario,
        ScheduledEvent, SleepAction, Strategy, StrategyType,
    },
    time::{Nanos, SECOND, Timestamp},
    units::{IntOrPercent, RatePerSec},
};

use super::DrainError;
use crate::{
    analyze::{self, Cause, pods::Lives},
    backend::sim,
    plan::Plan,
    record::RunRecord,
};

/// Over how many seeds the endings of a trial are spread.
pub(super) const SEEDS: u64 = 2;
/// Seconds between two rollouts, at least.
const EVERY_MIN: u64 = 5;
/// Before the first rollout, seconds.
const BEFORE: u64 = 2;

/// What a pod may take to end after its preStop, seconds: as long as its scenario lets it, between
/// these.
const ALLOWANCE: (u64, u64) = (10, 600);

/// A preStop and a grace period, whole seconds as Kubernetes has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) pre_stop: u32,
    pub(super) grace: u32,
}

/// A scenario made into endings: all pods are replaced at once, again and again, at the highest rate
/// of its traffic.
#[derive(Clone, Debug)]
pub(super) struct Endings {
    base: Scenario,
    rate: f64,
    rollouts: u32,
    seeds: u64,
    every: u64,
}

/// How many endings without a loss bound the share that loses one, at 95 %: the least n with
/// (1 - share)^n <= 5 %.
pub(super) fn needed(share: f64) -> u32 {
    (0.05f64.ln() / (1.0 - share).ln()).ceil() as u32
}

impl Endings {
    /// As many as `bound` needs, over so many seeds.
    pub(super) fn new(scenario: &Scenario, bound: f64, seeds: u64) -> Result<Self, DrainError> {
        if scenario.target.url.is_some() {
            return Err(DrainError::Nothing("`target.url` has no pods"));
        }
        let replicas = scenario.target.deployment.replicas;
        if replicas == 0 {
            return Err(DrainError::Nothing("the Deployment has no replicas"));
        }
        let profile = Plan::new(scenario.clone())?.profile;
        let rate = profile.peak(Nanos::ZERO, profile.lasts());
        if rate <= 0.0 {
            return Err(DrainError::Nothing("the traffic has no requests"));
        }
        let template = &scenario.target.deployment.template;
        let probe = template.readiness_probe.as_ref().map_or(0, |probe| {
            u64::from(probe.initial_delay_seconds) + u64::from(probe.period_seconds)
        });
        let startup = scenario.target.service.as_ref().map_or(Nanos::ZERO, |one| one.startup);
        let every = (startup.0.div_ceil(SECOND) + probe + 2).max(EVERY_MIN);
        let share = u64::from(needed(bound)).div_ceil(seeds);
        let rollouts = share.div_ceil(u64::from(replicas)) as u32;
        Ok(Self { base: endless(scenario), rate, rollouts, seeds, every })
    }

    /// Requests per second.
    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// The scenario with a setting, as it is run.
    pub(super) fn scenario(&self, setting: Setting, seed: u64) -> Scenario {
        let mut scenario = self.base.clone();
        scenario.seed = seed;
        let template = &mut scenario.target.deployment.template;
        template.termination_grace_period_seconds = setting.grace;
        let mut lifecycle = template.lifecycle.take().unwrap_or_default();
        lifecycle.pre_stop = (setting.pre_stop > 0).then(|| LifecycleHandler {
            sleep: Some(SleepAction { seconds: setting.pre_stop }),
            ..LifecycleHandler::default()
        });
        template.lifecycle = (lifecycle != Default::default()).then_some(lifecycle);
        // The last pods have all the time that they may take.
        let tail = u64::from(setting.grace) + self.every;
        let lasts = BEFORE + self.every * u64::from(self.rollouts) + tail;
        scenario.traffic.phases = vec![Phase {
            hold: Some(RatePerSec(self.rate)),
            for_: Some(Nanos::from_secs(lasts)),
            ..Phase::default()
        }];
        scenario.events = vec![ScheduledEvent {
            at: Nanos::from_secs(BEFORE),
            rollout: Some(Rollout::default()),
            repeat: Some(Repeat { every: Nanos::from_secs(self.every), times: self.rollouts }),
            ..ScheduledEvent::default()
        }];
        scenario
    }

    /// What comes of a setting on the simulator, with seeds from `first` on.
    pub(super) fn trial(&self, setting: Setting, first: u64) -> Result<Trial, DrainError> {
        let mut sum = Trial::of(setting);
        for more in 0..self.seeds {
            let scenario = self.scenario(setting, first.wrapping_add(more));
            let record = sim::record(&Plan::new(scenario)?)?;
            sum.add(&record)?;
        }
        Ok(sum)
    }

    /// What a pod may take to end after its preStop, seconds: the longest request, and the service's
    /// own deadline with what it closes, and some more.
    pub(super) fn allowance(&self) -> u32 {
        let service = self.base.target.service.clone().unwrap_or_default();
        let closes = service.dependencies.iter().map(|one| one.close);
        let drain = closes.fold(service.drain.delay + service.drain.deadline, |sum, one| sum + one);
        let longest = self.base.traffic.timeout.max(drain);
        (longest.0.div_ceil(SECOND) + 5).clamp(ALLOWANCE.0, ALLOWANCE.1) as u32
    }

    /// The scenario's own seed.
    pub(super) const fn seed(&self) -> u64 {
        self.base.seed
    }
}

/// The scenario with nothing left that moves pods, but for their deletion.
fn endless(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.name = format!("{}-drain", scenario.name);
    scenario.description = "Pods end under load, again and again. Is a request lost?".to_owned();
    scenario.autoscaler = None;
    scenario.target.deployment.strategy = Strategy {
        kind: StrategyType::RollingUpdate,
        rolling_update: Some(RollingUpdate {
            max_surge: IntOrPercent::Percent(100),
            max_unavailable: IntOrPercent::Int(0),
        }),
    };
    scenario.objectives = ["failed", "unsent"]
        .map(|measure| {
            let objective = serde_json::from_value::<Objective>(serde_json::json!({measure: 0}));
            objective.expect("an objective")
        })
        .into();
    scenario
}

/// What came of a setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trial {
    pub(super) setting: Setting,
    /// Pods that were deleted while traffic ran.
    pub(super) endings: u64,
    /// Requests that failed, or were not sent.
    pub(super) lost: u64,
    /// Endings by SIGKILL.
    pub(super) killed: u64,
    /// Losses by cause.
    pub(super) causes: BTreeMap<Cause, u64>,
    /// The longest that a pod was chosen after its deletion was asked for.
    pub(super) propagation: Option<Nanos>,
    /// The slowest good answer, from its sending.
    pub(super) slowest: Nanos,
    /// The longest from the stop signal to the process's end.
    pub(super) drain: Option<Nanos>,
}

impl Trial {
    pub(super) const fn of(setting: Setting) -> Self {
        Self {
            setting,
            endings: 0,
            lost: 0,
            killed: 0,
            causes: BTreeMap::new(),
            propagation: None,
            slowest: Nanos::ZERO,
            drain: None,
        }
    }

    /// Whether a request was lost.
    pub(super) const fn loses(&self) -> bool {
        self.lost > 0
    }

    /// Whether a request was lost, or a pod did not end by itself.
    pub(super) const fn fails(&self) -> bool {
        self.lost > 0 || self.killed > 0
    }

    /// Adds a run.
    pub(super) fn add(&mut self, record: &RunRecord) -> Result<(), DrainError> {
        let analysis = analyze::analyze(record)?;
        let requests = &analysis.requests;
        self.lost += requests.failed + requests.unsent;
        for loss in &analysis.losses {
            *self.causes.entry(loss.cause).or_default() += loss.count;
        }
        self.slowest = self.slowest.max(Nanos(analysis.service_time.max));
        self.add_endings(&Lives::of(&record.events), analysis.timeline.traffic_end);
        Ok(())
    }

    fn add_endings(&mut self, lives: &Lives, until: Timestamp) {
        let ended = |life: &&analyze::pods::PodLife| {
            life.deletion.is_some_and(|deletion| deletion.at.at < until)
        };
        for life in lives.pods.values().filter(ended) {
            self.endings += 1;
            let Some(container) = life.containers.last() else { continue };
            self.killed += u64::from(container.sigkill.is_some());
            self.propagation = self.propagation.max(life.propagation());
            let drain = container.sigterm.zip(container.ended());
            self.drain = self.drain.max(drain.map(|(from, to)| to.at.since(from.at)));
        }
    }
}
