//! Opening `record.jsonl`, also when it was cut off.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use highwater_model::time::{SECOND, Timestamp};
use serde::Deserialize;

use super::{Line, RunRecord, SCHEMA};

/// The longest line that is read. A second's window of all outcomes has some 20 KB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// No instant of a run is later: scenarios last 168 h at most, and as long may pass before and after
/// their traffic. What reads a record may hold something for each second of it.
const INSTANT_MAX: Timestamp = Timestamp(500 * 3_600 * SECOND);
/// No count of one line is higher; so many sums of them fit into 64 bits as a record has lines.
const COUNT_MAX: u64 = 1_000_000_000_000;

/// A record could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("reading the record {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is empty.
    #[error("the record {} is empty: the run was ended before it began", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// It is no record, or one of another version.
    #[error("{} is no record that this build can read: it says `{found}`, and this build reads `{SCHEMA}`", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// A line is damaged.
    #[error("line {line} of the record {} is damaged: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A line tells of what no run can come to.
    #[error("line {line} of the record {} is damaged: it tells of an instant or a count that no run comes to", path.display())]
    Beyond {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
    },
    /// A line is too long.
    #[error("line {line} of the record {} is longer than {LINE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
    },
}

/// Opens a record file, or the one in a run folder.
///
/// # Errors
/// If it is missing, foreign or damaged before its last line. A last line that was cut off by the
/// end of the process is dropped.
pub fn read(path: &Path) -> Result<RunRecord, ReadError> {
    let path = if path.is_dir() { path.join(super::folder::RECORD) } else { path.to_owned() };
    let file = File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    read_from(BufReader::with_capacity(1 << 18, file), &path)
}

/// Reads only the header of a record file.
///
/// # Errors
/// As [`read`], of its first line.
pub fn read_header(path: &Path) -> Result<super::Header, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut line = Vec::new();
    let file = BufReader::new(File::open(path).map_err(io)?);
    let mut limited = std::io::Read::take(file, LINE_BYTES_MAX as u64);
    limited.read_until(b'\n', &mut line).map_err(io)?;
    Ok(header(&line, line.last() == Some(&b'\n'), path)?.header)
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    schema: Option<String>,
}

/// Reads a record; `path` is for errors.
///
/// # Errors
/// As [`read`].
pub fn read_from(mut input: impl BufRead, path: &Path) -> Result<RunRecord, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut buffer = Vec::new();
    let mut record: Option<RunRecord> = None;
    let mut number = 0;
    loop {
        buffer.clear();
        let mut limited = std::io::Read::take(&mut input, LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut buffer).map_err(io)? == 0 {
            break;
        }
        number += 1;
        let is_whole = buffer.last() == Some(&b'\n');
        if !is_whole && buffer.len() == LINE_BYTES_MAX {
            return Err(ReadError::TooLong { path: path.to_owned(), line: number });
        }
        let Some(known) = &mut record else {
            record = Some(header(&buffer, is_whole, path)?);
            continue;
        };
        match serde_json::from_slice::<Line>(&buffer) {
            Ok(line) if !is_possible(&line) => {
                return Err(ReadError::Beyond { path: path.to_owned(), line: number });
            }
            Ok(line) => known.push(line),
            Err(_) if !is_whole => break,
            Err(source) => {
                return Err(ReadError::Damaged { path: path.to_owned(), line: number, source });
            }
        }
    }
    let mut record = record.ok_or_else(|| ReadError::Empty { path: path.to_owned() })?;
    if record.footer.as_ref().is_some_and(|footer| footer.lines + 1 != number) {
        record.footer = None;
    }
    record.sort();
    Ok(record)
}

/// Whether a run can have come to what a line tells of.
fn is_possible(line: &Line) -> bool {
    let is_early = |instants: &[Timestamp]| instants.iter().all(|at| *at <= INSTANT_MAX);
    match line {
        Line::Header(_) => true,
        Line::Event(event) => is_early(&[event.at, event.stated.unwrap_or_default()]),
        Line::Window(window) => {
            let counts = window.outcomes.values().map(|part| part.n).chain([window.owed]);
            window.second <= INSTANT_MAX.0 / SECOND && counts.max() <= Some(COUNT_MAX)
        }
        Line::Failure(failure) => {
            let times = [failure.scheduled, failure.sent, failure.ended];
            is_early(&times) && failure.n <= COUNT_MAX
        }
        Line::Sample(sample) => is_early(&[sample.at]),
        Line::Footer(footer) => is_early(&[footer.end]),
    }
}

fn header(line: &[u8], is_whole: bool, path: &Path) -> Result<RunRecord, ReadError> {
    let foreign = |found: String| ReadError::Foreign { path: path.to_owned(), found };
    let probe: Probe = match serde_json::from_slice(line) {
        Ok(probe) => probe,
        Err(_) if !is_whole => {
            return Err(ReadError::Empty { path: path.to_owned() });
        }
        Err(_) => return Err(foreign("no JSON".into())),
    };
    match probe.schema {
        Some(schema) if schema == SCHEMA => {}
        other => return Err(foreign(other.unwrap_or_else(|| "nothing".into()))),
    }
    match serde_json::from_slice(line) {
        Ok(Line::Header(header)) => Ok(RunRecord::new(*header)),
        Ok(_) => Err(foreign("another line than a header".into())),
        Err(source) => Err(ReadError::Damaged { path: path.to_owned(), line: 1, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        BackendKind, EndReason, Footer, Header, Limits, PhasePlan, Sink as _, Window, Writer,
    };
    use highwater_model::{
        event::{Event, EventKind, Source},
        time::{Nanos, Timestamp},
    };
    use proptest::prelude::*;

    fn header() -> Header {
        let text = r#"{"name":"test","traffic":{"phases":[{"hold":"1/s","for":"1s"}]}}"#;
        Header {
            schema: SCHEMA.into(),
            backend: BackendKind::Local,
            seed: 1,
            scenario: serde_json::from_str(text).unwrap(),
            phases: vec![PhasePlan {
                name: "hold-1".into(),
                start: Nanos::ZERO,
                end: Nanos::from_secs(1),
            }],
        }
    }

    fn whole() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.jsonl");
        let mut writer = Writer::create(&path, header()).unwrap();
        for seq in 0..3 {
            let at = Timestamp(5 - seq);
            let kind = EventKind::TrafficStarted;
            let event =
                Event { at, seq, source: Source::Load, precision: None, stated: None, kind };
            writer.line(Line::Event(event)).unwrap();
        }
        for owed in [3, 4] {
            let window = Window { second: 1, phase: 0, owed, outcomes: Default::default() };
            writer.line(Line::Window(window)).unwrap();
        }
        let footer = Footer {
            end: Timestamp(9),
            reason: EndReason::Completed,
            message: String::new(),
            lines: 0,
            limits: Limits::default(),
        };
        writer.line(Line::Footer(footer)).unwrap();
        writer.flush().unwrap();
        std::fs::read(&path).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<RunRecord, ReadError> {
        read_from(bytes, Path::new("record.jsonl"))
    }

    #[test]
    fn a_whole_record_reads_back_in_order_and_windows_add_up() {
        let record = open(&whole()).unwrap();
        assert_eq!(record.header, header());
        let order: Vec<u64> = record.events.iter().map(|event| event.at.0).collect();
        assert_eq!(order, [3, 4, 5]);
        assert_eq!(record.totals().owed, 7);
        assert_eq!(record.footer.map(|footer| footer.lines), Some(6));
    }

    #[test]
    fn a_record_that_was_cut_off_anywhere_opens_as_far_as_it_got_or_says_why_not() {
        let whole = whole();
        let header_ends = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for length in 0..whole.len() {
            match open(&whole[..length]) {
                Ok(record) => {
                    assert!(length >= header_ends, "at {length}");
                    assert!(record.footer.is_none() || length == whole.len() - 1, "at {length}");
                }
                Err(error) => {
                    assert!(length <= header_ends, "at {length}: {error}");
                    assert!(matches!(error, ReadError::Empty { .. }));
                }
            }
        }
    }

    #[test]
    fn lines_that_are_missing_make_the_footer_void() {
        let whole = String::from_utf8(whole()).unwrap();
        let fewer: Vec<&str> =
            whole.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, line)| line).collect();
        assert_eq!(open((fewer.join("\n") + "\n").as_bytes()).unwrap().footer, None);
    }

    #[test]
    fn foreign_and_damaged_records_are_refused_with_the_reason() {
        let text = String::from_utf8(whole()).unwrap();
        let newer = text.replacen("record/v1", "record/v7", 1);
        let damaged = text.replacen("\"seq\":1", "\"seq\":x", 1);
        let late = text.replacen("\"second\":1", "\"second\":99999999999", 1);
        let many = text.replacen("\"owed\":3", "\"owed\":18446744073709551615", 1);
        let never = text.replacen("\"at\":5", "\"at\":18446744073709551615", 1);
        for (bytes, word) in [
            (newer.as_str(), "it says `highwater.record/v7`"),
            (damaged.as_str(), "line 3"),
            (late.as_str(), "no run comes to"),
            (many.as_str(), "no run comes to"),
            (never.as_str(), "no run comes to"),
            ("{}\n", "it says `nothing`"),
            ("hello\n", "no JSON"),
            ("", "is empty"),
        ] {
            let error = open(bytes.as_bytes()).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(read(Path::new("/nowhere")).expect_err("missing").to_string().contains("/nowhere"));
    }

    #[test]
    fn a_record_file_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.jsonl");
        Writer::create(&path, header()).unwrap();
        assert!(Writer::create(&path, header()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_after_the_header_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let whole = whole();
            let header_ends = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let _ = open(&[&whole[..header_ends], &bytes].concat());
            let _ = open(&bytes);
        }
    }
}
