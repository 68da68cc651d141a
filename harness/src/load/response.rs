//! An incremental HTTP/1.1 response parser: bytes in, progress out, no I/O, bounded memory.

/// The largest head (status line and headers) that is read.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers that are read.
pub const HEADERS_MAX: usize = 128;
/// The most interim (1xx) answers that are skipped.
const INTERIM_MAX: u32 = 8;
/// The longest line of a chunked body's framing.
const CHUNK_LINE_MAX: u32 = 4096;

/// The answer's header that tells what a proxy did towards the pod.
pub const UPSTREAM_HEADER: &str = "x-highwater-upstream";

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Not HTTP.
    #[error("not an HTTP/1 response")]
    Malformed,
    /// Beyond [`HEAD_BYTES_MAX`] or [`HEADERS_MAX`].
    #[error("a response head beyond the bounds")]
    HeadTooLarge,
    /// `Content-Length` and `Transfer-Encoding` that cannot be followed.
    #[error("a body whose length cannot be told")]
    Framing,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The answer is whole; that many of the bytes belong to it.
    Done(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize { value: u64, digits: u32, in_extension: bool, seen: u32 },
    ChunkData(u64),
    ChunkEnd { seen: u32 },
    Trailer { line: u32, seen: u32 },
    UntilClose,
    Done,
}

/// One answer as it comes in. Reused for the next one by [`Parser::reset`].
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// The head so far, only if it came in pieces.
    pending: Vec<u8>,
    interim: u32,
    is_head: bool,
    /// The status; 0 before the head is whole.
    pub status: u16,
    /// Whether the server keeps the connection.
    pub keeps_alive: bool,
    /// The value of [`UPSTREAM_HEADER`]; empty if there is none.
    pub upstream: Vec<u8>,
    /// Bytes of the body so far.
    pub body_bytes: u64,
    body_differs: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            state: State::Head,
            pending: Vec::new(),
            interim: 0,
            is_head: false,
            status: 0,
            keeps_alive: false,
            upstream: Vec::new(),
            body_bytes: 0,
            body_differs: false,
        }
    }
}

impl Parser {
    /// Makes ready for the next answer; `is_head` if it answers a HEAD.
    pub fn reset(&mut self, is_head: bool) {
        self.state = State::Head;
        self.pending.clear();
        self.interim = 0;
        self.is_head = is_head;
        self.status = 0;
        self.keeps_alive = false;
        self.upstream.clear();
        self.body_bytes = 0;
        self.body_differs = false;
    }

    /// Whether the whole head has come.
    pub fn has_head(&self) -> bool {
        self.state != State::Head
    }

    /// Whether the end of the stream is the end of the answer.
    pub fn ends_at_eof(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether the body (so far) is the expected one's beginning.
    pub fn body_is(&self, expected: &[u8], is_whole: bool) -> bool {
        !self.body_differs && (!is_whole || self.body_bytes == expected.len() as u64)
    }

    /// Takes the next bytes. `expected` is the body to compare with, if there is one.
    ///
    /// # Errors
    /// If they are no answer; the connection is then of no more use.
    pub fn feed(&mut self, bytes: &[u8], expected: Option<&[u8]>) -> Result<Progress, BadResponse> {
        let mut at = 0;
        while self.state == State::Head {
            match self.head(&bytes[at..])? {
                Some(used) => at += used,
                None => return Ok(Progress::Partial),
            }
        }
        loop {
            if self.state == State::Done {
                return Ok(Progress::Done(at));
            }
            if at == bytes.len() {
                return Ok(Progress::Partial);
            }
            at += self.body(&bytes[at..], expected)?;
        }
    }

    /// Reads a head; the bytes of `bytes` that belong to it, or `None` if it is not whole.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadResponse> {
        if self.pending.is_empty() {
            let used = self.parse_head(bytes)?;
            if used.is_none() {
                self.keep(bytes)?;
            }
            return Ok(used);
        }
        let before = self.pending.len();
        self.keep(bytes)?;
        let pending = std::mem::take(&mut self.pending);
        let used = self.parse_head(&pending);
        self.pending = pending;
        let used = used?;
        if used.is_some() {
            self.pending.clear();
        }
        Ok(used.map(|used| used - before))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), BadResponse> {
        if self.pending.len() + bytes.len() > HEAD_BYTES_MAX {
            return Err(BadResponse::HeadTooLarge);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadResponse> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let used = match response.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(BadResponse::HeadTooLarge),
            Err(_) => return Err(BadResponse::Malformed),
        };
        let status = response.code.ok_or(BadResponse::Malformed)?;
        if (100..200).contains(&status) {
            self.interim += 1;
            let is_switch = status == 101;
            return if is_switch || self.interim > INTERIM_MAX {
                Err(BadResponse::Framing)
            } else {
                Ok(Some(used))
            };
        }
        self.status = status;
        self.keeps_alive = response.version == Some(1);
        self.frame(status, response.headers)?;
        Ok(Some(used))
    }

    /// Tells the body's framing from the headers (RFC 9112 section 6.3).
    fn frame(&mut self, status: u16, headers: &[httparse::Header<'_>]) -> Result<(), BadResponse> {
        let (mut length, mut chunked, mut coded) = (None, false, false);
        for header in headers {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let text =
                    std::str::from_utf8(header.value).map_err(|_| BadResponse::Framing)?.trim();
                if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BadResponse::Framing);
                }
                let value: u64 = text.parse().map_err(|_| BadResponse::Framing)?;
                if length.is_some_and(|other| other != value) {
                    return Err(BadResponse::Framing);
                }
                length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                coded = true;
                chunked = tokens(header.value)
                    .last()
                    .is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
            } else if name.eq_ignore_ascii_case("connection") {
                for token in tokens(header.value) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keeps_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        self.keeps_alive = true;
                    }
                }
            } else if name.eq_ignore_ascii_case(UPSTREAM_HEADER) && header.value.len() <= 1024 {
                self.upstream.clear();
                self.upstream.extend_from_slice(header.value);
            }
        }
        self.state = if self.is_head || status == 204 || status == 304 {
            State::Done
        } else if chunked {
            chunk_size()
        } else if coded {
            State::UntilClose
        } else {
            match length {
                Some(0) => State::Done,
                Some(length) => State::Length(length),
                None => State::UntilClose,
            }
        };
        if self.state == State::UntilClose {
            self.keeps_alive = false;
        }
        Ok(())
    }

    /// Takes some bytes of the body (at least one); how many.
    fn body(&mut self, bytes: &[u8], expected: Option<&[u8]>) -> Result<usize, BadResponse> {
        let byte = bytes[0];
        match self.state {
            State::Length(left) => {
                let used = take(left, bytes);
                self.compare(&bytes[..used], expected);
                let left = left - used as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok(used)
            }
            State::UntilClose => {
                self.compare(bytes, expected);
                Ok(bytes.len())
            }
            State::ChunkData(left) => {
                let used = take(left, bytes);
                self.compare(&bytes[..used], expected);
                let left = left - used as u64;
                self.state =
                    if left == 0 { State::ChunkEnd { seen: 0 } } else { State::ChunkData(left) };
                Ok(used)
            }
            State::ChunkSize { value, digits, in_extension, seen } => {
                self.state = next_in_chunk_size(byte, value, digits, in_extension, seen)?;
                Ok(1)
            }
            State::ChunkEnd { seen } => {
                self.state = match (byte, seen) {
                    (b'\r', 0) => State::ChunkEnd { seen: 1 },
                    (b'\n', _) => chunk_size(),
                    _ => return Err(BadResponse::Framing),
                };
                Ok(1)
            }
            State::Trailer { line, seen } => {
                self.state = match byte {
                    b'\n' if line == 0 => State::Done,
                    b'\n' => State::Trailer { line: 0, seen: seen + 1 },
                    b'\r' => State::Trailer { line, seen: seen + 1 },
                    _ => State::Trailer { line: line + 1, seen: seen + 1 },
                };
                if seen > HEAD_BYTES_MAX as u32 { Err(BadResponse::HeadTooLarge) } else { Ok(1) }
            }
            State::Head | State::Done => Ok(0),
        }
    }

    fn compare(&mut self, bytes: &[u8], expected: Option<&[u8]>) {
        if let Some(expected) = expected {
            let from = usize::try_from(self.body_bytes).unwrap_or(usize::MAX).min(expected.len());
            self.body_differs |= !expected[from..].starts_with(bytes);
        }
        self.body_bytes += bytes.len() as u64;
    }
}

fn chunk_size() -> State {
    State::ChunkSize { value: 0, digits: 0, in_extension: false, seen: 0 }
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
) -> Result<State, BadResponse> {
    if seen > CHUNK_LINE_MAX {
        return Err(BadResponse::Framing);
    }
    let seen = seen + 1;
    if byte == b'\n' {
        return match (digits, value) {
            (0, _) => Err(BadResponse::Framing),
            (_, 0) => Ok(State::Trailer { line: 0, seen: 0 }),
            _ => Ok(State::ChunkData(value)),
        };
    }
    if in_extension || matches!(byte, b';' | b' ' | b'\t' | b'\r') {
        return Ok(State::ChunkSize { value, digits, in_extension: true, seen });
    }
    let digit = char::from(byte).to_digit(16).ok_or(BadResponse::Framing)?;
    if value >> 60 != 0 {
        return Err(BadResponse::Framing);
    }
    Ok(State::ChunkSize {
        value: value << 4 | u64::from(digit),
        digits: digits + 1,
        in_extension,
        seen,
    })
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces of `step`; how the answer ended and what was left over.
    fn read(
        bytes: &[u8],
        step: usize,
        is_head: bool,
    ) -> (Result<Option<usize>, BadResponse>, Parser) {
        let mut parser = Parser::default();
        parser.reset(is_head);
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + step).min(bytes.len());
            match parser.feed(&bytes[at..end], None) {
                Ok(Progress::Partial) => at = end,
                Ok(Progress::Done(used)) => return (Ok(Some(at + used)), parser),
                Err(error) => return (Err(error), parser),
            }
        }
        (Ok(None), parser)
    }

    #[test]
    fn whole_answers_end_where_their_framing_says() {
        let rows: [(&str, bool, u16, u64, bool); 9] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200, 5, true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\na: b\r\n\r\n",
                false,
                200,
                5,
                true,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, 204, 0, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, 0, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, 200, 0, true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                false,
                200,
                0,
                true,
            ),
            (
                "HTTP/1.1 503 X\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n",
                false,
                503,
                0,
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 200, 1, false),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
                false,
                200,
                1,
                true,
            ),
        ];
        for (text, is_head, status, body, keeps) in rows {
            for step in [1, 3, 7, 1000] {
                let (end, parser) = read(text.as_bytes(), step, is_head);
                assert_eq!(end, Ok(Some(text.len())), "{text} by {step}");
                assert_eq!(
                    (parser.status, parser.body_bytes, parser.keeps_alive),
                    (status, body, keeps),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_is_not_whole() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            assert_eq!(read(text.as_bytes(), 4, false).0, Ok(None), "{text}");
        }
        let (end, parser) = read(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 4, false);
        assert_eq!(end, Ok(None));
        assert!(parser.ends_at_eof() && !parser.keeps_alive);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        let huge = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(HEAD_BYTES_MAX));
        let rows: [(&str, BadResponse); 9] = [
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", BadResponse::Malformed),
            (&many, BadResponse::HeadTooLarge),
            (&huge, BadResponse::HeadTooLarge),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                BadResponse::Framing,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", BadResponse::Framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadResponse::Framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", BadResponse::Framing),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                BadResponse::Framing,
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", BadResponse::Framing),
        ];
        for (text, error) in rows {
            assert_eq!(
                read(text.as_bytes(), 1000, false).0,
                Err(error),
                "{}",
                &text[..text.len().min(80)]
            );
        }
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
        assert_eq!(read(endless.as_bytes(), 50, false).0, Err(BadResponse::Framing));
    }

    #[test]
    fn bodies_are_compared_as_they_come() {
        for (body, expected, same) in [
            ("hello", "hello", true),
            ("hellx", "hello", false),
            ("hell", "hello", false),
            ("hello!", "hello", false),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            for step in [1, 2, 100] {
                let mut parser = Parser::default();
                for piece in text.as_bytes().chunks(step) {
                    parser.feed(piece, Some(expected.as_bytes())).expect("an answer");
                }
                assert_eq!(parser.body_is(expected.as_bytes(), true), same, "{body} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic_and_end_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            step in 1usize..50,
        ) {
            let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for candidate in [bytes.clone(), { text.extend(&bytes); text }] {
                let (by_step, _) = read(&candidate, step, false);
                let (at_once, _) = read(&candidate, candidate.len().max(1), false);
                prop_assert_eq!(by_step, at_once);
            }
        }
    }
}
