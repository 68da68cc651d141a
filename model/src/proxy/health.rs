//! Passive health: a pod that failed too often is passed over for a while. Pure: instants are
//! handed in, nanoseconds of one clock.
//!
//! *Source*: nginx, `ngx_http_upstream_round_robin.c`: `fails`, `accessed` and `checked` of a peer,
//! in `get_round_robin_peer` and `free_round_robin_peer`. nginx counts whole seconds, we count
//! nanoseconds.

use crate::outcome::HopError;

/// How much a pod may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Failures that make it be passed over; at least 1.
    pub max_fails: u32,
    /// Within how long, and for how long.
    pub fail_timeout: u64,
}

/// What is remembered of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    fails: u32,
    /// The last failure.
    accessed: u64,
    /// The last failure, or the first request after a time-out since: it tries the pod, and its
    /// success makes all well.
    checked: u64,
}

impl Health {
    /// Whether it is to be passed over.
    pub fn is_ejected(&self, limits: Limits, now: u64) -> bool {
        self.has_failed(limits) && now.saturating_sub(self.checked) <= limits.fail_timeout
    }

    fn has_failed(&self, limits: Limits) -> bool {
        self.fails >= limits.max_fails
    }

    /// A request goes to it. If it was passed over until now, no other does until this one tells.
    pub fn chosen(&mut self, limits: Limits, now: u64) {
        if now.saturating_sub(self.checked) > limits.fail_timeout {
            self.checked = now;
        }
    }

    /// A request failed; how often that makes, if the pod is passed over for it from now on.
    pub fn failed(&mut self, limits: Limits, now: u64) -> Option<u32> {
        let was = self.has_failed(limits);
        self.fails = self.fails.saturating_add(1);
        (self.accessed, self.checked) = (now, now);
        (!was && self.has_failed(limits)).then_some(self.fails)
    }

    /// A request succeeded; whether the pod is passed over no more for it.
    pub fn succeeded(&mut self, limits: Limits) -> bool {
        let was = self.has_failed(limits);
        if self.accessed < self.checked {
            self.fails = 0;
        }
        was && !self.has_failed(limits)
    }
}

/// Whether an error speaks against the pod, and not against its client or our own limits.
///
/// *Source*: nginx, `proxy_next_upstream`: errors, time-outs and invalid headers always count as
/// unsuccessful attempts.
pub fn is_the_pods(error: HopError) -> bool {
    !matches!(error, HopError::NoEndpoint | HopError::ConnectOther | HopError::ClientGone)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Fails(u64),
        /// It is chosen, and well.
        Serves(u64),
    }
    use Step::{Fails, Serves};

    #[test]
    fn a_pod_is_passed_over_and_tried_again_as_nginx_does_it() {
        let limits = Limits { max_fails: 2, fail_timeout: 10 };
        // Steps, instant, whether it is then passed over, why.
        let rows: [(&[Step], u64, bool, &str); 9] = [
            (&[], 0, false, "nothing is known"),
            (&[Fails(100)], 101, false, "one of two"),
            (&[Fails(100), Fails(109)], 109, true, "two of two"),
            (&[Fails(100), Serves(105), Fails(109)], 110, true, "a success in between counts not"),
            (&[Fails(100), Serves(111), Fails(112)], 113, false, "the first was long ago"),
            (&[Fails(100), Fails(101)], 111, true, "the time-out's last instant"),
            (&[Fails(100), Fails(101)], 112, false, "it may be tried"),
            (&[Fails(100), Fails(101), Serves(112)], 113, false, "it was tried and is well"),
            (&[Fails(100), Fails(101), Fails(112)], 122, true, "it was tried and is not"),
        ];
        for (steps, at, is_ejected, why) in rows {
            let mut health = Health::default();
            for step in steps {
                match *step {
                    Fails(now) => {
                        health.failed(limits, now);
                    }
                    Serves(now) => {
                        health.chosen(limits, now);
                        health.succeeded(limits);
                    }
                }
            }
            assert_eq!(health.is_ejected(limits, at), is_ejected, "{why}");
        }
    }

    #[test]
    fn only_one_request_tries_it() {
        let limits = Limits { max_fails: 1, fail_timeout: 10 };
        let mut health = Health::default();
        assert_eq!(health.failed(limits, 100), Some(1), "it is told once");
        assert_eq!(health.failed(limits, 101), None);
        assert!(!health.succeeded(limits), "one that was in flight says nothing");
        assert!(!health.is_ejected(limits, 112));
        health.chosen(limits, 112);
        assert!(health.is_ejected(limits, 112), "the others wait for it");
        assert!(health.succeeded(limits), "and is readmitted once");
        assert!(!health.succeeded(limits));
        assert_eq!(health.failed(limits, 113), Some(1), "counting begins anew");
    }

    #[test]
    fn a_client_that_leaves_and_our_own_limits_say_nothing_of_a_pod() {
        let not_its_own: Vec<_> =
            HopError::ALL.iter().filter(|error| !is_the_pods(**error)).collect();
        assert_eq!(
            not_its_own,
            [&HopError::NoEndpoint, &HopError::ConnectOther, &HopError::ClientGone]
        );
    }
}
