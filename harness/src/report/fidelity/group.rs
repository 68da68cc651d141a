//! The runs of one scenario, by backend.

use std::collections::BTreeMap;

use highwater_model::{
    event::EventKind,
    spec::{Scenario, Simulation},
};

use super::difference;
use crate::{
    analyze::{self, Analysis, AnalyzeError},
    record::{BackendKind, RunRecord, folder::Provenance},
};

/// The order of the backends on the page.
pub const BACKENDS: [BackendKind; 3] = [BackendKind::Local, BackendKind::Sim, BackendKind::Kube];

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it means.
    pub analysis: Analysis,
    /// Kubernetes' version and how many nodes there were, on a cluster.
    pub cluster: Option<(String, usize)>,
    /// Where and when it was made, if that is known.
    pub provenance: Option<Provenance>,
    /// By how much its latency's p95 may be off by chance alone, as a share:
    /// [`spread`](super::difference::spread).
    pub p95_chance: Option<f64>,
}

/// The runs of one scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub scenario: String,
    /// By backend, each ascending by seed and time.
    pub runs: BTreeMap<BackendKind, Vec<Run>>,
}

/// Runs that cannot stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A record contradicts itself.
    #[error("{label}: {source}")]
    Analyze {
        /// Which.
        label: String,
        /// How.
        #[source]
        source: AnalyzeError,
    },
    /// Two runs have one name and are of two scenarios.
    #[error(
        "{first} and {second} are both called `{scenario}` and are not the same scenario; name one \
         of them otherwise (--set name=...)"
    )]
    Different {
        /// Their name.
        scenario: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

/// Groups records by the name of their scenario, ascending. The labels are for errors.
///
/// *Behaviour*: all runs of a group are of one scenario; only their seeds may differ, and what the
/// simulator is told of a machine (`simulation`), which the others have.
///
/// # Errors
/// [`GroupError`].
pub fn groups(
    records: impl IntoIterator<Item = (String, RunRecord, Option<Provenance>)>,
) -> Result<Vec<Group>, GroupError> {
    let mut groups: BTreeMap<String, (Group, Scenario, String)> = BTreeMap::new();
    for (label, record, provenance) in records {
        let analysis = analyze::analyze(&record)
            .map_err(|source| GroupError::Analyze { label: label.clone(), source })?;
        let simulation = Simulation::default();
        let scenario = Scenario { seed: 0, simulation, ..record.header.scenario.clone() };
        let name = scenario.name.clone();
        let (group, known, first) = groups.entry(name.clone()).or_insert_with(|| {
            let group = Group { scenario: name.clone(), runs: BTreeMap::new() };
            (group, scenario.clone(), label.clone())
        });
        if *known != scenario {
            return Err(GroupError::Different {
                scenario: name,
                first: first.clone(),
                second: label,
            });
        }
        // A record that is analysed has sound histograms.
        let sums = analyze::series::sums(&record).ok();
        let p95_chance = sums.and_then(|sums| difference::spread(&sums.latency, 0.95));
        let run = Run { cluster: cluster(&record), analysis, provenance, p95_chance };
        group.runs.entry(run.analysis.backend).or_default().push(run);
    }
    Ok(groups.into_values().map(|(group, ..)| group.ordered()).collect())
}

fn cluster(record: &RunRecord) -> Option<(String, usize)> {
    record.events.iter().find_map(|event| match &event.kind {
        EventKind::ClusterFound { version, nodes, .. } => Some((version.clone(), nodes.len())),
        _ => None,
    })
}

impl Group {
    /// The same with its runs in an order that does not depend on how they were given.
    pub fn ordered(mut self) -> Self {
        for runs in self.runs.values_mut() {
            runs.sort_by(|a, b| a.key().cmp(&b.key()));
        }
        self
    }

    /// All runs of a backend.
    pub fn of(&self, backend: BackendKind) -> &[Run] {
        self.runs.get(&backend).map_or(&[], Vec::as_slice)
    }

    /// All runs, in the order of the page, each with its label: `local`, or `local 1`, `local 2`
    /// where there are several.
    pub fn labelled(&self) -> impl Iterator<Item = (String, &Run)> {
        BACKENDS.into_iter().flat_map(|backend| {
            let runs = self.of(backend);
            runs.iter().enumerate().map(move |(index, run)| {
                let name = backend.name();
                let label =
                    if runs.len() > 1 { format!("{name} {}", index + 1) } else { name.into() };
                (label, run)
            })
        })
    }
}

impl Run {
    /// What runs of a backend are ordered by: seed and time, then figures, where neither differs.
    fn key(&self) -> (u64, &str, u64, u64, u64) {
        let Analysis { seed, requests, latency, .. } = &self.analysis;
        let started = self.provenance.as_ref().map_or("", |known| known.started.as_str());
        (*seed, started, requests.ok, latency.p50, latency.max)
    }
}
