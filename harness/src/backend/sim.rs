//! The run in virtual time: [`highwater_model::sim`] with the record of the other backends.
//!
//! Same build, scenario and seed: the same record, byte for byte, on every machine. So nothing of
//! this machine is in it.

mod sending;

use std::path::PathBuf;

use highwater_model::{
    event::{Event, EventKind, Source},
    load::Arrival,
    outcome::{Failure, Outcome, OutcomeGroup},
    sim::{self, Observer, SimError, State, Times},
    spec::{Misbehaviour, Scenario},
    time::{Nanos, Timestamp},
};

use tokio::sync::watch;

use self::sending::Sending;
use super::{Backend, BackendError, Control, Ended, Progress, service};
use crate::{
    load::recorder::{self, Recorder},
    plan::Plan,
    record::{
        BackendKind, EndReason, Footer, Limits, Line, RunRecord, Sample, Sink, WriteError, hist,
    },
};

/// The backend.
#[derive(Debug, Default)]
pub struct Sim;

impl Backend for Sim {
    fn kind(&self) -> BackendKind {
        BackendKind::Sim
    }

    fn keep_logs_in(&mut self, _: PathBuf) {}

    fn unsupported(&self, scenario: &Scenario) -> Option<(String, String)> {
        unsupported(scenario)
    }

    fn run(
        &mut self,
        plan: &Plan,
        sink: &mut dyn Sink,
        control: &mut Control<'_>,
    ) -> Result<Ended, BackendError> {
        let run = sim::Run {
            scenario: plan.scenario.clone(),
            profile: plan.profile.clone(),
            phases: plan.phases.iter().map(|phase| (phase.start, phase.name.clone())).collect(),
            actions: plan
                .actions
                .iter()
                .map(|action| (action.at, action.id, action.action.clone()))
                .collect(),
        };
        let total = plan.profile.lasts();
        let mut notes = Notes {
            sink,
            control,
            recorder: Recorder::default(),
            seq: 0,
            sending: Sending::new(plan),
            sample: None,
            failed: None,
            progress: Progress { stage: "simulating", total, ..Progress::default() },
        };
        let ended = sim::run(&run, &mut notes);
        let failed = notes.failed.take();
        if let Some(error) = failed {
            return Err(error.into());
        }
        notes.tell_arrivals();
        notes.flush()?;
        let ended = ended.map_err(|error| match error {
            SimError::NeverReady { within, ready, desired } => BackendError::NeverReady {
                within,
                seen: format!("{ready} of {desired} pods are ready"),
            },
        })?;
        let reason = if ended.is_early { EndReason::Interrupted } else { EndReason::Completed };
        Ok(Ended { reason, end: ended.at, limits: Some(Limits::default()) })
    }
}

/// Runs a plan to its end, into memory.
///
/// # Errors
/// If its target never becomes ready.
pub fn record(plan: &Plan) -> Result<RunRecord, BackendError> {
    let mut record = RunRecord::new(plan.header(BackendKind::Sim));
    // Nobody interrupts it.
    let (_keep, interrupts) = watch::channel(0);
    let mut control = Control { interrupts, progress: &mut |_| {} };
    let ended = Sim.run(plan, &mut record, &mut control)?;
    let Ended { reason, end, limits } = ended;
    let (limits, message) = (limits.unwrap_or_default(), String::new());
    record.push(Line::Footer(Footer { end, reason, message, lines: 0, limits }));
    record.sort();
    Ok(record)
}

/// The first thing of a scenario that this backend cannot do.
fn unsupported(scenario: &Scenario) -> Option<(String, String)> {
    let (target, path) = (&scenario.target, &scenario.path);
    let no = |key: &str, message: &str| Some((key.to_owned(), message.to_owned()));
    for (key, is_given) in [
        ("target.command", target.command.is_some()),
        ("target.workload", target.workload.is_some()),
        ("target.url", target.url.is_some()),
    ] {
        if is_given {
            return no(key, "only the bundled service is modelled; describe it as target.service");
        }
    }
    for (key, is_given) in [
        ("path.url", path.url.is_some()),
        ("traffic.generators", scenario.traffic.generators.is_some()),
        ("traffic.saturate", scenario.traffic.saturate.is_some()),
    ] {
        if is_given {
            return no(key, "it is of a real network; leave it out on sim");
        }
    }
    let mut misbehaviours = service::misbehaviours(scenario);
    if misbehaviours.any(|how| *how == Misbehaviour::SelfScaling) {
        return no("target.misbehave", "`self-scaling` needs an API server, which only kube has");
    }
    for (index, event) in scenario.events.iter().enumerate() {
        let rollout = event.rollout.as_ref();
        for (key, is_given) in [
            ("drainNode", event.drain_node.is_some()),
            ("rollout.image", rollout.is_some_and(|rollout| rollout.image.is_some())),
            ("rollout.command", rollout.is_some_and(|rollout| rollout.command.is_some())),
            ("rollout.env", rollout.is_some_and(|rollout| !rollout.env.is_empty())),
        ] {
            if is_given {
                let message = "it is nothing that is modelled; use rollout.service or misbehave";
                return no(&format!("events[{index}].{key}"), message);
            }
        }
    }
    None
}

/// Writes the record as the simulation tells it.
struct Notes<'a, 'b> {
    sink: &'a mut dyn Sink,
    control: &'a mut Control<'b>,
    recorder: Recorder,
    seq: u64,
    sending: Sending,
    /// The last of them, which is told what the arrivals were like before it is written.
    sample: Option<Sample>,
    /// Why the record could not be written; the simulation is told to stop then.
    failed: Option<WriteError>,
    progress: Progress,
}

impl Notes<'_, '_> {
    fn line(&mut self, line: Line) {
        if self.failed.is_none() {
            self.failed = self.sink.line(line).err();
        }
    }

    /// Writes the last sample.
    fn tell_sample(&mut self) {
        if let Some(sample) = self.sample.take() {
            self.line(Line::Sample(sample));
        }
    }

    /// Writes the last sample, which tells what the arrivals were like.
    fn tell_arrivals(&mut self) {
        if let Some(sample) = &mut self.sample {
            sample.arrivals = Some(Box::new(self.sending.arrivals()));
        }
        self.tell_sample();
    }

    /// Writes what was counted since the last time.
    fn count(&mut self) {
        let (windows, failures) = self.recorder.drain();
        let (mut owed, mut latency) = (0, None);
        for (second, phase, part) in windows {
            owed += part.owed;
            for (outcome, outcomes) in &part.outcomes {
                match outcome.group() {
                    OutcomeGroup::Ok => {
                        if let Some(times) = &outcomes.times {
                            let all = latency.get_or_insert_with(hist::new);
                            // Both are of the same bounds.
                            let _ = all.add(&times[0]);
                        }
                    }
                    OutcomeGroup::Failed => self.progress.failed += outcomes.n,
                    OutcomeGroup::Unsent => self.progress.unsent += outcomes.n,
                }
            }
            self.line(Line::Window(part.encode(second, phase)));
        }
        for failure in failures {
            self.line(Line::Failure(Box::new(failure)));
        }
        self.progress.rate = owed;
        self.progress.latency_p99 = latency.map(|latency| latency.value_at_quantile(0.99));
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.count();
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.sink.flush(),
        }
    }
}

impl Observer for Notes<'_, '_> {
    fn event(&mut self, at: Timestamp, source: Source, kind: EventKind, stated: Option<Timestamp>) {
        let seq = self.seq;
        self.seq += 1;
        self.line(Line::Event(Event { at, seq, source, precision: None, stated, kind }));
    }

    fn owed(&mut self, scheduled: Timestamp, arrival: Arrival) {
        self.recorder.owed(scheduled, arrival.phase);
        self.sending.owed(arrival);
    }

    fn sent(&mut self, at: Timestamp, arrival: Arrival, late: Nanos) {
        self.sending.sent(at, arrival, late);
    }

    fn ended(&mut self, outcome: Outcome, phase: u16, times: Times) {
        let Times { scheduled, sent, ended } = times;
        self.recorder.ended(outcome, phase, recorder::Times { scheduled, sent, ended });
    }

    fn unsent(&mut self, outcome: Outcome, phase: u16, scheduled: Timestamp) {
        self.recorder.unsent(outcome, phase, scheduled);
    }

    fn failure(&mut self, failure: Failure) {
        self.recorder.failure(failure);
    }

    fn second(&mut self, state: &State) -> bool {
        self.count();
        let State { at, owed, sent, in_flight, waiting, connections, connects, .. } = *state;
        self.tell_sample();
        self.sample = Some(Sample {
            at,
            owed,
            sent,
            in_flight,
            waiting,
            connections,
            connects,
            sent_in: self.sending.take_sent_in(),
            ..Sample::default()
        });
        let progress = &mut self.progress;
        progress.elapsed = state.start.map_or_else(Default::default, |start| at.since(start));
        [progress.desired, progress.ready, progress.terminating] = state.replicas;
        (self.control.progress)(progress);
        self.failed.is_none() && *self.control.interrupts.borrow() == 0
    }
}
