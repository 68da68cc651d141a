//! The service's EndpointSlice, and its way to each consumer.
//!
//! *Source*: kubernetes/endpointslice `utils.go` (which endpoint is ready, serving, terminating);
//! `pkg/proxy/topology.go` (the fallback to terminating endpoints).

use alloc::{format, string::String, vec::Vec};

use crate::{event::Endpoint, rng::Stream, spec::Distribution, time::Timestamp};

/// An endpoint with its pod's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The pod.
    pub pod: u32,
    /// As it stands in the slice.
    pub endpoint: Endpoint,
}

impl Entry {
    /// The endpoint of a pod that has an address.
    ///
    /// *Source*: `podToEndpoint`: `serving` is the pod's Ready condition, `ready` is that and not
    /// terminating.
    pub fn new(pod: u32, name: &str, is_ready: bool, is_terminating: bool) -> Self {
        Self {
            pod,
            endpoint: Endpoint {
                pod: name.into(),
                ready: is_ready && !is_terminating,
                serving: is_ready,
                terminating: is_terminating,
            },
        }
    }
}

/// The pods that kube-proxy chooses from: the ready ones; if there are none, those that still
/// serve while they terminate.
///
/// *Source*: `pkg/proxy/topology.go`, `CategorizeEndpoints` (cluster policy).
pub fn route(entries: &[Entry]) -> Vec<u32> {
    let pick = |wanted: fn(&Endpoint) -> bool| -> Vec<u32> {
        entries.iter().filter(|entry| wanted(&entry.endpoint)).map(|entry| entry.pod).collect()
    };
    let ready = pick(|endpoint| endpoint.ready);
    if ready.is_empty() { pick(|endpoint| endpoint.serving && endpoint.terminating) } else { ready }
}

/// The EndpointSlice controller: writes what the pods are, some time after they changed. Changes
/// within that time are written together.
#[derive(Clone, Debug)]
pub struct Slice {
    delay: Distribution,
    stream: Stream,
    written: Vec<Entry>,
    version: u64,
    due: Option<Timestamp>,
}

impl Slice {
    /// An empty slice, version 0.
    pub fn new(delay: Distribution, seed: u64) -> Self {
        Self {
            delay,
            stream: Stream::new(seed, "endpoints"),
            written: Vec::new(),
            version: 0,
            due: None,
        }
    }

    /// Tells that the endpoints are `entries` now; plans a write if the slice differs.
    pub fn see(&mut self, now: Timestamp, entries: &[Entry]) {
        if self.due.is_none() && entries != self.written {
            self.due = Some(now + self.delay.sample(&mut self.stream));
        }
    }

    /// When the next write is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.due
    }

    /// Writes, if that is due and `entries` differ from what is written. Returns the version.
    pub fn fire(&mut self, now: Timestamp, entries: &[Entry]) -> Option<u64> {
        self.due.filter(|&due| due <= now)?;
        self.due = None;
        if entries == self.written {
            return None;
        }
        self.written = entries.to_vec();
        self.version += 1;
        Some(self.version)
    }

    /// The endpoints as they were last written.
    pub fn written(&self) -> &[Entry] {
        &self.written
    }
}

/// A consumer's view of the endpoints: a client or a proxy worker. `P` is a pod that it may choose:
/// its number here, what a real proxy knows of it elsewhere.
#[derive(Clone, Debug)]
pub struct View<P = u32> {
    propagation: Distribution,
    stream: Stream,
    version: u64,
    routed: Vec<P>,
    /// Ascending in version; what is superseded is not in it.
    on_the_way: Vec<Update<P>>,
}

#[derive(Clone, Debug)]
struct Update<P> {
    at: Timestamp,
    version: u64,
    routed: Vec<P>,
}

impl<P: Clone + PartialEq> View<P> {
    /// The view of a consumer that knows of no endpoint yet.
    pub fn new(consumer: u32, propagation: Distribution, seed: u64) -> Self {
        let purpose: String = format!("propagation/consumer-{consumer}");
        Self {
            propagation,
            stream: Stream::new(seed, &purpose),
            version: 0,
            routed: Vec::new(),
            on_the_way: Vec::new(),
        }
    }

    /// A new version sets out. One that overtakes earlier ones makes them void.
    pub fn send(&mut self, now: Timestamp, version: u64, routed: Vec<P>) {
        let at = now + self.propagation.sample(&mut self.stream);
        self.on_the_way.retain(|earlier| earlier.at < at);
        self.on_the_way.push(Update { at, version, routed });
    }

    /// When the next version arrives.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.on_the_way.iter().map(|update| update.at).min()
    }

    /// Takes over what has arrived. Returns version and pods, if these are others than before.
    pub fn fire(&mut self, now: Timestamp) -> Option<(u64, Vec<P>)> {
        let arrived = self.on_the_way.iter().rposition(|update| update.at <= now)?;
        let latest = self.on_the_way.drain(..=arrived).next_back()?;
        assert!(
            latest.version > self.version,
            "a consumer's view goes back from version {} to {}",
            self.version,
            latest.version
        );
        self.version = latest.version;
        if latest.routed == self.routed {
            return None;
        }
        self.routed = latest.routed;
        Some((self.version, self.routed.clone()))
    }

    /// The pods that it chooses from.
    pub fn routed(&self) -> &[P] {
        &self.routed
    }
}

#[cfg(test)]
mod tests;
