//! The terminal view of a run: `highwater run --tui`.
//!
//! 1. the picture, a pure function of [`crate::live::LiveView`]: [`draw`]
//! 2. the terminal, given back on every way out: `screen`
//! 3. a thread that draws the latest state a few times a second and hears the keys: [`Tui`]
//!
//! The thread takes copies of the latest state and holds nobody up: neither the backend that tells
//! of the run nor the load engine, which knows nothing of it.

pub mod draw;
mod screen;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::watch;

use crate::{clock, live::Shared};
use screen::Screen;

pub use screen::{Unfit, fit};

/// From one picture to the next: four a second are enough for figures that change once a second.
const FRAME: Duration = Duration::from_millis(250);

/// A view under way. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct Tui {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What the user means by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// As Ctrl-C without the view.
    Stop,
    /// As Ctrl-Z without the view.
    Suspend,
    /// Everything anew.
    Redraw,
}

fn wish(event: &Event) -> Option<Wish> {
    match event {
        Event::Resize(..) => Some(Wish::Redraw),
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent { code, modifiers, .. }) => match (code, *modifiers) {
            (KeyCode::Char('q' | 'Q'), KeyModifiers::NONE | KeyModifiers::SHIFT) => {
                Some(Wish::Stop)
            }
            (KeyCode::Char('c'), KeyModifiers::CONTROL) => Some(Wish::Stop),
            (KeyCode::Char('z'), KeyModifiers::CONTROL) => Some(Wish::Suspend),
            (KeyCode::Char('l'), KeyModifiers::CONTROL) => Some(Wish::Redraw),
            _ => None,
        },
        _ => None,
    }
}

impl Tui {
    /// Takes the terminal and draws what is `shared` until [`Self::end`]. A wish to stop is added
    /// to `interrupts`; `continued` says that the program was stopped and goes on.
    ///
    /// # Errors
    /// If the terminal cannot be taken; it is as it was then.
    pub fn start(
        shared: Shared,
        interrupts: watch::Sender<u32>,
        continued: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let screen = Screen::take()?;
        let (stop, stopped) = sync_channel(1);
        let looker = Looker { screen, shared, interrupts, continued, stopped, seen: 0 };
        let thread = std::thread::Builder::new().name("tui".into());
        Ok(Self { stop: Some(stop), thread: Some(thread.spawn(move || looker.run())?) })
    }

    /// Whether it still draws: not any more if its terminal failed, or anything panicked.
    pub fn is_under_way(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// If the view had ended before, by an error of the terminal; the terminal was given back then.
    pub fn end(mut self) -> io::Result<()> {
        self.close()
    }

    fn close(&mut self) -> io::Result<()> {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic has given the terminal back and told of itself.
        screen::give_back();
        match ended {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        // Whoever wants to know calls `end`.
        let _ = self.close();
    }
}

/// What the thread has.
struct Looker {
    screen: Screen,
    shared: Shared,
    interrupts: watch::Sender<u32>,
    continued: Arc<AtomicBool>,
    stopped: Receiver<()>,
    /// The version of the last picture; 0 draws in any case.
    seen: u64,
}

impl Looker {
    fn run(mut self) -> io::Result<()> {
        let mut next = clock::mono_ns();
        while matches!(self.stopped.try_recv(), Err(TryRecvError::Empty)) && screen::is_taken() {
            if self.continued.swap(false, SeqCst) {
                self.screen.take_again()?;
                self.seen = 0;
            }
            let now = clock::mono_ns();
            if now >= next {
                self.draw()?;
                next = now + FRAME.as_nanos() as u64;
            }
            let wait = Duration::from_nanos(next.saturating_sub(clock::mono_ns()));
            if event::poll(wait)? {
                self.hear(&event::read()?)?;
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        let times = *self.interrupts.borrow();
        if self.shared.look(|view| view.interrupts != times) {
            self.shared.interrupted(times);
        }
        let Some((version, view)) = self.shared.newer(self.seen) else { return Ok(()) };
        self.screen.draw(|area, buf| draw::draw(&view, area, buf))?;
        self.seen = version;
        Ok(())
    }

    fn hear(&mut self, event: &Event) -> io::Result<()> {
        match wish(event) {
            None => {}
            Some(Wish::Stop) => {
                self.interrupts.send_modify(|times| *times = times.saturating_add(1))
            }
            Some(Wish::Suspend) => {
                self.screen.suspend(&self.continued)?;
                self.seen = 0;
            }
            Some(Wish::Redraw) => {
                self.screen.clear()?;
                self.seen = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_they_mean_elsewhere() {
        let key = |c, modifiers| Event::Key(KeyEvent::new(KeyCode::Char(c), modifiers));
        let rows = [
            (key('q', KeyModifiers::NONE), Some(Wish::Stop)),
            (key('c', KeyModifiers::CONTROL), Some(Wish::Stop)),
            (key('c', KeyModifiers::NONE), None),
            (key('q', KeyModifiers::ALT), None),
            (key('z', KeyModifiers::CONTROL), Some(Wish::Suspend)),
            (key('l', KeyModifiers::CONTROL), Some(Wish::Redraw)),
            (Event::Resize(3, 1), Some(Wish::Redraw)),
            (Event::FocusLost, None),
        ];
        for (event, meant) in rows {
            assert_eq!(wish(&event), meant, "{event:?}");
        }
    }
}
