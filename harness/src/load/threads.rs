//! As many engines as the rate needs, each on a thread of its own with its exact share.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use highwater_model::{
    load::{Profile, Share},
    spec::Traffic,
    time::Nanos,
};
use tokio::sync::mpsc;

use super::{Config, Control, Update, engine::Engine, poll};

/// The rate above which another thread is begun: a third of what one does on a slow core
/// (docs/performance.md), since a thread without reserve sends late.
const RATE_PER_THREAD: f64 = 50_000.0;

/// How many threads a traffic needs: what it says, or by its highest rate; 1 for a closed loop.
/// `cores`: those of the machine, which no default exceeds.
pub fn threads(traffic: &Traffic, profile: &Profile, cores: u64) -> u32 {
    let most = u32::try_from(cores).unwrap_or(u32::MAX).min(traffic.max_connections).max(1);
    let peak = || profile.peak(Nanos::ZERO, profile.lasts());
    traffic.threads.unwrap_or_else(|| ((peak() / RATE_PER_THREAD) as u32 + 1).min(most))
}

/// A running engine.
#[derive(Debug)]
pub struct Handle {
    parts: Vec<Part>,
    /// News, in order by thread; ends after [`Update::Finished`] or [`Update::Broken`].
    pub updates: mpsc::UnboundedReceiver<Update>,
}

#[derive(Debug)]
struct Part {
    control: std::sync::mpsc::Sender<Control>,
    waker: poll::Waker,
    thread: std::thread::JoinHandle<()>,
}

/// An engine could not be started.
#[derive(Debug, thiserror::Error)]
#[error("starting the load engine: {0}")]
pub struct StartError(#[from] std::io::Error);

impl Handle {
    /// Gives an order to all threads; without effect once the engine has finished.
    #[expect(clippy::needless_pass_by_value, reason = "an order is given once")]
    pub fn order(&self, control: Control) {
        for part in &self.parts {
            // Fails only when the thread has ended, which `updates` tells.
            let _ = part.control.send(control.clone());
            part.waker.wake();
        }
    }

    /// Waits for the threads' end; call after the last update.
    pub fn join(self) {
        for part in self.parts {
            // A panic was already seen as the end of `updates` without `Finished`.
            let _ = part.thread.join();
        }
    }
}

/// Starts an engine on a thread of its own.
///
/// # Errors
/// If the poller or the thread cannot be made.
pub fn start(config: Config) -> Result<Handle, StartError> {
    start_on(config, 1)
}

/// Starts an engine on so many threads (at least 1), each of which takes its share of the
/// arrivals and of the connections.
///
/// # Errors
/// As [`start`].
pub fn start_on(config: Config, threads: u32) -> Result<Handle, StartError> {
    start_with(&config, threads.max(1), poll::Poller::new)
}

/// As [`start_on`], with pollers by `poller`. Either all threads begin, once all are there, or none
/// does.
fn start_with(
    config: &Config,
    threads: u32,
    mut poller: impl FnMut() -> std::io::Result<(poll::Poller, poll::Waker)>,
) -> Result<Handle, StartError> {
    let (news, updates) = mpsc::unbounded_channel();
    let running = Arc::new(AtomicU32::new(threads));
    let mut handle = Handle { parts: Vec::new(), updates };
    let mut gates = Vec::new();
    let mut add = |handle: &mut Handle, share: Share| {
        let (poller, waker) = poller()?;
        let (control, orders) = std::sync::mpsc::channel();
        let engine = Engine::new(part(config, share), share.index, poller, orders, news.clone());
        let (gate, may_begin) = std::sync::mpsc::sync_channel(1);
        let (running, news) = (running.clone(), news.clone());
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            if may_begin.recv().is_err() {
                // Another thread could not be made.
                return;
            }
            let is_whole = engine.run();
            // Whoever is last has told its news after all others.
            if is_whole && running.fetch_sub(1, Ordering::AcqRel) == 1 {
                // The receiver is gone only when the run has been given up.
                let _ = news.send(Update::Finished);
            }
        })?;
        gates.push(gate);
        handle.parts.push(Part { control, waker, thread });
        Ok(())
    };
    let made: Result<(), StartError> =
        Share::all(threads).try_for_each(|share| add(&mut handle, share));
    if let Err(error) = made {
        drop(gates);
        handle.join();
        return Err(error);
    }
    for gate in gates {
        // Its thread waits for this.
        let _ = gate.send(());
    }
    Ok(handle)
}

/// A thread's part of what an engine is to do.
fn part(config: &Config, share: Share) -> Config {
    let mut part = config.clone();
    let whole = config.share;
    // Every `of`th of the numbers of the whole's share.
    part.share = Share { index: whole.index + whole.of * share.index, of: whole.of * share.of };
    part.traffic.max_connections = share.part(config.traffic.max_connections);
    if let Some(saturate) = &mut part.traffic.saturate {
        saturate.connections = share.part(saturate.connections);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    use highwater_model::load::Schedule;

    use crate::{
        clock::RunClock,
        load::{Route, request},
    };

    /// An hour of requests to nobody.
    fn endless() -> Config {
        let text = r#"{"arrivals":"constant","phases":[{"hold":"100/s","for":"3600s"}]}"#;
        let traffic: Traffic = serde_json::from_str(text).expect("traffic");
        let clock = RunClock::start();
        let profile = Profile::new(&traffic).expect("shapes");
        Config {
            clock,
            start: clock.now(),
            schedule: Schedule::new(profile, traffic.arrivals, 1),
            share: Share::WHOLE,
            kinds: request::compile(&traffic, "/", "test"),
            traffic,
            route: Route::Endpoints { clients: 1 },
            proxy_clock: clock,
            seed: 1,
        }
    }

    #[test]
    fn a_start_that_fails_leaves_no_thread_behind() {
        for fails_at in 0..3 {
            let mut streams = Vec::new();
            let started = start_with(&endless(), 3, || {
                if streams.len() == fails_at {
                    return Err(std::io::ErrorKind::OutOfMemory.into());
                }
                let (poller, waker) = poll::Poller::new()?;
                streams.push(waker.stream()?);
                Ok((poller, waker))
            });
            assert!(started.is_err(), "at {fails_at}");
            for mut stream in streams {
                // The end of the stream: whoever had its other end, an engine, is gone.
                assert_eq!(stream.read(&mut [0]).ok(), Some(0), "at {fails_at}");
            }
        }
    }

    #[test]
    fn a_thread_is_added_for_each_rate_that_one_cannot_keep() {
        for (rate, given, cores, expected) in [
            (20.0, None, 8, 1),
            (49_000.0, None, 8, 1),
            (120_000.0, None, 8, 3),
            (120_000.0, None, 2, 2),
            (20.0, Some(3), 2, 3),
        ] {
            let text = format!(
                r#"{{"phases":[{{"hold":"1/s","for":"5s"}},{{"ramp":{{"to":"{rate}/s"}},"over":"5s"}}]}}"#
            );
            let mut traffic: Traffic = serde_json::from_str(&text).expect("traffic");
            traffic.threads = given;
            let profile = Profile::new(&traffic).expect("shapes");
            assert_eq!(threads(&traffic, &profile, cores), expected, "{rate} on {cores}");
        }
    }

    #[test]
    fn shares_of_a_share_give_each_of_its_numbers_once() {
        let whole = Share { index: 2, of: 3 };
        let of = |share: Share, number| {
            Share { index: whole.index + whole.of * share.index, of: whole.of * share.of }
                .owns(number)
        };
        for number in 0..100 {
            let owners = Share::all(4).filter(|share| of(*share, number)).count();
            assert_eq!(owners, usize::from(whole.owns(number)), "{number}");
        }
    }
}
