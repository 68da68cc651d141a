//! The cause of a failure whose pod nobody names: kube-proxy or an ingress chose it.
//!
//! The pod is inferred as a set, never as the one with the nearest event: all pods that
//!
//! 1. the data path may have chosen then, by the endpoints and how far it can lag behind them
//!    ([`Offers`]); for a reused connection that is when it was opened, as established flows stay;
//! 2. could show this contact then, by the record of their lives ([`Rules`]), within the bounds of
//!    how exactly that is known.
//!
//! If they all give one cause, it is the cause, and the set are its pods. Otherwise:
//!
//! - **Nobody was to be chosen all the time.** `no-ready-endpoint` before all else: kube-proxy's
//!   REJECT looks like a refusal, and whatever the data path still did with a pod that was gone, even
//!   a prompt one would have had nowhere to send the request.
//! - **A lag explains it, and a longer one otherwise.** The least of [`Lags`] that explains it
//!   decides: whom the endpoints offer at that instant, then whom a data path offers that is as late
//!   as usual, then whom one offers that is as late as it may be. A pod in rotation that is known not
//!   to listen is met for certain, one that was taken out of rotation only by a late data path; where
//!   both are, they are both faults of the run, and only their shares are in doubt.
//! - **Nobody was to be chosen, a little before.** Versions of the endpoints arrive in order, so of
//!   a pod and of nobody the one that needs less lag is what the data path had.
//! - **Pods that go, of which some exit abruptly or drop their queue.** `termination-race`: it
//!   claims least, and what stops it stops them all, as no new request meets a pod that goes.
//! - **Causes that have nothing in common**, within the same lag: `unexplained`, and said to be
//!   ambiguous. One of them would be right, and nobody can say which.
//! - **Something that is only known to have happened in a gap** of the watch, and the attempt lies in
//!   it: `unexplained`, unless what is known beside it explains it alike. No cause comes from what
//!   nobody saw.
//!
//! Where no pod is known to show the contact, what remains is: refusals of servers that tell nothing
//! and listen late ([`LateListeners`]); connections that time out on flows that a node still keeps to
//! a pod that is gone ([`StaleFlows`]); and what needs no event at all: overload for other time-outs,
//! an idle time-out race for reused connections, a black hole for no route.

use std::collections::BTreeSet;

use highwater_model::time::{Nanos, Timestamp};

use super::{
    Attributed, Case, Contact, Doubt, Way,
    late::LateListeners,
    offers::Offers,
    rules::{Found, Rules, is_node_lost, still_serves, was_full},
    stale::StaleFlows,
};
use crate::analyze::{Cause, pods::PodLife};

/// How far a data path lags behind the endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lags {
    pub(super) usual: Nanos,
    pub(super) longest: Nanos,
}

/// kube-proxy's: the watch (up to 250 ms), the wait for a token (one a second after a burst of two:
/// up to 1 s), and 10 to 100 ms to apply; and up to 5 s on a node with very many rules.
///
/// *Source*: `lifecycle-semantics.md` sections 3.4 and 7 ("kube-proxy apply, per node").
pub(super) const KUBE_PROXY: Lags =
    Lags { usual: Nanos::from_millis(1_500), longest: Nanos::from_secs(5) };

/// An ingress's: up to 4.3 s for ingress-nginx, 2 s for Traefik, about 1 s for Envoy; and up to 70 s
/// for the load balancers of clouds.
///
/// *Source*: `lifecycle-semantics.md` section 3.5.
pub(super) const INGRESS: Lags = Lags { usual: Nanos::from_secs(5), longest: Nanos::from_secs(70) };

/// The pods that a failure may have met, and what that gives.
#[derive(Debug, Default)]
pub(super) struct Inferred<'a> {
    pub(super) cause: Option<Cause>,
    pub(super) pods: Vec<&'a str>,
    pub(super) doubt: Option<Doubt>,
}

/// A pod, or nobody, that explains a failure.
#[derive(Clone, Copy, Debug)]
struct Explanation<'a> {
    lag: Nanos,
    found: Found,
    /// `None`: there was nobody to choose.
    pod: Option<&'a str>,
}

/// What sets are inferred from.
#[derive(Debug)]
pub(super) struct Hidden<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) offers: Offers<'a>,
    pub(super) way: Way,
}

impl<'a> Hidden<'a> {
    pub(super) fn infer(&self, case: &Case<'_>) -> Inferred<'a> {
        let span @ (from, until) = self.choice(case);
        let may_be_nobody = matches!(case.contact, Contact::Refused | Contact::Unavailable);
        if may_be_nobody && self.offers.is_nobody(from, until) {
            return Inferred { cause: Some(Cause::NoReadyEndpoint), ..Inferred::default() };
        }
        let lags = self.lags();
        let mut all = self.explanations(case, span, lags.longest);
        if may_be_nobody {
            let nobody = |lag, found| Explanation { lag, found, pod: None };
            let sure = Found { cause: Cause::NoReadyEndpoint, is_vague: false };
            let lag = self.offers.lag_of_none(from, until);
            all.extend(lag.map(|lag| nobody(lag, sure)));
            if self.may_be_nobody_in_gap(span, lags.usual) {
                all.push(nobody(Nanos::ZERO, Found { is_vague: true, ..sure }));
            }
        }
        for lag in [Nanos::ZERO, lags.usual, lags.longest] {
            let within: Vec<_> = all.iter().filter(|one| one.lag <= lag).copied().collect();
            if !within.is_empty() {
                return decide(&within);
            }
        }
        Inferred::default()
    }

    /// When the pod was chosen: from, until.
    fn choice(&self, case: &Case<'_>) -> (Timestamp, Timestamp) {
        match self.way {
            // A connection goes to one pod, however often its first packet is sent again.
            Way::Service => (case.chosen, case.chosen),
            _ => (case.chosen, case.ended),
        }
    }

    /// Whether a gap lets nobody say that there was somebody to choose: no pod is known to have
    /// been ready all the time.
    fn may_be_nobody_in_gap(&self, (from, until): (Timestamp, Timestamp), lag: Nanos) -> bool {
        let since = Timestamp(from.0.saturating_sub(lag.0));
        self.offers.is_in_doubt(since, until)
            && !self.rules.lives.pods.values().any(|life| life.is_ready(since, until))
    }

    fn explanations(
        &self,
        case: &Case<'_>,
        (from, until): (Timestamp, Timestamp),
        longest: Nanos,
    ) -> Vec<Explanation<'a>> {
        let chosen = self.offers.between(from, until).filter(|(_, _, lag)| *lag <= longest);
        chosen
            .filter_map(|(pod, life, lag)| {
                Some(Explanation { lag, found: self.shows(life, case)?, pod: Some(pod) })
            })
            .collect()
    }

    /// Whether a pod could show this contact, and why.
    fn shows(&self, life: &PodLife, case: &Case<'_>) -> Option<Found> {
        let rules = &self.rules;
        // One that drains, and says that it serves on, neither refuses nor breaks anything off.
        let serves = || life.containers_at(case.ended).any(|one| still_serves(one, case));
        match case.contact {
            Contact::Refused if is_on_loopback(life, case) => {
                Some(Found { cause: Cause::WrongBind, is_vague: false })
            }
            Contact::Refused if !serves() => self.refuses(life, case),
            Contact::Reset | Contact::Eof | Contact::Truncated if !serves() => {
                self.breaks(life, case)
            }
            // Whoever was there as the first packet came, would have answered it.
            Contact::ConnectTimeout | Contact::Unreachable => {
                rules.vanished(life, case, case.started)
            }
            // An ingress tries again, and other pods.
            Contact::GatewayTimeout => rules.vanished(life, case, case.ended),
            Contact::Timeout => is_node_lost(life, case),
            Contact::BadGateway | Contact::Unavailable if !serves() => self
                .breaks(life, case)
                .or_else(|| self.refuses(life, case))
                .or_else(|| rules.vanished(life, case, case.ended)),
            // An error of the application's own; of a pod that goes if one does.
            Contact::Answered => self
                .breaks(life, case)
                .map(|_| Found { cause: Cause::RefusedByApp, is_vague: false }),
            _ => None,
        }
    }

    fn refuses(&self, life: &PodLife, case: &Case<'_>) -> Option<Found> {
        if let Some(found) = self.rules.silent(life, case) {
            return Some(found);
        }
        let container = life.container_at(case.ended)?;
        // Restarted, and not ready again: of a server that says nothing, all that is known.
        let is_ready = container.ready.is_some_and(|ready| ready.is_by(case.started));
        let is_restarted = !container.tells && life.container_before(container).is_some();
        (is_restarted && !is_ready).then(|| self.rules.not_yet(life, container, case.ended))
    }

    /// Whether a pod may break a connection off: nothing does after it has ended.
    fn breaks(&self, life: &PodLife, case: &Case<'_>) -> Option<Found> {
        let is_over = life.containers_at(case.chosen).all(|container| {
            let exit = container.ended().or(life.gone);
            exit.is_some_and(|exit| exit.latest + super::EXIT_LATENESS < case.started)
        });
        if is_over { None } else { self.rules.cuts(life, case) }
    }

    /// Explains what remains, where no pod is known to have shown the contact.
    pub(super) fn explain_rest(&self, attributed: &mut [Attributed<'a>]) {
        let is_left = |one: &Attributed<'_>| {
            one.case.is_hidden && one.cause == Cause::Unexplained && one.doubt.is_none()
        };
        let left = attributed.iter().filter(|one| is_left(one));
        let refused = left.filter(|one| one.case.contact == Contact::Refused);
        let mut refused: Vec<Timestamp> = refused.map(|one| one.case.ended).collect();
        refused.sort_unstable();
        let late = LateListeners::of(&refused, self.rules.lives);
        let stale = match self.way {
            Way::Service => StaleFlows::of(attributed),
            _ => StaleFlows::default(),
        };
        for one in attributed.iter_mut().filter(|one| is_left(one)) {
            match one.case.contact {
                Contact::Refused => {
                    let (from, until) = self.choice(&one.case);
                    let pods = late.at(from, until, &self.offers);
                    if !pods.is_empty() {
                        one.give(Cause::PrematureReady, pods, self.rules.lives);
                    }
                }
                Contact::ConnectTimeout | Contact::Unreachable => {
                    match stale.echo(one.case.started) {
                        Some((cause, pods)) => {
                            one.give(cause, pods, self.rules.lives);
                            one.is_stale = true;
                        }
                        None => self.without_event(one),
                    }
                }
                _ => self.without_event(one),
            }
        }
    }

    /// Gives the cause of a contact that needs no event.
    fn without_event(&self, one: &mut Attributed<'a>) {
        let turned_away = matches!(
            one.case.contact,
            Contact::Answered | Contact::Unavailable | Contact::Reset | Contact::Eof
        );
        if turned_away {
            let (from, until) = self.choice(&one.case);
            let full = self.offers.between(from, until).map(|(pod, ..)| pod).filter(|pod| {
                let life = self.rules.lives.get(pod);
                life.is_some_and(|life| was_full(life, &one.case))
            });
            let full: Vec<&str> = full.collect();
            if !full.is_empty() {
                return one.give(Cause::Overload, full, self.rules.lives);
            }
        }
        let cause = match one.case.contact {
            Contact::ConnectTimeout | Contact::Timeout | Contact::GatewayTimeout => Cause::Overload,
            Contact::Unreachable => Cause::Blackhole,
            Contact::Reset | Contact::Eof if one.case.is_reused() => Cause::IdleTimeoutRace,
            Contact::Answered => Cause::RefusedByApp,
            _ => return,
        };
        let (from, until) = self.choice(&one.case);
        let longest = self.lags().longest;
        let offered = self.offers.between(from, until).filter(|(_, _, lag)| *lag <= longest);
        let pods: Vec<&str> = offered.map(|(pod, ..)| pod).collect();
        // Any of several: that says nothing of a pod.
        let pods = if pods.len() == 1 { pods } else { Vec::new() };
        one.give(cause, pods, self.rules.lives);
    }

    fn lags(&self) -> Lags {
        if self.way == Way::Ingress { INGRESS } else { KUBE_PROXY }
    }
}

/// Whether a pod serves by its own word, and on a loopback address.
fn is_on_loopback(life: &PodLife, case: &Case<'_>) -> bool {
    let mut containers = life.containers_at(case.ended);
    containers.any(|one| one.is_on_loopback && still_serves(one, case))
}

/// The cause that explanations of the same lag give together.
fn decide<'a>(within: &[Explanation<'a>]) -> Inferred<'a> {
    let is_vague = |one: &Explanation<'_>| one.found.is_vague;
    let causes: BTreeSet<Cause> = within.iter().map(|one| one.found.cause).collect();
    let pods: Vec<&str> = within.iter().filter_map(|one| one.pod).collect();
    if within.iter().all(is_vague) || (causes.len() > 1 && within.iter().any(is_vague)) {
        return Inferred { cause: None, pods, doubt: Some(Doubt::Gap) };
    }
    let least = |wanted: fn(&Explanation<'_>) -> bool| {
        within.iter().filter(|one| wanted(one)).map(|one| one.lag).min()
    };
    let nobody = least(|one| one.pod.is_none());
    let somebody = least(|one| one.pod.is_some());
    if nobody.is_some_and(|nobody| somebody.is_none_or(|somebody| nobody < somebody)) {
        return Inferred { cause: Some(Cause::NoReadyEndpoint), ..Inferred::default() };
    }
    let of_pods = within.iter().filter(|one| one.pod.is_some()).map(|one| one.found.cause);
    let causes: BTreeSet<Cause> = of_pods.collect();
    let is_going = |cause: &Cause| {
        matches!(cause, Cause::TerminationRace | Cause::AbruptExit | Cause::AcceptQueueDrop)
    };
    match causes.first() {
        Some(cause) if causes.len() == 1 => Inferred { cause: Some(*cause), pods, doubt: None },
        Some(_) if causes.iter().all(is_going) => {
            Inferred { cause: Some(Cause::TerminationRace), pods, doubt: None }
        }
        _ => Inferred { cause: None, pods, doubt: Some(Doubt::Ambiguous) },
    }
}
