//! Appending to `record.jsonl`.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::{Header, Line, Sink};

/// The record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing {}: {source}", path.display())]
pub struct WriteError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Appends lines to a record file.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    lines: u64,
}

impl Writer {
    /// Creates the file, which must not exist, and writes the header.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub fn create(path: &Path, header: Header) -> Result<Self, WriteError> {
        let file = File::create_new(path)
            .map_err(|source| WriteError { path: path.to_owned(), source })?;
        let mut writer =
            Self { path: path.to_owned(), file: BufWriter::with_capacity(1 << 18, file), lines: 0 };
        writer.line(Line::Header(Box::new(header)))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn error(&self, source: std::io::Error) -> WriteError {
        WriteError { path: self.path.clone(), source }
    }
}

impl Sink for Writer {
    fn line(&mut self, mut line: Line) -> Result<(), WriteError> {
        if let Line::Footer(footer) = &mut line {
            footer.lines = self.lines;
        }
        serde_json::to_writer(&mut self.file, &line).map_err(|error| self.error(error.into()))?;
        self.file.write_all(b"\n").map_err(|error| self.error(error))?;
        self.lines += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.file.flush().map_err(|source| WriteError { path: self.path.clone(), source })
    }
}
