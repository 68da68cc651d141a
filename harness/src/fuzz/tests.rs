//! The corpus of the fuzzers, and mutations of it, through the same functions, on every run of the
//! tests. `HIGHWATER_FUZZ=N` makes N times as many mutations.

use std::{fs, path::PathBuf, sync::mpsc, time::Duration};

use highwater_model::rng::Stream;

use super::*;

/// No input takes this long, on any machine.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// The longest input that is made.
const BYTES_MAX: usize = 64 << 10;

/// Pieces that parsers have an opinion of.
const TOKENS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775807",
    b"1e308",
    b"1e-308",
    b".nan",
    b".inf",
    b"4294967295",
    b"0.0000001",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b";",
    b"=",
    b"%",
    b"%00",
    b"HTTP/1.1 ",
    b"content-length: ",
    b"transfer-encoding: chunked",
    b"connection: close",
    b"null",
    b"true",
    b"&a ",
    b"*a",
    b"<<: ",
    b"1000000h",
    b"1ns",
    b"999999999/s",
    b"- ",
    b"  ",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    // The order of a folder is the file system's own.
    paths.sort();
    let corpus: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "{folder:?} is empty");
    corpus
}

fn place(rng: &mut Stream, bytes: &[u8]) -> usize {
    rng.below(bytes.len() as u64 + 1) as usize
}

fn range(rng: &mut Stream, bytes: &[u8]) -> std::ops::Range<usize> {
    let from = place(rng, bytes);
    let bits = rng.below(10);
    let length = rng.below(1 << bits) as usize;
    from..(from + length).min(bytes.len())
}

/// The digits around or after a place.
fn number(rng: &mut Stream, bytes: &[u8]) -> std::ops::Range<usize> {
    let at = place(rng, bytes);
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let from = bytes[at..].iter().position(is_digit).map_or(at, |offset| at + offset);
    let length = bytes[from..].iter().position(|byte| !is_digit(byte));
    from..length.map_or(bytes.len(), |length| from + length)
}

/// Changes an input a few times over.
fn mutate(rng: &mut Stream, corpus: &[Vec<u8>]) -> Vec<u8> {
    let any = |rng: &mut Stream| &corpus[rng.below(corpus.len() as u64) as usize];
    let mut bytes = any(rng).clone();
    for _ in 0..=rng.below(4) {
        let token = TOKENS[rng.below(TOKENS.len() as u64) as usize];
        let at = place(rng, &bytes);
        match rng.below(8) {
            0 => bytes.splice(range(rng, &bytes), []).for_each(drop),
            1 => bytes.splice(at..at, token.iter().copied()).for_each(drop),
            2 => bytes.splice(number(rng, &bytes), token.iter().copied()).for_each(drop),
            3 => bytes.splice(range(rng, &bytes), token.iter().copied()).for_each(drop),
            4 => {
                let again = bytes[range(rng, &bytes)].repeat(1 + rng.below(40) as usize);
                bytes.splice(at..at, again).for_each(drop);
            }
            5 => {
                let other = any(rng);
                let part = other[range(rng, other)].to_vec();
                bytes.splice(at..at, part).for_each(drop);
            }
            6 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// Runs the inputs on a thread of its own; the one that panics or hangs is kept and named.
fn try_all(
    target: &'static str,
    entry: Entry,
    inputs: impl Iterator<Item = Vec<u8>> + Send + 'static,
) {
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        for input in inputs {
            // The receiver is there until this ends, or hangs.
            let _ = tell.send(input.clone());
            entry(&input);
        }
    });
    let mut last = Vec::new();
    let hangs = loop {
        match told.recv_timeout(HANGS_AFTER) {
            Ok(input) => last = input,
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
        }
    };
    if hangs || thread.join().is_err() {
        let kept = std::env::temp_dir().join(format!("highwater-fuzz-{target}"));
        fs::write(&kept, &last).unwrap();
        let how = if hangs { "hangs" } else { "panics" };
        panic!("{target} {how} on what is in {kept:?}: {:.300}", String::from_utf8_lossy(&last));
    }
}

/// The corpus of a target, and so many mutations of it.
fn replay(target: &'static str, mutations: u64) {
    let entry = TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let times: u64 =
        std::env::var("HIGHWATER_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let corpus = corpus(target);
    try_all(target, entry, corpus.clone().into_iter());
    let mut rng = Stream::new(1, target);
    let mutated = (0..mutations * times).map(move |_| mutate(&mut rng, &corpus));
    try_all(target, entry, mutated);
}

#[test]
fn scenarios() {
    replay("scenario", 1_500);
}

#[test]
fn records() {
    replay("record", 1_500);
}

#[test]
fn records_of_the_corpus_come_to_reports() {
    for bytes in corpus("record") {
        let record = record::read_from(&bytes[..], Path::new("record.jsonl")).unwrap();
        analyze::analyze(&record).unwrap();
    }
}

#[test]
fn responses() {
    replay("response", 8_000);
}

#[test]
fn hops() {
    replay("hop", 50_000);
}

#[test]
fn lines_of_processes() {
    replay("lines", 5_000);
}

#[test]
fn frames_of_generators() {
    replay("frames", 10_000);
}

#[test]
fn manifests() {
    replay("lint", 500);
}

#[test]
fn recordings() {
    replay("import", 2_000);
}

#[test]
fn every_target_can_be_fuzzed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        let source = fs::read_to_string(folder.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("highwater::fuzz::{target}(data)")), "{target}");
        assert!(!corpus(target).is_empty());
    }
}
