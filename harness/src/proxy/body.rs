//! The body of a response on its way to the client.

use std::{
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use highwater_model::outcome::HopError;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::{
    classify::body_error,
    downstream::Downstream,
    header::UpstreamInfo,
    mono_ns,
    upstream::Upstream,
    worker::{InFlight, Worker},
};

/// One request as far as the pod is concerned. Dropped while open, it means that the client went
/// away: hyper drops what it does for a connection that has closed.
pub(super) struct Exchange {
    pub(super) info: UpstreamInfo,
    request_id: Option<u64>,
    worker: Rc<Worker>,
    open: bool,
    /// Attempts before the one that `info` describes: at most as many as the retries.
    hidden: Vec<UpstreamInfo>,
    /// The pod that works for it now.
    in_flight: Option<InFlight>,
}

impl Exchange {
    pub(super) fn new(worker: Rc<Worker>, info: UpstreamInfo, request_id: Option<u64>) -> Self {
        Self { info, request_id, worker, open: true, hidden: Vec::new(), in_flight: None }
    }

    /// Another attempt begins, at a pod. What the last one came to is in its `info`.
    pub(super) fn begin(&mut self, in_flight: InFlight) {
        if self.info.tries > 0 {
            let now = mono_ns();
            let next = UpstreamInfo {
                worker: self.info.worker,
                tries: self.info.tries,
                start: now,
                end: now,
                ..UpstreamInfo::default()
            };
            self.hidden.push(mem::replace(&mut self.info, next));
        }
        self.info.tries += 1;
        self.info.pod = Some(in_flight.0.at.pod.clone());
        self.in_flight = Some(in_flight);
    }

    /// Tells of the attempts that the client does not see. `rescued`: a pod answered at last.
    pub(super) fn tell_hidden(&mut self, rescued: bool) {
        for info in self.hidden.drain(..) {
            self.worker.shared.reporter.retried(self.request_id, rescued, info);
        }
    }

    /// The response was passed on whole, or there was none to pass on.
    pub(super) fn complete(&mut self) {
        self.open = false;
    }

    /// It came to `error`, which the client is about to see.
    pub(super) fn failed(&mut self, error: HopError) {
        if error == HopError::ClientGone {
            self.report_client_gone();
        } else if mem::take(&mut self.open) {
            self.worker.shared.reporter.count_error(error);
        }
    }

    /// What an answer of our own tells of its request, if that has a number and something was met.
    /// That a client went away is told already.
    pub(super) fn own_answer(&self) -> Option<(u64, UpstreamInfo)> {
        let is_news = self.info.error.is_some_and(|error| error != HopError::ClientGone);
        is_news.then_some((self.request_id?, self.info.clone()))
    }

    fn report_client_gone(&mut self) {
        if mem::take(&mut self.open) {
            let reporter = &self.worker.shared.reporter;
            reporter.client_gone(self.request_id, self.info.clone());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.tell_hidden(false);
        self.report_client_gone();
    }
}

/// What hyper is told so that it breaks the response off: the client must not see a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("passing a response on broke off: {}", .0.name())]
pub(super) struct BrokenOff(HopError);

/// The body of a response, from a pod or of our own.
pub(super) struct ProxyBody {
    source: Source,
    downstream: Rc<Downstream>,
}

enum Source {
    /// A text of our own; `None` once it is passed on.
    Text(Option<Bytes>),
    Pod {
        incoming: Incoming,
        exchange: Exchange,
        upstream: Rc<Upstream>,
        /// Set when the pod's side broke off, until the client has what came before.
        broken: Option<BrokenOff>,
    },
}

impl ProxyBody {
    pub(super) fn text(downstream: Rc<Downstream>, text: Bytes) -> Self {
        Self { source: Source::Text(Some(text)), downstream }
    }

    pub(super) fn pod(
        downstream: Rc<Downstream>,
        incoming: Incoming,
        exchange: Exchange,
        upstream: Rc<Upstream>,
    ) -> Self {
        Self { source: Source::Pod { incoming, exchange, upstream, broken: None }, downstream }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let (incoming, exchange, upstream, broken) = match &mut this.source {
            Source::Text(text) => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Source::Pod { incoming, exchange, upstream, broken } => {
                (incoming, exchange, upstream, broken)
            }
        };
        if let Some(error) = *broken {
            if this.downstream.is_blocked() {
                // The socket wakes hyper when it takes more, and hyper then asks here again; a
                // client that takes nothing is cut off by its own time-out.
                return Poll::Pending;
            }
            this.downstream.break_off();
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Err(_))) => {
                let error = body_error(&upstream.witness);
                exchange.failed(error);
                *broken = Some(BrokenOff(error));
                // hyper drops what it has not flushed as soon as it is given an error, and that
                // may be all of the head. It flushes when there is nothing more to come yet.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                exchange.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Pod { incoming, broken, .. } => broken.is_none() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Source::Pod { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        if let Source::Pod { incoming, exchange, .. } = &mut self.source
            && incoming.is_end_stream()
        {
            // hyper need not ask for the end of a body whose length it knows.
            exchange.complete();
        }
        self.downstream.finish();
    }
}
