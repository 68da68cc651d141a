//! `/work`: CPU, waiting and a body, as the query says.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use rustix::time::{ClockId, clock_gettime};

use crate::duration;

/// The most CPU time that a request may ask for.
pub const CPU_MAX: Duration = Duration::from_secs(60);
/// The longest wait that a request may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(600);
/// The largest body that a request may ask for.
pub const BYTES_MAX: u64 = 64 << 20;

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// CPU time.
    pub cpu: Duration,
    /// Time apart from that.
    pub wait: Duration,
    /// Size of the answer's body.
    pub bytes: u64,
    /// The answer's status.
    pub status: u16,
}

/// A parameter that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: {problem}")]
pub struct BadParameter {
    /// Which.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// Reads the query over the defaults.
///
/// # Errors
/// Names the parameter that is unknown, malformed or beyond its bound.
pub fn parse(query: &str, defaults: Work) -> Result<Work, BadParameter> {
    let mut work = defaults;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let bad = |problem: String| BadParameter { name: name.chars().take(40).collect(), problem };
        let span = |max: Duration| {
            let span = duration::parse(value).map_err(|error| bad(error.to_string()))?;
            if span > max { Err(bad(format!("at most {max:?}"))) } else { Ok(span) }
        };
        match name {
            "cpu" => work.cpu = span(CPU_MAX)?,
            "wait" => work.wait = span(WAIT_MAX)?,
            "bytes" => {
                let bytes = value.parse().ok().filter(|bytes| *bytes <= BYTES_MAX);
                work.bytes = bytes.ok_or_else(|| bad(format!("a number up to {BYTES_MAX}")))?;
            }
            "status" => {
                let status = value.parse().ok().filter(|status| (200..=599).contains(status));
                work.status = status.ok_or_else(|| bad("a status from 200 to 599".into()))?;
            }
            _ => return Err(bad("unknown; there are cpu, wait, bytes and status".into())),
        }
    }
    Ok(work)
}

/// Burns CPU time on this thread, by the thread's own CPU clock, so that contention does not
/// shrink the work.
pub fn burn(cpu: Duration) {
    let used = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let end = used() + cpu;
    let mut state = 1u64;
    while used() < end {
        for _ in 0..200 {
            state =
                std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

/// An answer's body: a text, or so many filler bytes, made as they are sent.
#[derive(Debug)]
pub enum Answer {
    /// A text.
    Text(Option<Bytes>),
    /// Filler.
    Filler(u64),
}

static FILLER: [u8; 16 << 10] = [b'x'; 16 << 10];

impl Answer {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = match self.get_mut() {
            Self::Text(text) => text.take().filter(|text| !text.is_empty()),
            Self::Filler(0) => None,
            Self::Filler(left) => {
                let n = (*left).min(FILLER.len() as u64);
                *left -= n;
                Some(Bytes::from_static(&FILLER[..n as usize]))
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(None) | Self::Filler(0))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Self::Filler(left) => *left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Work =
        Work { cpu: Duration::ZERO, wait: Duration::ZERO, bytes: 0, status: 200 };

    #[test]
    fn the_query_overrides_the_defaults() {
        let work = parse("cpu=4ms&wait=12ms&bytes=512&status=503", DEFAULTS).expect("work");
        let cpu = Duration::from_millis(4);
        assert_eq!(work, Work { cpu, wait: Duration::from_millis(12), bytes: 512, status: 503 });
        assert_eq!(parse("", work), Ok(work));
    }

    #[test]
    fn bad_parameters_are_named() {
        for (query, name) in [
            ("cpu=61s", "cpu"),
            ("wait=11m", "wait"),
            ("bytes=99999999999", "bytes"),
            ("bytes=-1", "bytes"),
            ("status=99", "status"),
            ("status=101", "status"),
            ("sleep=1s", "sleep"),
            ("cpu", "cpu"),
        ] {
            assert_eq!(parse(query, DEFAULTS).expect_err(query).name, name);
        }
    }

    #[test]
    fn burning_takes_the_cpu_time_that_was_asked_for() {
        let used = || clock_gettime(ClockId::ThreadCPUTime);
        let before = used();
        burn(Duration::from_millis(20));
        let after = used();
        let ns = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(ns >= 20_000_000);
    }
}
