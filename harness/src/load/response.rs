//! An incremental HTTP/1.1 response parser: bytes in, progress out, no I/O, bounded memory.

use std::mem::MaybeUninit;

use crate::http1::{BadMessage, Facts, Framing, HEAD_BYTES_MAX, HEADERS_MAX};

/// The most interim (1xx) answers that are skipped.
const INTERIM_MAX: u32 = 8;

/// The answer's header that tells what a proxy did towards the pod.
pub const UPSTREAM_HEADER: &str = "x-highwater-upstream";
/// The longest value of [`UPSTREAM_HEADER`]; what is longer is not ours.
const UPSTREAM_BYTES_MAX: usize = 1024;

/// The answer's header that tells which pod gave it.
pub const POD_HEADER: &str = "x-highwater-pod";
/// The longest name of a pod (a DNS subdomain, RFC 1123); what is longer is none.
const POD_BYTES_MAX: usize = 253;

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The answer is whole; that many of the bytes belong to it.
    Done(usize),
}

/// One answer as it comes in. Reused for the next one by [`Parser::reset`].
#[derive(Debug, Default)]
pub struct Parser {
    /// The body; `None` before the head is whole.
    body: Option<Framing>,
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
    /// The value of [`POD_HEADER`]; empty if there is none.
    pub pod: Vec<u8>,
    /// Bytes of the body so far.
    pub body_bytes: u64,
    body_differs: bool,
}

impl Parser {
    /// Makes ready for the next answer; `is_head` if it answers a HEAD.
    pub fn reset(&mut self, is_head: bool) {
        self.body = None;
        self.pending.clear();
        self.interim = 0;
        self.is_head = is_head;
        self.status = 0;
        self.keeps_alive = false;
        self.upstream.clear();
        self.pod.clear();
        self.body_bytes = 0;
        self.body_differs = false;
    }

    /// Whether the whole head has come.
    pub fn has_head(&self) -> bool {
        self.body.is_some()
    }

    /// Whether the end of the stream is the end of the answer.
    pub fn ends_at_eof(&self) -> bool {
        self.body == Some(Framing::UntilClose)
    }

    /// Whether the body (so far) is the expected one's beginning.
    pub fn body_is(&self, expected: &[u8], is_whole: bool) -> bool {
        !self.body_differs && (!is_whole || self.body_bytes == expected.len() as u64)
    }

    /// Takes the next bytes. `expected` is the body to compare with, if there is one.
    ///
    /// # Errors
    /// If they are no answer; the connection is then of no more use.
    pub fn feed(&mut self, bytes: &[u8], expected: Option<&[u8]>) -> Result<Progress, BadMessage> {
        let mut at = 0;
        let mut body = loop {
            match self.body {
                Some(body) => break body,
                None => match self.head(&bytes[at..])? {
                    Some(used) => at += used,
                    None => return Ok(Progress::Partial),
                },
            }
        };
        while body != Framing::Done && at < bytes.len() {
            let (used, is_content) = body.advance(&bytes[at..])?;
            if is_content {
                self.compare(&bytes[at..at + used], expected);
            }
            at += used;
        }
        self.body = Some(body);
        Ok(if body == Framing::Done { Progress::Done(at) } else { Progress::Partial })
    }

    /// Reads a head; the bytes of `bytes` that belong to it, or `None` if it is not whole.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
        if self.pending.is_empty() {
            let used = self.parse_head(bytes)?;
            if used.is_none() {
                self.keep(bytes)?;
            }
            return Ok(used);
        }
        let before = self.pending.len();
        // Of bytes that come together with the rest of the head most may be the body's.
        let fitting = bytes.len().min(HEAD_BYTES_MAX - before);
        self.keep(&bytes[..fitting])?;
        let pending = std::mem::take(&mut self.pending);
        let used = self.parse_head(&pending);
        self.pending = pending;
        match used? {
            Some(used) => {
                self.pending.clear();
                Ok(Some(used - before))
            }
            None if fitting < bytes.len() => Err(BadMessage::HeadTooLarge),
            None => Ok(None),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), BadMessage> {
        if self.pending.len() + bytes.len() > HEAD_BYTES_MAX {
            return Err(BadMessage::HeadTooLarge);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
        // Four kilobytes: to clear them for every answer is more work than to read it.
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
        let used = match parsed {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(BadMessage::HeadTooLarge),
            Err(_) => return Err(BadMessage::Malformed),
        };
        let status = response.code.ok_or(BadMessage::Malformed)?;
        if (100..200).contains(&status) {
            self.interim += 1;
            let is_switch = status == 101;
            return if is_switch || self.interim > INTERIM_MAX {
                Err(BadMessage::Framing)
            } else {
                Ok(Some(used))
            };
        }
        let facts = Facts::of(response.headers)?;
        let body = facts.response_body(status, self.is_head);
        self.status = status;
        self.keeps_alive =
            body != Framing::UntilClose && facts.keeps_alive(response.version.unwrap_or(0));
        for header in response.headers.iter() {
            let (into, bytes_max) = if header.name.eq_ignore_ascii_case(UPSTREAM_HEADER) {
                (&mut self.upstream, UPSTREAM_BYTES_MAX)
            } else if header.name.eq_ignore_ascii_case(POD_HEADER) {
                (&mut self.pod, POD_BYTES_MAX)
            } else {
                continue;
            };
            // Of several the first counts.
            if into.is_empty() && header.value.len() <= bytes_max {
                into.extend_from_slice(header.value);
            }
        }
        self.body = Some(body);
        Ok(Some(used))
    }

    fn compare(&mut self, bytes: &[u8], expected: Option<&[u8]>) {
        if let Some(expected) = expected {
            let from = usize::try_from(self.body_bytes).unwrap_or(usize::MAX).min(expected.len());
            self.body_differs |= !expected[from..].starts_with(bytes);
        }
        self.body_bytes += bytes.len() as u64;
    }
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
    ) -> (Result<Option<usize>, BadMessage>, Parser) {
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
    fn a_head_in_two_pieces_may_be_followed_by_a_large_body() {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {HEAD_BYTES_MAX}\r\n\r\n");
        let text = head.clone() + &"x".repeat(HEAD_BYTES_MAX);
        for cut in [1, head.len() - 1] {
            let mut parser = Parser::default();
            assert_eq!(parser.feed(&text.as_bytes()[..cut], None), Ok(Progress::Partial));
            let rest = parser.feed(&text.as_bytes()[cut..], None);
            assert_eq!(rest, Ok(Progress::Done(text.len() - cut)), "cut at {cut}");
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
        let rows: [(&str, BadMessage); 9] = [
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", BadMessage::Malformed),
            (&many, BadMessage::HeadTooLarge),
            (&huge, BadMessage::HeadTooLarge),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                BadMessage::Framing,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", BadMessage::Framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BadMessage::Framing),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", BadMessage::Framing),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                BadMessage::Framing,
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", BadMessage::Framing),
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
        assert_eq!(read(endless.as_bytes(), 50, false).0, Err(BadMessage::Framing));
    }

    #[test]
    fn the_pod_is_kept_until_the_next_answer_and_no_longer() {
        let long = "p".repeat(POD_BYTES_MAX + 1);
        for (value, kept) in [("web-1", "web-1"), ("", ""), (long.as_str(), "")] {
            let text =
                format!("HTTP/1.1 200 OK\r\nX-Highwater-Pod: {value}\r\nContent-Length: 0\r\n\r\n");
            let (_, mut parser) = read(text.as_bytes(), 9, false);
            assert_eq!(parser.pod, kept.as_bytes());
            parser.reset(false);
            assert!(parser.pod.is_empty());
        }
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
