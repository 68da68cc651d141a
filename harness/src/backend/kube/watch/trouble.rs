//! What goes wrong while watching, and how long to wait after it.

use std::{error::Error as _, time::Duration};

use highwater_model::time::Timestamp;
use kube::core::Status;

use super::{
    super::observe::{News, Watched},
    Closed, Line, Pace,
};

/// How long a reason in words may be, bytes.
const WORDS_MAX: usize = 300;
/// Too many requests.
const THROTTLED: u16 = 429;
/// The version that a watch was to begin from is forgotten.
const EXPIRED: u16 = 410;

/// Why nothing is heard.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A request failed.
    #[error("{}", words(.0))]
    Request(#[from] kube::Error),
    /// The server ended a watch with an error.
    #[error("{}", status_words(.0))]
    Ended(Box<Status>),
    /// The server accepts and says nothing.
    #[error("the API server says nothing for {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The server sent a list without a version to watch from, or without an end.
    #[error("the API server's list of {0} makes no sense")]
    BadList(Watched),
    /// The server ended a watch at once, which makes no sense if it happens again and again.
    #[error("the API server ended the watch")]
    EndedEarly,
}

impl Trouble {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request(kube::Error::Api(status)) | Self::Ended(status) => Some(status),
            _ => None,
        }
    }

    /// Whether what was asked about is not there.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// How long the server asks to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        let status = self.status().filter(|status| status.code == THROTTLED)?;
        let seconds = status.details.as_ref().map_or(1, |details| details.retry_after_seconds);
        Some(Duration::from_secs(seconds.max(1).into()))
    }

    fn is_expired(&self) -> bool {
        self.status().is_some_and(|status| status.code == EXPIRED)
    }
}

/// An error and its causes in words.
pub fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status_words(status);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Many errors repeat their cause's words.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    cut(text)
}

fn status_words(status: &Status) -> String {
    cut(match (status.reason.as_str(), status.message.as_str()) {
        ("", message) => format!("{} {message}", status.code),
        (reason, "") => format!("{} {reason}", status.code),
        (reason, message) => format!("{} {reason}: {message}", status.code),
    })
}

fn cut(mut text: String) -> String {
    if text.len() > WORDS_MAX {
        let end = (0..=WORDS_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// What is heard of one thing, and since when not.
#[derive(Debug)]
pub(super) struct Ear {
    what: Watched,
    line: Line,
    heard: Timestamp,
    was_heard: bool,
    is_open: bool,
    failures: u32,
}

impl Ear {
    pub(super) fn new(what: Watched, line: &Line) -> Self {
        Self {
            what,
            heard: line.now(),
            line: line.clone(),
            was_heard: false,
            is_open: false,
            failures: 0,
        }
    }

    /// Something was heard, or it is sure that there was nothing to hear.
    pub(super) fn heard(&mut self) {
        self.heard = self.line.now();
    }

    /// The end of what was heard, if something was.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.was_heard.then_some(self.heard)
    }

    /// All is known again: the gap ends, if there is one.
    pub(super) async fn caught_up(&mut self) -> Result<(), Closed> {
        self.heard();
        self.was_heard = true;
        self.failures = 0;
        if std::mem::take(&mut self.is_open) {
            self.line.send(News::GapEnded { what: self.what.clone() }).await?;
        }
        Ok(())
    }

    /// Nothing is heard: the gap begins, if it has not. Waits before the next try.
    pub(super) async fn lost(&mut self, trouble: &Trouble) -> Result<(), Closed> {
        if !std::mem::replace(&mut self.is_open, true) {
            let (what, reason) = (self.what.clone(), trouble.to_string());
            self.line.send(News::GapBegan { what, from: self.heard, reason }).await?;
        }
        // What is forgotten will not be remembered: ask for all again, but once only.
        let is_new = self.failures == 0 && trouble.is_expired();
        let wait = if is_new {
            Duration::ZERO
        } else {
            wait(self.failures, trouble.retry_after(), &self.line.pace)
        };
        self.failures = self.failures.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.line.sender.closed() => Err(Closed),
        }
    }
}

/// The wait after so many failures before: doubled each time within bounds, or what a server asks
/// for that throttles.
fn wait(failures: u32, asked: Option<Duration>, pace: &Pace) -> Duration {
    let doubled = pace.wait_min.saturating_mul(1 << failures.min(16)).min(pace.wait_max);
    asked.map_or(doubled, |asked| asked.min(pace.throttled_max).max(doubled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_bounds_and_yield_to_the_server() {
        let pace = Pace::default();
        let second = Duration::from_secs;
        let rows = [
            (0, None, Duration::from_millis(100)),
            (1, None, Duration::from_millis(200)),
            (4, None, Duration::from_millis(1_600)),
            (5, None, second(2)),
            (u32::MAX, None, second(2)),
            (0, Some(second(1)), second(1)),
            (9, Some(second(1)), second(2)),
            (0, Some(second(3600)), second(10)),
        ];
        for (failures, asked, wanted) in rows {
            assert_eq!(wait(failures, asked, &pace), wanted, "{failures} {asked:?}");
        }
    }

    #[test]
    fn reasons_are_short_and_say_what_the_server_said() {
        let status = |code: u16, reason: &str, message: &str| Status {
            code,
            reason: reason.into(),
            message: message.into(),
            ..Status::default()
        };
        let said = |status: Status| Trouble::Ended(status.boxed()).to_string();
        assert_eq!(said(status(410, "Expired", "too old")), "410 Expired: too old");
        assert_eq!(said(status(500, "", "oh")), "500 oh");
        assert_eq!(said(status(403, "Forbidden", "")), "403 Forbidden");
        assert!(said(status(500, "", &"ö".repeat(1000))).len() <= WORDS_MAX + 3);
    }
}
