//! The clock of the budget, and lines of progress on stderr.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use highwater_model::time::{Nanos, SECOND};

use super::{Watch, search};
use crate::{clock, live::plain};

pub(super) struct Terminal {
    begun: u64,
    budget: Nanos,
    told: AtomicU64,
    /// Said when the search has begun.
    hint: Mutex<Option<String>>,
}

impl Terminal {
    pub(super) fn new(budget: Nanos, hint: String) -> Self {
        let (begun, told) = (clock::mono_ns(), AtomicU64::new(0));
        Self { begun, budget, told, hint: Mutex::new(Some(hint)) }
    }

    fn gone(&self) -> u64 {
        clock::mono_ns().saturating_sub(self.begun)
    }
}

impl Watch for Terminal {
    fn is_over(&self) -> bool {
        self.gone() > self.budget.0
    }

    fn warn(&self, what: &str) {
        plain::say(&format!("tune: {what}"));
    }

    fn tell(&self, stage: &'static str, done: usize, of: usize) {
        let hint = self.hint.lock().expect("nobody panics while it is held").take();
        if let Some(hint) = hint {
            plain::say(&hint);
        }
        let gone = self.gone();
        let last = self.told.load(Ordering::Relaxed);
        // A line per second, and the last of a stage.
        if gone.saturating_sub(last) < SECOND && done < of {
            return;
        }
        self.told.store(gone, Ordering::Relaxed);
        let left = self.budget.0.saturating_sub(gone) / SECOND;
        let until = match stage {
            search::TRIED => format!(", {left} s of the budget left"),
            _ => String::new(),
        };
        plain::say(&format!("tune: {done} of {of} {stage}, {} s{until}", gone / SECOND));
    }
}
