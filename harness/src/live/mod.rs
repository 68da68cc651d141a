//! A run as it stands, for whoever looks on: the plain line and the terminal view draw from it.
//!
//! 1. what happens passes on its way to the record: [`Feed`], around any sink
//! 2. the latest state, bounded whatever the run's length: [`view`], of [`pods`], [`latency`] and
//!    the [`log`]
//! 3. one line of it for a terminal or a log: [`plain`]
//!
//! Nothing here reads a clock: instants are those of what is told. Nothing here is reported in the
//! end either; that is made from the record.

pub mod latency;
pub mod log;
pub mod plain;
pub mod pods;
#[cfg(test)]
pub(crate) mod testkit;
pub mod view;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    backend::Progress,
    record::{Line, Sink, WriteError},
};

pub use view::LiveView;

/// The latest state of a run, told by the backend's thread and looked at by others.
///
/// It holds one state and no queue, so a reader that is slow or stuck loses what lies between and
/// holds nobody up.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    view: LiveView,
    meter: latency::Meter,
    version: u64,
}

impl Shared {
    /// A run that has not begun.
    pub fn new(view: LiveView) -> Self {
        let state = State { view, meter: latency::Meter::default(), version: 1 };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        // A state that somebody panicked over is at worst half a line behind.
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a line of the record.
    pub fn line(&self, line: &Line) {
        self.with(|state| {
            state.view.line(line);
            if let Line::Window(window) = line {
                state.meter.window(window);
            }
            state.version += 1;
        });
    }

    /// Takes how the run stands.
    pub fn progress(&self, progress: &Progress) {
        self.with(|state| {
            state.view.progress(progress);
            let State { view, meter, .. } = state;
            view.latency = meter.latencies();
            for (second, p99) in meter.seconds() {
                view.latency_of(second, p99);
            }
            state.version += 1;
        });
    }

    /// Takes how often the user has asked to stop.
    pub fn interrupted(&self, times: u32) {
        self.with(|state| {
            state.view.interrupts = times;
            state.version += 1;
        });
    }

    /// Looks at the state without a copy of it; be quick.
    pub fn look<T>(&self, look: impl FnOnce(&LiveView) -> T) -> T {
        self.with(|state| look(&state.view))
    }

    /// A copy of the state, if it is newer than version `seen` (0 is none), and its version.
    pub fn newer(&self, seen: u64) -> Option<(u64, LiveView)> {
        self.with(|state| (state.version > seen).then(|| (state.version, state.view.clone())))
    }
}

/// A sink that shows what passes through it.
#[derive(Debug)]
pub struct Feed<'a, S> {
    sink: &'a mut S,
    shared: Shared,
}

impl<'a, S: Sink> Feed<'a, S> {
    /// Shows in `shared` what goes to `sink`.
    pub const fn new(sink: &'a mut S, shared: Shared) -> Self {
        Self { sink, shared }
    }
}

impl<S: Sink> Sink for Feed<'_, S> {
    fn line(&mut self, line: Line) -> Result<(), WriteError> {
        self.shared.line(&line);
        self.sink.line(line)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.sink.flush()
    }
}
