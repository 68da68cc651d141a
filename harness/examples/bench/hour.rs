//! The report of an hour's run: 1,000 requests per second, fifty pods that come and go, and 5,000
//! lost requests, as a record that `highwater report` then reads.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use highwater::{
    clock,
    load::recorder::{Recorder, Times},
    record::{
        BackendKind, EndReason, Footer, Header, Limits, Line, PhasePlan, SCHEMA, Sample, Sink,
        Writer, folder,
    },
};
use highwater_model::{
    event::{DeleteReason, Event, EventKind, Signal, Source},
    outcome::{Connection, Failure, Outcome},
    rng::Stream,
    time::{MILLISECOND, Nanos, SECOND, Timestamp},
};

use crate::{BenchError, doing, figures::Report, wrong};

const SECONDS: u64 = 3_600;
const RATE: u64 = 1_000;
const PODS: u64 = 50;
const LOST: u64 = 5_000;
/// From a pod's beginning to its end: with fifty of them some ten live at any time.
const LIFE: u64 = 700;

/// Makes the record and times what `highwater report` takes for it.
pub(crate) fn measure(binary: &Path, place: &Path, rounds: u32) -> Result<Report, BenchError> {
    let path = place.join("hour");
    fs::create_dir(&path).map_err(doing("making a folder"))?;
    write(&path).map_err(|error| wrong("making an hour's record", error.to_string()))?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        let from = clock::mono_ns();
        let status = Command::new(binary)
            .arg("report")
            .arg(&path)
            .stdout(Stdio::null())
            .status()
            .map_err(doing("starting highwater report"))?;
        took.push(Duration::from_nanos(clock::mono_ns() - from));
        if !status.success() {
            return Err(wrong("highwater report", status.to_string()));
        }
    }
    let size = |name: &str| {
        fs::metadata(path.join(name))
            .map(|data| data.len())
            .map_err(doing(format!("reading {name}")))
    };
    Ok(Report { took, page: size(folder::REPORT)?, record: size(folder::RECORD)? })
}

fn write(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let text = r#"{"name":"hour","traffic":{"phases":[{"hold":"1000/s","for":"3600s"}]}}"#;
    let header = Header {
        schema: SCHEMA.into(),
        backend: BackendKind::Local,
        seed: 1,
        scenario: serde_json::from_str(text)?,
        phases: vec![PhasePlan {
            name: "hold-1".into(),
            start: Nanos::ZERO,
            end: Nanos::from_secs(SECONDS),
        }],
    };
    let mut writer = Writer::create(&path.join(folder::RECORD), header)?;
    for (seq, (at, source, kind)) in events().into_iter().enumerate() {
        let seq = seq as u64;
        writer.line(Line::Event(Event { at, seq, source, precision: None, stated: None, kind }))?;
    }
    let mut stream = Stream::new(1, "hour");
    let mut recorder = Recorder::default();
    for second in 0..SECONDS {
        requests(&mut recorder, &mut stream, second);
        let (windows, failures) = recorder.drain();
        for (second, phase, part) in windows {
            writer.line(Line::Window(part.encode(second, phase)))?;
        }
        for failure in failures {
            writer.line(Line::Failure(Box::new(failure)))?;
        }
        let done = (second + 1) * RATE;
        let at = Timestamp((second + 1) * SECOND);
        writer.line(Line::Sample(Sample { at, owed: done, sent: done, ..Sample::default() }))?;
    }
    writer.line(Line::Footer(Footer {
        end: Timestamp((SECONDS + 5) * SECOND),
        reason: EndReason::Completed,
        message: String::new(),
        lines: 0,
        limits: Limits::default(),
    }))?;
    writer.flush()?;
    Ok(())
}

fn pod(number: u64) -> String {
    format!("v1-{number}")
}

fn begin(number: u64) -> u64 {
    number * SECONDS / PODS
}

/// The lives of the pods, ascending in time.
fn events() -> Vec<(Timestamp, Source, EventKind)> {
    let at = |seconds: u64, millis: u64| Timestamp(seconds * SECOND + millis * MILLISECOND);
    let mut events = vec![(Timestamp::ZERO, Source::Load, EventKind::TrafficStarted)];
    for number in 0..PODS {
        let (pod, from) = (pod(number), begin(number));
        let mut push = |at, source, kind| events.push((at, source, kind));
        let started = EventKind::ContainerStarted {
            pod: pod.clone(),
            restarts: 0,
            address: Some(format!("127.0.0.1:{}", 20_000 + number)),
            pid: None,
        };
        let created = EventKind::PodCreated { pod: pod.clone(), revision: 1 };
        push(at(from, 0), Source::Controller, created);
        push(at(from, 200), Source::Kubelet, started);
        push(at(from + 2, 0), Source::Kubelet, EventKind::PodReady { pod: pod.clone() });
        let to = from + LIFE;
        if to >= SECONDS {
            continue;
        }
        let (grace, reason) = (Nanos::from_secs(30), DeleteReason::ScaleDown);
        let deleted = EventKind::PodDeleted { pod: pod.clone(), grace, reason };
        let signal = Signal::Sigterm;
        let signalled = EventKind::SignalSent { pod: pod.clone(), signal, by_kubelet: true };
        let exited =
            EventKind::ContainerExited { pod: pod.clone(), code: 0, signal: None, oom: false };
        push(at(to, 0), Source::Controller, deleted);
        push(at(to, 1), Source::Kubelet, signalled);
        push(at(to, 50), Source::Kubelet, exited);
        push(at(to + 1, 0), Source::Controller, EventKind::PodGone { pod });
    }
    events.push((at(SECONDS, 0), Source::Load, EventKind::TrafficEnded));
    events.sort_by_key(|(at, _, _)| *at);
    events
}

/// A second's requests: latency around ten milliseconds with a tail; some are lost on a pod that
/// has just gone.
fn requests(recorder: &mut Recorder, stream: &mut Stream, second: u64) {
    let gone = (0..PODS).find(|number| begin(*number) + LIFE == second);
    let ends = (0..PODS).filter(|number| begin(*number) + LIFE < SECONDS).count() as u64;
    let lost = if gone.is_some() { LOST / ends } else { 0 };
    for number in 0..RATE {
        let scheduled = Timestamp(second * SECOND + number * SECOND / RATE);
        let sent = scheduled + Nanos(20_000 + (stream.exponential() * 5_000.0) as u64);
        let ended = sent + Nanos((5e6 + stream.exponential() * 4e6) as u64);
        recorder.owed(scheduled, 0);
        let outcome = if number < lost { Outcome::ConnectRefused } else { Outcome::Ok };
        recorder.ended(outcome, 0, Times { scheduled, sent, ended });
        if outcome == Outcome::Ok {
            continue;
        }
        let served = 0;
        recorder.failure(Failure {
            n: 1,
            outcome,
            phase: 0,
            kind: 0,
            scheduled,
            sent,
            first_byte: None,
            ended,
            status: None,
            errno: Some(111),
            pod: gone.map(pod),
            connection: Some(Connection { id: number, opened: sent, served, idle: Nanos::ZERO }),
            hop: None,
            request_id: None,
            consumer: Some(0),
        });
    }
}
