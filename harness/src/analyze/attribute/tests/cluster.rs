//! A cluster's events and failures in few words, by seconds.

use super::*;
use highwater_model::event::Endpoint;

/// What a working watch and whole seconds leave open.
pub(super) const HALF: f64 = 0.5;

pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9).round() as u64)
}

fn span(seconds: f64) -> Nanos {
    Nanos::from_secs_f64(seconds)
}

/// The events of a cluster, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    events: Vec<Event>,
    pub(super) way: Option<Way>,
}

impl Cluster {
    pub(super) fn event(mut self, seconds: f64, off: f64, kind: EventKind) -> Self {
        let precision = (off > 0.0).then(|| span(off));
        let seq = self.events.len() as u64;
        let source = Source::Kubelet;
        self.events.push(Event { at: at(seconds), seq, source, precision, stated: None, kind });
        self
    }

    /// A pod of a revision that is made and whose container runs a second later, known to half a
    /// second; ready at `ready`.
    pub(super) fn pod(self, name: &str, revision: u32, made: f64, ready: f64) -> Self {
        let created = EventKind::PodCreated { pod: name.into(), revision };
        self.event(made, 0.0, created).started(name, made + 1.0, 0).event(
            ready,
            0.0,
            EventKind::PodReady { pod: name.into() },
        )
    }

    pub(super) fn started(self, name: &str, seconds: f64, restarts: u32) -> Self {
        let pod = name.into();
        let kind = EventKind::ContainerStarted { pod, restarts, address: None, pid: None };
        self.event(seconds, HALF, kind)
    }

    pub(super) fn deleted(self, name: &str, seconds: f64) -> Self {
        self.deleted_by(name, seconds, DeleteReason::Rollout)
    }

    pub(super) fn deleted_by(self, name: &str, seconds: f64, reason: DeleteReason) -> Self {
        let grace = Nanos::from_secs(30);
        self.event(seconds, 0.25, EventKind::PodDeleted { pod: name.into(), grace, reason })
    }

    pub(super) fn signal(self, name: &str, seconds: f64, off: f64, signal: Signal) -> Self {
        self.event(
            seconds,
            off,
            EventKind::SignalSent { pod: name.into(), signal, by_kubelet: true },
        )
    }

    /// A signal of which the target itself tells.
    pub(super) fn told(self, name: &str, seconds: f64, signal: Signal) -> Self {
        let mut cluster = self.signal(name, seconds, 0.002, signal);
        if let Some(event) = cluster.events.last_mut() {
            event.source = Source::Target;
        }
        cluster
    }

    pub(super) fn exited(self, name: &str, seconds: f64, code: i32) -> Self {
        let signal = (code > 128).then_some(code - 128);
        let kind = EventKind::ContainerExited { pod: name.into(), code, signal, oom: false };
        self.event(seconds, HALF, kind)
    }

    pub(super) fn gone(self, name: &str, seconds: f64) -> Self {
        self.event(seconds, 0.0, EventKind::PodGone { pod: name.into() })
    }

    /// Deleted at `seconds`, SIGTERM at once, exit `lasts` later, gone a second after that.
    pub(super) fn ends(self, name: &str, seconds: f64, lasts: f64, code: i32) -> Self {
        self.deleted(name, seconds)
            .signal(name, seconds + 0.05, HALF, Signal::Sigterm)
            .exited(name, seconds + 0.05 + lasts, code)
            .gone(name, seconds + 1.05 + lasts)
    }

    pub(super) fn says(self, name: &str, seconds: f64, phase: LifecyclePhase) -> Self {
        self.says_more(name, seconds, phase, "")
    }

    pub(super) fn says_more(
        self,
        name: &str,
        seconds: f64,
        phase: LifecyclePhase,
        detail: &str,
    ) -> Self {
        let (pod, detail) = (name.into(), detail.into());
        self.event(seconds, 0.0, EventKind::Lifecycle { pod, phase, detail })
    }

    /// Endpoints by pod: `a` ready, `a!` serving and terminating, `a?` terminating only.
    pub(super) fn endpoints(self, seconds: f64, all: &str) -> Self {
        self.endpoints_known_to(seconds, 0.0, all)
    }

    pub(super) fn endpoints_known_to(self, seconds: f64, off: f64, all: &str) -> Self {
        let endpoints = all.split_whitespace().map(|word| Endpoint {
            pod: word.trim_end_matches(['!', '?']).into(),
            ready: !word.ends_with(['!', '?']),
            serving: !word.ends_with('?'),
            terminating: word.ends_with(['!', '?']),
        });
        let version = (seconds * 1e3) as u64;
        let kind = EventKind::Endpoints { version, endpoints: endpoints.collect() };
        self.event(seconds, off, kind)
    }

    pub(super) fn node(self, seconds: f64, node: &str, status: &str) -> Self {
        let (node, condition, status) = (node.into(), "Ready".into(), status.into());
        let kind = EventKind::NodeCondition { node, condition, status, reason: String::new() };
        self.event(seconds, 0.0, kind)
    }

    pub(super) fn through(self, way: Way) -> Self {
        Self { way: Some(way), ..self }
    }

    /// Its events in order.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| (event.at, event.seq));
        events
    }

    /// Hands the attributed failures to `look`.
    pub(super) fn look<T>(
        &self,
        failures: &[Failure],
        look: impl FnOnce(&[Attributed<'_>], &Lives) -> T,
    ) -> T {
        let events = self.events();
        let lives = Lives::of(&events);
        let way = self.way.unwrap_or(Way::Service);
        look(&attribute(failures, &events, &lives, way), &lives)
    }

    /// Cause and pods of each failure, in their order.
    pub(super) fn judge(&self, failures: &[Failure]) -> Vec<(Cause, Vec<String>, Option<Doubt>)> {
        let named = |one: &Attributed<'_>| one.pods.iter().map(|pod| (*pod).into()).collect();
        self.look(failures, |all, _| {
            all.iter().map(|one| (one.cause, named(one), one.doubt)).collect()
        })
    }
}

/// A failure of which nobody names the pod: opened, sent, ended.
fn hidden(outcome: Outcome, opened: f64, sent: f64, ended: f64, served: u64) -> Failure {
    let connection = Connection { id: 1, opened: at(opened), served, idle: Nanos::ZERO };
    Failure {
        n: 1,
        outcome,
        phase: 0,
        kind: 0,
        scheduled: at(sent),
        sent: at(sent),
        first_byte: None,
        ended: at(ended),
        status: None,
        errno: None,
        pod: None,
        connection: Some(connection),
        hop: None,
        request_id: Some(1),
        consumer: None,
    }
}

/// On a new connection, over after half a millisecond.
pub(super) fn new(outcome: Outcome, seconds: f64) -> Failure {
    hidden(outcome, seconds, seconds, seconds + 0.000_5, 0)
}

/// On a new connection, after two seconds.
pub(super) fn slow(outcome: Outcome, seconds: f64) -> Failure {
    hidden(outcome, seconds, seconds, seconds + 2.0, 0)
}

/// On a connection that was opened at `opened` and has served, sent at `sent` and over `ms` later.
pub(super) fn reused(outcome: Outcome, opened: f64, sent: f64, ms: f64) -> Failure {
    hidden(outcome, opened, sent, sent + ms / 1e3, 9)
}

/// The same failure, its pod named.
pub(super) fn of(pod: &str, failure: Failure) -> Failure {
    Failure { pod: Some(pod.into()), ..failure }
}

/// A story, its failure, its cause and its pods.
pub(super) type Row = (&'static str, Cluster, Failure, Cause, &'static str);

pub(super) fn check(rows: impl IntoIterator<Item = Row>) {
    for (what, cluster, failure, cause, pods) in rows {
        let (found, named, _) = cluster.judge(&[failure]).remove(0);
        assert_eq!((found, &*named.join(" ")), (cause, pods), "{what}");
    }
}

/// Two pods that were there before, and nothing happens to them.
pub(super) fn calm() -> Cluster {
    Cluster::default().pod("a", 1, 0.0, 0.0).pod("b", 1, 0.0, 0.0).endpoints(0.0, "a b")
}
