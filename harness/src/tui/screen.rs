//! The terminal: taken, and given back on every way out.
//!
//! Raw mode and the alternate screen belong to the whole process, so whether they are taken is
//! known to the whole process: the panic hook gives them back whichever thread panics.

use std::{
    io::{self, IsTerminal as _, Stderr},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        cursor::{Hide, Show},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::Rect,
};
use rustix::process::{Signal, getpid, kill_process};

use crate::clock;

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
static PANICS_ARE_HEARD: Once = Once::new();
/// A stop that was asked for and does not come by then, does not come: nobody could continue it.
const STOPS_WITHIN: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why there can be no view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The view is drawn on stderr, as all that tells of progress.
    #[error("stderr is not a terminal")]
    NoTerminal,
    /// `TERM=dumb`.
    #[error("the terminal is a dumb one (TERM)")]
    Dumb,
}

/// Whether there can be a view.
///
/// # Errors
/// Why not.
pub fn fit() -> Result<(), Unfit> {
    if !io::stderr().is_terminal() {
        return Err(Unfit::NoTerminal);
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Unfit::Dumb);
    }
    Ok(())
}

/// Whether the terminal is taken: not any more after a panic anywhere.
pub(super) fn is_taken() -> bool {
    IS_TAKEN.load(SeqCst)
}

/// Gives the terminal back, once.
pub(super) fn give_back() {
    if IS_TAKEN.swap(false, SeqCst) {
        // A terminal that is gone needs nothing back.
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A terminal that is taken.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// Takes the terminal of stderr.
    ///
    /// # Errors
    /// If it refuses; it is as it was then.
    pub(super) fn take() -> io::Result<Self> {
        PANICS_ARE_HEARD.call_once(|| {
            let told = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                told(panic);
            }));
        });
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()));
        match terminal {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Takes it again after the program was stopped: a shell has had it meanwhile.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        enter()?;
        self.clear()
    }

    /// Wipes it, whatever is on it: the next picture is drawn in full.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where its cursor is, and fails if that does not
        // answer; a new size wipes it without a question.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Draws a picture.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
        Ok(())
    }

    /// Stops the program as Ctrl-Z does, and takes the terminal again when it goes on.
    /// `continued` becomes true then.
    pub(super) fn suspend(&mut self, continued: &AtomicBool) -> io::Result<()> {
        give_back();
        continued.store(false, SeqCst);
        kill_process(getpid(), Signal::TSTP)?;
        // The signal may come to another thread, and so a little later than this goes on.
        let give_up = clock::mono_ns() + STOPS_WITHIN.as_nanos() as u64;
        while !continued.load(SeqCst) && clock::mono_ns() < give_up {
            std::thread::sleep(LOOK_AGAIN);
        }
        continued.store(false, SeqCst);
        self.take_again()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, SeqCst);
    let entered = execute!(io::stderr(), EnterAlternateScreen, Hide);
    if entered.is_err() {
        give_back();
    }
    entered
}
