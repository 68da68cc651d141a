//! Lanes of pods, and of causes for failures without a pod.

use std::collections::BTreeMap;

use super::{
    super::clean,
    model::{Ink, Lane, LanePanel, LaneSpan, Mark, PhaseKey},
    series::millis,
};
use crate::analyze::{Cause, FailureMark, PodLane, PodPhase, Timeline};

/// More pods than this are not drawn: those without losses are left out first.
const LANES_MAX: usize = 120;
/// More marks than this are not drawn: they are joined until they are as few.
const MARKS_MAX: usize = 6_000;
/// More phases, or more stretches of routing, are not drawn: the shortest are left out.
const SPANS_MAX: usize = 8_000;
/// Characters of a lane's name.
const LABEL_CHARS: usize = 22;
/// More nodes than this are not named.
const NODES_MAX: usize = 6;
/// Room that a name needs from line to line, in points.
const LABEL_HEIGHT: u32 = 11;

/// The stretch of time that is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) columns: u32,
}

impl Window {
    /// The part of `from..to` within the window, if any.
    pub(super) fn clip(self, from: f64, to: f64) -> Option<(f64, f64)> {
        let (from, to) = (from.max(self.from), to.min(self.to));
        (from < to).then(|| (millis(from), millis(to)))
    }

    pub(super) fn column_width(self) -> f64 {
        (self.to - self.from) / f64::from(self.columns.max(1))
    }
}

/// How a phase looks.
const fn look(phase: PodPhase) -> PhaseKey {
    let (ink, height) = match phase {
        PodPhase::Pending => (Ink::PhasePending, 30),
        PodPhase::Starting => (Ink::PhaseStarting, 60),
        PodPhase::Ready => (Ink::PhaseReady, 100),
        PodPhase::Unready => (Ink::PhaseUnready, 100),
        PodPhase::PreStop => (Ink::PhasePreStop, 80),
        PodPhase::Draining => (Ink::PhaseDraining, 60),
        PodPhase::Exited => (Ink::PhaseExited, 20),
    };
    PhaseKey { name: phase.name(), ink, height }
}

/// The lanes of the pods, if there are any.
pub(super) fn pods(timeline: &Timeline, window: Window) -> Option<LanePanel> {
    if timeline.pods.is_empty() {
        return None;
    }
    let drawn = choose(&timeline.pods);
    let mut failures: BTreeMap<&str, Vec<&FailureMark>> = BTreeMap::new();
    for mark in &timeline.failures {
        if let Some(pod) = &mark.pod {
            failures.entry(pod).or_default().push(mark);
        }
    }
    let phases: Vec<PodPhase> = PodPhase::ALL
        .iter()
        .copied()
        .filter(|phase| {
            let mut spans = drawn.iter().flat_map(|pod| &pod.spans);
            spans.any(|span| span.phase == *phase)
        })
        .collect();
    let mut lanes: Vec<Lane> = drawn.iter().map(|pod| lane(pod, window, &phases)).collect();
    bound_spans(&mut lanes);
    mark_lanes(&mut lanes, window, |index| {
        failures.get(drawn[index].name.as_str()).map_or(&[], Vec::as_slice)
    });
    let pitch = pitch(lanes.len());
    label(&mut lanes, pitch);
    let nodes = number_nodes(&drawn, &mut lanes);
    let mut note = nodes.join(", ");
    if drawn.len() < timeline.pods.len() {
        let (drawn, all) = (drawn.len(), timeline.pods.len());
        note = format!("{drawn} of {all} drawn, those with losses first; {note}");
    }
    let note = note.trim_end_matches("; ").to_owned();
    Some(LanePanel {
        title: "Pods".into(),
        note,
        pitch,
        lanes,
        phases: phases.into_iter().map(look).collect(),
    })
}

/// Writes the number of its node into each lane's name, and names the numbers; nothing where nodes
/// are not told.
fn number_nodes(drawn: &[&PodLane], lanes: &mut [Lane]) -> Vec<String> {
    let mut nodes: Vec<&str> = Vec::new();
    for (pod, lane) in drawn.iter().zip(lanes) {
        let Some(node) = pod.node.as_deref() else { continue };
        let index = nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            nodes.push(node);
            nodes.len() - 1
        });
        let number = format!(" @{}", index + 1);
        let room = LABEL_CHARS.saturating_sub(number.len());
        lane.label = clean::shorten_middle(&clean::line(&pod.name), room) + &number;
        lane.node = Some(index + 1);
    }
    let named = nodes.iter().enumerate().take(NODES_MAX);
    let mut named: Vec<String> = named
        .map(|(index, node)| format!("@{} {}", index + 1, clean::shorten(&clean::line(node), 24)))
        .collect();
    if nodes.len() > NODES_MAX {
        named.push("…".into());
    }
    named
}

/// The pods that are drawn, in order of creation.
fn choose(pods: &[PodLane]) -> Vec<&PodLane> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(pods[*index].lost), *index));
    order.truncate(LANES_MAX);
    order.sort_unstable();
    order.into_iter().map(|index| &pods[index]).collect()
}

fn lane(pod: &PodLane, window: Window, phases: &[PodPhase]) -> Lane {
    let spans = pod.spans.iter().filter_map(|span| {
        let (from, to) = window.clip(span.from.as_secs_f64(), span.to.as_secs_f64())?;
        let phase = phases.iter().position(|phase| *phase == span.phase)?;
        Some(LaneSpan { from, to, phase })
    });
    let routed = pod
        .routed
        .iter()
        .filter_map(|(from, to)| window.clip(from.as_secs_f64(), to.as_secs_f64()));
    Lane {
        label: clean::shorten_middle(&clean::line(&pod.name), LABEL_CHARS),
        node: None,
        labelled: true,
        lost: pod.lost,
        spans: spans.collect(),
        routed: routed.collect(),
        marks: Vec::new(),
    }
}

/// The failures that have no lane of a pod, by cause; `None` if there are none.
pub(super) fn strays(timeline: &Timeline, window: Window) -> Option<LanePanel> {
    let mut causes: BTreeMap<Cause, Vec<&FailureMark>> = BTreeMap::new();
    for mark in timeline.failures.iter().filter(|mark| mark.pod.is_none()) {
        causes.entry(mark.cause).or_default().push(mark);
    }
    if causes.is_empty() {
        return None;
    }
    let marks: Vec<Vec<&FailureMark>> = causes.values().cloned().collect();
    let mut lanes: Vec<Lane> = causes
        .iter()
        .map(|(cause, marks)| Lane {
            label: clean::shorten(cause.title(), LABEL_CHARS),
            node: None,
            labelled: true,
            lost: marks.iter().fold(0, |sum, mark| sum.saturating_add(mark.n)),
            spans: Vec::new(),
            routed: Vec::new(),
            marks: Vec::new(),
        })
        .collect();
    mark_lanes(&mut lanes, window, |index| &marks[index]);
    Some(LanePanel {
        title: "Lost without a pod".into(),
        note: "by cause".into(),
        pitch: 18,
        lanes,
        phases: Vec::new(),
    })
}

/// From lane to lane, so that few pods are seen well and many fit on a page.
const fn pitch(lanes: usize) -> u32 {
    match lanes {
        0..=8 => 24,
        9..=20 => 17,
        21..=60 => 12,
        _ => 7,
    }
}

/// Names the lanes that there is room for, those with losses first.
fn label(lanes: &mut [Lane], pitch: u32) {
    let every = LABEL_HEIGHT.div_ceil(pitch).max(1) as usize;
    if every == 1 {
        return;
    }
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    order.sort_by_key(|index| (lanes[*index].lost == 0, index % every != 0, *index));
    let mut taken = vec![false; lanes.len()];
    for index in order {
        let near = index.saturating_sub(every - 1)..(index + every).min(lanes.len());
        let free = !taken[near].contains(&true);
        taken[index] = free;
        lanes[index].labelled = free;
    }
}

/// Leaves out the shortest phases until there are no more than [`SPANS_MAX`], and stretches of
/// routing likewise.
fn bound_spans(lanes: &mut [Lane]) {
    let all = || (f64::NEG_INFINITY, usize::MAX);
    let (mut spans, mut routed) = (all(), all());
    let mut lengths: Vec<f64> =
        lanes.iter().flat_map(|lane| lane.spans.iter().map(|span| span.to - span.from)).collect();
    bound(&mut lengths, &mut spans);
    let mut lengths: Vec<f64> =
        lanes.iter().flat_map(|lane| lane.routed.iter().map(|(from, to)| to - from)).collect();
    bound(&mut lengths, &mut routed);
    for lane in lanes {
        lane.spans.retain(|span| keep(&mut spans, span.to - span.from));
        lane.routed.retain(|(from, to)| keep(&mut routed, to - from));
    }
}

/// The length from which on stretches are kept, and how many may be.
fn bound(lengths: &mut [f64], (least, left): &mut (f64, usize)) {
    if lengths.len() > SPANS_MAX {
        lengths.sort_by(|a, b| b.total_cmp(a));
        (*least, *left) = (lengths[SPANS_MAX - 1], SPANS_MAX);
    }
}

fn keep((least, left): &mut (f64, usize), length: f64) -> bool {
    let keep = length >= *least && *left > 0;
    *left -= usize::from(keep);
    keep
}

/// Puts the failures into their lanes, joined to as few marks as [`MARKS_MAX`].
fn mark_lanes<'a>(lanes: &mut [Lane], window: Window, of: impl Fn(usize) -> &'a [&'a FailureMark]) {
    for columns in [1.0, 2.0, 4.0, 8.0, 16.0] {
        let width = window.column_width() * columns;
        for (index, lane) in lanes.iter_mut().enumerate() {
            lane.marks = join(of(index), window, width);
        }
        if lanes.iter().map(|lane| lane.marks.len()).sum::<usize>() <= MARKS_MAX {
            return;
        }
    }
}

/// Failures whose columns are the same or neighbours are one mark.
fn join(failures: &[&FailureMark], window: Window, width: f64) -> Vec<Mark> {
    let mut columns: BTreeMap<i64, Mark> = BTreeMap::new();
    for failure in failures {
        let at = millis(failure.at.as_secs_f64());
        if at < window.from || at > window.to {
            continue;
        }
        let mark = columns.entry(((at - window.from) / width).floor() as i64).or_insert(Mark {
            from: at,
            to: at,
            n: 0,
        });
        mark.from = mark.from.min(at);
        mark.to = mark.to.max(at);
        mark.n = mark.n.saturating_add(failure.n);
    }
    let mut joined: Vec<Mark> = Vec::new();
    let mut last_column = None;
    for (column, mark) in columns {
        match joined.last_mut() {
            Some(last) if last_column == Some(column - 1) => {
                last.to = mark.to;
                last.n = last.n.saturating_add(mark.n);
            }
            _ => joined.push(mark),
        }
        last_column = Some(column);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::time::Timestamp;

    const WINDOW: Window = Window { from: 0.0, to: 100.0, columns: 100 };

    fn failure(millis: u64) -> FailureMark {
        FailureMark {
            at: Timestamp(millis * 1_000_000),
            pod: Some("a".into()),
            cause: Cause::Crash,
            n: 2,
        }
    }

    #[test]
    fn failures_near_each_other_are_one_mark_with_their_sum() {
        let failures = [failure(1_100), failure(1_900), failure(2_000), failure(5_000)];
        let marks = join(&failures.iter().collect::<Vec<_>>(), WINDOW, 1.0);
        let mark = |from, to, n| Mark { from, to, n };
        assert_eq!(marks, [mark(1.1, 2.0, 6), mark(5.0, 5.0, 2)]);
    }

    #[test]
    fn marks_and_lanes_are_bounded() {
        let timeline = Timeline {
            pods: (0..500)
                .map(|index| PodLane {
                    name: format!("pod-{index}"),
                    revision: 1,
                    node: None,
                    spans: Vec::new(),
                    routed: Vec::new(),
                    lost: u64::from(index >= 490),
                })
                .collect(),
            failures: (0..100_000)
                .map(|index| FailureMark {
                    pod: Some(format!("pod-{}", index % 120)),
                    ..failure(index)
                })
                .collect(),
            ..Timeline::default()
        };
        let window = Window { columns: 4_000, ..WINDOW };
        let panel = pods(&timeline, window).expect("there are pods");
        assert_eq!(panel.lanes.len(), LANES_MAX);
        assert!(panel.note.starts_with("120 of 500 drawn"));
        assert!(panel.lanes.iter().any(|lane| lane.label == "pod-499"));
        let marks: usize = panel.lanes.iter().map(|lane| lane.marks.len()).sum();
        assert!((1..=MARKS_MAX).contains(&marks), "{marks}");
        let lost: u64 = panel.lanes.iter().flat_map(|l| &l.marks).map(|m| m.n).sum();
        assert!(lost > 150_000, "{lost}");
    }

    #[test]
    fn nodes_are_numbered_and_named() {
        let pod = |name: &str, node: Option<&str>| PodLane {
            name: name.into(),
            revision: 1,
            node: node.map(Into::into),
            spans: Vec::new(),
            routed: Vec::new(),
            lost: 0,
        };
        let timeline = Timeline {
            pods: vec![
                pod("checkout-7d9f8c6b5-x2x4p", Some("worker2")),
                pod("b", Some("worker")),
                pod("c", None),
                pod("d", Some("worker2")),
            ],
            ..Timeline::default()
        };
        let panel = pods(&timeline, WINDOW).expect("there are pods");
        let labels: Vec<&str> = panel.lanes.iter().map(|lane| lane.label.as_str()).collect();
        assert_eq!(labels, ["checkout-…6b5-x2x4p @1", "b @2", "c", "d @1"]);
        assert_eq!(panel.note, "@1 worker2, @2 worker");
    }

    #[test]
    fn lanes_with_losses_keep_their_names() {
        let mut lanes: Vec<Lane> = (0..10)
            .map(|index| Lane {
                label: String::new(),
                node: None,
                labelled: true,
                lost: u64::from(index == 3),
                spans: Vec::new(),
                routed: Vec::new(),
                marks: Vec::new(),
            })
            .collect();
        label(&mut lanes, 7);
        let named: Vec<usize> = (0..10).filter(|index| lanes[*index].labelled).collect();
        assert_eq!(named, [0, 3, 6, 8]);
    }
}
