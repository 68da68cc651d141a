//! Signals that a run obeys.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// What signals ask for, whatever the backend does meanwhile.
#[derive(Debug)]
pub struct Signals {
    /// How often it was asked to stop: by Ctrl-C, SIGTERM, or a key of the terminal view.
    pub interrupts: watch::Sender<u32>,
    /// Becomes true when the program goes on after it was stopped.
    pub continued: Arc<AtomicBool>,
}

impl Signals {
    /// Hears them on a thread of its own.
    pub fn hear() -> Self {
        let signals = Self { interrupts: watch::Sender::new(0), continued: Arc::default() };
        let (count, continued) = (signals.interrupts.clone(), signals.continued.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Without it Ctrl-C ends the program at once, and the shims end the pods.
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async move {
                let of = |kind: Signal| signal(SignalKind::from_raw(kind.as_raw()));
                let (Ok(mut interrupt), Ok(mut terminate), Ok(mut go_on)) = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                    of(Signal::CONT),
                ) else {
                    return;
                };
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = go_on.recv() => {
                            continued.store(true, SeqCst);
                            continue;
                        }
                    }
                    count.send_modify(|count| *count += 1);
                }
            });
        });
        signals
    }
}
