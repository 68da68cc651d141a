//! How long scale-downs by the autoscaler took.

use highwater_model::time::{Nanos, Timestamp};

use super::super::{autoscaler::Autoscaling, pods::Lives};

/// One scale-down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleDown {
    /// When it was decided.
    pub at: Timestamp,
    /// Replicas before.
    pub from: u32,
    /// Replicas wanted.
    pub to: u32,
    /// From the decision until the last of its pods was asked to go; `None` if not all of them were
    /// before the next decision.
    pub deletion: Option<Nanos>,
    /// From there until the last of them was gone; `None` if that was not seen.
    pub drain: Option<Nanos>,
}

impl ScaleDown {
    /// From the decision until its last pod was gone; `None` if that was not seen.
    pub fn total(&self) -> Option<Nanos> {
        Some(self.deletion? + self.drain?)
    }
}

/// The scale-downs of a run, in order. Deletions are laid to the decision before them, in order, as
/// many as it asked for.
pub fn scale_downs(autoscaling: &Autoscaling, lives: &Lives) -> Vec<ScaleDown> {
    let mut ends: Vec<(Timestamp, Option<Timestamp>)> = lives
        .pods
        .values()
        .filter_map(|life| Some((life.deletion?.at.at, life.gone.map(|gone| gone.at))))
        .collect();
    ends.sort_unstable();
    let decisions = autoscaling.decisions.iter().enumerate();
    let downs = decisions.filter(|(_, decision)| decision.to < decision.from);
    downs
        .map(|(index, decision)| {
            let next = autoscaling.decisions.get(index + 1).map_or(Timestamp::MAX, |next| next.at);
            let wanted = (decision.from - decision.to) as usize;
            let earliest = Timestamp(decision.at.0.saturating_sub(decision.precision.0));
            let within = ends.iter().filter(|(at, _)| *at >= earliest && *at < next);
            let pods: Vec<_> = within.take(wanted).collect();
            let last = pods.last().filter(|_| pods.len() == wanted).map(|(at, _)| *at);
            let gone: Option<Vec<Timestamp>> = pods.iter().map(|(_, gone)| *gone).collect();
            let gone = gone.and_then(|gone| gone.into_iter().max());
            ScaleDown {
                at: decision.at,
                from: decision.from,
                to: decision.to,
                deletion: last.map(|last| last.since(decision.at)),
                drain: last.and_then(|last| Some(gone?.since(last.max(decision.at)))),
            }
        })
        .collect()
}

/// The slowest of them of which the end was seen.
pub fn slowest_down(downs: &[ScaleDown]) -> Option<&ScaleDown> {
    downs.iter().filter(|down| down.total().is_some()).max_by_key(|down| down.total())
}
