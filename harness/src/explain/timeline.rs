//! From what was read to the states that passes go through.

use highwater_model::{
    hpa::{Moment, Version},
    time::Nanos,
};
use schemars::schema_for;

use super::{
    error::{ExplainError, faults},
    facts::{self, Clock, State, Timeline},
    given::{self, States},
    input::{Object, read_node, unfold},
    manifest::{self, Manifest},
    objects,
};
use crate::scenario::{
    check, path,
    tree::{Entry, Kind, Node},
};

/// The most states of a timeline.
const STATES_MAX: usize = 2_000;

/// The states that the objects and documents of all files make.
pub(super) fn build(
    manifest: &Manifest,
    all: &[Object],
    now: Option<&str>,
    kubernetes: Version,
) -> Result<Timeline, ExplainError> {
    let is_states =
        |object: &&Object| object.kind.is_empty() && object.node.entry("states").is_some();
    let mut lists = all.iter().filter(is_states);
    let Some(list) = lists.next() else {
        let own: Vec<Object> =
            all.iter().filter(|object| !manifest::is_one(object)).cloned().collect();
        return snapshot(manifest, &own, now, kubernetes);
    };
    if let Some(second) = lists.next() {
        return Err(ExplainError::SeveralTimelines { origin: second.origin.to_string() });
    }
    let is_fact = |object: &&Object| {
        ["Pod", "PodMetrics", "MetricValue", "ExternalMetricValue"].contains(&object.kind.as_str())
    };
    if all.iter().any(|object| is_fact(&object)) {
        return Err(ExplainError::TwoForms { origin: list.origin.to_string() });
    }
    if now.is_some() {
        return Err(ExplainError::Flag("--now goes with objects, not with `states`".into()));
    }
    written(manifest, list, all, kubernetes)
}

/// One state, of objects.
fn snapshot(
    manifest: &Manifest,
    objects: &[Object],
    now: Option<&str>,
    kubernetes: Version,
) -> Result<Timeline, ExplainError> {
    let read = objects::read(manifest, objects, &[], kubernetes)?;
    let (mut state, mut notes) = (read.state, read.notes);
    let known = read.sampled.or(read.newest);
    let (clock, at) = match (now, known) {
        (Some(text), _) => match facts::time(text) {
            Some((Clock::Absolute, at)) => (Clock::Absolute, at),
            _ => {
                let message = "--now is a time such as 2026-01-01T12:00:00Z";
                return Err(ExplainError::Flag(message.into()));
            }
        },
        (None, Some(at)) => {
            let told = Clock::Absolute.tell(at, at);
            let of = if read.sampled.is_some() { "sample" } else { "pod" };
            notes.push(format!("the pass is at the time of the newest {of}, {told}; see --now"));
            (Clock::Absolute, at)
        }
        (None, None) => (Clock::Relative, Moment(0)),
    };
    state.at = at;
    if state.replicas.is_none() {
        state.replicas = manifest.seen;
        if let Some(seen) = manifest.seen {
            notes.push(format!(
                "spec.replicas is taken from status.currentReplicas of the autoscaler, {seen}"
            ));
        }
    }
    let states = vec![state];
    let (recommended, changed) = (Vec::new(), Vec::new());
    let ambiguous = None;
    Ok(Timeline { states, until: None, recommended, changed, clock, ambiguous, notes })
}

/// The states that someone wrote down.
fn written(
    manifest: &Manifest,
    list: &Object,
    context: &[Object],
    kubernetes: Version,
) -> Result<Timeline, ExplainError> {
    let mut root = list.node.clone();
    let nested = take_objects(&mut root, list);
    let schema = schema_for!(States).to_value();
    let found = check::check(&root, &schema);
    if !found.is_empty() {
        return Err(faults(&list.origin, found));
    }
    let given: States = read_node(&root).map_err(|found| faults(&list.origin, found))?;
    if given.states.is_empty() || given.states.len() > STATES_MAX {
        let message = format!(
            "`states` has {} entries; between 1 and {STATES_MAX} are taken",
            given.states.len()
        );
        return Err(list.fault("states", message));
    }
    let reading = Reading { manifest, list, context, kubernetes };
    let (mut clock, mut states, mut notes) = (None, Vec::<State>::new(), Vec::new());
    for (place, (state, objects)) in given.states.into_iter().zip(nested).enumerate() {
        let before = states.last();
        let (own, state) = reading.state(place, state, &objects, before, &mut notes)?;
        reading.check_time(place, own, *clock.get_or_insert(own), &state, before)?;
        states.push(state);
    }
    if let Some(first) = states.first_mut()
        && first.replicas.is_none()
    {
        first.replicas = context_replicas(manifest, context, kubernetes)?.or(manifest.seen);
    }
    let clock = clock.unwrap_or(Clock::Relative);
    let start = states.first().map_or(Moment(0), |state| state.at);
    let until = match &given.until {
        None => None,
        Some(text) => match facts::time(text) {
            Some((own, at)) if own == clock => Some(at),
            _ => {
                let message = "until: expected a time like those of the states".into();
                return Err(list.fault("until", message));
            }
        },
    };
    let ago = |span: Nanos| start.minus(span);
    let recommended = given.recommended.iter().map(|one| (ago(one.ago), one.replicas)).collect();
    let changed = given.changed.iter().map(|one| (ago(one.ago), one.from, one.to)).collect();
    Ok(Timeline { states, until, recommended, changed, clock, ambiguous: None, notes })
}

/// `spec.replicas` of the scaled object that stands beside the autoscaler.
fn context_replicas(
    manifest: &Manifest,
    context: &[Object],
    kubernetes: Version,
) -> Result<Option<u32>, ExplainError> {
    Ok(objects::read(manifest, context, &[], kubernetes)?.state.replicas)
}

/// Takes `objects` out of each state: they are read by other rules.
fn take_objects(root: &mut Node, list: &Object) -> Vec<Option<Vec<Object>>> {
    let Kind::Map(entries) = &mut root.kind else { return Vec::new() };
    let states = entries.iter_mut().find(|entry| entry.key == "states");
    let Some(Kind::List(states)) = states.map(|entry| &mut entry.value.kind) else {
        return Vec::new();
    };
    states.iter_mut().map(|state| take_from(state, list)).collect()
}

fn take_from(state: &mut Node, list: &Object) -> Option<Vec<Object>> {
    let Kind::Map(entries) = &mut state.kind else { return None };
    let place = entries
        .iter()
        .position(|entry| entry.key == "objects" && matches!(entry.value.kind, Kind::List(_)))?;
    let Entry { value, .. } = entries.remove(place);
    let Kind::List(nodes) = value.kind else { return None };
    let mut objects = Vec::new();
    for node in nodes {
        unfold(Object::new(&list.origin, node, "", ""), &mut objects);
    }
    Some(objects)
}

struct Reading<'a> {
    manifest: &'a Manifest,
    list: &'a Object,
    context: &'a [Object],
    kubernetes: Version,
}

impl Reading<'_> {
    fn fault(&self, place: usize, key: &str, message: &str) -> ExplainError {
        let path = format!("states[{place}]{key}");
        self.list.fault(&path, format!("{path}: {message}"))
    }

    /// A state, and by which clock.
    fn state(
        &self,
        place: usize,
        given: given::State,
        objects: &Option<Vec<Object>>,
        before: Option<&State>,
        notes: &mut Vec<String>,
    ) -> Result<(Clock, State), ExplainError> {
        let read = match objects {
            Some(objects) => {
                let both = given.pods.is_some() || given.replicas.is_some();
                if both {
                    let message =
                        "gives `objects` beside `pods` or `replicas`; one of them is enough";
                    return Err(self.fault(place, "", message));
                }
                Some(objects::read(self.manifest, objects, self.context, self.kubernetes)?)
            }
            None => None,
        };
        let newest = read.as_ref().and_then(|read| read.sampled.or(read.newest));
        let (clock, at) = match (&given.at, newest) {
            (Some(text), _) => facts::time(text).ok_or_else(|| {
                let message = "expected a time such as 1m30s or 2026-01-01T12:00:00Z";
                self.fault(place, ".at", message)
            })?,
            (None, Some(at)) => (Clock::Absolute, at),
            (None, None) if place == 0 => (Clock::Relative, Moment(0)),
            (None, None) => return Err(self.fault(place, "", "has no `at`")),
        };
        if newest.is_some() && clock == Clock::Relative {
            let message =
                "must be a time such as 2026-01-01T12:00:00Z, as those of its objects are";
            return Err(self.fault(place, ".at", message));
        }
        let old = before.cloned().unwrap_or_default();
        let mut state = State { at, errors: given.errors, ..State::default() };
        match read {
            Some(read) => {
                notes.extend(
                    read.notes.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>(),
                );
                state = State { at, errors: state.errors, ..read.state };
                if state.pods.is_empty() {
                    state.pods = old.pods;
                }
            }
            None => {
                state.replicas = given.replicas;
                state.status = given.status_replicas;
                state.pods = match given.pods {
                    Some(pods) => facts::pods(&self.list.origin, pods, at)?,
                    None => old.pods,
                };
            }
        }
        state.objects = given.object.map_or_else(
            || if state.objects.is_empty() { old.objects } else { state.objects.clone() },
            facts::objects,
        );
        state.external = given.external.map_or_else(
            || if state.external.is_empty() { old.external } else { state.external.clone() },
            facts::external,
        );
        Ok((clock, state))
    }

    fn check_time(
        &self,
        place: usize,
        own: Clock,
        clock: Clock,
        state: &State,
        before: Option<&State>,
    ) -> Result<(), ExplainError> {
        let key = if path::find(&self.list.node, &format!("states[{place}]")).entry("at").is_some()
        {
            ".at"
        } else {
            ""
        };
        if own != clock {
            return Err(self.fault(place, key, "all times are spans, or all are dates"));
        }
        if before.is_some_and(|before| before.at >= state.at) {
            return Err(self.fault(place, key, "must be later than the state before"));
        }
        Ok(())
    }
}
