//! A pod's containers, one after the other: started, ended, waiting to be started again.

use highwater_model::{
    event::{EventKind, Source},
    time::{Nanos, SECOND, Timestamp},
};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};

use super::{
    Scribe,
    pod::PodState,
    time::{Clock, Estimate, Sight, Stated},
};

/// How many ids of ended containers are remembered; the API shows two at a time.
const ENDED_MAX: usize = 4;
/// Waiting reasons that are no failure to start.
///
/// *Source*: `kubelet_pods.go` (`ContainerCreating`, `PodInitializing`).
const PROPER_WAITS: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// Waits between restarts: doubled from 10 s to 300 s.
///
/// *Source*: `lifecycle-semantics.md` section 2.5; `kuberuntime_manager.go`.
const BACKOFF_MIN_S: u64 = 10;
const BACKOFF_MAX_S: u64 = 300;
/// How long a target that says that it exits may take to do so.
const EXIT_DELAY: Nanos = Nanos::from_millis(50);
/// The exit code of a process that SIGKILL ended.
const SIGKILLED: i32 = 137;

/// One container that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id, with the runtime before it.
    pub id: String,
    /// When it was started.
    pub started: Timestamp,
    /// When it was started at the earliest and at the latest, by the time that is stated.
    pub(super) bounds: (Timestamp, Timestamp),
    /// How many the pod had before.
    pub restarts: u32,
    /// Whether its startup probe has passed.
    pub is_started: bool,
    /// When it ended.
    pub exited: Option<Timestamp>,
}

impl PodState {
    /// Takes the start of the container that runs, and before it the end of the last one.
    pub(super) fn started(&mut self, status: &ContainerStatus, scribe: &mut Scribe<'_>) {
        let restarts = status.restart_count.max(0) as u32;
        let state = status.state.as_ref();
        let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        if let Some(last) = last {
            // While the container waits, the count is that of the one that ended.
            let is_waiting = state.is_some_and(|state| state.waiting.is_some());
            let of_last = if is_waiting { restarts } else { restarts.saturating_sub(1) };
            self.instance_ended(last, of_last, scribe);
        }
        let running = state.and_then(|state| state.running.as_ref());
        let (Some(running), Some(id)) = (running, status.container_id.as_deref()) else { return };
        if self.container.as_ref().is_none_or(|container| container.id != id) {
            let at = running.started_at.as_ref();
            let at = at.map(|time| scribe.clocks.second(time, self.clock()));
            self.instance_started(id, at, restarts, scribe);
        }
        if let Some(container) = &mut self.container {
            container.is_started = status.started.unwrap_or(true);
        }
    }

    /// Takes the end of the container that ran.
    pub(super) fn ended(&mut self, status: &ContainerStatus, scribe: &mut Scribe<'_>) {
        let terminated = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        let Some(terminated) = terminated else { return };
        let restarts = status.restart_count.max(0) as u32;
        if terminated.container_id.as_deref().unwrap_or_default().is_empty() {
            self.instance_lost(terminated, scribe);
        } else {
            self.instance_ended(terminated, restarts, scribe);
        }
    }

    fn clock(&self) -> Clock<'_> {
        Clock::Node(self.node.as_deref())
    }

    fn instance_started(
        &mut self,
        id: &str,
        stated: Option<Stated>,
        restarts: u32,
        scribe: &mut Scribe<'_>,
    ) {
        let floor = self.flow.last_exit.max(self.flow.scheduled).max(self.created);
        // The target's own word is best. The kubelet's Event comes within milliseconds, its status
        // up to a second later.
        let hints = [self.flow.starting.take(), self.flow.start_hint.take()];
        let fits = |hint: &Estimate| stated.is_some_and(|stated| stated.holds(hint.at));
        let hint = hints.into_iter().flatten().find(fits);
        let at = match (hint, stated) {
            (Some(hint), _) if hint.at <= scribe.now() => hint.not_before(floor),
            (_, Some(stated)) => stated.noticed(scribe.sight, floor),
            (_, None) => scribe.sight.unstated().not_before(floor),
        };
        self.container = Some(Instance {
            id: id.into(),
            started: at.at,
            bounds: stated.map_or((at.at, at.at), |stated| {
                (stated.from().min(at.at), stated.until().max(at.at))
            }),
            restarts,
            is_started: false,
            exited: None,
        });
        self.flow.sigterm_line = None;
        self.flow.exiting = None;
        self.flow.start_failures.clear();
        let (pod, address) = (self.name.clone(), self.address.clone());
        let kind = EventKind::ContainerStarted { pod, restarts, address, pid: None };
        scribe.at(at, Source::Kubelet, kind);
        self.stop_late_start(at.at, scribe);
        self.release_lines(scribe);
    }

    fn instance_ended(
        &mut self,
        terminated: &ContainerStateTerminated,
        restarts: u32,
        scribe: &mut Scribe<'_>,
    ) {
        let id = terminated.container_id.clone().unwrap_or_default();
        if id.is_empty() || self.flow.ended.contains(&id) {
            return;
        }
        self.flow.ended.push(id.clone());
        if self.flow.ended.len() > ENDED_MAX {
            self.flow.ended.remove(0);
        }
        let second = |time: &Option<_>| {
            time.as_ref().map(|time| scribe.clocks.second(time, Clock::Node(self.node.as_deref())))
        };
        let finished = second(&terminated.finished_at);
        if finished.is_some_and(Stated::is_before_run) {
            return;
        }
        // A container that could not be started states 1970, or nothing.
        let has_started = terminated.started_at.as_ref().is_some_and(|time| time.0.as_second() > 0);
        if !has_started {
            let reason = words(terminated.reason.as_deref(), terminated.message.as_deref());
            self.start_failed(&reason, scribe);
            return;
        }
        if self.container.as_ref().is_none_or(|container| container.id != id) {
            let started = second(&terminated.started_at);
            self.instance_started(&id, started, restarts, scribe);
        }
        self.exit(terminated, finished, scribe);
    }

    /// The container ended and the kubelet does not know how.
    fn instance_lost(&mut self, terminated: &ContainerStateTerminated, scribe: &mut Scribe<'_>) {
        if !self.is_running() {
            return;
        }
        let since = self.container.as_ref().map(|container| container.started);
        let mut at = scribe.sight.unstated();
        let since = since.unwrap_or_default().max(self.flow.last_line);
        at.precision = Some(at.at.since(since));
        self.resolve_killing(scribe);
        self.note_exit(at);
        let kind = EventKind::ContainerExited {
            pod: self.name.clone(),
            code: terminated.exit_code,
            signal: None,
            oom: false,
        };
        scribe.at(at, Source::Kubelet, kind);
    }

    fn exit(
        &mut self,
        terminated: &ContainerStateTerminated,
        finished: Option<Stated>,
        scribe: &mut Scribe<'_>,
    ) {
        self.resolve_killing(scribe);
        let Some(container) = &self.container else { return };
        // A signal that fits into the stated second was what ended it.
        let signalled = self.flow.stop.map(|stop| stop.sigterm().at);
        let signalled = signalled.filter(|at| {
            finished.is_some_and(|finished| finished.holds(*at)) && *at <= scribe.now()
        });
        // One that is ready runs.
        let ready = self.ready_since.unwrap_or_default();
        let floor = container.started.max(self.flow.last_line).max(ready);
        let floor = floor.max(signalled.unwrap_or_default());
        let at = match (self.flow.exiting, finished) {
            (Some(exiting), Some(finished)) if finished.holds(exiting.at) => {
                exiting.later(Nanos::ZERO, EXIT_DELAY)
            }
            (_, Some(finished)) => {
                // The next one cannot have spoken before this one ended.
                let next = self.flow.starting.map_or(scribe.now(), |next| next.at);
                let sight = Sight { now: scribe.now().min(next.max(floor)), ..scribe.sight };
                finished.noticed(sight, floor)
            }
            (_, None) => scribe.sight.unstated().not_before(floor),
        };
        let (code, oom) = (terminated.exit_code, terminated.reason.as_deref() == Some("OOMKilled"));
        self.note_exit(at);
        if code == SIGKILLED && !oom {
            self.note_sigkill(at, finished, scribe);
        }
        let stated = terminated.signal.filter(|signal| *signal > 0);
        let signal = stated.or_else(|| (code > 128 && code < 128 + 65).then_some(code - 128));
        let kind = EventKind::ContainerExited { pod: self.name.clone(), code, signal, oom };
        scribe.at(at, Source::Kubelet, kind);
    }

    /// Takes what the container waits for.
    pub(super) fn waits(&mut self, status: &ContainerStatus, scribe: &mut Scribe<'_>) {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        let words_of = |text: &Option<String>| text.clone().unwrap_or_default();
        self.waiting =
            waiting.map(|waiting| (words_of(&waiting.reason), words_of(&waiting.message)));
        let Some((reason, message)) = self.waiting.clone() else { return };
        if reason == "CrashLoopBackOff" {
            let restarts = status.restart_count.max(0) as u32;
            if self.flow.backed_off.replace(restarts) != Some(restarts) {
                let (pod, wait) = (self.name.clone(), backoff(restarts));
                scribe.unstated(Source::Kubelet, EventKind::BackOff { pod, wait });
            }
        } else if !reason.is_empty() && !PROPER_WAITS.contains(&reason.as_str()) {
            if self.flow.start_failures.contains(&reason) {
                return;
            }
            self.flow.start_failures.push(reason.clone());
            self.start_failed(&words(Some(&reason), Some(&message)), scribe);
        }
    }

    fn start_failed(&self, reason: &str, scribe: &mut Scribe<'_>) {
        let kind =
            EventKind::ContainerStartFailed { pod: self.name.clone(), reason: reason.into() };
        scribe.unstated(Source::Kubelet, kind);
    }
}

/// The wait before the container after the one with this number: the first is started again at
/// once.
fn backoff(restarts: u32) -> Nanos {
    let seconds = BACKOFF_MIN_S << restarts.saturating_sub(1).min(8);
    Nanos(seconds.min(BACKOFF_MAX_S) * SECOND)
}

fn words(reason: Option<&str>, message: Option<&str>) -> String {
    let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
    match (reason, message) {
        ("", text) | (text, "") => text.into(),
        (reason, message) => format!("{reason}: {message}"),
    }
}
