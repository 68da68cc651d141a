//! What keeps a decision from being explained.

use std::io;

use highwater_model::spec::validate::ENTRIES_MAX;
use thiserror::Error;

use crate::scenario::{FAULTS_MAX, Fault, Faults, Place};

/// Why nothing can be explained. Its text may have several lines, one per fault.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The operating system would not give the file.
    #[error("reading {name}: {source}")]
    Unreadable {
        /// The file.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// More bytes than are read.
    #[error("reading {name}: it is longer than {limit} bytes; give the objects of one workload")]
    TooLong {
        /// The file.
        name: String,
        /// The most bytes.
        limit: u64,
    },
    /// Bytes that are no UTF-8.
    #[error("reading {name}: it is not UTF-8 text")]
    NotText {
        /// The file.
        name: String,
    },
    /// What a file says cannot be used.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// No autoscaler in any file.
    #[error(
        "no HorizontalPodAutoscaler in {names}; print one with \
         `kubectl get hpa NAME -o yaml` and give that file first"
    )]
    NoAutoscaler {
        /// The files.
        names: String,
    },
    /// Several, and no word which.
    #[error("{} HorizontalPodAutoscalers: say which with --hpa: {}", names.len(), names.join(", "))]
    SeveralAutoscalers {
        /// Their names; [`ENTRIES_MAX`] at most.
        names: Vec<String>,
    },
    /// None of that name.
    #[error("--hpa {name}: there is none of that name; there are {}", known.join(", "))]
    UnknownAutoscaler {
        /// What was asked for.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// Both forms of a state.
    #[error("{origin}: `states` stand beside pods or metrics; put those into a state's `objects`")]
    TwoForms {
        /// The file with the states.
        origin: String,
    },
    /// States in two files.
    #[error("{origin}: `states` stand in another file or document too; join them in one list")]
    SeveralTimelines {
        /// The second.
        origin: String,
    },
    /// No replica count anywhere.
    #[error(
        "how many replicas are there? Give `replicas` in the first state, or the scaled object \
         ({kind}/{name}) beside the autoscaler"
    )]
    NoReplicas {
        /// The target's kind.
        kind: String,
        /// The target's name.
        name: String,
    },
    /// A timeline that is too long.
    #[error(
        "{passes} passes over {pods} pods are more than are explained ({limit}); shorten the \
         timeline or raise --sync-period"
    )]
    TooMuch {
        /// Passes.
        passes: u64,
        /// The most pods of a state.
        pods: usize,
        /// The most passes times pods.
        limit: u64,
    },
    /// More pods than are looked at.
    #[error("{origin}: more than {limit} pods")]
    TooManyPods {
        /// The file.
        origin: String,
        /// The most.
        limit: usize,
    },
    /// A flag that contradicts the input.
    #[error("{0}")]
    Flag(String),
}

/// Faults in the order of the file, bounded.
pub(super) fn faults(origin: &str, mut faults: Vec<Fault>) -> ExplainError {
    faults.sort_by(|left, right| left.place.cmp(&right.place));
    let omitted = faults.len().saturating_sub(FAULTS_MAX);
    faults.truncate(FAULTS_MAX);
    ExplainError::Faults(Faults { origin: origin.to_owned(), faults, omitted })
}

/// One fault, in words that say all.
pub(super) fn fault(origin: &str, place: &Place, message: String) -> ExplainError {
    let kind = crate::scenario::FaultKind::Syntax(message);
    faults(origin, vec![Fault { place: place.clone(), path: String::new(), kind }])
}

/// The names that an error tells.
pub(super) fn bounded(names: impl Iterator<Item = String>) -> Vec<String> {
    names.take(ENTRIES_MAX).collect()
}
