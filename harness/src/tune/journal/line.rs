//! The lines of a journal behind its first.

use serde::{Deserialize, Serialize};

use crate::tune::{judge::Score, told::TuneRun};

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line {
    Trial(Trial, Coarse),
    Full(Full, Box<Simulated>),
}

/// A setting on the coarse model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::tune) struct Trial {
    /// The level of each parameter.
    pub(in crate::tune) setting: Vec<u8>,
    /// The traffic's name.
    pub(in crate::tune) case: String,
    /// Its seed: two traces may have one name.
    pub(in crate::tune) seed: u64,
    /// Whether only the hardest part of it was tried.
    pub(in crate::tune) part: bool,
}

/// A setting on the full simulator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::tune) struct Full {
    /// What it changes.
    pub(in crate::tune) sets: Vec<(String, String)>,
    /// The traffic's name.
    pub(in crate::tune) case: String,
    /// Its seed.
    pub(in crate::tune) seed: u64,
}

/// A number that is read as it was written, to the bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exact(f64);

impl Serialize for Exact {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A [`Score`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Coarse {
    shortfall: Exact,
    pod_hours: Exact,
    p99: Exact,
    lost: Exact,
    changes: Exact,
}

impl From<&Score> for Coarse {
    fn from(score: &Score) -> Self {
        let Score { shortfall, pod_hours, p99, lost, changes } = *score;
        let [shortfall, pod_hours, p99, lost, changes] =
            [shortfall, pod_hours, p99, lost, changes].map(Exact);
        Self { shortfall, pod_hours, p99, lost, changes }
    }
}

impl From<&Coarse> for Score {
    fn from(told: &Coarse) -> Self {
        Self {
            shortfall: told.shortfall.0,
            pod_hours: told.pod_hours.0,
            p99: told.p99.0,
            lost: told.lost.0,
            changes: told.changes.0,
        }
    }
}

/// What a full simulation came to: the run, and its ready pods.
pub(in crate::tune) type Ran = (TuneRun, Vec<(f64, u32)>);

/// See [`Ran`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Simulated {
    missed: Vec<String>,
    shortfall: Exact,
    pod_hours: Exact,
    oracle_hours: Option<Exact>,
    p99_ms: Exact,
    lost: u64,
    owed: u64,
    attainment: Option<Exact>,
    changes: u64,
    ready: Vec<(Exact, u32)>,
}

impl From<&Ran> for Simulated {
    fn from((run, ready): &Ran) -> Self {
        Self {
            missed: run.missed.clone(),
            shortfall: Exact(run.shortfall),
            pod_hours: Exact(run.pod_hours),
            oracle_hours: run.oracle_hours.map(Exact),
            p99_ms: Exact(run.p99_ms),
            lost: run.lost,
            owed: run.owed,
            attainment: run.attainment.map(Exact),
            changes: run.changes,
            ready: ready.iter().map(|(at, pods)| (Exact(*at), *pods)).collect(),
        }
    }
}

impl From<&Simulated> for Ran {
    fn from(told: &Simulated) -> Self {
        let run = TuneRun {
            missed: told.missed.clone(),
            shortfall: told.shortfall.0,
            pod_hours: told.pod_hours.0,
            oracle_hours: told.oracle_hours.map(|hours| hours.0),
            p99_ms: told.p99_ms.0,
            lost: told.lost,
            owed: told.owed,
            attainment: told.attainment.map(|share| share.0),
            changes: told.changes,
        };
        (run, told.ready.iter().map(|(at, pods)| (at.0, *pods)).collect())
    }
}
