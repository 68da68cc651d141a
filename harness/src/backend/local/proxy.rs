//! The proxy's process.

use std::{net::SocketAddr, process::Stdio};

use highwater_model::spec::Path;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::message::Message;
use crate::{
    backend::{BackendError, service},
    proxy::protocol::{Control, Report},
};

/// How long the proxy may take to open its port.
const START_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// A running proxy. It ends when this is dropped, since that closes its stdin.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    orders: ChildStdin,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Starts the proxy and waits until it listens. `seed` is the run's.
    pub(super) async fn start(
        path: &Path,
        seed: u64,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, BackendError> {
        let me = std::env::current_exe().map_err(BackendError::system("finding this program"))?;
        let mut command = Command::new(me);
        command
            .arg("proxy")
            .args(["--workers", &path.proxy_workers.to_string()])
            .args(service::proxy_arguments(path, seed))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C in the terminal is for the harness: the proxy must outlive the requests in flight.
        command.process_group(0);
        let mut child = command.spawn().map_err(BackendError::system("starting the proxy"))?;
        let taken = "a pipe that was asked for is there";
        let orders = child.stdin.take().expect(taken);
        let mut lines = BufReader::new(child.stdout.take().expect(taken)).lines();
        let first = tokio::time::timeout(START_TIME, lines.next_line()).await;
        let failed =
            |reason: &str| BackendError::PartEnded { part: "the proxy", reason: reason.into() };
        let line = match first {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(failed("it ended at its start")),
            Ok(Err(error)) => return Err(failed(&error.to_string())),
            Err(_) => return Err(failed("it did not open its port within 30s")),
        };
        let Ok(Report::Started { address, .. }) = serde_json::from_str(&line) else {
            return Err(failed("it did not say where it listens"));
        };
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(report) = serde_json::from_str(&line)
                    && messages.send(Message::Proxy(report)).await.is_err()
                {
                    return;
                }
            }
            // The receiver is gone when the run is over.
            let _ = messages.send(Message::ProxyExited("its output ended".into())).await;
        });
        Ok(Self { child, orders, address })
    }

    /// Gives an order.
    pub(super) async fn order(&mut self, order: &Control) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn stop(mut self) {
        // If it takes no orders any more it is ending already.
        let _ = self.order(&Control::Stop {}).await;
        // It ends when what is in flight has ended; if that takes too long, dropping it kills it.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.child.wait()).await;
    }
}
