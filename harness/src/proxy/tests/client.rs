//! A raw client.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::testkit::{find, within};
use crate::proxy::header::{self, UpstreamInfo};

/// A client that sees each byte.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// How the body of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// As its framing says.
    Whole,
    /// By the end of the stream, before that.
    Cut,
    /// By the end of the stream, and the framing says nothing else.
    Close,
    /// By a reset.
    Reset,
}

/// A response as the client saw it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) end: BodyEnd,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn info(&self) -> UpstreamInfo {
        let value = self.header(header::NAME).expect("every response has it");
        header::parse(value).expect("it is well-formed")
    }

    pub(crate) fn pod(&self) -> String {
        self.info().pod.expect("a pod was tried")
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("sends");
    }

    /// Reads more; the end of the stream or a reset as an `Err`.
    async fn more(&mut self) -> Result<(), BodyEnd> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(BodyEnd::Cut),
            Ok(_) => Ok(()),
            Err(_) => Err(BodyEnd::Reset),
        }
    }

    /// The next response, of a request with another method than HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        within(self.try_answer(true)).await.expect("an answer")
    }

    /// The next response; `None` if the connection ended before its head. Without `body`, the
    /// body is left where it is.
    pub(crate) async fn try_answer(&mut self, body: bool) -> Option<Answer> {
        let head_end = loop {
            match find(&self.buffer, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.more().await.ok()?,
            }
        };
        let head: Vec<u8> = self.buffer.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let status = head[9..12].parse().expect("a status");
        let mut answer = Answer { status, head, body: Vec::new(), end: BodyEnd::Whole };
        if body && status >= 200 && status != 204 && status != 304 {
            self.read_body(&mut answer).await;
        }
        Some(answer)
    }

    async fn read_body(&mut self, answer: &mut Answer) {
        let length = answer.header("content-length").map(str::to_owned);
        let ended = if let Some(length) = length {
            self.take(length.parse().expect("a length"), &mut answer.body).await
        } else if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer.body).await
        } else {
            self.take(usize::MAX, &mut answer.body).await
        };
        answer.end = match ended {
            Ok(()) => BodyEnd::Whole,
            Err(BodyEnd::Cut)
                if answer.header("content-length").is_none()
                    && answer.header("transfer-encoding").is_none() =>
            {
                BodyEnd::Close
            }
            Err(end) => end,
        };
    }

    async fn take(&mut self, mut length: usize, body: &mut Vec<u8>) -> Result<(), BodyEnd> {
        loop {
            let part = length.min(self.buffer.len());
            body.extend(self.buffer.drain(..part));
            length -= part;
            if length == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), BodyEnd> {
        loop {
            let line = loop {
                match find(&self.buffer, b"\r\n") {
                    Some(end) => break self.buffer.drain(..end + 2).collect::<Vec<u8>>(),
                    None => self.more().await?,
                }
            };
            let digits = std::str::from_utf8(line.trim_ascii()).expect("a size");
            let size = usize::from_str_radix(digits, 16).expect("a size");
            self.take(size, body).await?;
            self.take(2, &mut Vec::new()).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}
