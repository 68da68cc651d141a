use std::vec::Vec;

use super::*;
use crate::time::SECOND;

const MS: u64 = crate::time::MILLISECOND;

fn settings() -> spec::Probe {
    spec::Probe { period_seconds: 10, failure_threshold: 3, ..spec::Probe::default() }
}

fn at(millis: u64) -> Timestamp {
    Timestamp(millis * MS)
}

/// Milliseconds of the probes that run until `end`, each answered with `passes` after 1 ms.
fn runs(
    prober: &mut Prober,
    is_started: bool,
    end: Timestamp,
    passes: impl Fn(u64) -> bool,
) -> Vec<u64> {
    let (mut numbers, mut seen) = (0, Vec::new());
    while let Some(now) = prober.next_deadline().filter(|&at| at <= end) {
        if let Some(Fired::Run { probe, .. }) = prober.fire(now, is_started, &mut numbers) {
            seen.push(now.0 / MS);
            prober.done(now + Nanos(MS), probe, passes(now.0 / MS));
        }
        assert!(prober.next_deadline().is_none_or(|next| next > now));
    }
    seen
}

#[test]
fn verdicts_before_the_first_result_are_those_of_the_kubelet() {
    let rows = [
        (ProbeKind::Readiness, Some(false)),
        (ProbeKind::Liveness, Some(true)),
        (ProbeKind::Startup, None),
    ];
    for (kind, verdict) in rows {
        let prober = Prober::new(kind, &settings(), at(0));
        assert_eq!(prober.verdict(), verdict, "{kind:?}");
        assert_eq!(prober.next_deadline(), None, "no container yet");
    }
}

#[test]
fn ticks_keep_their_own_phase_whatever_the_container_does() {
    let mut prober = Prober::new(ProbeKind::Liveness, &settings(), at(3_700));
    prober.see_container(at(15_000), at(14_800));
    let seen = runs(&mut prober, true, at(40_000), |_| true);
    assert_eq!(seen, [23_700, 33_700]);
}

#[test]
fn a_readiness_probe_that_is_asked_for_moves_the_ticks() {
    let mut prober = Prober::new(ProbeKind::Readiness, &settings(), at(3_700));
    prober.see_container(at(15_000), at(14_800));
    prober.trigger(at(15_000));
    let seen = runs(&mut prober, true, at(40_000), |_| false);
    assert_eq!(seen, [15_000, 25_000, 35_000]);
}

#[test]
fn the_initial_delay_counts_whole_seconds_from_the_start() {
    let probe = spec::Probe { initial_delay_seconds: 5, period_seconds: 1, ..settings() };
    let mut prober = Prober::new(ProbeKind::Liveness, &probe, at(500));
    prober.see_container(at(1_000), at(600));
    let seen = runs(&mut prober, true, at(7_600), |_| true);
    assert_eq!(seen, [6_500, 7_500], "5.5 s would be 4.9 s after the start");
}

#[test]
fn startup_gates_the_others_and_rests_once_it_has_passed() {
    for kind in [ProbeKind::Readiness, ProbeKind::Liveness] {
        let mut prober = Prober::new(kind, &settings(), at(0));
        prober.see_container(at(1_000), at(1_000));
        assert_eq!(runs(&mut prober, false, at(60_000), |_| true), Vec::<u64>::new(), "{kind:?}");
    }
    let mut startup = Prober::new(ProbeKind::Startup, &settings(), at(0));
    startup.see_container(at(1_000), at(1_000));
    let seen = runs(&mut startup, false, at(60_000), |at| at > 25_000);
    assert_eq!(seen, [10_000, 20_000, 30_000]);
    assert_eq!((startup.verdict(), startup.next_deadline()), (Some(true), None));
}

#[test]
fn below_its_threshold_a_result_changes_nothing() {
    let probe = spec::Probe { success_threshold: 2, ..settings() };
    let mut prober = Prober::new(ProbeKind::Readiness, &probe, at(0));
    prober.see_container(at(1), at(1));
    let mut numbers = 0;
    let mut answer = |prober: &mut Prober, passed| {
        let now = prober.next_deadline().expect("a tick is due");
        match prober.fire(now, true, &mut numbers) {
            Some(Fired::Run { probe, .. }) => prober.done(now, probe, passed).expect("awaited"),
            other => panic!("{other:?}"),
        }
    };
    let rows = [
        (true, 1, false, false, false),
        (true, 2, true, true, true),
        (true, 3, false, false, true),
        (false, 1, false, true, true),
        (false, 2, false, true, true),
        (true, 1, false, false, true),
        (false, 1, false, true, true),
        (false, 2, false, true, true),
        (false, 3, true, true, false),
        (false, 4, false, false, false),
    ];
    for (passed, run, is_change, is_news, verdict) in rows {
        let want = Recorded { passed, run, is_change, is_news };
        assert_eq!(answer(&mut prober, passed), want);
        assert_eq!(prober.verdict(), Some(verdict));
    }
}

#[test]
fn a_failed_liveness_probe_rests_until_the_next_container() {
    let mut prober = Prober::new(ProbeKind::Liveness, &settings(), at(0));
    prober.see_container(at(1), at(1));
    assert_eq!(runs(&mut prober, true, at(90_000), |_| false).len(), 3);
    assert_eq!(prober.next_deadline(), None);
    prober.see_container(at(95_000), at(94_000));
    assert_eq!(prober.verdict(), Some(true));
    assert_eq!(prober.next_deadline(), Some(at(100_000)));
}

#[test]
fn a_tick_during_a_probe_waits_for_its_end() {
    let probe = spec::Probe { period_seconds: 1, ..settings() };
    let mut prober = Prober::new(ProbeKind::Liveness, &probe, at(1_000));
    prober.see_container(at(500), at(400));
    let mut numbers = 0;
    let fired = prober.fire(at(1_000), true, &mut numbers);
    let timeout = Nanos::from_secs(1);
    assert_eq!(fired, Some(Fired::Run { probe: 0, timeout }));
    assert_eq!(prober.fire(at(2_000), true, &mut numbers), None);
    prober.done(at(2_001), 0, false);
    assert_eq!(prober.next_deadline(), Some(at(2_001)));
    let fired = prober.fire(at(2_001), true, &mut numbers);
    assert_eq!(fired, Some(Fired::Run { probe: 1, timeout }));
    assert_eq!(prober.next_deadline(), Some(at(3_000)));
}

#[test]
fn without_an_answer_a_probe_fails_one_second_after_its_timeout() {
    let mut prober = Prober::new(ProbeKind::Readiness, &settings(), at(1_000));
    prober.see_container(at(500), at(400));
    let mut numbers = 0;
    prober.fire(at(1_000), true, &mut numbers);
    assert_eq!(prober.next_deadline(), Some(at(3_000)));
    let fired = prober.fire(at(3_000), true, &mut numbers);
    assert!(matches!(fired, Some(Fired::GaveUp(result)) if !result.passed && result.run == 1));
    assert_eq!(prober.done(at(3_500), 0, true), None, "it comes too late");
}

#[test]
fn answers_of_a_container_that_is_gone_are_ignored() {
    let mut prober = Prober::new(ProbeKind::Readiness, &settings(), at(1_000));
    prober.see_container(at(500), at(400));
    let mut numbers = 0;
    prober.fire(at(1_000), true, &mut numbers);
    prober.lose_container();
    assert_eq!(prober.done(at(1_001), 0, true), None);
    assert_eq!(prober.verdict(), Some(false));
}

#[test]
fn a_late_driver_finds_the_next_tick_ahead() {
    let mut prober = Prober::new(ProbeKind::Liveness, &settings(), at(1_000));
    prober.see_container(at(500), at(400));
    let mut numbers = 0;
    prober.fire(Timestamp(57 * SECOND), true, &mut numbers);
    prober.done(Timestamp(57 * SECOND), 0, true);
    assert_eq!(prober.next_deadline(), Some(at(61_000)));
}
