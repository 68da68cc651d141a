//! The service's side: endpoints as they are written, and as consumers learn of them.

use alloc::{borrow::ToOwned, vec::Vec};

use super::{Cluster, Part, emit};
use crate::{
    cluster::{
        Effect,
        endpoints::{Entry, View, route},
        pod::Identity,
        replicaset::Phase,
    },
    event::{EventKind, Source},
    time::Timestamp,
};

impl Cluster {
    /// The endpoints as the pods are now.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.pods
            .values()
            .filter_map(|pod| {
                let report = pod.report();
                let has_address = report.phase == Phase::Running && !report.is_gone;
                has_address.then(|| {
                    let Identity { pod, name, .. } = pod.identity();
                    Entry::new(*pod, name, report.is_ready, report.is_terminating)
                })
            })
            .collect()
    }

    pub(super) fn write_slice(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let entries = self.entries();
        let Some(version) = self.slice.fire(now, &entries) else {
            return;
        };
        let endpoints = entries.iter().map(|entry| entry.endpoint.clone()).collect();
        emit(effects, EventKind::Endpoints { version, endpoints });
        let routed = route(&entries);
        for consumer in 0..self.views.len() {
            self.views[consumer].send(now, version, routed.clone());
            self.plan(Part::View(
                u32::try_from(consumer).expect("consumers are counted in 32 bits"),
            ));
        }
    }

    pub(super) fn apply_view(&mut self, now: Timestamp, consumer: u32, effects: &mut Vec<Effect>) {
        let place = usize::try_from(consumer).expect("a consumer's number fits");
        let Some((version, routed)) = self.views[place].fire(now) else {
            return;
        };
        let names = routed.iter().map(|&pod| self.pod_name(pod).to_owned()).collect();
        effects.push(Effect::ApplyView { consumer, version, routed });
        effects.push(Effect::Emit {
            source: Source::Proxy,
            kind: EventKind::ViewApplied { consumer, version, routed: names },
        });
    }

    pub(super) fn view(&self, consumer: u32) -> &View {
        &self.views[usize::try_from(consumer).expect("a consumer's number fits")]
    }
}
