//! The state of a run that is shown while it goes on.

use std::collections::{BTreeMap, VecDeque};

use highwater_model::{
    event::{Event, EventKind, MetricReading},
    outcome::Outcome,
    time::{SECOND, Timestamp, human},
};

use super::{
    latency::Latencies,
    log::{self, Tone},
    pods::Pods,
};
use crate::{
    analyze::audit,
    backend::Progress,
    record::{Line, Sample, Totals, Window},
    report::{clean, figures},
};

/// Seconds of traffic that are remembered: a quarter of an hour.
pub const SECONDS_MAX: usize = 900;
/// Lines that are remembered of what happened.
pub const SAID_MAX: usize = 200;
/// Generators whose state is kept apart.
const GENERATORS_MAX: usize = 64;
/// Metrics of an autoscaler that are shown.
const METRICS_MAX: usize = 8;
/// Characters that are kept of any text.
const TEXT_CHARS: usize = 160;

/// Foreign text as it can be shown: on one line, harmless, not endless.
pub(super) fn text(foreign: &str) -> String {
    // What is cut off need not be cleaned; a character becomes ten at most.
    let start: String = foreign.chars().take(4 * TEXT_CHARS).collect();
    clean::shorten(&clean::line(&start), TEXT_CHARS)
}

/// One second of traffic, by when its requests were owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondPoint {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// Requests that became due.
    pub owed: u64,
    /// Good answers, as far as known.
    pub ok: u64,
    /// Failures, as far as known.
    pub failed: u64,
    /// Unsent ones.
    pub unsent: u64,
    /// 99th percentile of the good answers' latency, nanoseconds.
    pub latency_p99: Option<u64>,
    /// Ready pods, and pods wanted, if they were counted in that second.
    pub pods: Option<(u32, u32)>,
}

/// A line of what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// How it is to be taken.
    pub tone: Tone,
    /// What, as it can be shown.
    pub text: String,
}

/// What an autoscaler said last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutoscalerView {
    /// `minReplicas` and `maxReplicas`.
    pub bounds: Option<(u32, u32)>,
    /// Its metrics.
    pub metrics: Vec<MetricReading>,
}

/// What can be said of the generator before the run's audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditState {
    /// Nothing was sent yet.
    Unknown,
    /// Nothing speaks against the numbers.
    Holds,
    /// Something weakens them, in words.
    Weak(String),
    /// They will not be trusted, in words.
    Broken(String),
}

/// A run as it stands. All of it is bounded, and all text in it can be shown as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveView {
    /// The scenario's name.
    pub name: String,
    /// The backend's name.
    pub backend: &'static str,
    /// What the backend tells once a second.
    pub progress: Progress,
    /// The phase of the traffic.
    pub phase: String,
    /// The latest instant that is known.
    pub now: Timestamp,
    /// When the traffic started.
    pub start: Option<Timestamp>,
    /// Ascending, without holes; at most [`SECONDS_MAX`].
    pub seconds: VecDeque<SecondPoint>,
    /// Requests of the whole run.
    pub totals: Totals,
    /// Percentiles.
    pub latency: Latencies,
    /// The pods.
    pub pods: Pods,
    /// The autoscaler, if one is known.
    pub autoscaler: Option<AutoscalerView>,
    /// The last sample of each generator.
    pub generators: BTreeMap<u32, Sample>,
    /// What happened, the latest last; at most [`SAID_MAX`].
    pub said: VecDeque<Said>,
    /// How often the user asked to stop.
    pub interrupts: u32,
}

impl LiveView {
    /// That of a run that has not begun.
    pub fn new(name: &str, backend: &'static str) -> Self {
        Self { name: text(name), backend, ..Self::default() }
    }

    /// Takes a line of the record.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Event(event) => self.event(event),
            Line::Window(window) => self.window(window),
            Line::Failure(failure) => {
                // Where a proxy is on the way, the pod is that of its try.
                let hop = failure.hop.as_ref().and_then(|hop| hop.pod.as_ref());
                if let Some(pod) = failure.pod.as_ref().or(hop) {
                    self.pods.failed(pod, failure.n);
                }
            }
            Line::Sample(sample) => {
                self.now = self.now.max(sample.at);
                let is_known = self.generators.contains_key(&sample.generator);
                if is_known || self.generators.len() < GENERATORS_MAX {
                    self.generators.insert(sample.generator, sample.clone());
                }
            }
            Line::Header(_) | Line::Footer(_) => {}
        }
    }

    /// Takes how the run stands.
    pub fn progress(&mut self, progress: &Progress) {
        self.progress = progress.clone();
        if let Some(start) = self.start {
            let at = start + progress.elapsed;
            self.now = self.now.max(at);
            let pods = Some((progress.ready, progress.desired));
            if let Some(point) = self.second(at.second()) {
                point.pods = pods;
            }
        }
        self.pods.forget(self.now);
    }

    /// Sets the 99th percentile of a second.
    pub fn latency_of(&mut self, second: u64, p99: u64) {
        if let Some(point) = self.second(second) {
            point.latency_p99 = Some(p99);
        }
    }

    fn event(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        self.pods.take(event);
        match &event.kind {
            EventKind::TrafficStarted => self.start = Some(event.at),
            EventKind::PhaseStarted { phase } => self.phase = text(phase),
            EventKind::AutoscalerSpec { min, max } => {
                self.autoscaler.get_or_insert_default().bounds = Some((*min, *max));
            }
            EventKind::AutoscalerStatus { metrics, .. } => {
                let shown = metrics.iter().take(METRICS_MAX);
                self.autoscaler.get_or_insert_default().metrics = shown
                    .map(|metric| MetricReading { name: text(&metric.name), ..metric.clone() })
                    .collect();
            }
            _ => {}
        }
        if let Some((tone, words)) = log::phrase(&event.kind) {
            if self.said.len() >= SAID_MAX {
                self.said.pop_front();
            }
            // What was observed late stands where it belongs.
            let index = self.said.partition_point(|said| said.at <= event.at);
            self.said.insert(index, Said { at: event.at, tone, text: text(&words) });
        }
    }

    fn window(&mut self, window: &Window) {
        self.totals.owed += window.owed;
        for (outcome, part) in &window.outcomes {
            *self.totals.by_outcome.entry(*outcome).or_default() += part.n;
        }
        let of = |group| {
            let parts = window.outcomes.iter().filter(|(outcome, _)| outcome.group() == group);
            parts.map(|(_, part)| part.n).sum::<u64>()
        };
        use highwater_model::outcome::OutcomeGroup::{Failed, Ok, Unsent};
        let (owed, ok, failed, unsent) = (window.owed, of(Ok), of(Failed), of(Unsent));
        if let Some(point) = self.second(window.second) {
            point.owed += owed;
            point.ok += ok;
            point.failed += failed;
            point.unsent += unsent;
        }
    }

    /// The point of a second; `None` if that is past what is kept.
    fn second(&mut self, second: u64) -> Option<&mut SecondPoint> {
        let point = |second| SecondPoint { second, ..SecondPoint::default() };
        let first = match (self.seconds.front(), self.seconds.back()) {
            (Some(first), Some(last))
                if second.saturating_sub(last.second) < SECONDS_MAX as u64 =>
            {
                let (first, next) = (first.second, last.second + 1);
                self.seconds.extend((next..=second).map(point));
                first
            }
            _ => {
                self.seconds = [point(second)].into();
                second
            }
        };
        let surplus = self.seconds.len().saturating_sub(SECONDS_MAX);
        self.seconds.drain(..surplus);
        let index = second.checked_sub(first + surplus as u64)?;
        self.seconds.get_mut(usize::try_from(index).ok()?)
    }

    /// The last second that is over and whose requests are known to have been owed.
    pub fn last_second(&self) -> Option<&SecondPoint> {
        let now = self.now.second();
        self.seconds.iter().rev().find(|point| point.second < now && point.owed > 0)
    }

    /// The failures and unsent requests by outcome, the most frequent first.
    pub fn losses(&self) -> Vec<(Outcome, u64)> {
        let all = self.totals.by_outcome.iter().map(|(outcome, n)| (*outcome, *n));
        let mut losses: Vec<_> = all.filter(|(outcome, _)| *outcome != Outcome::Ok).collect();
        losses.sort_by_key(|(outcome, n)| (std::cmp::Reverse(*n), *outcome));
        losses
    }

    /// An instant on the axis of the scenario's events: seconds since the start of the traffic, and
    /// negative before it.
    pub fn since_start(&self, at: Timestamp) -> String {
        let Some(start) = self.start else { return format!("{:.1} s", at.as_secs_f64()) };
        let early = start.since(at).as_secs_f64();
        if early >= 0.05 {
            return format!("-{early:.1} s");
        }
        let tenths = at.since(start).0 / (SECOND / 10);
        let (minutes, seconds, tenths) = (tenths / 600, tenths / 10 % 60, tenths % 10);
        format!("{minutes}:{seconds:02}.{tenths}")
    }

    /// What can be said of the generator by now, by the bounds of the run's audit.
    pub fn audit(&self) -> AuditState {
        let (owed, unsent) = (self.totals.owed, self.totals.unsent());
        let share = unsent as f64 / owed.max(1) as f64;
        if share > audit::UNSENT_SHARE_MAX {
            let share = figures::share(unsent, owed);
            return AuditState::Broken(format!("{share} of what was owed could not be sent"));
        }
        let Some(lag) = self.latency.send_lag.map(|lag| lag.p99) else {
            return AuditState::Unknown;
        };
        let late =
            || format!("requests are sent {} late (p99)", human(highwater_model::time::Nanos(lag)));
        match lag {
            lag if lag > audit::LAG_P99_MAX => AuditState::Broken(late()),
            lag if lag >= audit::LAG_P99_WARN => AuditState::Weak(late()),
            _ if unsent > 0 => {
                let unsent = figures::counted(unsent, "request");
                AuditState::Weak(format!("{unsent} could not be sent"))
            }
            _ => AuditState::Holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::{
        outcome::Outcome,
        time::{MILLISECOND, Nanos},
    };

    use super::*;
    use crate::live::{
        Shared,
        testkit::{event, failure, window},
    };

    fn started() -> LiveView {
        let mut view = LiveView::new("test", "local");
        view.line(&Line::Event(event(5.0, EventKind::TrafficStarted)));
        view
    }

    #[test]
    fn windows_add_up_by_second_and_in_all() {
        let mut view = started();
        for part in
            [window(5, 100, 0, MILLISECOND), window(7, 80, 3, MILLISECOND), window(5, 0, 2, 0)]
        {
            view.line(&Line::Window(part));
        }
        view.progress(&Progress {
            elapsed: Nanos::from_secs(3),
            ready: 2,
            desired: 4,
            ..Progress::default()
        });
        let points: Vec<_> =
            view.seconds.iter().map(|p| (p.second, p.owed, p.ok, p.failed)).collect();
        assert_eq!(points, [(5, 102, 100, 2), (6, 0, 0, 0), (7, 83, 80, 3), (8, 0, 0, 0)]);
        assert_eq!(view.seconds[3].pods, Some((2, 4)));
        assert_eq!(view.last_second().map(|point| point.second), Some(7));
        assert_eq!(view.losses(), [(Outcome::ConnectRefused, 5)]);
        assert_eq!(view.totals.owed, view.totals.sent());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut view = started();
        for second in 0..3 * SECONDS_MAX as u64 {
            view.line(&Line::Window(window(second, 1, 0, 0)));
            view.line(&Line::Event(event(
                second as f64,
                EventKind::RolloutStarted { revision: 2 },
            )));
        }
        assert_eq!((view.seconds.len(), view.said.len()), (SECONDS_MAX, SAID_MAX));
        assert_eq!(view.totals.owed, 3 * SECONDS_MAX as u64);
        // A window that is very late counts in the totals alone; one after a long silence begins anew.
        view.line(&Line::Window(window(3, 1, 0, 0)));
        assert_eq!(view.seconds.front().map(|point| point.second), Some(2 * SECONDS_MAX as u64));
        view.line(&Line::Window(window(u64::MAX / 2, 7, 0, 0)));
        assert_eq!((view.seconds.len(), view.seconds[0].owed), (1, 7));
    }

    #[test]
    fn text_is_harmless_and_short() {
        let mut view = LiveView::new("a\u{1b}[2Jb", "local");
        assert_eq!(view.name, "a\\u{1b}[2Jb");
        let phase = format!("\u{202e}{}", "x".repeat(10_000));
        view.line(&Line::Event(event(1.0, EventKind::PhaseStarted { phase })));
        assert!(view.phase.starts_with("\\u{202e}xx") && view.phase.chars().count() == TEXT_CHARS);
    }

    #[test]
    fn the_audit_speaks_by_the_bounds_of_the_report() {
        let state = |lag_millis: u64, unsent: u64| {
            let shared = Shared::new(started());
            let mut part = window(5, 10_000, 0, lag_millis * MILLISECOND);
            if unsent > 0 {
                let n = unsent;
                part.owed += n;
                let window = crate::record::OutcomeWindow { n, ..Default::default() };
                part.outcomes.insert(Outcome::UnsentConnections, window);
            }
            shared.line(&Line::Window(part));
            shared.progress(&Progress::default());
            shared.look(LiveView::audit)
        };
        assert_eq!(started().audit(), AuditState::Unknown);
        assert_eq!(state(1, 0), AuditState::Holds);
        assert!(matches!(state(20, 0), AuditState::Weak(words) if words.contains("20")));
        assert!(matches!(state(1, 3), AuditState::Weak(words) if words.contains("3 requests")));
        assert!(matches!(state(200, 0), AuditState::Broken(words) if words.contains("late")));
        assert!(matches!(state(1, 300), AuditState::Broken(words) if words.contains("2.9 %")));
    }

    #[test]
    fn failures_are_counted_on_their_pods() {
        let mut view = started();
        let created = EventKind::PodCreated { pod: "v1-1".into(), revision: 1 };
        view.line(&Line::Event(event(0.0, created)));
        view.line(&Line::Failure(Box::new(failure("v1-1", 4))));
        assert_eq!(view.pods.iter().next().map(|pod| pod.failed), Some(4));
    }

    #[test]
    fn instants_count_from_the_start_of_the_traffic() {
        let view = started();
        for (at, shown) in [(2.0, "-3.0 s"), (5.0, "0:00.0"), (67.25, "1:02.2")] {
            assert_eq!(view.since_start(event(at, EventKind::TrafficEnded).at), shown);
        }
        assert_eq!(LiveView::default().since_start(Timestamp(SECOND)), "1.0 s");
    }

    #[test]
    fn a_version_is_handed_out_once() {
        let shared = Shared::new(started());
        let (version, _) = shared.newer(0).unwrap();
        assert!(shared.newer(version).is_none());
        shared.interrupted(1);
        assert_eq!(shared.newer(version).map(|(_, view)| view.interrupts), Some(1));
    }
}
