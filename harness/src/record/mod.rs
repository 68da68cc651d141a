//! The record of a run: everything that is known of it, from which every report is made.
//!
//! A run folder holds `record.jsonl` (this module), `scenario.yaml`, `provenance.json`,
//! `summary.json` and `report.html`. The record is JSON Lines: a header, then events, windows,
//! failures and samples as they come, then a footer. It is flushed every second, so a killed run
//! loses at most the last one; a record without a footer opens and is marked as cut off.
//!
//! [`Writer`] appends, [`read`] opens, [`hist`] holds the histograms that windows are made of.

pub mod folder;
pub mod hist;
mod reader;
mod writer;

use std::collections::BTreeMap;

use highwater_model::{
    event::Event,
    load::ArrivalCounts,
    outcome::{Failure, Outcome, OutcomeGroup},
    spec::Scenario,
    time::{Nanos, Timestamp},
};
use serde::{Deserialize, Serialize};

pub use reader::{ReadError, read, read_from, read_header};
pub use writer::{WriteError, Writer};

/// The version of the record's format.
pub const SCHEMA: &str = "highwater.record/v1";

/// One line of `record.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Header(Box<Header>),
    /// Something that happened.
    Event(Event),
    /// Requests of one second, phase and outcome; windows of the same second add up.
    Window(Window),
    /// A request that failed, or several alike.
    Failure(Box<Failure>),
    /// The generator's own state.
    Sample(Sample),
    /// The last line.
    Footer(Footer),
}

/// What a record begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`SCHEMA`].
    pub schema: String,
    /// Which backend made it.
    pub backend: BackendKind,
    /// The run's seed.
    pub seed: u64,
    /// The scenario as it was run, after overrides.
    pub scenario: Scenario,
    /// The traffic's phases, in order; their times count from the start of the traffic.
    pub phases: Vec<PhasePlan>,
}

/// A phase of the traffic as planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// From the start of the traffic.
    pub start: Nanos,
    /// From the start of the traffic.
    pub end: Nanos,
}

/// Which backend ran a scenario.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Virtual time.
    Sim,
    /// Processes on this machine.
    Local,
    /// A cluster.
    Kube,
}

impl BackendKind {
    /// `sim`, `local` or `kube`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Local => "local",
            Self::Kube => "kube",
        }
    }
}

/// Requests of one phase that were scheduled within one second.
///
/// Several windows of the same second and phase add up: counts are sums, histograms merge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// Index of the phase.
    pub phase: u16,
    /// Requests that became due.
    pub owed: u64,
    /// Requests whose outcome became known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<Outcome, OutcomeWindow>,
}

/// Requests of one window with one outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeWindow {
    /// How many.
    pub n: u64,
    /// From scheduled to end. Empty for unsent requests.
    #[serde(default, skip_serializing_if = "hist::Encoded::is_empty")]
    pub latency: hist::Encoded,
    /// From sent to end.
    #[serde(default, skip_serializing_if = "hist::Encoded::is_empty")]
    pub service: hist::Encoded,
    /// From scheduled to sent.
    #[serde(default, skip_serializing_if = "hist::Encoded::is_empty")]
    pub lag: hist::Encoded,
}

/// A generator's own state, once per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Which generator's; counts are its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generator: u32,
    /// Requests due so far.
    pub owed: u64,
    /// Requests sent so far.
    pub sent: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Open connections.
    pub connections: u64,
    /// Connections opened so far.
    pub connects: u64,
    /// CPU time of the engine's threads so far.
    pub engine_cpu: u64,
    /// CPU time of the generator's process so far, nanoseconds.
    pub process_cpu: u64,
    /// Open file descriptors of the generator's process; 0 if they cannot be counted there.
    pub descriptors: u64,
    /// Requests sent since the sample before: whole seconds since the start of the run, and how
    /// many were sent in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_in: Vec<(u64, u64)>,
    /// With the last sample: what the arrivals were like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Box<Arrivals>>,
}

/// What is needed to judge a generator's arrivals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrivals {
    /// As they were scheduled.
    pub scheduled: ArrivalCounts,
    /// As they were sent.
    pub sent: ArrivalCounts,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a record ends with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Footer {
    /// When the run ended.
    pub end: Timestamp,
    /// How.
    pub reason: EndReason,
    /// In words, if it did not end as planned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Lines before this one; a record with fewer was cut.
    pub lines: u64,
    /// Limits that held for the generator, and what of them was used.
    pub limits: Limits,
}

/// The limits of the machine that a generator may run into; of several, the least of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Processors.
    pub cores: u64,
    /// Open files allowed.
    pub descriptors: u64,
    /// Local ports to connect from.
    pub ports: u64,
}

impl Limits {
    /// The least of both, each by itself. 0 is not known, and the other one counts.
    pub fn least(&self, other: &Self) -> Self {
        let least = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        Self {
            cores: least(self.cores, other.cores),
            descriptors: least(self.descriptors, other.descriptors),
            ports: least(self.ports, other.ports),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// As planned.
    Completed,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// It could not be carried out.
    Failed,
}

/// A whole record in memory. Its size grows with the run's length, not with its requests.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// The header.
    pub header: Header,
    /// Events, ascending by `(at, seq)`.
    pub events: Vec<Event>,
    /// Windows by second and phase, added up.
    pub windows: BTreeMap<(u64, u16), WindowSum>,
    /// Failures, ascending by `ended`.
    pub failures: Vec<Failure>,
    /// Samples, ascending.
    pub samples: Vec<Sample>,
    /// The footer; `None` if the record was cut off.
    pub footer: Option<Footer>,
}

/// The sum of the windows of one second and phase.
#[derive(Clone, Debug, Default)]
pub struct WindowSum {
    /// Requests that became due.
    pub owed: u64,
    /// By outcome.
    pub outcomes: BTreeMap<Outcome, OutcomeSum>,
}

/// The sum of the windows of one second, phase and outcome. Histograms stay encoded: an hour of
/// them decoded would not fit.
#[derive(Clone, Debug, Default)]
pub struct OutcomeSum {
    /// How many.
    pub n: u64,
    /// From scheduled to end.
    pub latency: Vec<hist::Encoded>,
    /// From sent to end.
    pub service: Vec<hist::Encoded>,
    /// From scheduled to sent.
    pub lag: Vec<hist::Encoded>,
}

impl RunRecord {
    /// An empty record.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            events: Vec::new(),
            windows: BTreeMap::new(),
            failures: Vec::new(),
            samples: Vec::new(),
            footer: None,
        }
    }

    /// Adds a line that is neither header nor footer; those replace what is there.
    pub fn push(&mut self, line: Line) {
        match line {
            Line::Header(header) => self.header = *header,
            Line::Event(event) => self.events.push(event),
            Line::Window(window) => self.add_window(window),
            Line::Failure(failure) => self.failures.push(*failure),
            Line::Sample(sample) => self.samples.push(sample),
            Line::Footer(footer) => self.footer = Some(footer),
        }
    }

    fn add_window(&mut self, window: Window) {
        let sum = self.windows.entry((window.second, window.phase)).or_default();
        sum.owed += window.owed;
        for (outcome, part) in window.outcomes {
            let into = sum.outcomes.entry(outcome).or_default();
            into.n += part.n;
            for (list, encoded) in [
                (&mut into.latency, part.latency),
                (&mut into.service, part.service),
                (&mut into.lag, part.lag),
            ] {
                if !encoded.is_empty() {
                    list.push(encoded);
                }
            }
        }
    }

    /// Puts events and failures in order; call once after the last [`Self::push`].
    pub fn sort(&mut self) {
        self.events.sort_by_key(|event| (event.at, event.seq));
        self.failures.sort_by_key(|failure| failure.ended);
        self.samples.sort_by_key(|sample| sample.at);
    }

    /// The sums over all windows.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for window in self.windows.values() {
            totals.add(window);
        }
        totals
    }

    /// The end of the run: the footer's, or the last thing known.
    pub fn end(&self) -> Timestamp {
        let last_event = self.events.last().map(|event| event.at);
        let last_window = self
            .windows
            .keys()
            .next_back()
            .map(|(second, _)| Timestamp((second + 1) * highwater_model::time::SECOND));
        let footer = self.footer.as_ref().map(|footer| footer.end);
        // A run that failed has a footer that does not know its end.
        last_event.max(footer).max(last_window.filter(|_| footer.is_none())).unwrap_or_default()
    }
}

/// owed = sent + unsent + pending, sent = ok + failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that became due.
    pub owed: u64,
    /// By outcome; only those that occur.
    pub by_outcome: BTreeMap<Outcome, u64>,
}

impl Totals {
    /// Adds a window's counts.
    pub fn add(&mut self, window: &WindowSum) {
        self.owed += window.owed;
        for (outcome, sum) in &window.outcomes {
            *self.by_outcome.entry(*outcome).or_default() += sum.n;
        }
    }

    fn group(&self, group: OutcomeGroup) -> u64 {
        self.by_outcome.iter().filter(|(outcome, _)| outcome.group() == group).map(|(_, n)| n).sum()
    }

    /// Requests that were sent.
    pub fn sent(&self) -> u64 {
        self.ok() + self.failed()
    }

    /// Requests that were not sent.
    pub fn unsent(&self) -> u64 {
        self.group(OutcomeGroup::Unsent)
    }

    /// Good answers.
    pub fn ok(&self) -> u64 {
        self.group(OutcomeGroup::Ok)
    }

    /// Sent requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.group(OutcomeGroup::Failed)
    }

    /// Owed requests whose outcome is not in the record: 0 unless it was cut off.
    pub fn pending(&self) -> u64 {
        self.owed.saturating_sub(self.sent() + self.unsent())
    }
}

/// Where a backend puts what happens: the writer of a run folder, or a record in memory.
pub trait Sink {
    /// Takes one line.
    ///
    /// # Errors
    /// If it cannot be kept (full disk); the run must end then.
    fn line(&mut self, line: Line) -> Result<(), WriteError>;

    /// Makes everything so far durable against the end of the process.
    ///
    /// # Errors
    /// As [`Self::line`].
    fn flush(&mut self) -> Result<(), WriteError>;
}

impl Sink for RunRecord {
    fn line(&mut self, line: Line) -> Result<(), WriteError> {
        self.push(line);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        Ok(())
    }
}
