//! An autoscaler at work on a cluster: its controller's clock, and the pipeline of its metrics.
//!
//! The driver owns the clock. It calls [`Autoscaling::advance`] when a deadline has come, carries
//! out the [`Step`]s that come back, and gives what they wish for.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec::Vec,
};

use crate::{
    cluster::{Cluster, ContainerId, PodState},
    event::{AutoscalerCondition, EventKind, MetricReading, MetricUnit, Source},
    hpa::{self, Hpa, Identity, Moment, Note, Requests, Sample, Scale},
    metrics::{
        Wish,
        prometheus::{CustomMetrics, Told},
        resource::{ResourceMetrics, Usage},
    },
    rng::Stream,
    spec::{
        Autoscaler, MetricIdentifier, MetricSource, MetricSpec, ObjectReference, PatchAutoscaler,
        ResourceList, Scenario,
    },
    time::{Nanos, SECOND, Timestamp},
};

/// The name of a pod's container, as metrics and messages have it.
pub const CONTAINER: &str = "app";
/// The namespace in messages.
const NAMESPACE: &str = "default";
/// What the aggregated API answers while nobody serves it.
const UNAVAILABLE: &str = "the server is currently unable to handle the request";

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give a reading.
    Wish(Wish),
    /// Give the cluster this as `spec.replicas`.
    Scale(u32),
    /// Something for the record.
    Emit {
        /// Who says so.
        source: Source,
        /// What.
        kind: Box<EventKind>,
        /// The time that the object itself would give.
        stated: Option<Timestamp>,
    },
}

/// What an autoscaler scales, as the API server has it.
pub trait Target {
    /// Its pods, in order of creation.
    fn pods(&self) -> Vec<PodState<'_>>;
    /// Its scale.
    fn scale(&self) -> Scale;
    /// A pod's name.
    fn pod_name(&self, pod: u32) -> &str;
}

impl Target for Cluster {
    fn pods(&self) -> Vec<PodState<'_>> {
        self.pod_states()
    }

    fn scale(&self) -> Scale {
        let status = self.status();
        Scale { spec: status.desired, status: status.current }
    }

    fn pod_name(&self, pod: u32) -> &str {
        Self::pod_name(self, pod)
    }
}

/// An autoscaler at work.
#[derive(Clone, Debug)]
pub struct Autoscaling {
    hpa: Hpa,
    spec: Autoscaler,
    requests: Vec<Requests>,
    resource: ResourceMetrics,
    custom: CustomMetrics,
    sync_period: Nanos,
    next_sync: Timestamp,
    /// Until when the resource metrics API does not answer.
    outage_until: Timestamp,
    told: Last,
    /// Whether it emits nothing.
    is_quiet: bool,
    /// Since which pass, without a break, a metric has asked for more than there is.
    asks_since: Option<Timestamp>,
}

/// What was told last, so that only changes are.
#[derive(Clone, Debug, Default)]
struct Last {
    bounds: Option<(u32, u32)>,
    status: Option<EventKind>,
    served: Vec<(u32, Timestamp)>,
}

impl Autoscaling {
    /// The autoscaler of a scenario; `None` if it has none.
    pub fn new(scenario: &Scenario) -> Option<Self> {
        let spec = scenario.autoscaler.clone()?;
        let settings = scenario.controller_manager.settings();
        let (pipeline, seed) = (&scenario.metrics_pipeline, scenario.seed);
        let identity = Identity {
            namespace: NAMESPACE.into(),
            kind: "Deployment".into(),
            name: scenario.name.clone(),
        };
        let requests = &scenario.target.deployment.template.resources.requests;
        // An autoscaler has been there for long, and its turn comes at any time.
        let phase = Stream::new(seed, "autoscaler").below(settings.sync_period.0);
        Some(Self {
            hpa: Hpa::new(identity, &spec, settings),
            requests: Vec::from([requested(requests)]),
            resource: ResourceMetrics::new(pipeline, seed),
            custom: CustomMetrics::new(&pipeline.prometheus, &custom_names(&spec), seed),
            sync_period: settings.sync_period,
            next_sync: Timestamp(phase),
            outage_until: Timestamp::ZERO,
            told: Last::default(),
            is_quiet: false,
            asks_since: None,
            spec,
        })
    }

    /// The same, which emits nothing for the record: it wishes and scales only.
    #[must_use]
    pub fn quietly(self) -> Self {
        Self { is_quiet: true, ..self }
    }

    /// Since which pass, without a break, a metric has asked for more than there is; `None` if the
    /// last pass found none that did.
    pub const fn asks_since(&self) -> Option<Timestamp> {
        self.asks_since
    }

    /// A container runs.
    pub fn started(&mut self, now: Timestamp, container: ContainerId) {
        self.resource.started(now, container);
        self.custom.started(now, container);
    }

    /// A container ended.
    pub fn ended(&mut self, container: ContainerId) {
        self.resource.ended(container);
        self.custom.ended(container);
    }

    /// What a container has used, at `now`.
    pub fn used(&mut self, now: Timestamp, container: ContainerId, usage: Usage) {
        self.resource.used(now, container, usage);
    }

    /// What a container told of itself at `now`.
    pub fn scraped<'a>(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        told: impl Iterator<Item = Told<'a>>,
    ) {
        self.custom.scraped(now, container, told);
    }

    /// Changes fields of the spec.
    pub fn patch(&mut self, patch: &PatchAutoscaler) {
        let spec = &mut self.spec;
        spec.min_replicas = patch.min_replicas.unwrap_or(spec.min_replicas);
        spec.max_replicas = patch.max_replicas.unwrap_or(spec.max_replicas);
        if let Some(metrics) = &patch.metrics {
            spec.metrics.clone_from(metrics);
        }
        if let Some(behavior) = &patch.behavior {
            spec.behavior = Some(behavior.clone());
        }
        self.custom.want(&custom_names(&self.spec));
        self.hpa.change(&self.spec);
    }

    /// The resource metrics API does not answer until then.
    pub fn lose_metrics(&mut self, until: Timestamp) {
        self.outage_until = self.outage_until.max(until);
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Timestamp {
        self.next_sync.min(self.resource.next_deadline()).min(self.custom.next_deadline())
    }

    /// Does what is due at `now`. Afterwards the next deadline is later than `now`.
    pub fn advance(&mut self, now: Timestamp, target: &impl Target, steps: &mut Vec<Step>) {
        let mut wishes = Vec::new();
        let has_scraped = self.resource.advance(now, &mut wishes);
        self.custom.advance(now, &mut wishes);
        steps.extend(wishes.into_iter().map(Step::Wish));
        if !self.is_quiet {
            self.tell_bounds(steps);
            if has_scraped && now >= self.outage_until {
                self.tell_served(target, steps);
            }
        }
        if self.next_sync <= now {
            let period = self.sync_period.0.max(1);
            let missed = now.since(self.next_sync).0 / period + 1;
            self.next_sync = self.next_sync + Nanos(missed.saturating_mul(period));
            self.sync(now, target, steps);
        }
    }

    fn sync(&mut self, now: Timestamp, target: &impl Target, steps: &mut Vec<Step>) {
        let states = target.pods();
        let mut world = World {
            now,
            scale: target.scale(),
            pods: states.iter().map(|state| pod(state, &self.requests)).collect(),
            resource: &self.resource,
            custom: core::cell::RefCell::new(&mut self.custom),
            is_out: now < self.outage_until,
            written: None,
        };
        let sync = self.hpa.sync(Moment::from(now), &mut world);
        let written = world.written;
        let asks = sync.why.as_ref().is_some_and(|why| {
            let from = sync.from.map_or(i64::MAX, i64::from);
            why.proposals.iter().flatten().any(|asked| i64::from(asked.replicas) > from)
        });
        self.asks_since = asks.then(|| self.asks_since.unwrap_or(now));
        if self.is_quiet {
            steps.extend(written.map(Step::Scale));
            return;
        }
        if let (Some(from), Some(to)) = (sync.from, written) {
            let reason = sync.notes.iter().rev().find_map(reason).unwrap_or_default();
            let kind = EventKind::AutoscalerDecision { from, to, reason };
            steps.push(emit(Source::Autoscaler, kind));
            steps.push(Step::Scale(to));
        }
        let kind = self.status_event();
        if self.told.status.as_ref() != Some(&kind) {
            self.told.status = Some(kind.clone());
            steps.push(emit(Source::Autoscaler, kind));
        }
    }

    fn status_event(&self) -> EventKind {
        let status = self.hpa.status();
        let readings = self.hpa.metrics().iter().enumerate().filter_map(|(place, metric)| {
            reading(metric, status.metrics.get(place).copied().flatten())
        });
        let conditions = status.conditions.iter().map(|condition| AutoscalerCondition {
            kind: condition.kind().name().into(),
            status: condition.holds,
            reason: condition.word().into(),
            message: condition.to_string(),
        });
        EventKind::AutoscalerStatus {
            current: status.current,
            desired: status.desired,
            metrics: readings.collect(),
            conditions: conditions.collect(),
        }
    }

    fn tell_bounds(&mut self, steps: &mut Vec<Step>) {
        let bounds = self.hpa.bounds();
        if self.told.bounds.replace(bounds) != Some(bounds) {
            let (min, max) = bounds;
            steps.push(emit(Source::Autoscaler, EventKind::AutoscalerSpec { min, max }));
        }
    }

    /// What metrics-server says anew.
    fn tell_served(&mut self, target: &impl Target, steps: &mut Vec<Step>) {
        let served: Vec<_> = self.resource.all().collect();
        for (pod, figures) in &served {
            if self.told.served.contains(&(*pod, figures.at)) {
                continue;
            }
            let kind = EventKind::PodMetrics {
                pod: target.pod_name(*pod).into(),
                cpu_nano: figures.cpu_nano,
                memory: figures.memory,
                window: figures.window,
            };
            let (kind, stated) = (Box::new(kind), Some(figures.at));
            steps.push(Step::Emit { source: Source::Metrics, kind, stated });
        }
        self.told.served = served.into_iter().map(|(pod, figures)| (pod, figures.at)).collect();
    }
}

fn emit(source: Source, kind: EventKind) -> Step {
    Step::Emit { source, kind: Box::new(kind), stated: None }
}

fn reason(note: &Note) -> Option<String> {
    matches!(note, Note::SuccessfulRescale { .. }).then(|| note.to_string())
}

fn requested(requests: &ResourceList) -> Requests {
    let mut resources = Vec::new();
    if let Some(cpu) = requests.cpu {
        resources.push(("cpu".into(), cpu.0 as i64));
    }
    if let Some(memory) = requests.memory {
        resources.push(("memory".into(), (memory.0 as i64).saturating_mul(1000)));
    }
    Requests { container: CONTAINER.into(), resources }
}

/// The names of the metrics that come from Prometheus.
fn custom_names(spec: &Autoscaler) -> Vec<String> {
    let custom = spec.metrics.iter().filter_map(|metric| match metric.source()? {
        MetricSource::Resource(_) | MetricSource::ContainerResource(_) => None,
        source => Some(source.name().clone()),
    });
    custom.collect()
}

/// A pod as the API has it: its times are whole seconds.
fn pod<'a>(state: &PodState<'a>, requests: &'a [Requests]) -> hpa::Pod<'a> {
    let whole = |at: Timestamp| Moment::from(Timestamp(at.second() * SECOND));
    let readiness = |is_ready| {
        if is_ready { hpa::Readiness::Ready } else { hpa::Readiness::NotReady }
    };
    hpa::Pod {
        id: state.pod,
        name: state.name,
        phase: if state.is_running { hpa::PodPhase::Running } else { hpa::PodPhase::Pending },
        is_deleted: state.is_terminating,
        ready: state.started.map(|_| (readiness(state.is_ready), whole(state.ready_since))),
        started: state.started.map(whole),
        requests,
        whole: None,
    }
}

/// What a metric measured, as the record has it.
fn reading(metric: &MetricSpec, measured: Option<hpa::Reading>) -> Option<MetricReading> {
    let source = metric.source()?;
    let target = source.target();
    let name = match source {
        MetricSource::ContainerResource(metric) => {
            alloc::format!("{}/{}", metric.container, metric.name)
        }
        source => source.name().clone(),
    };
    let measured = measured.unwrap_or_default();
    let whole = |milli: i64| milli as f64 / 1000.0;
    // An average wins over a utilization or a value.
    let (unit, current, target) = if let Some(average) = &target.average_value {
        (MetricUnit::AverageValue, measured.average.map(whole), whole(average.milli()))
    } else if let Some(percent) = target.average_utilization {
        (MetricUnit::Percent, measured.utilization.map(f64::from), f64::from(percent))
    } else {
        let value = target.value.as_ref()?;
        (MetricUnit::Value, measured.value.map(whole), whole(value.milli()))
    };
    Some(MetricReading { name, unit, current, target })
}

/// What one pass sees of the cluster.
struct World<'a> {
    now: Timestamp,
    scale: Scale,
    pods: Vec<hpa::Pod<'a>>,
    resource: &'a ResourceMetrics,
    /// The adapter keeps its answers for a while.
    custom: core::cell::RefCell<&'a mut CustomMetrics>,
    is_out: bool,
    written: Option<u32>,
}

impl hpa::World for World<'_> {
    fn scale(&mut self) -> Result<Scale, String> {
        Ok(self.scale)
    }

    fn write(&mut self, replicas: u32) -> Result<(), String> {
        self.written = Some(replicas);
        Ok(())
    }

    fn pods(&self) -> &[hpa::Pod<'_>] {
        &self.pods
    }

    fn resource(
        &self,
        resource: &str,
        container: Option<&str>,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String> {
        if self.is_out {
            return Err(UNAVAILABLE.into());
        }
        let mut pods = 0;
        for (pod, served) in self.resource.all() {
            pods += 1;
            let milli = match resource {
                // Rounded up, as a quantity's thousandths are.
                "cpu" => served.cpu_nano.div_ceil(1_000_000) as i64,
                "memory" => (served.memory as i64).saturating_mul(1000),
                _ => continue,
            };
            if container.is_some_and(|container| container != CONTAINER) {
                continue;
            }
            let at = Moment::from(Timestamp(served.at.second() * SECOND));
            into.push(Sample { pod, milli, at, window: served.window });
        }
        Ok(pods)
    }

    fn pods_metric(
        &self,
        metric: &MetricIdentifier,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String> {
        let answer = self.custom.borrow_mut().ask(self.now, &metric.name);
        let at = Moment::from(Timestamp(self.now.second() * SECOND));
        into.extend(answer.iter().map(|&(pod, value)| Sample {
            pod,
            milli: milli(value),
            at,
            window: Nanos::from_secs(60),
        }));
        Ok(answer.len())
    }

    fn object(&self, metric: &MetricIdentifier, _: &ObjectReference) -> Result<i64, String> {
        let values = self.external(metric)?;
        values
            .first()
            .copied()
            .ok_or_else(|| alloc::format!("the server could not find the metric {}", metric.name))
    }

    fn external(&self, metric: &MetricIdentifier) -> Result<Vec<i64>, String> {
        let answer = self.custom.borrow_mut().ask(self.now, &metric.name);
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        Ok(Vec::from([milli(answer.iter().map(|(_, value)| value).sum())]))
    }
}

/// As the adapter turns a number into a quantity: towards zero; what is none becomes zero.
fn milli(value: f64) -> i64 {
    (value * 1000.0) as i64
}
