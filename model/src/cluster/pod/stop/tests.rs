use std::{vec, vec::Vec};

use super::*;
use crate::spec::{ExecAction, SleepAction};

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Nanos::from_millis(millis)
}

fn hook(pre_stop: LifecycleHandler) -> Lifecycle {
    Lifecycle { pre_stop: Some(pre_stop), stop_signal: None }
}

fn sleep(seconds: u32) -> Lifecycle {
    hook(LifecycleHandler { sleep: Some(SleepAction { seconds }), ..LifecycleHandler::default() })
}

fn exec() -> Lifecycle {
    hook(LifecycleHandler {
        exec: Some(ExecAction { command: vec!["true".into()] }),
        ..LifecycleHandler::default()
    })
}

/// Milliseconds of SIGTERM and SIGKILL, and whether the hook was done; `exec_done` is when a hook
/// that is run ends.
fn clock(grace: u64, hook: Option<&Lifecycle>, exec_done: Option<u64>) -> (u64, u64, Option<bool>) {
    let (mut steps, mut times) = (Vec::new(), Vec::new());
    let mut done = None;
    let mut stop = Stop::begin(at(0), Nanos::from_secs(grace), hook, &mut steps);
    let mut now = at(0);
    let mut hook_end = exec_done.map(at);
    loop {
        for step in steps.drain(..) {
            match step {
                Step::Signal(signal) => times.push((signal, now.0 / crate::time::MILLISECOND)),
                Step::HookEnded { ok, .. } => done = Some(ok),
                Step::HookStarted | Step::RunHook { .. } => {}
            }
        }
        let Some(next) = stop.next_deadline().into_iter().chain(hook_end).min() else {
            break;
        };
        now = next;
        if hook_end == Some(now) {
            hook_end = None;
            stop.hook_done(now, true, String::new(), &mut steps);
        } else {
            stop.fire(now, &mut steps);
        }
    }
    assert_eq!(times.len(), 2);
    assert_eq!((times[0].0, times[1].0), (Signal::Sigterm, Signal::Sigkill));
    (times[0].1, times[1].1, done)
}

#[test]
fn the_grace_period_covers_hook_and_drain_but_two_seconds_are_always_left() {
    let rows = [
        ("no hook", 30, None, (0, 30_000, None)),
        ("a sleep", 30, Some(sleep(5)), (5_000, 30_000, Some(true))),
        ("a sleep of nothing", 30, Some(sleep(0)), (0, 30_000, Some(true))),
        ("almost all", 30, Some(sleep(29)), (29_000, 31_000, Some(true))),
        ("all of it", 10, Some(sleep(10)), (10_000, 12_000, Some(true))),
        ("more than all", 10, Some(sleep(60)), (10_000, 12_000, Some(false))),
        ("no time for a hook", 0, Some(sleep(5)), (0, 2_000, None)),
        ("one second", 1, None, (0, 2_000, None)),
        ("an empty hook", 30, Some(hook(LifecycleHandler::default())), (0, 30_000, None)),
    ];
    for (name, grace, hook, want) in rows {
        assert_eq!(clock(grace, hook.as_ref(), None), want, "{name}");
    }
}

#[test]
fn the_time_of_a_hook_counts_in_whole_seconds() {
    assert_eq!(clock(10, Some(&exec()), Some(3_900)), (3_900, 10_900, Some(true)));
    assert_eq!(clock(10, Some(&exec()), Some(999)), (999, 10_999, Some(true)));
    assert_eq!(clock(10, Some(&exec()), Some(9_500)), (9_500, 11_500, Some(true)));
}

#[test]
fn a_hook_that_never_ends_is_given_up_at_the_end_of_the_grace_period() {
    assert_eq!(clock(10, Some(&exec()), None), (10_000, 12_000, Some(false)));
}

#[test]
fn a_container_that_ends_during_its_hook_gets_no_signal() {
    let mut steps = Vec::new();
    let stop = Stop::begin(at(0), Nanos::from_secs(30), Some(&sleep(5)), &mut steps);
    steps.clear();
    stop.container_exited(&mut steps);
    assert!(matches!(steps.as_slice(), [Step::HookEnded { ok: false, .. }]));
}

#[test]
fn a_stop_signal_takes_the_place_of_sigterm() {
    for (named, sent) in [(None, Signal::Sigterm), (Some(Signal::Sigquit), Signal::Sigquit)] {
        let lifecycle = Lifecycle { stop_signal: named, ..Lifecycle::default() };
        let mut steps = Vec::new();
        let mut stop = Stop::begin(at(0), Nanos::from_secs(3), Some(&lifecycle), &mut steps);
        stop.fire(at(3_000), &mut steps);
        assert_eq!(steps, [Step::Signal(sent), Step::Signal(Signal::Sigkill)]);
    }
}

#[test]
fn a_second_deletion_can_only_shorten() {
    let mut steps = Vec::new();
    let begin =
        |hook: Option<&Lifecycle>| Stop::begin(at(0), Nanos::from_secs(30), hook, &mut Vec::new());
    let mut stop = begin(None);
    stop.shorten(at(1_000), Nanos::from_secs(5));
    assert_eq!(stop.next_deadline(), Some(at(6_000)));
    stop.shorten(at(2_000), Nanos::from_secs(60));
    assert_eq!(stop.next_deadline(), Some(at(6_000)));
    stop.shorten(at(2_000), Nanos::from_secs(1));
    assert_eq!(stop.next_deadline(), Some(at(4_000)), "two seconds are left");

    let mut stop = begin(Some(&sleep(20)));
    stop.shorten(at(1_000), Nanos::from_secs(5));
    assert_eq!(stop.next_deadline(), Some(at(6_000)));
    stop.fire(at(6_000), &mut steps);
    assert_eq!(stop.next_deadline(), Some(at(8_000)));
}

#[test]
fn a_late_answer_of_a_hook_is_ignored() {
    let mut steps = Vec::new();
    let mut stop = Stop::begin(at(0), Nanos::from_secs(3), Some(&exec()), &mut steps);
    stop.fire(at(3_000), &mut steps);
    steps.clear();
    stop.hook_done(at(3_100), true, String::new(), &mut steps);
    assert_eq!(steps, []);
}
