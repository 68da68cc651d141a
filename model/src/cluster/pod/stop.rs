//! How a container is ended: preStop hook, the stop signal (SIGTERM), SIGKILL.

use alloc::{string::String, vec::Vec};

use crate::{
    event::Signal,
    spec::{Lifecycle, LifecycleHandler},
    time::{Nanos, SECOND, Timestamp},
};

/// The least time from SIGTERM to SIGKILL.
///
/// *Source*: `kuberuntime_container.go`, `minimumGracePeriodInSeconds`. It is a floor, not a bonus:
/// only a hook that used up the grace period gains by it.
pub(super) const MINIMUM: Nanos = Nanos::from_secs(2);

/// What ending a container asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// The hook begins; the machine itself waits (`sleep`).
    HookStarted,
    /// The hook begins and has to be run.
    RunHook {
        /// The hook.
        hook: LifecycleHandler,
        /// Its bound: the grace period.
        timeout: Nanos,
    },
    /// The hook ended, or was given up.
    HookEnded {
        /// Whether it did what it should.
        ok: bool,
        /// What went wrong.
        detail: String,
    },
    /// A signal has to be sent.
    Signal(Signal),
}

/// The end of one container.
///
/// *Source*: `kuberuntime_container.go`, `killContainer`, `executePreStopHook`.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    grace: Nanos,
    signal: Signal,
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    /// `until` is the end of the sleep or of the grace period.
    Hook {
        began: Timestamp,
        until: Timestamp,
        is_done_then: bool,
    },
    Signalled {
        kill_at: Timestamp,
    },
    Killed,
}

impl Stop {
    /// Begins to end a container. The hook runs only if there is a grace period.
    pub(super) fn begin(
        now: Timestamp,
        grace: Nanos,
        lifecycle: Option<&Lifecycle>,
        steps: &mut Vec<Step>,
    ) -> Self {
        let signal = lifecycle.and_then(|lifecycle| lifecycle.stop_signal);
        let mut stop = Self { grace, signal: signal.unwrap_or(Signal::Sigterm), at: At::Killed };
        let hook = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let hook = hook.filter(|_| grace > Nanos::ZERO);
        let sleep = hook.and_then(|hook| hook.sleep.as_ref());
        match (hook, sleep) {
            (_, Some(sleep)) => {
                let sleep = Nanos::from_secs(u64::from(sleep.seconds));
                steps.push(Step::HookStarted);
                stop.at = At::Hook {
                    began: now,
                    until: now + sleep.min(grace),
                    is_done_then: sleep <= grace,
                };
                stop.fire(now, steps);
            }
            (Some(hook), None) if hook.exec.is_some() || hook.http_get.is_some() => {
                steps.push(Step::RunHook { hook: hook.clone(), timeout: grace });
                stop.at = At::Hook { began: now, until: now + grace, is_done_then: false };
            }
            _ => stop.signal(now, grace, steps),
        }
        stop
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match self.at {
            At::Hook { until, .. } => Some(until),
            At::Signalled { kill_at } => Some(kill_at),
            At::Killed => None,
        }
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        match self.at {
            At::Hook { until, is_done_then, .. } if until <= now => {
                let detail = if is_done_then { "" } else { "not done within the grace period" };
                self.end_hook(now, is_done_then, detail.into(), steps);
            }
            At::Signalled { kill_at } if kill_at <= now => {
                self.at = At::Killed;
                steps.push(Step::Signal(Signal::Sigkill));
            }
            _ => {}
        }
    }

    /// The hook that was to be run has ended. Ignored if it was given up before.
    pub(super) fn hook_done(
        &mut self,
        now: Timestamp,
        ok: bool,
        detail: String,
        steps: &mut Vec<Step>,
    ) {
        self.end_hook(now, ok, detail, steps);
    }

    /// The container ended: there is no one to signal any more.
    pub(super) fn container_exited(self, steps: &mut Vec<Step>) {
        if matches!(self.at, At::Hook { .. }) {
            steps.push(Step::HookEnded { ok: false, detail: "the container ended first".into() });
        }
    }

    /// A later deletion can only bring the end nearer.
    pub(super) fn shorten(&mut self, now: Timestamp, grace: Nanos) {
        match &mut self.at {
            At::Hook { began, until, is_done_then } => {
                if now + grace < *began + self.grace {
                    self.grace = (now + grace).since(*began);
                }
                let end = *began + self.grace;
                if end < *until {
                    (*until, *is_done_then) = (end, false);
                }
            }
            At::Signalled { kill_at } => *kill_at = (*kill_at).min(now + grace.max(MINIMUM)),
            At::Killed => {}
        }
    }

    /// The hook's time counts in whole seconds, rounded down.
    fn end_hook(&mut self, now: Timestamp, ok: bool, detail: String, steps: &mut Vec<Step>) {
        let At::Hook { began, .. } = self.at else {
            return;
        };
        let elapsed = now.since(began);
        let counted = elapsed.0 - elapsed.0 % SECOND;
        steps.push(Step::HookEnded { ok, detail });
        self.signal(now, Nanos(self.grace.0.saturating_sub(counted)), steps);
    }

    fn signal(&mut self, now: Timestamp, budget: Nanos, steps: &mut Vec<Step>) {
        steps.push(Step::Signal(self.signal));
        self.at = At::Signalled { kill_at: now + budget.max(MINIMUM) };
    }
}

#[cfg(test)]
mod tests;
