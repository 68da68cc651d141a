//! Connections that a node sends to a pod that is long gone: their source port is that of one
//! which nobody answered.
//!
//! A node decides once for each flow, by connection tracking, where it goes. A connection to a pod
//! whose address is gone is never answered, so that its flow is kept for two minutes after its
//! last packet; a later connection of the same client with the same source port is the same flow,
//! and goes to the same dead address, whatever kube-proxy says by then. A generator that opens a
//! connection for each request comes round to its old ports within that time, and sees a second,
//! smaller wave of time-outs when nobody comes or goes: an echo of the first, with its cause.
//!
//! Overload shows in time-outs of connections, too, but never in them alone: connections that wait
//! in a full accept queue, or behind it, time out without their answer.
//!
//! *Source*: `nf_conntrack_tcp_timeout_syn_sent` (120 s) in the kernel's `nf_conntrack-sysctl`.
//! Measured in a network namespace: after the rule had moved on to a pod that answers, the same
//! source port timed out at once, 3 s and 10 s later, and another one was answered. Seen on a cluster
//! in each of four rollouts of a server that closes its listener first, 8 to 13 s after the last one.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::time::{Nanos, Timestamp};

use super::{Attributed, Contact};
use crate::analyze::Cause;

/// A flow that nobody answers is kept for this long.
const KEPT: Nanos = Nanos::from_secs(120);
/// Overload lasts: connections without an answer are this near.
const NEAR: Nanos = Nanos::from_secs(10);

/// The flows that nodes keep to pods that are gone, and what tells of overload.
#[derive(Debug, Default)]
pub(super) struct StaleFlows<'a> {
    /// When connections to each pod timed out, by cause; ascending.
    ended: BTreeMap<(&'a str, Cause), Vec<Timestamp>>,
    /// When connections waited for an answer in vain; ascending.
    unanswered: Vec<Timestamp>,
}

/// What a stale flow gives: its cause, and the pods that it can go to.
pub(super) type Echo<'a> = (Cause, Vec<&'a str>);

impl<'a> StaleFlows<'a> {
    pub(super) fn of(attributed: &[Attributed<'a>]) -> Self {
        let mut flows = Self::default();
        for one in attributed {
            match one.case.contact {
                Contact::ConnectTimeout | Contact::Unreachable if one.case.is_hidden => {
                    flows.keep(one);
                }
                Contact::Timeout => flows.unanswered.push(one.case.started),
                _ => {}
            }
        }
        flows.ended.values_mut().for_each(|ended| ended.sort_unstable());
        flows.unanswered.sort_unstable();
        flows
    }

    fn keep(&mut self, one: &Attributed<'a>) {
        let is_of_going = matches!(one.cause, Cause::TerminationRace | Cause::AbruptExit);
        for pod in one.pods.iter().filter(|_| is_of_going) {
            self.ended.entry((*pod, one.cause)).or_default().push(one.case.ended);
        }
    }

    /// What a connection that began at `started` and that nothing else explains can be an echo of.
    pub(super) fn echo(&self, started: Timestamp) -> Option<Echo<'a>> {
        let near = |ascending: &[Timestamp], from: Timestamp, until: Timestamp| {
            let first = ascending.partition_point(|at| *at < from);
            ascending.get(first).is_some_and(|at| *at <= until)
        };
        let before = |span: Nanos| Timestamp(started.0.saturating_sub(span.0));
        if near(&self.unanswered, before(NEAR), started + NEAR) {
            return None;
        }
        let kept = self.ended.iter().filter(|(_, ended)| near(ended, before(KEPT), started));
        let kept: BTreeSet<(&str, Cause)> = kept.map(|(flow, _)| *flow).collect();
        let causes: BTreeSet<Cause> = kept.iter().map(|(_, cause)| *cause).collect();
        // Of both the one that claims least, as for pods that go.
        let cause = causes.first()?;
        let pods: BTreeSet<&str> = kept.into_iter().map(|(pod, _)| pod).collect();
        Some((*cause, pods.into_iter().collect()))
    }
}
