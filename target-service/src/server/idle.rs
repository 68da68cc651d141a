//! `short-idle-timeout`: gives a connection up that has been idle for a while, although its client
//! would use it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use super::{Closing, until};
use crate::{
    lifecycle::mono_ns,
    routes::{self, App},
    wrong::CLOSE_TRAVELS,
};

/// A request is under way.
const BUSY: u64 = 0;
/// No request has come yet.
const SILENT: u64 = u64::MAX;

/// Serves a connection until it has been idle for `idle`. Then it is given up: what the client
/// sends from now on is not read, and the socket is closed when a packet would have told it.
pub(super) async fn connection(
    app: Arc<App>,
    stream: TcpStream,
    idle: Duration,
    mut closing: watch::Receiver<Closing>,
) {
    let since = Arc::new(AtomicU64::new(SILENT));
    let mark = since.clone();
    let service = service_fn(move |request| {
        mark.store(BUSY, Ordering::Relaxed);
        let (app, mark) = (app.clone(), mark.clone());
        async move {
            let answer = routes::serve(app, request, false).await;
            mark.store(mono_ns(), Ordering::Relaxed);
            answer
        }
    });
    let mut serving =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let mut is_closing = false;
    loop {
        let from = since.load(Ordering::Relaxed);
        // While a request is under way, or none has come, it is looked at again later.
        let from = if matches!(from, BUSY | SILENT) { mono_ns() } else { from };
        let end = from + idle.as_nanos() as u64;
        tokio::select! {
            biased;
            // How a connection ends is the client's concern.
            _ = serving.as_mut() => return,
            _ = closing.wait_for(|now| *now > Closing::No), if !is_closing => {
                is_closing = true;
                if since.load(Ordering::Relaxed) == SILENT {
                    // It may still bring its first request.
                    continue;
                }
                serving.as_mut().graceful_shutdown();
            }
            () = until(Some(end)) => {
                let from = since.load(Ordering::Relaxed);
                let is_idle = !matches!(from, BUSY | SILENT) && from + idle.as_nanos() as u64 <= mono_ns();
                if is_idle || (is_closing && from == SILENT) {
                    break;
                }
            }
        }
    }
    tokio::time::sleep(CLOSE_TRAVELS).await;
    // Dropped with whatever came meanwhile unread: the kernel answers that with a reset.
}
