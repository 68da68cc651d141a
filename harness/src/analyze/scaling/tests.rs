//! Stories of scale-ups, by seconds.

use highwater_model::{
    event::{DeleteReason, Endpoint, EventKind, MetricReading, MetricUnit, Source},
    time::MILLISECOND,
};

use super::{super::autoscaler::autoscaling, *};
use crate::record::{BackendKind, Header, PhasePlan, SCHEMA};

/// Events by milliseconds.
#[derive(Default)]
struct Story(Vec<Event>);

impl Story {
    fn at(mut self, ms: u64, kind: EventKind) -> Self {
        self.0.push(Event {
            at: Timestamp(ms * MILLISECOND),
            seq: self.0.len() as u64,
            source: Source::Api,
            precision: None,
            stated: None,
            kind,
        });
        self
    }

    /// The last event is known to so many milliseconds only.
    fn give_or_take(mut self, ms: u64) -> Self {
        self.0.last_mut().expect("an event").precision = Some(Nanos::from_millis(ms));
        self
    }

    fn reads(self, ms: u64, current: Option<f64>, desired: u32) -> Self {
        let unit = MetricUnit::Percent;
        let metrics = vec![MetricReading { name: "cpu".into(), unit, current, target: 50.0 }];
        let conditions = Vec::new();
        self.at(ms, EventKind::AutoscalerStatus { current: 2, desired, metrics, conditions })
    }

    fn decides(self, ms: u64, from: u32, to: u32) -> Self {
        self.at(ms, EventKind::AutoscalerDecision { from, to, reason: "cpu".into() })
    }

    fn created(self, ms: u64, pod: &str) -> Self {
        self.at(ms, EventKind::PodCreated { pod: pod.into(), revision: 1 })
    }

    fn ready(self, ms: u64, pod: &str) -> Self {
        self.at(ms, EventKind::PodReady { pod: pod.into() })
    }

    fn started(self, ms: u64, pod: &str) -> Self {
        let (pod, address, pid) = (pod.into(), None, None);
        self.at(ms, EventKind::ContainerStarted { pod, restarts: 0, address, pid })
    }

    fn scheduled(self, ms: u64, pod: &str) -> Self {
        self.at(ms, EventKind::PodScheduled { pod: pod.into(), node: "n1".into() })
    }

    fn endpoints(self, ms: u64, pods: &[&str]) -> Self {
        let ready = |pod: &&str| Endpoint {
            pod: (*pod).into(),
            ready: true,
            serving: true,
            terminating: false,
        };
        let endpoints = pods.iter().map(ready).collect();
        self.at(ms, EventKind::Endpoints { version: ms, endpoints })
    }

    /// A pod that has a node after 0.1 s, runs after 1 s, is ready after 3 s, served after 3.2 s.
    fn starts(self, ms: u64, pod: &str) -> Self {
        self.created(ms, pod)
            .scheduled(ms + 100, pod)
            .started(ms + 1_000, pod)
            .ready(ms + 3_000, pod)
            .endpoints(ms + 3_200, &[pod])
    }

    fn deleted(self, ms: u64, pod: &str) -> Self {
        let (pod, grace, reason) = (pod.into(), Nanos::ZERO, DeleteReason::ScaleDown);
        self.at(ms, EventKind::PodDeleted { pod, grace, reason })
    }

    /// The scale-ups under 20 s of 50/s and then 200/s, the traffic beginning at 10 s and the run
    /// ending at 100 s.
    fn ups(self) -> Vec<ScaleUp> {
        let scenario = serde_json::json!({
            "name": "spike",
            "target": {"deployment": {"template": {"resources": {"requests": {"cpu": "100m"}}}}},
            "traffic": {"phases": [
                {"hold": "50/s", "for": "20s"},
                {"hold": "200/s", "for": "60s"},
                {"hold": "100/s", "for": "20s"},
            ]},
        });
        let phase = |name: &str, start, end| PhasePlan {
            name: name.into(),
            start: Nanos::from_secs(start),
            end: Nanos::from_secs(end),
        };
        let mut record = RunRecord::new(Header {
            schema: SCHEMA.into(),
            backend: BackendKind::Kube,
            seed: 1,
            scenario: serde_json::from_value(scenario).expect("a scenario"),
            phases: vec![phase("a", 0, 20), phase("b", 20, 80), phase("c", 80, 100)],
        });
        record.events = self.0;
        record.events.push(Event {
            at: Timestamp(100 * SECOND),
            seq: u64::MAX,
            source: Source::Harness,
            precision: None,
            stated: None,
            kind: EventKind::TrafficEnded,
        });
        record.sort();
        let starts = pod_starts(&record.events);
        let known = autoscaling(&record.events);
        scale_ups(&record, &known, &starts, Timestamp(10 * SECOND))
    }
}

fn millis(up: &ScaleUp) -> [Option<u64>; 6] {
    up.stages.map(|stage| stage.map(|took| took.span.0 / MILLISECOND))
}

/// Quiet, then a spike at 30 s that the metric shows at 48 s, answered at 60 s with two pods.
fn spike() -> Story {
    Story::default()
        .starts(0, "old")
        .reads(15_000, Some(40.0), 1)
        .reads(48_000, Some(90.0), 1)
        .decides(60_000, 1, 3)
        .reads(60_020, Some(180.0), 3)
        .starts(60_050, "a")
        .starts(60_500, "b")
}

#[test]
fn a_scale_up_is_told_in_stages_that_add_up() {
    let ups = spike().ups();
    assert_eq!(ups.len(), 1);
    let up = &ups[0];
    let found = millis(up);
    assert_eq!(found, [Some(18_000), Some(12_000), Some(600), Some(900), Some(2_000), Some(200)]);
    assert_eq!(up.progress, Progress::Complete);
    let sum: u64 = found[1..].iter().flatten().sum();
    assert_eq!(up.took.span, Nanos::from_millis(sum), "all but the lag");
    let pods: Vec<&str> = up.pods.iter().map(|pod| pod.pod.as_str()).collect();
    assert_eq!(pods, ["a", "b"]);
}

#[test]
fn the_reading_of_the_deciding_pass_is_no_later_than_its_decision() {
    let up = &Story::default()
        .reads(45_000, Some(40.0), 1)
        .decides(60_000, 1, 2)
        .reads(60_300, Some(180.0), 2)
        .starts(60_050, "a")
        .ups()[0];
    assert_eq!(up.demand, Some(Timestamp(60 * SECOND)));
    assert_eq!(millis(up)[..2], [Some(30_000), Some(0)]);
}

#[test]
fn the_metrics_api_tells_the_lag_of_the_metric_from_that_of_the_autoscaler() {
    // The autoscaler looks at 60 s; what it acts on could be had from 48 s on.
    let used = |story: Story, seconds: u64, pod: &str, milli: u64| {
        let (pod, window) = (pod.to_owned(), Nanos::from_secs(15));
        let kind = EventKind::PodMetrics { pod, cpu_nano: milli * 1_000_000, memory: 0, window };
        story.at(seconds * 1_000, kind)
    };
    let start = || Story::default().reads(15_000, Some(40.0), 1);
    let decided = |story: Story| {
        let story = story.decides(60_000, 2, 3).reads(60_020, Some(180.0), 3);
        story.starts(60_050, "x").ups()[0].demand.map(Timestamp::second)
    };
    // 55 m of a request of 100 m and a target of 50 % is within the tolerance; the mean counts.
    let both = |story, seconds, a, b| used(used(story, seconds, "a", a), seconds, "b", b);
    let risen = both(both(both(start(), 33, 20, 20), 40, 90, 20), 48, 180, 180);
    assert_eq!(decided(risen), Some(48));
    let fell = both(both(start(), 33, 180, 180), 48, 20, 20);
    assert_eq!(decided(fell), Some(60), "it fell again, so the autoscaler's own reading counts");
    // A pod that goes is not counted any more.
    let gone = both(start(), 33, 100, 0).deleted(40_000, "b");
    assert_eq!(decided(used(gone, 45, "a", 100)), Some(45));
    assert_eq!(decided(used(start(), 33, "a", 55)), Some(60));
}

#[test]
fn what_asks_for_more_is_above_the_tolerance_and_without_a_break() {
    let at = |current: &[(u64, Option<f64>)]| {
        let story = current
            .iter()
            .fold(Story::default(), |story, (ms, current)| story.reads(*ms, *current, 1));
        story.decides(60_000, 1, 2).starts(60_050, "a").ups()[0].demand.map(|at| at.second())
    };
    // 55 % of a target of 50 % is within the tolerance.
    assert_eq!(at(&[(40_000, Some(55.0)), (50_000, Some(55.1))]), Some(50));
    let broken = [(35_000, Some(90.0)), (40_000, Some(50.0)), (50_000, Some(90.0))];
    assert_eq!(at(&broken), Some(50));
    // A reading that could not be taken is no break.
    assert_eq!(at(&[(35_000, Some(90.0)), (40_000, None)]), Some(35));
    assert_eq!(at(&[(40_000, Some(50.0))]), None);
    assert_eq!(at(&[]), None);
}

#[test]
fn unknown_stages_stay_unknown_and_the_rest_is_told() {
    // No reading, no node: the chain begins at the decision, and pods are placed when made.
    let up = &Story::default()
        .decides(60_000, 1, 2)
        .created(60_050, "a")
        .started(61_000, "a")
        .ready(63_000, "a")
        .endpoints(63_100, &["a"])
        .ups()[0];
    assert_eq!(millis(up), [None, None, Some(50), Some(950), Some(2_000), Some(100)]);
    assert_eq!(up.took.span, Nanos::from_millis(3_100));
}

#[test]
fn pods_that_never_serve_leave_a_scale_up_open() {
    let up = &spike().decides(70_000, 3, 4).created(70_010, "c").ups()[1];
    assert_eq!((up.progress, up.pods.len()), (Progress::Incomplete, 1));
    assert_eq!(up.took.span, Nanos::from_secs(30), "until the end of the run");
    assert_eq!(millis(up)[3..], [None; 3]);
    // Nor is it complete if fewer pods were made than it asked for.
    assert_eq!(
        spike().decides(70_000, 3, 5).starts(70_010, "c").ups()[1].progress,
        Progress::Incomplete
    );
}

#[test]
fn pods_that_were_taken_away_before_they_served_are_not_waited_for() {
    let both = || spike().decides(70_000, 3, 5).starts(70_010, "c").created(70_020, "d");
    let up = &both().deleted(75_000, "d").ups()[1];
    assert_eq!((up.progress, up.pods.len()), (Progress::Complete, 2));
    let gone = Story::default().decides(70_000, 3, 4).created(70_010, "c").deleted(71_000, "c");
    let ups = gone.ups();
    assert_eq!(ups[0].progress, Progress::Abandoned);
    assert_eq!((slowest(&ups), slowest_of(&ups)), (Slowest::None, None));
}

#[test]
fn pods_belong_to_the_decision_before_them() {
    let ups = spike()
        .reads(76_000, Some(70.0), 3)
        .decides(76_000, 3, 4)
        .starts(76_010, "c")
        // Of a rollout: nobody decided on it.
        .starts(77_000, "x")
        .ups();
    let pods: Vec<Vec<&str>> =
        ups.iter().map(|up| up.pods.iter().map(|pod| pod.pod.as_str()).collect()).collect();
    assert_eq!(pods, [vec!["a", "b"], vec!["c"]]);
    // The load had risen before the first one; the second has no rise of its own.
    assert_eq!((ups[0].load.map(Timestamp::second), ups[1].load), (Some(30), None));
}

#[test]
fn clocks_of_whole_seconds_do_not_lose_pods_or_make_negative_times() {
    let up = &Story::default()
        .reads(60_400, Some(90.0), 1)
        .decides(60_700, 1, 2)
        // The server says that it was made before it was decided on.
        .created(60_000, "a")
        .give_or_take(1_000)
        .started(62_000, "a")
        .give_or_take(1_000)
        .ready(61_000, "a")
        .endpoints(63_100, &["a"])
        .ups()[0];
    assert_eq!(up.pods.len(), 1);
    assert_eq!(millis(up)[1..], [Some(300), Some(0), Some(1_300), Some(0), Some(1_100)]);
    let start = up.stages[3].expect("known");
    assert_eq!(start.precision, Nanos::from_secs(2), "both ends may be a second off");
}

#[test]
fn views_count_where_there_are_some() {
    let views = |story: Story, ms, routed: &[&str]| {
        let routed = routed.iter().map(|pod| (*pod).into()).collect();
        story.at(ms, EventKind::ViewApplied { consumer: 0, version: 1, routed })
    };
    let story = Story::default().decides(60_000, 1, 2).starts(60_000, "a");
    let up = &views(story, 64_000, &["a"]).ups()[0];
    assert_eq!(millis(up)[5], Some(1_000), "ready at 63 s, in the slices at 63.2 s");
}

#[test]
fn the_slowest_is_judged_and_one_that_is_open_has_lasted_at_least_so_long() {
    assert_eq!(slowest(&spike().ups()), Slowest::Exactly(Nanos::from_millis(15_700)));
    let open = spike().decides(90_000, 3, 4).created(90_010, "c").ups();
    assert_eq!(slowest(&open), Slowest::AtLeast(Nanos::from_millis(15_700)));
    assert_eq!(slowest_of(&open).map(|up| up.to), Some(4));
    assert_eq!(slowest(&[]), Slowest::None);
}

#[test]
fn starts_of_pods_are_summed_up_whoever_wanted_them() {
    let story = Story::default().starts(0, "old").starts(20_000, "a").starts(30_000, "b");
    let starts = pod_starts(&story.created(40_000, "c").0);
    let sum = summarize(&starts, Timestamp(10 * SECOND), Timestamp(90 * SECOND));
    assert_eq!((sum.pods, sum.served), (3, 2));
    let known: Vec<u64> = sum.stages.iter().map(|stage| stage.known).collect();
    assert_eq!(known, [2; 4]);
    assert_eq!(sum.total.slowest, Nanos::from_millis(3_200));
    assert_eq!(sum.stages[2].median, Nanos::from_secs(2));
}
