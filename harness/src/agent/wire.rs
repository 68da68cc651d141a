//! A stream as frames: one task reads, one writes, so that neither waits for the other.

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

use super::frame::{self, FrameError};
use crate::clock::mono_ns;

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any stream.
pub type BoxStream = Box<dyn Stream>;
/// The half that is read.
pub(super) type Input = BufReader<ReadHalf<BoxStream>>;
/// The half that is written.
pub(super) type Output = WriteHalf<BoxStream>;

/// Frames that were read and not taken.
const READ_AHEAD: usize = 4;
/// Short frames that wait to be written.
const SHORT_MAX: usize = 64;
/// How long a frame may wait for the other side to read.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How long the last frames may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Splits a stream.
pub(super) fn split(stream: BoxStream) -> (Input, Output) {
    let (input, output) = tokio::io::split(stream);
    (BufReader::with_capacity(64 << 10, input), output)
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Event<T> {
    /// A frame came, at this reading of the monotonic clock.
    Frame(T, u64),
    /// A long frame is on its way.
    Sent,
}

/// A connection of which frames `T` are read.
#[derive(Debug)]
pub(super) struct Wire<T> {
    frames: mpsc::Receiver<Result<(T, u64), FrameError>>,
    short: mpsc::Sender<Bytes>,
    long: mpsc::Sender<Bytes>,
    // Aborted when this is dropped, and the stream closed with them.
    _reading: JoinSet<()>,
    writing: JoinSet<()>,
}

impl<T: DeserializeOwned + Send + 'static> Wire<T> {
    /// Begins to read and write.
    pub(super) fn new((input, output): (Input, Output)) -> Self {
        let (read, frames) = mpsc::channel(READ_AHEAD);
        let (short, shorts) = mpsc::channel(SHORT_MAX);
        let (long, longs) = mpsc::channel(1);
        let (mut reading, mut writing) = (JoinSet::new(), JoinSet::new());
        reading.spawn(read_all(input, read));
        writing.spawn(write_all(output, shorts, longs));
        Self { frames, short, long, _reading: reading, writing }
    }

    /// Whatever comes first: the next frame, or room for `long`, which is then on its way. Loses
    /// nothing if it is dropped before it is done.
    ///
    /// # Errors
    /// If nothing more can be read, or nothing more written.
    pub(super) async fn exchange(&mut self, long: Option<&Bytes>) -> Result<Event<T>, FrameError> {
        tokio::select! {
            biased;
            frame = self.frames.recv() => {
                let (frame, at) = frame.unwrap_or(Err(FrameError::Ended))?;
                Ok(Event::Frame(frame, at))
            }
            room = self.long.reserve(), if long.is_some() => {
                let room = room.map_err(|_| FrameError::Stuck)?;
                if let Some(long) = long {
                    room.send(long.clone());
                }
                Ok(Event::Sent)
            }
        }
    }

    /// Writes a short frame, ahead of long ones, without waiting.
    ///
    /// # Errors
    /// [`FrameError::Stuck`] if too many wait already.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), FrameError> {
        self.short.try_send(frame).map_err(|_| FrameError::Stuck)
    }

    /// Writes a short frame, and waits for room, [`WRITE_TIME`] at most.
    ///
    /// # Errors
    /// [`FrameError::Stuck`].
    pub(super) async fn write(&self, frame: Bytes) -> Result<(), FrameError> {
        match timeout(WRITE_TIME, self.short.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(FrameError::Stuck),
        }
    }

    /// Closes the connection after what waits was written, within [`LAST_WORDS`].
    pub(super) async fn close(mut self) {
        drop((self.short, self.long));
        // What cannot be written by then stays unwritten.
        let _ = timeout(LAST_WORDS, self.writing.join_next()).await;
    }
}

async fn read_all<T: DeserializeOwned>(
    mut input: Input,
    frames: mpsc::Sender<Result<(T, u64), FrameError>>,
) {
    let mut line = Vec::new();
    loop {
        let read = frame::read_line(&mut input, &mut line).await;
        let at = mono_ns();
        let frame = read.and_then(|()| Ok((frame::decode(&line)?, at)));
        let is_last = frame.is_err();
        if frames.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn write_all(
    mut output: Output,
    mut shorts: mpsc::Receiver<Bytes>,
    mut longs: mpsc::Receiver<Bytes>,
) {
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = shorts.recv() => frame,
            Some(frame) = longs.recv() => frame,
            else => break,
        };
        if output.write_all(&frame).await.is_err() || output.flush().await.is_err() {
            // The reading side tells how the connection ended.
            return;
        }
    }
    let _ = output.shutdown().await;
}
