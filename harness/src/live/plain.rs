//! The line that lives while a run goes on: rewritten on a terminal, a plain line now and then
//! elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use highwater_model::time::{Nanos, human};

use super::LiveView;

/// Plain lines are this many seconds apart.
const PLAIN_EVERY: u64 = 5;

/// Where the line goes: stderr.
#[derive(Debug, Default)]
pub struct Plain {
    is_terminal: bool,
    lines: u64,
}

impl Plain {
    /// Looks at what stderr is.
    pub fn new() -> Self {
        let is_terminal = io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        Self { is_terminal, lines: 0 }
    }

    /// Tells how the run stands; call once a second.
    pub fn tell(&mut self, view: &LiveView) {
        let text = line(view);
        if self.is_terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{text}");
        } else if self.lines.is_multiple_of(PLAIN_EVERY) {
            say(&text);
        }
        self.lines += 1;
    }

    /// Ends the line.
    pub fn end(&self) {
        if self.is_terminal {
            let _ = writeln!(io::stderr().lock());
        }
    }
}

/// Writes a line to stderr. Progress that nobody can read is no error.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// How a run stands, in a line.
pub fn line(view: &LiveView) -> String {
    let progress = &view.progress;
    let left = Nanos(progress.total.0.saturating_sub(progress.elapsed.0));
    let p99 = progress.latency_p99.map_or_else(|| "-".into(), |ns| human(Nanos(ns)));
    let mut text = format!(
        "{:<8} {:>6}/s  p99 {p99:>8}  failed {}  ready {}/{}",
        progress.stage, progress.rate, progress.failed, progress.ready, progress.desired
    );
    if progress.terminating > 0 {
        text.push_str(&format!(" (+{} ending)", progress.terminating));
    }
    if progress.unsent > 0 {
        text.push_str(&format!("  unsent {}", progress.unsent));
    }
    if progress.stage == "traffic" {
        text.push_str(&format!("  {:.0} s left", left.as_secs_f64()));
    }
    text
}

#[cfg(test)]
mod tests {
    use highwater_model::time::MILLISECOND;

    use super::*;
    use crate::backend::Progress;

    #[test]
    fn the_line_says_what_is_known() {
        let mut view = LiveView::default();
        view.progress(&Progress { stage: "starting", desired: 2, ..Progress::default() });
        assert_eq!(line(&view), "starting      0/s  p99        -  failed 0  ready 0/2");
        view.progress(&Progress {
            stage: "traffic",
            elapsed: Nanos::from_secs(4),
            total: Nanos::from_secs(10),
            rate: 100,
            latency_p99: Some(12 * MILLISECOND),
            failed: 3,
            unsent: 1,
            ready: 2,
            desired: 2,
            terminating: 1,
        });
        assert_eq!(
            line(&view),
            "traffic     100/s  p99  12.0 ms  failed 3  ready 2/2 (+1 ending)  unsent 1  6 s left"
        );
    }
}
