//! What the autoscaler measured and decided.

use std::collections::BTreeMap;

use highwater_model::{
    event::{AutoscalerCondition, Event, EventKind, MetricReading, MetricUnit},
    time::{Nanos, Timestamp},
};

use super::scaling::Moment;

/// The autoscaler writes its status a moment after its decision, and both are seen by watches: a
/// status so long after a decision is of the same pass. Passes are 15 s apart, some clusters' 5 s.
pub const PASS: Nanos = Nanos::from_secs(2);

/// What is known of the autoscaler; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Autoscaling {
    /// Its settings, from when on.
    pub limits: Vec<ReplicaLimits>,
    /// What it said of itself, ascending.
    pub statuses: Vec<Status>,
    /// Its metrics over time, in the order of their first reading.
    pub metrics: Vec<MetricSeries>,
    /// What it decided, ascending.
    pub decisions: Vec<Decision>,
}

impl Autoscaling {
    /// Whether there was an autoscaler.
    pub fn is_known(&self) -> bool {
        !self.limits.is_empty() || !self.statuses.is_empty() || !self.decisions.is_empty()
    }

    /// Decisions for more replicas.
    pub fn scale_ups(&self) -> usize {
        self.decisions.iter().filter(|decision| decision.to > decision.from).count()
    }

    /// Decisions for fewer.
    pub fn scale_downs(&self) -> usize {
        self.decisions.iter().filter(|decision| decision.to < decision.from).count()
    }

    /// Decisions that a limit kept from going further.
    pub fn limited(&self) -> usize {
        self.decisions.iter().filter(|decision| decision.limited.is_some()).count()
    }
}

/// The autoscaler's bounds from `at` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaLimits {
    /// From when.
    pub at: Timestamp,
    /// `minReplicas`.
    pub min: u32,
    /// `maxReplicas`.
    pub max: u32,
}

/// What it said at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// When.
    pub moment: Moment,
    /// Replicas that it wants.
    pub desired: u32,
    /// Its metrics.
    pub metrics: Vec<MetricReading>,
    /// Its conditions.
    pub conditions: Vec<AutoscalerCondition>,
}

/// A metric over time.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries {
    /// Its name.
    pub name: String,
    /// What its figures count.
    pub unit: MetricUnit,
    /// Ascending; each holds until the next.
    pub points: Vec<MetricPoint>,
}

/// A reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricPoint {
    /// When.
    pub at: Timestamp,
    /// What was measured; `None` if it could not be.
    pub current: Option<f64>,
    /// What it aims at.
    pub target: f64,
}

/// A change of `spec.replicas` by the autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// How far off that may be.
    pub precision: Nanos,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Why, in the autoscaler's own words.
    pub reason: String,
    /// The metrics that it decided by.
    pub readings: Vec<MetricReading>,
    /// The conditions that changed with it.
    pub changed: Vec<AutoscalerCondition>,
    /// What kept it from going further (`TooManyReplicas`), if something did.
    pub limited: Option<String>,
}

/// Reads it from the events, which are in order of time.
pub fn autoscaling(events: &[Event]) -> Autoscaling {
    let mut known = Autoscaling::default();
    for event in events {
        match &event.kind {
            EventKind::AutoscalerSpec { min, max } => {
                known.limits.push(ReplicaLimits { at: event.at, min: *min, max: *max });
            }
            EventKind::AutoscalerStatus { desired, metrics, conditions, .. } => {
                known.statuses.push(Status {
                    moment: Moment::of(event),
                    desired: *desired,
                    metrics: metrics.clone(),
                    conditions: conditions.clone(),
                });
            }
            _ => {}
        }
    }
    known.metrics = series(&known.statuses);
    known.decisions = events.iter().filter_map(|event| decision(event, &known.statuses)).collect();
    known
}

/// The statuses by metric. Metrics of the same name and unit are told apart by their order.
fn series(statuses: &[Status]) -> Vec<MetricSeries> {
    let mut index: BTreeMap<(&str, MetricUnit, usize), usize> = BTreeMap::new();
    let mut all: Vec<MetricSeries> = Vec::new();
    for status in statuses {
        let mut seen: BTreeMap<(&str, MetricUnit), usize> = BTreeMap::new();
        for metric in &status.metrics {
            let nth = seen.entry((&metric.name, metric.unit)).or_default();
            let at = *index.entry((&metric.name, metric.unit, *nth)).or_insert_with(|| {
                all.push(MetricSeries {
                    name: metric.name.clone(),
                    unit: metric.unit,
                    points: Vec::new(),
                });
                all.len() - 1
            });
            *nth += 1;
            all[at].points.push(MetricPoint {
                at: status.moment.at,
                current: metric.current,
                target: metric.target,
            });
        }
    }
    all
}

fn decision(event: &Event, statuses: &[Status]) -> Option<Decision> {
    let EventKind::AutoscalerDecision { from, to, reason } = &event.kind else { return None };
    let status = status_of(event.at, *to, statuses);
    let now = status.map(|index| &statuses[index]);
    let before = status.and_then(|index| statuses.get(index.checked_sub(1)?));
    let is_new = |condition: &&AutoscalerCondition| {
        let known = before.is_some_and(|before| {
            before.conditions.iter().any(|old| {
                old.kind == condition.kind
                    && old.status == condition.status
                    && old.reason == condition.reason
            })
        });
        !known
    };
    let conditions = || now.into_iter().flat_map(|status| &status.conditions);
    let limited = conditions().find(|one| one.kind == "ScalingLimited" && one.status);
    Some(Decision {
        at: event.at,
        precision: event.precision.unwrap_or_default(),
        from: *from,
        to: *to,
        reason: reason.clone(),
        readings: now.map(|status| status.metrics.clone()).unwrap_or_default(),
        changed: conditions().filter(is_new).cloned().collect(),
        limited: limited.map(|condition| condition.reason.clone()),
    })
}

/// The status of the pass that decided: the nearest that wants what was decided, within what one
/// pass can last; else the last one before.
fn status_of(at: Timestamp, to: u32, statuses: &[Status]) -> Option<usize> {
    let until = |limit: Timestamp| statuses.partition_point(|status| status.moment.at <= limit);
    let earliest = Timestamp(at.0.saturating_sub(PASS.0));
    let first = statuses.partition_point(|status| status.moment.at < earliest);
    let same = (first..until(at + PASS)).filter(|index| statuses[*index].desired == to);
    let nearest = same.min_by_key(|index| statuses[*index].moment.at.0.abs_diff(at.0));
    nearest.or_else(|| until(at).checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{event::Source, time::SECOND};

    fn event(ms: u64, kind: EventKind) -> Event {
        let at = Timestamp(ms * 1_000_000);
        Event { at, seq: ms, source: Source::Autoscaler, precision: None, stated: None, kind }
    }

    fn status(ms: u64, desired: u32, current: Option<f64>, limited: bool) -> Event {
        let reading = |name: &str, current| MetricReading {
            name: name.into(),
            unit: MetricUnit::Percent,
            current,
            target: 50.0,
        };
        let conditions = vec![AutoscalerCondition {
            kind: "ScalingLimited".into(),
            status: limited,
            reason: if limited { "TooManyReplicas" } else { "DesiredWithinRange" }.into(),
            message: String::new(),
        }];
        let metrics = vec![reading("cpu", current), reading("cpu", Some(1.0))];
        event(ms, EventKind::AutoscalerStatus { current: 2, desired, metrics, conditions })
    }

    fn decided(ms: u64, from: u32, to: u32) -> Event {
        event(ms, EventKind::AutoscalerDecision { from, to, reason: "cpu above target".into() })
    }

    #[test]
    fn a_decision_has_the_reading_of_its_own_pass_although_that_is_told_later() {
        let events = [
            status(1_000, 2, Some(40.0), false),
            decided(16_000, 2, 6),
            status(16_020, 6, Some(180.0), true),
            status(31_000, 6, Some(70.0), true),
        ];
        let known = autoscaling(&events);
        let decision = &known.decisions[0];
        assert_eq!(decision.readings[0].current, Some(180.0));
        assert_eq!(decision.limited.as_deref(), Some("TooManyReplicas"));
        assert_eq!(decision.changed.len(), 1);
    }

    #[test]
    fn a_decision_without_a_status_of_its_own_has_the_last_one_before() {
        let rows = [
            // Told before, as our own controllers do.
            (vec![status(900, 6, Some(180.0), false), decided(1_000, 2, 6)], Some(180.0)),
            // What it wanted long ago is not what it decided by.
            (
                vec![
                    status(900, 6, Some(99.0), false),
                    status(8_000, 2, Some(60.0), false),
                    decided(10_000, 2, 6),
                ],
                Some(60.0),
            ),
            // The next pass is not the same.
            (
                vec![
                    status(900, 2, Some(60.0), false),
                    decided(1_000, 2, 6),
                    status(1_000 + 2_001, 6, Some(9.0), false),
                ],
                Some(60.0),
            ),
        ];
        for (events, reading) in rows {
            assert_eq!(autoscaling(&events).decisions[0].readings[0].current, reading);
        }
        let alone = &autoscaling(&[decided(1_000, 2, 6)]).decisions[0];
        assert!(alone.readings.is_empty() && alone.changed.is_empty() && alone.limited.is_none());
    }

    #[test]
    fn metrics_of_the_same_name_are_series_of_their_own() {
        let events = [status(0, 2, Some(40.0), false), status(SECOND / 1_000_000, 2, None, false)];
        let known = autoscaling(&events);
        let found: Vec<Vec<Option<f64>>> = known
            .metrics
            .iter()
            .map(|series| series.points.iter().map(|point| point.current).collect())
            .collect();
        assert_eq!(found, [vec![Some(40.0), None], vec![Some(1.0), Some(1.0)]]);
        assert!(known.is_known() && !autoscaling(&[]).is_known());
    }
}
