//! The log of a pod, followed line by line, through interruptions and restarts of its container.

use futures_util::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::{api::core::v1::Pod, jiff};
use kube::{Api, api::LogParams};
use tokio::time::timeout;

use super::{
    super::observe::{News, Watched},
    Closed, Line,
    trouble::{Ear, Trouble},
};

/// The longest line that is kept, bytes; the rest of a longer one is dropped.
const LINE_MAX: usize = 64 << 10;
/// A container that does not run yet has no log.
const NOT_YET: u16 = 400;

/// A log to be followed.
pub(super) struct Follow {
    api: Api<Pod>,
    pod: String,
    container: Option<String>,
    cursor: Cursor,
}

/// How far a log was read: by the times that the runtime puts before each line.
#[derive(Debug, Default)]
struct Cursor {
    last: Option<jiff::Timestamp>,
    /// Lines of that very time.
    at_last: Vec<String>,
}

impl Cursor {
    /// Takes a line with its time, and returns it without, if it was not taken before.
    fn take<'a>(&mut self, stamped: &'a str) -> Option<&'a str> {
        let Some((time, line)) = stamped.split_once(' ') else { return Some(stamped) };
        let Ok(time) = time.parse::<jiff::Timestamp>() else { return Some(stamped) };
        if self.last.is_some_and(|last| time < last) {
            return None;
        }
        if self.last != Some(time) {
            self.at_last.clear();
            self.last = Some(time);
        } else if self.at_last.iter().any(|known| known == line) {
            return None;
        }
        self.at_last.push(line.into());
        Some(line)
    }
}

/// What ends a reading of a log.
enum End {
    /// The stream, as it does when the container ends.
    Stream,
    Trouble(Trouble),
    Closed,
}

impl Follow {
    pub(super) fn new(api: Api<Pod>, pod: &str, container: Option<&str>) -> Self {
        let container = container.map(Into::into);
        Self { api, pod: pod.into(), container, cursor: Cursor::default() }
    }

    /// Follows until the pod is gone or nobody takes messages any more.
    pub(super) async fn run(mut self, line: Line) {
        let mut ear = Ear::new(Watched::Log(self.pod.clone()), &line);
        let mut wait = line.pace.wait_min;
        loop {
            let had = self.cursor.last;
            let went_on = match self.read(&line, &mut ear).await {
                End::Stream => Ok(()),
                End::Closed => return,
                End::Trouble(trouble) if trouble.is_not_found() => {
                    // Nobody minds a gap in the log of a pod that is gone.
                    let _ = ear.caught_up().await;
                    return;
                }
                End::Trouble(trouble) if is_early(&trouble) => Ok(()),
                End::Trouble(trouble) => ear.lost(&trouble).await,
            };
            if went_on.is_err() {
                return;
            }
            // The container may be started again, or for the first time.
            wait = if had == self.cursor.last { wait * 2 } else { line.pace.wait_min };
            wait = wait.min(line.pace.wait_max);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = line.sender.closed() => return,
            }
        }
    }

    /// Reads the log from where it was left, until its stream ends.
    async fn read(&mut self, line: &Line, ear: &mut Ear) -> End {
        let params = LogParams {
            container: self.container.clone(),
            follow: true,
            timestamps: true,
            since_time: self.cursor.last,
            ..LogParams::default()
        };
        let stream = timeout(line.pace.answer, self.api.log_stream(&self.pod, &params)).await;
        let mut stream = match stream {
            Ok(Ok(stream)) => Box::pin(stream),
            Ok(Err(error)) => return End::Trouble(error.into()),
            Err(_) => return End::Trouble(Trouble::Silent(line.pace.answer)),
        };
        if ear.caught_up().await.is_err() {
            return End::Closed;
        }
        loop {
            let text = match timeout(line.pace.log_silence, read_line(&mut stream)).await {
                Ok(Ok(Some(text))) => text,
                // A log may be silent for good; its connection may also be dead. Asked anew, it
                // goes on where it was.
                Ok(Ok(None)) | Err(_) => return End::Stream,
                Ok(Err(error)) => {
                    // Until now there was nothing to hear.
                    ear.heard();
                    return End::Trouble(kube::Error::ReadEvents(error).into());
                }
            };
            ear.heard();
            let Some(text) = self.cursor.take(&text) else { continue };
            let news = News::Line { pod: self.pod.clone(), line: text.into() };
            if let Err(Closed) = line.send(news).await {
                return End::Closed;
            }
        }
    }
}

/// Whether the container does not run yet.
fn is_early(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Request(kube::Error::Api(status)) if status.code == NOT_YET)
}

/// One line without its end; `None` at the end of the stream. What is longer than [`LINE_MAX`] is
/// cut.
async fn read_line(
    stream: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<String>, std::io::Error> {
    let mut line = Vec::new();
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            // A line without an end was cut off, and will come again.
            return Ok(None);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(chunk.len());
        let room = LINE_MAX.saturating_sub(line.len());
        line.extend_from_slice(&chunk[..taken.min(room)]);
        stream.consume_unpin(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::io::Cursor as Bytes;

    #[test]
    fn what_was_read_before_is_not_taken_again() {
        let mut cursor = Cursor::default();
        // stamped line -> taken
        let rows = [
            ("2026-01-01T00:00:01.5Z a", Some("a")),
            ("2026-01-01T00:00:01.5Z b", Some("b")),
            ("2026-01-01T00:00:02.000000001Z a", Some("a")),
            ("no time", Some("no time")),
            ("2026-01-01T00:00:01.5Z b", None),
            ("2026-01-01T00:00:02.000000001Z a", None),
            ("2026-01-01T00:00:02.000000001Z c", Some("c")),
            ("2026-01-01T00:00:03Z ", Some("")),
            ("", Some("")),
        ];
        for (stamped, taken) in rows {
            assert_eq!(cursor.take(stamped), taken, "{stamped}");
        }
    }

    #[tokio::test]
    async fn lines_are_cut_and_a_broken_last_one_is_left_for_the_next_time() {
        let text = format!("one\n\n{}\nlast, and broken", "x".repeat(LINE_MAX + 100));
        let mut stream = Bytes::new(text.into_bytes());
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut stream).await.expect("reads") {
            lines.push(line);
        }
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].as_str(), lines[1].as_str()), ("one", ""));
        assert_eq!(lines[2].len(), LINE_MAX);
    }
}
