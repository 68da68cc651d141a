//! Events of the cluster about the target.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, Source},
    time::Timestamp,
};
use k8s_openapi::api::core::v1::Event;

use super::{
    Scribe,
    news::Seen,
    time::{Clock, Estimate, Stated},
};

/// An Event that was not told before.
pub(super) struct Told<'a> {
    pub(super) event: &'a Event,
    pub(super) at: Estimate,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

/// How often each Event that still exists was seen. The API server drops them after an hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    seen: BTreeMap<String, u32>,
}

impl Counts {
    /// Returns what is news among `seen`: neither told before nor older than the run.
    pub(super) fn news<'a>(&mut self, seen: &'a Seen<Event>, scribe: &Scribe<'_>) -> Vec<Told<'a>> {
        let is_first = matches!(seen, Seen::All { since: None, .. });
        let events: Vec<&Event> = match seen {
            Seen::All { objects, .. } => {
                let ids: Vec<&str> =
                    objects.iter().filter_map(|event| event.metadata.uid.as_deref()).collect();
                self.seen.retain(|id, _| ids.contains(&id.as_str()));
                objects.iter().collect()
            }
            Seen::Changed(event) => vec![event],
            Seen::Gone(event) => {
                self.seen.remove(event.metadata.uid.as_deref().unwrap_or_default());
                Vec::new()
            }
        };
        let news = events.into_iter().filter_map(|event| {
            let count = count(event);
            let before = self.seen.insert(event.metadata.uid.clone()?, count);
            let stated = stated(event, scribe);
            let is_old = is_first && stated.is_some_and(Stated::is_before_run);
            if before == Some(count) || is_old {
                return None;
            }
            Some(Told {
                event,
                at: scribe.written(stated, Timestamp::ZERO),
                reason: event.reason.as_deref().unwrap_or_default(),
                message: event.message.as_deref().unwrap_or_default(),
            })
        });
        news.collect()
    }
}

impl Told<'_> {
    /// The kind of what it is about.
    pub(super) fn object_kind(&self) -> &str {
        self.event.involved_object.kind.as_deref().unwrap_or_default()
    }

    /// The name of what it is about.
    pub(super) fn object_name(&self) -> &str {
        self.event.involved_object.name.as_deref().unwrap_or_default()
    }

    /// The container that it is about, if it is about one.
    pub(super) fn container(&self) -> Option<&str> {
        let path = self.event.involved_object.field_path.as_deref()?;
        path.strip_prefix("spec.containers{")?.strip_suffix('}')
    }

    pub(super) fn tell(&self, scribe: &mut Scribe<'_>) {
        let kind = EventKind::ClusterEvent {
            object: format!("{}/{}", self.object_kind(), self.object_name()),
            warning: self.event.type_.as_deref() == Some("Warning"),
            reason: self.reason.into(),
            message: self.message.into(),
            count: count(self.event),
        };
        scribe.at(self.at, Source::Api, kind);
    }
}

/// How often it was seen; a series of the newer kind counts itself.
fn count(event: &Event) -> u32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    series.or(event.count).unwrap_or(1).max(1) as u32
}

/// When it was last seen. The newer kind states microseconds.
fn stated(event: &Event, scribe: &Scribe<'_>) -> Option<Stated> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref());
    let second = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref());
    match (micro, second.or(event.metadata.creation_timestamp.as_ref())) {
        // An Event is written by whoever saw it: by a node's clock, if that was a kubelet.
        (Some(micro), _) => Some(scribe.clocks.micro(micro, clock(event))),
        (None, Some(second)) => Some(scribe.clocks.second(second, clock(event))),
        (None, None) => None,
    }
}

fn clock(event: &Event) -> Clock<'_> {
    let source = event.source.as_ref();
    match source.and_then(|source| source.host.as_deref()).filter(|host| !host.is_empty()) {
        Some(host) => Clock::Node(Some(host)),
        None => Clock::Server,
    }
}
