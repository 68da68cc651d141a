//! Lines of JSON on a stream, each within a bound.

use std::io;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::protocol::FRAME_BYTES_MAX;

/// So much of a line that cannot be read is shown.
const SHOWN_BYTES: usize = 60;

/// What came is no line of this protocol, or nothing more comes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The stream failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The stream ended, perhaps within a line.
    #[error("the connection was closed")]
    Ended,
    /// Nothing more can be written: the other side has stopped reading.
    #[error("the other side reads nothing")]
    Stuck,
    /// A line is too long, or there is no end of the line.
    #[error("a line is longer than {FRAME_BYTES_MAX} bytes; is the other side Highwater?")]
    TooLong,
    /// A line says nothing that is known.
    #[error("`{begin}` is not understood ({source}); is the other side Highwater?")]
    Malformed {
        /// The first bytes of it.
        begin: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

impl FrameError {
    /// Whether another connection may do better; if not, the other side itself is wrong.
    pub(super) const fn is_cut(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Ended | Self::Stuck)
    }
}

/// Reads the next line into `line`, without its end.
///
/// # Errors
/// [`FrameError::Ended`] at the end of the stream; half a line counts for nothing.
pub(crate) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> Result<(), FrameError> {
    line.clear();
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() {
            return Err(FrameError::Ended);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(buffer.len());
        if line.len() + part > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        line.extend_from_slice(&buffer[..part]);
        input.consume(part + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Understands a line.
///
/// # Errors
/// [`FrameError::Malformed`].
pub(crate) fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(line).map_err(|source| {
        let begin = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]);
        let begin = begin.chars().filter(|c| !c.is_control()).collect();
        FrameError::Malformed { begin, source }
    })
}

/// Something that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is too long.
    #[error("it is {0} bytes long; at most {FRAME_BYTES_MAX} can be sent")]
    TooLong(usize),
    /// It cannot be written as JSON.
    #[error("it cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A frame as a line.
///
/// # Errors
/// If it is too long to be read by the other side.
pub(super) fn encode(frame: &impl Serialize) -> Result<Bytes, EncodeError> {
    finish(serde_json::to_vec(frame)?)
}

/// Ends a line.
///
/// # Errors
/// As [`encode`].
pub(super) fn finish(mut line: Vec<u8>) -> Result<Bytes, EncodeError> {
    if line.len() > FRAME_BYTES_MAX {
        return Err(EncodeError::TooLong(line.len()));
    }
    line.push(b'\n');
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(mut input: &[u8]) -> (Vec<usize>, FrameError) {
        let (mut lengths, mut line) = (Vec::new(), Vec::new());
        loop {
            match read_line(&mut input, &mut line).await {
                Ok(()) => lengths.push(line.len()),
                Err(error) => return (lengths, error),
            }
        }
    }

    #[tokio::test]
    async fn lines_end_at_their_ends_and_half_of_one_is_none() {
        let (lengths, error) = lines(b"one\n\nthree\nhal").await;
        assert_eq!(lengths, [3, 0, 5]);
        assert!(matches!(error, FrameError::Ended));
    }

    #[tokio::test]
    async fn a_line_of_the_longest_length_is_read_and_no_longer_one() {
        for (length, fits) in [(FRAME_BYTES_MAX, true), (FRAME_BYTES_MAX + 1, false)] {
            let mut input = vec![b'x'; length];
            input.push(b'\n');
            let (lengths, error) = lines(&input).await;
            assert_eq!(lengths.len(), usize::from(fits));
            assert_eq!(matches!(error, FrameError::TooLong), !fits);
            assert_eq!(finish(vec![b'x'; length]).is_ok(), fits, "what is sent can be read");
        }
    }

    #[test]
    fn what_is_not_understood_is_shown_in_part() {
        let error = decode::<u8>(&[b'G'; 5000]).expect_err("no number");
        assert!(error.to_string().starts_with(&format!("`{}` is not", "G".repeat(SHOWN_BYTES))));
        assert!(!error.is_cut());
    }
}
