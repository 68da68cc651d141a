//! Files, the standard input, gzip; lines of bounded length.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Cursor, Read},
};

use flate2::read::MultiGzDecoder;

use super::error::{ImportError, LineProblem};

/// The longest line; a longer one is a bad line, and is never held.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// How much of a file tells what it is.
const HEAD_BYTES: u64 = 64 << 10;
/// The file name that means the standard input.
const STDIN: &str = "-";

/// Opens a file, a pipe or the standard input.
pub(super) fn open(name: &str) -> Result<Box<dyn Read>, ImportError> {
    if name == STDIN {
        return Ok(Box::new(std::io::stdin()));
    }
    let read = |source| ImportError::Read { name: super::shown_name(name), source };
    if std::fs::metadata(name).map_err(read)?.is_dir() {
        return Err(ImportError::Directory { name: super::shown_name(name) });
    }
    Ok(Box::new(File::open(name).map_err(read)?))
}

/// The first bytes of a stream, unpacked, and the whole of it.
pub(super) fn unpacked(
    name: &str,
    source: Box<dyn Read>,
) -> Result<(Vec<u8>, Box<dyn Read>), ImportError> {
    let (head, whole) = peeked(name, source)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return peeked(name, Box::new(MultiGzDecoder::new(BufReader::new(whole))));
    }
    let packed = |how| Err(ImportError::Packed { name: super::shown_name(name), how });
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return packed("zstd");
    }
    if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z']) {
        return packed("xz");
    }
    if head.starts_with(b"BZh") {
        return packed("bzip2");
    }
    Ok((head, whole))
}

fn peeked(name: &str, mut source: Box<dyn Read>) -> Result<(Vec<u8>, Box<dyn Read>), ImportError> {
    let mut head = Vec::new();
    let read = (&mut source).take(HEAD_BYTES).read_to_end(&mut head);
    read.map_err(|source| ImportError::Read { name: super::shown_name(name), source })?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(source))))
}

/// A line, or why it cannot be one.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    pub(super) text: Result<&'a str, LineProblem>,
}

/// The lines of a stream, one at a time, without their ends.
pub(super) struct Lines {
    input: BufReader<Box<dyn Read>>,
    bytes: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(super) fn new(stream: Box<dyn Read>) -> Self {
        let input = BufReader::with_capacity(256 << 10, stream);
        Self { input, bytes: Vec::new(), number: 0 }
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self, name: &str) -> Result<Option<Line<'_>>, ImportError> {
        let failed = |source| ImportError::Read { name: super::shown_name(name), source };
        loop {
            self.bytes.clear();
            let mut bounded = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1);
            if bounded.read_until(b'\n', &mut self.bytes).map_err(failed)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let is_whole = self.bytes.ends_with(b"\n") || self.bytes.len() <= LINE_BYTES_MAX;
            if !is_whole {
                self.skip_rest().map_err(failed)?;
                let text = Err(LineProblem::TooLong(LINE_BYTES_MAX));
                return Ok(Some(Line { number: self.number, text }));
            }
            let start =
                if self.number == 1 && self.bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let is_empty = self.bytes[start..].iter().all(u8::is_ascii_whitespace);
            if !is_empty {
                let text = std::str::from_utf8(&self.bytes[start..]);
                let text = text.map(str::trim_end).map_err(|_| LineProblem::NotText);
                return Ok(Some(Line { number: self.number, text }));
            }
        }
    }

    /// Reads over the rest of a line without keeping it.
    fn skip_rest(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |at| at + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}
