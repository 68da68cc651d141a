//! Who may talk to an agent: first words, checked.

use std::time::Duration;

use serde::Deserialize;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    frame,
    protocol::{FromAgent, Hello, VERSION},
    wire::{self, Input, Output},
};

/// Connections that have not said hello yet.
const CALLERS_MAX: usize = 4;
/// How long a caller may take to say hello, and to take a refusal.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// How long to wait after `accept` failed: no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection whose first words were in order.
pub(super) struct Caller {
    pub(super) hello: Hello,
    pub(super) input: Input,
    pub(super) output: Output,
    /// Where to give the connection back to if it is not wanted, and why.
    pub(super) refusal: oneshot::Sender<(Output, String)>,
}

#[derive(Deserialize)]
struct First {
    hello: Hello,
}

/// Lets callers in one after the other, for as long as somebody receives them. `kind` is whom they
/// must want.
pub(super) async fn keep(listener: TcpListener, kind: &'static str, callers: mpsc::Sender<Caller>) {
    let mut greeting = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if greeting.len() < CALLERS_MAX => match accepted {
                Ok((stream, _)) => {
                    greeting.spawn(greet(stream, kind, callers.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = greeting.join_next() => {}
            () = callers.closed() => return,
        }
    }
}

async fn greet(stream: TcpStream, kind: &'static str, callers: mpsc::Sender<Caller>) {
    // It only makes pongs quicker.
    let _ = stream.set_nodelay(true);
    let (mut input, output) = wire::split(Box::new(stream));
    let mut line = Vec::new();
    let read = match timeout(HELLO_TIME, frame::read_line(&mut input, &mut line)).await {
        Ok(read) => read,
        // Whoever says nothing is told nothing.
        Err(_) => return,
    };
    let first = read.and_then(|()| frame::decode::<First>(&line));
    let checked = first.map_err(|error| error.to_string()).and_then(|first| check(first, kind));
    let refused = match checked {
        Ok(hello) => {
            let (refusal, refused) = oneshot::channel();
            // It fails when nobody lets callers in any more.
            let _ = callers.send(Caller { hello, input, output, refusal }).await;
            refused.await.ok()
        }
        Err(reason) => Some((output, reason)),
    };
    if let Some((output, reason)) = refused {
        // A caller that does not listen is none of ours.
        let _ = timeout(HELLO_TIME, refuse(output, reason)).await;
    }
}

fn check(First { hello }: First, kind: &str) -> Result<Hello, String> {
    if hello.version != VERSION {
        let theirs = hello.version;
        return Err(format!(
            "this agent speaks version {VERSION} of the protocol, the other side {theirs}; \
             the image and the harness must be of the same build"
        ));
    }
    if hello.kind != kind {
        return Err(format!("this agent is a {kind}, and a `{}` was expected", hello.kind));
    }
    Ok(hello)
}

/// Says why the connection ends.
async fn refuse(mut output: Output, reason: String) -> std::io::Result<()> {
    let refused = FromAgent::<()>::Refused { reason };
    let line = frame::encode(&refused).map_err(std::io::Error::other)?;
    output.write_all(&line).await?;
    output.shutdown().await
}
