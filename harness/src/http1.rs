//! The framing of HTTP/1.1 answers (RFC 9112 section 6), without I/O: how long a body is, and where
//! it ends.

/// The largest head (first line and headers) that is read.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers that are read.
pub const HEADERS_MAX: usize = 128;
/// The longest line of a chunked body's framing.
const CHUNK_LINE_MAX: u32 = 4096;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Not HTTP.
    #[error("not an HTTP/1 message")]
    Malformed,
    /// Beyond [`HEAD_BYTES_MAX`] or [`HEADERS_MAX`].
    #[error("a head beyond the bounds")]
    HeadTooLarge,
    /// `Content-Length` and `Transfer-Encoding` that cannot be followed.
    #[error("a body whose length cannot be told")]
    Framing,
}

/// What the headers say of a message's framing and connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `Content-Length`.
    pub length: Option<u64>,
    /// There is a `Transfer-Encoding`.
    pub is_coded: bool,
    /// Its last coding is `chunked`.
    pub is_chunked: bool,
    /// `Connection: close`.
    pub says_close: bool,
    /// `Connection: keep-alive`.
    pub says_keep_alive: bool,
}

impl Facts {
    /// Reads them from the headers.
    ///
    /// # Errors
    /// [`BadMessage::Framing`] if lengths are malformed or contradict each other.
    pub fn of(headers: &[httparse::Header<'_>]) -> Result<Self, BadMessage> {
        let mut facts = Self::default();
        for header in headers {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let value = digits(header.value)?;
                if facts.length.is_some_and(|other| other != value) {
                    return Err(BadMessage::Framing);
                }
                facts.length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                facts.is_coded = true;
                let last = tokens(header.value).last();
                facts.is_chunked = last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            } else if name.eq_ignore_ascii_case("connection") {
                for token in tokens(header.value) {
                    facts.says_close |= token.eq_ignore_ascii_case(b"close");
                    facts.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(facts)
    }

    /// Whether the connection outlives this message; `minor` is the version's (1.`minor`).
    pub fn keeps_alive(&self, minor: u8) -> bool {
        !self.says_close && (minor == 1 || self.says_keep_alive)
    }

    /// The body of an answer.
    pub fn response_body(&self, status: u16, answers_head: bool) -> Framing {
        if answers_head || status == 204 || status == 304 {
            Framing::Done
        } else if self.is_chunked {
            Framing::chunked()
        } else if self.is_coded {
            Framing::UntilClose
        } else {
            self.length.map_or(Framing::UntilClose, Framing::length)
        }
    }
}

fn digits(value: &[u8]) -> Result<u64, BadMessage> {
    let text = std::str::from_utf8(value).map_err(|_| BadMessage::Framing)?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(BadMessage::Framing)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In the line before a chunk.
    ChunkSize {
        /// The size so far.
        value: u64,
        /// Digits so far.
        digits: u32,
        /// Past the size.
        in_extension: bool,
        /// Bytes of the line so far.
        seen: u32,
    },
    /// So many bytes of a chunk are left.
    ChunkData(u64),
    /// In the line end after a chunk.
    ChunkEnd {
        /// Bytes of it so far.
        seen: u32,
    },
    /// After the last chunk.
    Trailer {
        /// Bytes of the present line so far.
        line: u32,
        /// Bytes so far.
        seen: u32,
    },
    /// Until the stream ends.
    UntilClose,
    /// The message is whole.
    Done,
}

impl Framing {
    /// A body of so many bytes.
    pub fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    /// A chunked body.
    pub fn chunked() -> Self {
        Self::ChunkSize { value: 0, digits: 0, in_extension: false, seen: 0 }
    }

    /// Takes some of `bytes`: how many, and whether they are content (and not framing). Takes
    /// nothing once done, or of nothing.
    ///
    /// # Errors
    /// If they do not follow the framing.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadMessage> {
        let Some(byte) = bytes.first().copied() else { return Ok((0, false)) };
        match *self {
            Self::Length(left) => {
                let used = take(left, bytes);
                *self = Self::length(left - used as u64);
                Ok((used, true))
            }
            Self::UntilClose => Ok((bytes.len(), true)),
            Self::ChunkData(left) => {
                let used = take(left, bytes);
                let left = left - used as u64;
                *self = if left == 0 { Self::ChunkEnd { seen: 0 } } else { Self::ChunkData(left) };
                Ok((used, true))
            }
            Self::ChunkSize { value, digits, in_extension, seen } => {
                *self = next_in_chunk_size(byte, value, digits, in_extension, seen)?;
                Ok((1, false))
            }
            Self::ChunkEnd { seen } => {
                *self = match (byte, seen) {
                    (b'\r', 0) => Self::ChunkEnd { seen: 1 },
                    (b'\n', _) => Self::chunked(),
                    _ => return Err(BadMessage::Framing),
                };
                Ok((1, false))
            }
            Self::Trailer { line, seen } => {
                *self = match byte {
                    b'\n' if line == 0 => Self::Done,
                    b'\n' => Self::Trailer { line: 0, seen: seen + 1 },
                    b'\r' => Self::Trailer { line, seen: seen + 1 },
                    _ => Self::Trailer { line: line + 1, seen: seen + 1 },
                };
                let is_too_long = seen > HEAD_BYTES_MAX as u32;
                if is_too_long { Err(BadMessage::HeadTooLarge) } else { Ok((1, false)) }
            }
            Self::Done => Ok((0, false)),
        }
    }
}

fn take(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

fn next_in_chunk_size(
    byte: u8,
    value: u64,
    digits: u32,
    in_extension: bool,
    seen: u32,
) -> Result<Framing, BadMessage> {
    if seen > CHUNK_LINE_MAX {
        return Err(BadMessage::Framing);
    }
    let seen = seen + 1;
    if byte == b'\n' {
        return match (digits, value) {
            (0, _) => Err(BadMessage::Framing),
            (_, 0) => Ok(Framing::Trailer { line: 0, seen: 0 }),
            _ => Ok(Framing::ChunkData(value)),
        };
    }
    if in_extension || matches!(byte, b';' | b' ' | b'\t' | b'\r') {
        return Ok(Framing::ChunkSize { value, digits, in_extension: true, seen });
    }
    let digit = char::from(byte).to_digit(16).ok_or(BadMessage::Framing)?;
    if value >> 60 != 0 {
        return Err(BadMessage::Framing);
    }
    let value = value << 4 | u64::from(digit);
    Ok(Framing::ChunkSize { value, digits: digits + 1, in_extension, seen })
}
