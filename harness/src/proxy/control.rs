//! Where commands come from: lines, each within a bound, or a channel of the same process.

use std::io;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt},
    sync::mpsc,
};

use super::protocol::{CONTROL_LINE_MAX, Control};

/// What the next line was.
#[derive(Debug)]
pub(super) enum Command {
    /// A command.
    Given(Control),
    /// Nothing that can be followed, and why.
    Malformed(String),
    /// The harness is gone.
    End,
}

/// A source of commands.
pub(super) trait Commands {
    /// The next one.
    ///
    /// *Errors*: those of the source.
    async fn next(&mut self) -> io::Result<Command>;
}

/// Commands as lines of JSON.
pub(super) struct Lines<C>(pub(super) C);

impl<C: AsyncBufRead + Unpin> Commands for Lines<C> {
    async fn next(&mut self) -> io::Result<Command> {
        next_command(&mut self.0).await
    }
}

impl Commands for mpsc::Receiver<Control> {
    async fn next(&mut self) -> io::Result<Command> {
        Ok(self.recv().await.map_or(Command::End, Command::Given))
    }
}

/// Reads the next command. Lines of blanks are passed over.
///
/// *Errors*: those of `input`.
async fn next_command(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Command> {
    let mut line = Vec::new();
    loop {
        let Some(fits) = read_line(input, &mut line).await? else {
            return Ok(Command::End);
        };
        if !fits {
            let message = format!(
                "reading control: a line is longer than {CONTROL_LINE_MAX} bytes; it was left out"
            );
            return Ok(Command::Malformed(message));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        return Ok(match serde_json::from_slice(&line) {
            Ok(control) => Command::Given(control),
            Err(error) => {
                Command::Malformed(format!("reading control: {error}; the line was left out"))
            }
        });
    }
}

/// Reads a line into `line`. `None` at the end of the input, where half a line counts for
/// nothing; `Some(false)` for one beyond the bound, which is read to its end and not kept.
async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Option<bool>> {
    line.clear();
    let mut fits = true;
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(buffer.len());
        fits &= line.len() + part <= CONTROL_LINE_MAX;
        if fits {
            line.extend_from_slice(&buffer[..part]);
        }
        let consumed = part + usize::from(end.is_some());
        input.consume(consumed);
        if end.is_some() {
            return Ok(Some(fits));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn commands(mut input: &[u8]) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        loop {
            kinds.push(match next_command(&mut input).await.expect("reads") {
                Command::Given(_) => "given",
                Command::Malformed(_) => "malformed",
                Command::End => return kinds,
            });
        }
    }

    #[tokio::test]
    async fn a_bad_line_does_not_spoil_the_next() {
        let mut input = b"\n  \n{\"stop\":{}}\nrubbish\n\xff\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', CONTROL_LINE_MAX + 1));
        input.extend(b"\n{\"stop\":{}}\n{\"stop\":{}}");
        assert_eq!(
            commands(&input).await,
            ["given", "malformed", "malformed", "malformed", "given"],
            "the last line has no end and is not followed"
        );
    }
}
