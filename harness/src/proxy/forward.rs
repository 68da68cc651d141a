//! One client connection, request by request: one try towards a pod each, and an answer that says
//! what became of it.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use highwater_model::outcome::HopError;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Shared,
    header::{self, UpstreamConnection, UpstreamInfo},
    worker::Pooled,
};
use crate::{
    clock::mono_ns,
    http1::{BadMessage, Facts, Framing, HEAD_BYTES_MAX, HEADERS_MAX},
};

/// How long a client may take for a request's head, idle time included (nginx: 60 s and 75 s).
const CLIENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// A request as read from the client.
struct Request {
    /// What goes to the pod.
    head: Vec<u8>,
    framing: Framing,
    is_head: bool,
    keeps_alive: bool,
    expects_continue: bool,
    id: Option<u64>,
}

/// How a request ended for the client's connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

/// Serves one client connection to its end.
pub(crate) async fn connection(
    shared: Rc<Shared>,
    worker: usize,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Latency matters more than segments; where it is refused the answers still go out.
    let _ = stream.set_nodelay(true);
    let mut client = Client { shared, worker, stream, peer, buffer: Vec::new(), filled: 0 };
    // An error here is the client's end of the connection, which the client sees itself.
    while matches!(client.serve_one().await, Ok(Next::Request)) {}
}

struct Client {
    shared: Rc<Shared>,
    worker: usize,
    stream: TcpStream,
    peer: SocketAddr,
    /// Bytes from the client that are not used yet: `buffer[..filled]`.
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    async fn serve_one(&mut self) -> io::Result<Next> {
        let request = match self.read_request().await? {
            Ok(request) => request,
            Err(None) => return Ok(Next::Close),
            Err(Some((status, reason))) => {
                let text = format!("{reason}\n");
                let answer = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                    text.len()
                );
                self.stream.write_all(answer.as_bytes()).await?;
                return Ok(Next::Close);
            }
        };
        if request.expects_continue {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut info = UpstreamInfo {
            worker: self.worker as u32,
            tries: 1,
            start_mono_ns: mono_ns(),
            ..UpstreamInfo::default()
        };
        let chosen = self.shared.workers[self.worker].borrow_mut().choose();
        let Some((pod, address)) = chosen else {
            info.tries = 0;
            return self.answer_error(&request, info, HopError::NoEndpoint).await;
        };
        info.pod = Some(pod.to_string());
        let mut upstream = match self.upstream(&pod, address, &mut info).await {
            Ok(upstream) => upstream,
            Err(error) => return self.answer_error(&request, info, error).await,
        };
        let sent = self.send_request(&request, &mut upstream.stream).await?;
        let head = match self.read_answer(&request, &mut upstream.stream, sent).await {
            Ok(head) => head,
            Err(HopError::ClientGone) => {
                info.end_mono_ns = mono_ns();
                info.error = Some(HopError::ClientGone);
                self.shared.client_gone(request.id, info);
                return Ok(Next::Close);
            }
            Err(error) => return self.answer_error(&request, info, error).await,
        };
        info.end_mono_ns = mono_ns();
        self.pass_on(&request, head, upstream, &pod, info).await
    }

    // The client's side.

    /// Reads a request's head. Inner error: what to answer, or nothing at the connection's end.
    async fn read_request(
        &mut self,
    ) -> io::Result<Result<Request, Option<(&'static str, &'static str)>>> {
        loop {
            if self.filled > 0 {
                match parse_request(&self.buffer[..self.filled], &self.shared, self.peer) {
                    Ok(Some((request, used))) => {
                        self.consume(used);
                        return Ok(Ok(request));
                    }
                    Ok(None) if self.filled >= HEAD_BYTES_MAX => {
                        return Ok(Err(Some((
                            "431 Request Header Fields Too Large",
                            "head too large",
                        ))));
                    }
                    Ok(None) => {}
                    Err(Refusal::Upgrade) => {
                        return Ok(Err(Some(("501 Not Implemented", "no upgrades here"))));
                    }
                    Err(Refusal::Bad) => return Ok(Err(Some(("400 Bad Request", "bad request")))),
                }
            }
            let is_idle = self.filled == 0;
            let mut stopping = self.shared.stopping.clone();
            let read = tokio::select! {
                read = timeout(CLIENT_TIMEOUT, read_more(&mut self.stream, &mut self.buffer, &mut self.filled)) => read,
                _ = stopping.wait_for(|stop| *stop), if is_idle => return Ok(Err(None)),
            };
            match read {
                Ok(Ok(0)) | Err(_) => return Ok(Err(None)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    fn consume(&mut self, used: usize) {
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
    }

    /// The proxy's own answer.
    async fn answer_error(
        &mut self,
        request: &Request,
        mut info: UpstreamInfo,
        error: HopError,
    ) -> io::Result<Next> {
        info.end_mono_ns = mono_ns();
        info.error = Some(error);
        let status = match error {
            HopError::NoEndpoint => "503 Service Unavailable",
            HopError::ConnectTimeout | HopError::Timeout => "504 Gateway Timeout",
            _ => "502 Bad Gateway",
        };
        // What is left of the request's body stands between this answer and the next request.
        let next = if request.keeps_alive && request.framing == Framing::Done && !self.is_stopping()
        {
            Next::Request
        } else {
            Next::Close
        };
        let text = format!("{status}: {}\n", error.name());
        let mut answer = format!(
            "HTTP/1.1 {status}\r\n{}: {info}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n",
            header::NAME,
            text.len()
        );
        if next == Next::Close {
            answer.push_str("connection: close\r\n");
        }
        answer.push_str("\r\n");
        if !request.is_head {
            answer.push_str(&text);
        }
        self.stream.write_all(answer.as_bytes()).await?;
        Ok(next)
    }

    fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow()
    }

    // The pod's side.

    /// A connection to the pod: a pooled one, or a new one.
    async fn upstream(
        &mut self,
        pod: &Rc<str>,
        address: SocketAddr,
        info: &mut UpstreamInfo,
    ) -> Result<Pooled, HopError> {
        let pooled = self.shared.workers[self.worker].borrow_mut().take(pod);
        if let Some(pooled) = pooled {
            info.connection = Some(UpstreamConnection {
                id: pooled.id,
                opened_mono_ns: pooled.opened_mono_ns,
                served: pooled.served,
                idle_ns: mono_ns().saturating_sub(pooled.idle_since_mono_ns),
            });
            return Ok(pooled);
        }
        let id = self.shared.next_connection.get();
        self.shared.next_connection.set(id + 1);
        let opened_mono_ns = mono_ns();
        info.connection = Some(UpstreamConnection { id, opened_mono_ns, served: 0, idle_ns: 0 });
        let connecting = TcpStream::connect(address);
        let stream = match timeout(self.shared.args.connect_timeout.to_std(), connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(connect_error(&error)),
            Err(_) => return Err(HopError::ConnectTimeout),
        };
        // As above.
        let _ = stream.set_nodelay(true);
        Ok(Pooled { stream, id, opened_mono_ns, served: 0, idle_since_mono_ns: opened_mono_ns })
    }

    /// Sends head and body. Inner error: the pod broke the connection meanwhile; what it said
    /// before that is still to be read.
    async fn send_request(
        &mut self,
        request: &Request,
        pod: &mut TcpStream,
    ) -> io::Result<Result<(), HopError>> {
        if let Err(error) = pod.write_all(&request.head).await {
            return Ok(Err(broken(&error)));
        }
        let mut framing = request.framing;
        while framing != Framing::Done {
            if self.filled == 0 {
                let more = read_more(&mut self.stream, &mut self.buffer, &mut self.filled);
                match timeout(CLIENT_TIMEOUT, more).await {
                    Ok(Ok(0)) | Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => read?,
                };
            }
            let mut used = 0;
            while framing != Framing::Done && used < self.filled {
                let (n, _) = framing
                    .advance(&self.buffer[used..self.filled])
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                used += n;
            }
            let written = pod.write_all(&self.buffer[..used]).await;
            self.consume(used);
            if let Err(error) = written {
                return Ok(Err(broken(&error)));
            }
        }
        Ok(Ok(()))
    }

    /// Reads the head of the pod's answer, and watches whether the client is still there.
    async fn read_answer(
        &mut self,
        request: &Request,
        pod: &mut TcpStream,
        sent: Result<(), HopError>,
    ) -> Result<Answer, HopError> {
        let (mut buffer, mut filled) = (Vec::new(), 0);
        let limit = self.shared.args.response_timeout.to_std();
        let mut watches_client = self.filled == 0;
        loop {
            let read = tokio::select! {
                biased;
                read = timeout(limit, read_more(pod, &mut buffer, &mut filled)) => read,
                gone = is_gone(&self.stream), if watches_client => {
                    if gone {
                        return Err(HopError::ClientGone);
                    }
                    watches_client = false;
                    continue;
                }
            };
            match read {
                Err(_) => return Err(HopError::Timeout),
                Ok(Ok(0)) if filled > 0 => return Err(HopError::Truncated),
                Ok(Ok(0)) => return Err(sent.err().unwrap_or(HopError::Eof)),
                Ok(Err(_)) if filled > 0 => return Err(HopError::Truncated),
                Ok(Err(error)) => return Err(broken(&error)),
                Ok(Ok(_)) => {}
            }
            loop {
                match parse_answer(&buffer[..filled], request.is_head) {
                    Ok(Some(Head::Interim(used))) => {
                        buffer.copy_within(used..filled, 0);
                        filled -= used;
                    }
                    Ok(Some(Head::Final(mut answer, used))) => {
                        answer.rest = buffer[used..filled].to_vec();
                        return Ok(answer);
                    }
                    Ok(None) if filled < HEAD_BYTES_MAX => break,
                    Ok(None) | Err(_) => return Err(HopError::BadResponse),
                }
            }
        }
    }

    /// Passes the answer on. Whatever breaks on the pod's side from here on can only be shown to
    /// the client by breaking its connection, too.
    async fn pass_on(
        &mut self,
        request: &Request,
        answer: Answer,
        mut upstream: Pooled,
        pod: &Rc<str>,
        info: UpstreamInfo,
    ) -> io::Result<Next> {
        let mut framing = answer.framing;
        let keeps_client =
            request.keeps_alive && framing != Framing::UntilClose && !self.is_stopping();
        let mut head = answer.head;
        head.extend_from_slice(format!("{}: {info}\r\n", header::NAME).as_bytes());
        if !keeps_client {
            head.extend_from_slice(b"connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut chunk = answer.rest;
        let mut is_clean = true;
        loop {
            let mut used = 0;
            while framing != Framing::Done && used < chunk.len() {
                let Ok((n, _)) = framing.advance(&chunk[used..]) else { return Ok(Next::Close) };
                used += n;
            }
            is_clean &= used == chunk.len();
            head.extend_from_slice(&chunk[..used]);
            if let Err(error) = self.stream.write_all(&head).await {
                let error_info = UpstreamInfo { error: Some(HopError::ClientGone), ..info };
                self.shared.client_gone(request.id, error_info);
                return Err(error);
            }
            head.clear();
            if framing == Framing::Done {
                break;
            }
            chunk.resize(READ_BYTES, 0);
            let limit = self.shared.args.response_timeout.to_std();
            match timeout(limit, upstream.stream.read(&mut chunk)).await {
                Ok(Ok(0)) | Ok(Err(_)) | Err(_) => return Ok(Next::Close),
                Ok(Ok(n)) => chunk.truncate(n),
            }
        }
        let keeps_pod = answer.keeps_alive && is_clean && !self.shared.args.no_keep_alive;
        if keeps_pod {
            upstream.served += 1;
            upstream.idle_since_mono_ns = mono_ns();
            self.shared.workers[self.worker].borrow_mut().put(pod, upstream);
        }
        Ok(if keeps_client { Next::Request } else { Next::Close })
    }
}

async fn read_more(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    filled: &mut usize,
) -> io::Result<usize> {
    if buffer.len() < *filled + READ_BYTES {
        buffer.resize(*filled + READ_BYTES, 0);
    }
    let n = stream.read(&mut buffer[*filled..]).await?;
    *filled += n;
    Ok(n)
}

/// Resolves when the client has closed (true) or said more (false).
async fn is_gone(client: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(client.peek(&mut byte).await, Ok(1..))
}

fn connect_error(error: &io::Error) -> HopError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => HopError::ConnectRefused,
        io::ErrorKind::TimedOut => HopError::ConnectTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            HopError::ConnectUnreachable
        }
        // The handshake was done, and the connection reset in the accept queue.
        io::ErrorKind::ConnectionReset => HopError::Reset,
        _ => HopError::ConnectOther,
    }
}

fn broken(error: &io::Error) -> HopError {
    match error.kind() {
        io::ErrorKind::TimedOut => HopError::Timeout,
        _ => HopError::Reset,
    }
}

enum Refusal {
    Bad,
    Upgrade,
}

/// Headers that concern one connection and not the message (RFC 9110 section 7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "expect",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// Reads a request's head and writes the one for the pod.
fn parse_request(
    bytes: &[u8],
    shared: &Shared,
    peer: SocketAddr,
) -> Result<Option<(Request, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let used = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Refusal::Bad),
    };
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else { return Err(Refusal::Bad) };
    let facts = Facts::of(parsed.headers).map_err(|_| Refusal::Bad)?;
    let framing = facts.request_body().map_err(|_| Refusal::Bad)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    let (mut id, mut expects_continue) = (None, false);
    for known in parsed.headers.iter() {
        if known.name.eq_ignore_ascii_case("upgrade") {
            return Err(Refusal::Upgrade);
        }
        expects_continue |= known.name.eq_ignore_ascii_case("expect");
        if known.name.eq_ignore_ascii_case("x-request-id") {
            id = std::str::from_utf8(known.value).ok().and_then(|text| text.parse().ok());
        }
        if !is_hop_by_hop(known.name) && !known.name.eq_ignore_ascii_case("x-forwarded-for") {
            push_header(&mut head, known);
        }
    }
    head.extend_from_slice(format!("x-forwarded-for: {}\r\n", peer.ip()).as_bytes());
    if shared.args.no_keep_alive {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let keeps_alive = facts.keeps_alive(parsed.version.unwrap_or(0));
    let is_head = method == "HEAD";
    Ok(Some((Request { head, framing, is_head, keeps_alive, expects_continue, id }, used)))
}

fn push_header(head: &mut Vec<u8>, header: &httparse::Header<'_>) {
    head.extend_from_slice(header.name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(header.value);
    head.extend_from_slice(b"\r\n");
}

/// A pod's answer.
struct Answer {
    /// What goes to the client, without the empty line.
    head: Vec<u8>,
    framing: Framing,
    keeps_alive: bool,
    /// What came after the head.
    rest: Vec<u8>,
}

enum Head {
    Interim(usize),
    Final(Answer, usize),
}

fn parse_answer(bytes: &[u8], answers_head: bool) -> Result<Option<Head>, BadMessage> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let used = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(BadMessage::Malformed),
    };
    let status = parsed.code.ok_or(BadMessage::Malformed)?;
    if status == 101 {
        return Err(BadMessage::Framing);
    }
    if (100..200).contains(&status) {
        return Ok(Some(Head::Interim(used)));
    }
    let facts = Facts::of(parsed.headers)?;
    let framing = facts.response_body(status, answers_head);
    let mut head =
        format!("HTTP/1.1 {status} {}\r\n", parsed.reason.unwrap_or_default()).into_bytes();
    for known in parsed.headers.iter() {
        if !is_hop_by_hop(known.name) && !known.name.eq_ignore_ascii_case(header::NAME) {
            push_header(&mut head, known);
        }
    }
    let keeps_alive =
        framing != Framing::UntilClose && facts.keeps_alive(parsed.version.unwrap_or(0));
    Ok(Some(Head::Final(Answer { head, framing, keeps_alive, rest: Vec::new() }, used)))
}
