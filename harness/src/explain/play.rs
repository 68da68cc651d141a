//! The passes of a timeline.

use highwater_model::{
    hpa::{self, Hpa, Moment, Scale, Settings},
    spec::{ScalingPolicyType, SelectPolicy},
    time::Nanos,
};

use super::{
    error::ExplainError,
    facts::{self, State, Timeline},
    manifest::Manifest,
    metric,
    told::{
        About, Condition, Event, Explanation, LimitedBy, Limits, Outcome, Pass, Rate,
        Recommendation, VERSION,
    },
    world::World,
};

/// The most passes, times the pods that each looks at.
const WORK_MAX: u64 = 200_000;

/// What the autoscaler starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) settings: Settings,
    /// As if it had been at work for long.
    pub(super) is_settled: bool,
}

/// Plays a timeline.
pub(super) fn play(
    manifest: &Manifest,
    timeline: &Timeline,
    start: Start,
) -> Result<Explanation, ExplainError> {
    let settings = start.settings;
    let mut hpa = Hpa::new(manifest.identity.clone(), &manifest.spec, settings);
    if manifest.went_to_zero && settings.kubernetes.remembers_zero() {
        hpa.take_over_zero();
    }
    let has_history = !timeline.recommended.is_empty() || !timeline.changed.is_empty();
    if start.is_settled || has_history {
        hpa.settle();
    }
    for &(at, replicas) in &timeline.recommended {
        hpa.recommended(at, replicas);
    }
    for &(at, from, to) in &timeline.changed {
        hpa.changed(at, from, to);
    }
    let first = &timeline.states[0];
    let Some(replicas) = first.replicas else {
        let hpa::Identity { kind, name, .. } = manifest.identity.clone();
        return Err(ExplainError::NoReplicas { kind, name });
    };
    let mut player =
        Player { timeline, hpa, replicas, told_settled: has_history || start.is_settled };
    let passes = player.all(settings.sync_period)?;
    let (min_replicas, max_replicas) = player.hpa.bounds();
    let identity = &manifest.identity;
    Ok(Explanation {
        version: VERSION,
        kubernetes: settings.kubernetes.to_string(),
        autoscaler: About {
            namespace: identity.namespace.clone(),
            name: manifest.name.clone(),
            target: format!("{}/{}", identity.kind, identity.name),
            min_replicas,
            max_replicas,
            has_behavior: player.hpa.behaviors().is_some(),
        },
        notes: notes(manifest, timeline, &settings),
        passes,
    })
}

fn notes(manifest: &Manifest, timeline: &Timeline, settings: &Settings) -> Vec<String> {
    let mut notes = timeline.notes.clone();
    if manifest.spec.metrics.is_empty() {
        notes.push("no metrics are given: the default is 80% of the CPU requests".into());
    }
    let (gates, kubernetes) = (settings.gates, settings.kubernetes);
    if manifest.spec.min_replicas == 0 && !gates.scale_to_zero {
        notes.push(format!(
            "minReplicas: 0 needs the feature gate HPAScaleToZero, which is off in {kubernetes}"
        ));
    }
    let behavior = manifest.spec.behavior.as_ref();
    let mut rules = behavior.into_iter().flat_map(|both| [&both.scale_up, &both.scale_down]);
    let has_tolerance = rules.any(|rules| rules.as_ref().is_some_and(|r| r.tolerance.is_some()));
    if has_tolerance && !gates.configurable_tolerance {
        notes.push(format!(
            "the tolerances of the behavior are not looked at: the feature gate \
             HPAConfigurableTolerance is off in {kubernetes}"
        ));
    }
    notes
}

struct Player<'a> {
    timeline: &'a Timeline,
    hpa: Hpa,
    replicas: u32,
    /// Whether it was told, or need not be, what a settled autoscaler would do.
    told_settled: bool,
}

impl Player<'_> {
    fn all(&mut self, period: Nanos) -> Result<Vec<Pass>, ExplainError> {
        let (states, period) = (&self.timeline.states, period.0.max(1));
        let (first, last) = (states[0].at, states[states.len() - 1].at);
        let end = self.timeline.until.unwrap_or(last).max(last);
        let span = u64::try_from(end.0.saturating_sub(first.0)).unwrap_or(0);
        // The last state is seen, whether or not its time is that of a pass.
        let passes =
            if self.timeline.until.is_some() { span / period } else { span.div_ceil(period) };
        let passes = passes.saturating_add(1);
        let pods = states.iter().map(|state| state.pods.len()).max().unwrap_or(0);
        if passes.saturating_mul(pods.max(10) as u64) > WORK_MAX {
            return Err(ExplainError::TooMuch { passes, pods, limit: WORK_MAX });
        }
        let mut told = Vec::new();
        let mut seen = None;
        for pass in 0..passes {
            let now = first.plus(Nanos(period.saturating_mul(pass)));
            let place = states.partition_point(|state| state.at <= now).saturating_sub(1);
            let state = &states[place];
            if seen.replace(place) != Some(place) {
                self.replicas = state.replicas.unwrap_or(self.replicas);
            }
            told.push(self.pass(now, state));
        }
        Ok(told)
    }

    fn pass(&mut self, now: Moment, state: &State) -> Pass {
        let scale = Scale { spec: self.replicas, status: state.status.unwrap_or(self.replicas) };
        let mut world = World::new(state, self.timeline.ambiguous.as_ref(), now, scale);
        let looks: Vec<Vec<hpa::Inspected>> = (0..self.hpa.metrics().len())
            .map(|place| self.hpa.inspect(now, &mut world, place))
            .collect();
        let settled = self.settled(now, state, scale);
        let sync = self.hpa.sync(now, &mut world);
        self.replicas = world.written.unwrap_or(self.replicas);
        let start = self.timeline.states[0].at;
        let metrics = match &sync.why {
            None => Vec::new(),
            Some(why) => metric::tell(&self.hpa, why, &looks, state),
        };
        let status = self.hpa.status();
        let conditions = status.conditions.iter().map(|condition| Condition {
            kind: condition.kind().name(),
            status: condition.holds,
            reason: condition.word(),
            message: condition.to_string(),
        });
        let events = sync
            .notes
            .iter()
            .map(|note| Event { reason: note.reason(), message: note.to_string() });
        let normalized = sync.why.as_ref().and_then(|why| why.normalized);
        Pass {
            at: self.timeline.clock.tell(now, start),
            seconds: facts::seconds(now, start),
            outcome: outcome(&sync),
            from: sync.from,
            status_replicas: sync.from.map(|_| scale.status),
            to: sync.to.or(sync.from),
            metrics,
            winner: sync.why.as_ref().and_then(|why| why.winner),
            limits: normalized.map(|normalized| self.limits(now, scale.spec, normalized)),
            settled: settled.filter(|settled| Some(*settled) != sync.to.or(sync.from)),
            conditions: conditions.collect(),
            events: events.collect(),
            error: sync.trouble.as_ref().map(ToString::to_string),
        }
    }

    /// What an autoscaler would do in the first pass that has wanted the same for long.
    fn settled(&mut self, now: Moment, state: &State, scale: Scale) -> Option<u32> {
        if std::mem::replace(&mut self.told_settled, true) {
            return None;
        }
        let (mut hpa, mut world) =
            (self.hpa.clone(), World::new(state, self.timeline.ambiguous.as_ref(), now, scale));
        hpa.settle();
        let sync = hpa.sync(now, &mut world);
        sync.to.or(sync.from)
    }

    fn limits(&self, now: Moment, from: u32, normalized: hpa::Normalized) -> Limits {
        let recommendation = |held: hpa::Held| Recommendation {
            replicas: held.replicas,
            seconds_ago: facts::seconds(now, held.at),
            window_seconds: held.window.as_secs_f64(),
        };
        Limits {
            proposal: normalized.proposal,
            lowest: normalized.low.map(recommendation),
            highest: recommendation(normalized.high),
            stabilized: normalized.stabilized,
            rate: normalized.rate.map(|rate| self.rate(rate, normalized.stabilized > from)),
            limited_by: match normalized.limit {
                hpa::Limit::None => LimitedBy::Nothing,
                hpa::Limit::Min => LimitedBy::MinReplicas,
                hpa::Limit::Max => LimitedBy::MaxReplicas,
                hpa::Limit::UpRate => LimitedBy::ScaleUpRate,
                hpa::Limit::DownRate => LimitedBy::ScaleDownRate,
            },
            desired: normalized.to,
        }
    }

    fn rate(&self, rate: hpa::Rate, is_up: bool) -> Rate {
        let by = match self.hpa.behaviors() {
            None => "twice the replicas, or 4".into(),
            Some(behaviors) => {
                let (name, rules) =
                    if is_up { ("scaleUp", &behaviors.up) } else { ("scaleDown", &behaviors.down) };
                match rate.policy.and_then(|place| rules.policies.get(place)) {
                    None => format!("{name} is disabled"),
                    Some(policy) => {
                        let percent = match policy.kind {
                            ScalingPolicyType::Pods => "",
                            ScalingPolicyType::Percent => "%",
                        };
                        let among = match (rules.policies.len(), rules.select) {
                            (0 | 1, _) => "",
                            (_, SelectPolicy::Min) => ", the least of its policies",
                            _ => ", the most of its policies",
                        };
                        format!(
                            "{name} {:?} {}{percent} in {} s{among}",
                            policy.kind, policy.value, policy.period_seconds
                        )
                    }
                }
            }
        };
        Rate { limit: rate.limit, by, start: rate.start }
    }
}

fn outcome(sync: &hpa::Sync) -> Outcome {
    if matches!(sync.trouble, Some(hpa::Trouble::Ambiguous { .. })) {
        return Outcome::Failed;
    }
    let has_number = sync.why.as_ref().map(|why| why.normalized.is_some());
    match (sync.from, has_number, sync.to) {
        (None, ..) | (_, Some(false), _) => Outcome::Failed,
        (_, None, Some(_)) => Outcome::Bounded,
        (_, None, None) => Outcome::Paused,
        (_, Some(true), Some(_)) => Outcome::Scaled,
        (_, Some(true), None) => Outcome::Unchanged,
    }
}
