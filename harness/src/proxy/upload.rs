//! The body of a request on its way to the pod, kept as far as it may have to be sent again.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::{
    downstream::Downstream,
    witness::{Moved, Witness},
};

/// The longest body that is kept so that it can be sent again. nginx keeps all of it, in a file past
/// 16 KiB; 1 MiB is the longest that ingress-nginx takes at all (`proxy-body-size`).
pub(super) const KEPT_BYTES_MAX: usize = 1 << 20;

/// The body of one request.
pub(super) struct Upload {
    incoming: RefCell<Incoming>,
    /// What was read so far, if that is all of it.
    kept: RefCell<Kept>,
    /// Which attempt may read on: the last one that began.
    turn: Cell<u32>,
}

#[derive(Default)]
struct Kept {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// Something was read and is not kept.
    is_broken: bool,
}

impl Kept {
    fn take(&mut self, piece: &Bytes) {
        self.bytes += piece.len();
        if self.bytes > KEPT_BYTES_MAX {
            self.give_up();
        }
        if !self.is_broken {
            self.pieces.push(piece.clone());
        }
    }

    fn give_up(&mut self) {
        self.is_broken = true;
        self.pieces.clear();
    }
}

impl Upload {
    /// A body of which nothing has been read. It is kept only if `may_repeat`.
    pub(super) fn new(incoming: Incoming, may_repeat: bool) -> Rc<Self> {
        let kept = Kept { is_broken: !may_repeat, ..Kept::default() };
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            kept: RefCell::new(kept),
            turn: Cell::new(0),
        })
    }

    /// Whether it can be sent once more from its beginning.
    pub(super) fn can_repeat(&self) -> bool {
        !self.kept.borrow().is_broken
    }
}

/// Why a body cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The client's side.
    #[error(transparent)]
    Client(hyper::Error),
    /// Another attempt reads it.
    #[error("the request is being sent elsewhere")]
    Superseded,
}

/// The body of a request on its way to the pod in one attempt, observed.
pub(super) struct UploadBody {
    upload: Rc<Upload>,
    turn: u32,
    /// How many of the kept pieces were sent.
    sent: usize,
    witness: Rc<Witness>,
    downstream: Rc<Downstream>,
}

impl UploadBody {
    /// Begins anew with a body; attempts before this one cannot read on.
    pub(super) fn new(
        upload: &Rc<Upload>,
        witness: Rc<Witness>,
        downstream: Rc<Downstream>,
    ) -> Self {
        let turn = upload.turn.get() + 1;
        upload.turn.set(turn);
        Self { upload: Rc::clone(upload), turn, sent: 0, witness, downstream }
    }

    /// The next kept piece that was not sent.
    fn kept(&mut self) -> Option<Bytes> {
        let piece = self.upload.kept.borrow().pieces.get(self.sent).cloned()?;
        self.sent += 1;
        Some(piece)
    }

    /// Notes what came of the client.
    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, hyper::Error>>>) {
        self.witness.upload(match polled {
            Poll::Pending => Moved::Waiting,
            Poll::Ready(Some(Err(_))) => Moved::Failed,
            Poll::Ready(_) => Moved::On,
        });
        if let Poll::Ready(Some(Ok(frame))) = polled {
            let mut kept = self.upload.kept.borrow_mut();
            match frame.data_ref() {
                Some(piece) => kept.take(piece),
                // Trailers: rare enough that nobody misses a second try.
                None => kept.give_up(),
            }
            self.sent = kept.pieces.len();
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if self.turn != self.upload.turn.get() {
            return Poll::Ready(Some(Err(UploadError::Superseded)));
        }
        if let Some(piece) = self.kept() {
            self.witness.upload(Moved::On);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let polled = Pin::new(&mut *self.upload.incoming.borrow_mut()).poll_frame(cx);
        self.note(&polled);
        let is_end = self.upload.incoming.borrow().is_end_stream();
        if is_end || matches!(polled, Poll::Ready(None)) {
            self.downstream.upload_was_read();
        }
        polled.map_err(UploadError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= self.upload.kept.borrow().pieces.len()
            && self.upload.incoming.borrow().is_end_stream()
    }

    /// Exact where the client said how long it is.
    fn size_hint(&self) -> SizeHint {
        let kept = self.upload.kept.borrow();
        let before: u64 = kept.pieces.iter().skip(self.sent).map(|piece| piece.len() as u64).sum();
        let coming = self.upload.incoming.borrow().size_hint();
        let mut all = SizeHint::new();
        all.set_lower(coming.lower() + before);
        if let Some(upper) = coming.upper() {
            all.set_upper(upper + before);
        }
        all
    }
}
