//! The body of a request on its way to the pod.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::{
    downstream::Downstream,
    witness::{Upload, Witness},
};

/// The body of a request on its way to the pod, observed.
pub(super) struct UploadBody {
    pub(super) incoming: Incoming,
    pub(super) witness: Rc<Witness>,
    pub(super) downstream: Rc<Downstream>,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.witness.upload(match &polled {
            Poll::Pending => Upload::Waiting,
            Poll::Ready(Some(Err(_))) => Upload::Failed,
            Poll::Ready(_) => Upload::Moving,
        });
        if self.incoming.is_end_stream() || matches!(polled, Poll::Ready(None)) {
            self.downstream.upload_was_read();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
