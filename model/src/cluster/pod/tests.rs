use std::{format, string::String, vec::Vec};

use super::*;
use crate::{
    event::{DeleteReason, Signal},
    spec::{Lifecycle, LifecycleHandler, SleepAction},
};

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Nanos::from_millis(millis)
}

const RELIST: Relist = Relist { phase: Nanos::from_millis(250), period: Nanos::from_secs(1) };

/// A pod in a driver's hands: what it did, as short lines with milliseconds.
struct Bench {
    pod: Pod,
    now: Timestamp,
    numbers: u64,
    log: Vec<String>,
}

impl Bench {
    fn new(template: PodTemplate) -> Self {
        let draws = Draws {
            start: Nanos::from_millis(100),
            kubelet_delay: Nanos::from_millis(50),
            teardown: Nanos::from_millis(20),
            ticks: [Nanos::from_millis(900); 3],
            retries: None,
        };
        let identity = Identity { pod: 0, name: "v1-1".into(), revision: 1 };
        Self {
            pod: Pod::new(at(0), identity, Arc::new(template), draws, RELIST),
            now: at(0),
            numbers: 0,
            log: Vec::new(),
        }
    }

    fn note(&mut self, effects: Vec<Effect>) {
        let now = self.now.0 / crate::time::MILLISECOND;
        for effect in effects {
            let line = match effect {
                Effect::StartContainer { container, .. } => format!("start {}", container.restarts),
                Effect::RunProbe { probe, kind, .. } => format!("probe {} {probe}", kind.name()),
                Effect::RunPreStop { .. } => "run hook".into(),
                Effect::RemovePod { .. } => "remove".into(),
                Effect::Signal { .. } | Effect::ApplyView { .. } => continue,
                Effect::Emit { kind, .. } => match kind {
                    EventKind::PodReady { .. } => "ready".into(),
                    EventKind::PodUnready { .. } => "unready".into(),
                    EventKind::SignalSent { signal: Signal::Sigterm, .. } => "SIGTERM".into(),
                    EventKind::SignalSent { .. } => "SIGKILL".into(),
                    EventKind::PreStopStarted { .. } => "hook".into(),
                    EventKind::PreStopEnded { ok, .. } => format!("hook ended {ok}"),
                    EventKind::ProbeKill { probe, .. } => format!("kill by {}", probe.name()),
                    EventKind::BackOff { wait, .. } => format!("back-off {wait}"),
                    EventKind::PodDeleted { grace, .. } => format!("deleted {grace}"),
                    EventKind::PodGone { .. } => "gone".into(),
                    _ => continue,
                },
            };
            self.log.push(format!("{now} {line}"));
        }
    }

    fn until(&mut self, millis: u64) -> &mut Self {
        while let Some(next) = self.pod.next_deadline().filter(|&next| next <= at(millis)) {
            assert!(next >= self.now, "a deadline in the past");
            self.now = next;
            let mut effects = Vec::new();
            self.pod.fire(self.now, &mut self.numbers, &mut effects);
            self.note(effects);
        }
        self.now = at(millis);
        self
    }

    fn tell(&mut self, what: impl FnOnce(&mut Pod, Timestamp, &mut Vec<Effect>)) -> &mut Self {
        let mut effects = Vec::new();
        what(&mut self.pod, self.now, &mut effects);
        self.note(effects);
        self
    }

    fn started(&mut self) -> &mut Self {
        self.tell(|pod, now, effects| {
            let restarts = pod.restarts;
            pod.container_started(now, restarts, None, None, effects);
        })
    }

    fn exited(&mut self) -> &mut Self {
        self.tell(|pod, now, effects| {
            let restarts = pod.restarts;
            pod.container_exited(now, restarts, 1, None, effects);
        })
    }

    fn deleted(&mut self) -> &mut Self {
        self.tell(|pod, now, effects| pod.delete(now, None, DeleteReason::Deleted, effects))
    }

    fn probed(&mut self, probe: u64, passed: bool) -> &mut Self {
        self.tell(|pod, now, effects| {
            pod.probe_done(now, probe, passed, "", effects);
        })
    }

    /// What was done since the last call.
    fn did(&mut self) -> Vec<String> {
        core::mem::take(&mut self.log)
    }

    /// Running and seen since 250 ms, at 1 s.
    fn up(template: PodTemplate) -> Self {
        let mut bench = Self::new(template);
        bench.until(150).started().until(1_000).did();
        bench
    }
}

fn with_sleep(seconds: u32, grace: u32) -> PodTemplate {
    PodTemplate {
        termination_grace_period_seconds: grace,
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds }),
                ..LifecycleHandler::default()
            }),
            stop_signal: None,
        }),
        ..PodTemplate::default()
    }
}

fn every_second(failure_threshold: u32) -> Option<Probe> {
    Some(Probe { period_seconds: 1, failure_threshold, ..Probe::default() })
}

#[test]
fn looks_are_on_a_grid() {
    let rows = [(0, 250), (249, 250), (250, 1_250), (251, 1_250), (9_999, 10_250)];
    for (now, want) in rows {
        assert_eq!(RELIST.next_after(at(now)), at(want), "{now}");
    }
}

#[test]
fn without_probes_a_pod_is_ready_when_it_is_seen_to_run() {
    let mut bench = Bench::new(PodTemplate::default());
    bench.until(150).started().until(2_000);
    assert_eq!(bench.did(), ["100 start 0", "250 ready"]);
}

#[test]
fn readiness_is_probed_when_the_container_is_seen_and_then_each_period() {
    let mut bench =
        Bench::new(PodTemplate { readiness_probe: every_second(3), ..PodTemplate::default() });
    bench.until(150).started().until(260).probed(0, false);
    bench.until(1_260).probed(1, true).until(2_300);
    let want = [
        "100 start 0",
        "250 probe readiness 0",
        "1250 probe readiness 1",
        "1260 ready",
        "2250 probe readiness 2",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn readiness_waits_for_startup_and_is_probed_when_that_passes() {
    let mut bench = Bench::new(PodTemplate {
        startup_probe: every_second(30),
        readiness_probe: every_second(3),
        ..PodTemplate::default()
    });
    bench.until(150).started().until(910).probed(0, false);
    bench.until(1_910).probed(1, true).until(1_920);
    let want =
        ["100 start 0", "900 probe startup 0", "1900 probe startup 1", "1910 probe readiness 2"];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_deletion_runs_its_course() {
    let mut bench = Bench::up(with_sleep(5, 30));
    bench.deleted().until(7_000).exited().until(60_000);
    let want = [
        "1000 deleted 30s",
        "1050 hook",
        "6050 hook ended true",
        "6050 SIGTERM",
        "7000 unready",
        "7020 remove",
        "7020 gone",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn who_ignores_sigterm_is_killed_at_the_end_of_the_grace_period() {
    let mut bench = Bench::up(with_sleep(5, 30));
    bench.deleted().until(60_000);
    assert_eq!(bench.did().last().map(String::as_str), Some("31050 SIGKILL"));
    assert!(!bench.pod.is_gone(), "only its exit ends it");
}

#[test]
fn a_hook_as_long_as_the_grace_period_leaves_two_seconds() {
    let mut bench = Bench::up(with_sleep(10, 10));
    bench.deleted().until(60_000);
    let want = [
        "1000 deleted 10s",
        "1050 hook",
        "11050 hook ended true",
        "11050 SIGTERM",
        "13050 SIGKILL",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_pod_that_never_started_is_gone_at_once() {
    let mut bench = Bench::new(with_sleep(5, 30));
    bench.until(50).deleted().until(60_000);
    assert_eq!(bench.did(), ["50 deleted 0s", "50 gone"]);
}

#[test]
fn a_container_that_was_on_its_way_is_ended_when_it_runs() {
    let mut bench = Bench::new(with_sleep(5, 30));
    bench.until(120).deleted().until(3_000).started();
    bench.until(9_000).exited().until(10_000);
    let want = [
        "100 start 0",
        "120 deleted 30s",
        "3000 hook",
        "8000 hook ended true",
        "8000 SIGTERM",
        "9020 remove",
        "9020 gone",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_container_that_then_fails_to_start_ends_the_pod() {
    let mut bench = Bench::new(PodTemplate::default());
    bench.until(120).deleted().until(3_000);
    bench.tell(|pod, now, effects| pod.container_start_failed(now, 0, "no".into(), effects));
    bench.until(10_000);
    let want = ["100 start 0", "120 deleted 30s", "3020 remove", "3020 gone"];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_pod_in_back_off_ends_without_hook_and_signal() {
    let mut bench = Bench::up(with_sleep(5, 30));
    bench.exited().until(2_000).started().until(3_000).exited();
    bench.until(5_000).did();
    bench.deleted().until(60_000);
    assert_eq!(bench.did(), ["5000 deleted 30s", "5070 remove", "5070 gone"]);
}

#[test]
fn an_exit_during_the_hook_ends_the_pod() {
    let mut bench = Bench::up(with_sleep(5, 30));
    bench.deleted().until(2_000).exited().until(60_000);
    let want = [
        "1000 deleted 30s",
        "1050 hook",
        "2000 hook ended false",
        "2000 unready",
        "2020 remove",
        "2020 gone",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn an_exit_between_deletion_and_the_first_step_ends_the_pod_there() {
    let mut bench = Bench::up(with_sleep(5, 30));
    bench.deleted().until(1_010).exited().until(60_000);
    let want = ["1000 deleted 30s", "1050 unready", "1070 remove", "1070 gone"];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_crash_is_noticed_at_the_next_look_and_waits_double_each_time() {
    let mut bench = Bench::up(PodTemplate::default());
    bench.exited().until(1_300).started().until(2_000).exited();
    bench.until(12_100).started().until(13_000).exited().until(33_000);
    let want = [
        "1250 unready",
        "1250 back-off 0s",
        "1250 start 1",
        "2250 back-off 10s",
        "12000 start 2",
        "12250 ready",
        "13250 unready",
        "13250 back-off 20s",
        "33000 start 3",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_start_that_fails_is_tried_again_with_the_same_number() {
    let mut bench = Bench::new(PodTemplate::default());
    let fail = |pod: &mut Pod, now, effects: &mut Vec<Effect>| {
        pod.container_start_failed(now, 0, "no".into(), effects);
    };
    bench.until(200).tell(fail).until(300).tell(fail).until(10_300);
    let want =
        ["100 start 0", "200 back-off 0s", "200 start 0", "300 back-off 10s", "10300 start 0"];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_failed_liveness_probe_ends_the_container_and_not_the_pod() {
    let mut template = with_sleep(5, 30);
    template.liveness_probe = every_second(2);
    let mut bench = Bench::up(template);
    bench.probed(0, false).until(1_950).probed(1, false);
    bench.until(8_000).exited().until(8_100).started().until(8_300);
    let want = [
        "1900 probe liveness 1",
        "1950 kill by liveness",
        "1950 hook",
        "6950 hook ended true",
        "6950 SIGTERM",
        "8000 unready",
        "8000 back-off 0s",
        "8000 start 1",
        "8250 ready",
    ];
    assert_eq!(bench.did(), want);
    assert!(!bench.pod.report().is_terminating);
}

#[test]
fn a_probe_may_bring_a_grace_period_of_its_own() {
    let mut template = with_sleep(1, 30);
    template.liveness_probe = Some(Probe {
        termination_grace_period_seconds: Some(4),
        ..every_second(1).expect("given")
    });
    let mut bench = Bench::up(template);
    bench.probed(0, false).until(20_000);
    let want = [
        "1000 kill by liveness",
        "1000 hook",
        "2000 hook ended true",
        "2000 SIGTERM",
        "5000 SIGKILL",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
fn a_deletion_during_a_probe_kill_takes_it_over() {
    let mut template = with_sleep(0, 60);
    template.liveness_probe = every_second(1);
    let mut bench = Bench::up(template);
    bench.probed(0, false).until(2_000).deleted();
    bench.until(3_000).exited().until(9_000);
    let did = bench.did();
    assert_eq!(did[did.len() - 3..], ["3000 unready", "3020 remove", "3020 gone"]);
}

#[test]
fn while_it_terminates_only_readiness_is_probed() {
    let mut template = with_sleep(5, 30);
    template.liveness_probe = every_second(1);
    template.readiness_probe = every_second(1);
    let mut bench = Bench::up(template);
    let (first, second) = (0, 1);
    bench.probed(first, true).probed(second, true);
    bench.deleted().until(3_000);
    let kinds: Vec<&str> = bench
        .log
        .iter()
        .filter(|line| line.contains("probe"))
        .map(|line| line.split(' ').nth(2).expect("a kind"))
        .collect();
    assert_eq!(kinds, ["readiness"], "one is in flight from then on");
}

#[test]
fn without_a_grace_period_the_object_is_gone_before_the_process() {
    let mut bench = Bench::up(with_sleep(5, 0));
    bench.deleted();
    assert!(bench.pod.report().is_gone && !bench.pod.is_gone());
    bench.until(3_000).exited().until(9_000);
    let want = [
        "1000 deleted 0s",
        "1050 hook",
        "2050 hook ended false",
        "2050 SIGTERM",
        "3000 unready",
        "3020 remove",
        "3020 gone",
    ];
    assert_eq!(bench.did(), want);
}

#[test]
#[should_panic(expected = "was not asked to start")]
fn a_container_that_no_one_asked_for_is_an_error() {
    Bench::new(PodTemplate::default()).started();
}

#[test]
fn facts_about_containers_that_ended_are_ignored() {
    let mut bench = Bench::up(PodTemplate::default());
    bench.exited().exited();
    bench.tell(|pod, now, effects| {
        pod.pre_stop_done(now, 0, true, String::new(), effects);
        assert!(!pod.probe_done(now, 99, true, "", effects));
        assert!(!pod.kill(Signal::Sigkill, effects));
    });
    assert!(bench.did().is_empty());
}
