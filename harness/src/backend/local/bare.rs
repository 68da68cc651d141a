//! A target that is only an address (`target.url`): traffic and its record, and nothing else.

use std::{
    collections::VecDeque,
    net::{SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use highwater_model::{
    event::{Event, EventKind, Source},
    load::{Schedule, Share},
    time::{Nanos, Timestamp},
};

use super::driver::{
    sleep,
    traffic::{self, Rates},
};
use crate::{
    backend::{BackendError, Control, Ended, Progress},
    clock::RunClock,
    load::{self, Route, Update},
    plan::Plan,
    record::{EndReason, Line, Sink},
};

/// From the start of the run to that of the traffic: the engine's threads start meanwhile.
const LEAD: Nanos = Nanos::from_millis(200);
/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

struct Bare<'a> {
    sink: &'a mut dyn Sink,
    clock: RunClock,
    start: Timestamp,
    seq: u64,
    /// Those to come.
    phases: VecDeque<(Timestamp, String)>,
    progress: Progress,
    rates: Rates,
}

/// Carries a plan out.
pub(super) async fn run(
    plan: &Plan,
    sink: &mut dyn Sink,
    control: &mut Control<'_>,
) -> Result<Ended, BackendError> {
    let authority = authority(plan.scenario.target.url.as_deref().unwrap_or_default());
    let address = resolve(authority)?;
    let clock = RunClock::start();
    let start = clock.now() + LEAD;
    let host = plan.scenario.path.host.as_deref().unwrap_or(authority);
    let config = config(plan, clock, start, address, host);
    let mut engine = traffic::start_engine(plan, config)?;
    let phases = plan.phases.iter().map(|phase| (start + phase.start, phase.name.clone()));
    let progress = Progress { stage: "traffic", total: plan.lasts(), ..Progress::default() };
    let phases = phases.collect();
    let rates = Rates::default();
    let mut bare = Bare { sink, clock, start, seq: 0, phases, progress, rates };
    bare.emit(start, EventKind::TrafficStarted)?;
    let reason = bare.drive(&mut engine, control).await;
    // Where the run was given up, its threads end when their last requests have timed out.
    engine.order(load::Control::Stop);
    let reason = reason?;
    bare.sink.flush()?;
    Ok(Ended { reason, end: clock.now(), limits: None })
}

fn config(
    plan: &Plan,
    clock: RunClock,
    start: Timestamp,
    address: SocketAddr,
    host: &str,
) -> load::Config {
    let scenario = &plan.scenario;
    let profile = plan.profile.clone();
    load::Config {
        clock,
        start,
        schedule: Schedule::new(profile, scenario.traffic.arrivals, scenario.seed),
        share: Share::WHOLE,
        kinds: load::request::compile(&scenario.traffic, "/", host),
        traffic: scenario.traffic.clone(),
        route: Route::Url(address),
        proxy_clock: clock,
        seed: scenario.seed,
    }
}

/// `host:port` or `host` of a URL that was checked.
fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/')
}

fn resolve(authority: &str) -> Result<SocketAddr, BackendError> {
    let mut found = match authority.to_socket_addrs() {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            (authority.trim_matches(['[', ']']), HTTP_PORT).to_socket_addrs()
        }
        found => found,
    }
    .map_err(BackendError::system(format!("looking up {authority}")))?;
    found.next().ok_or_else(|| {
        let none = std::io::Error::from(std::io::ErrorKind::NotFound);
        BackendError::system(format!("looking up {authority}"))(none)
    })
}

impl Bare<'_> {
    /// Whatever comes first of interrupts, news of the engines, phases and seconds.
    async fn drive(
        &mut self,
        engine: &mut load::Handle,
        control: &mut Control<'_>,
    ) -> Result<EndReason, BackendError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut interrupted = 0;
        loop {
            let wait = self.phases.front().map(|(at, _)| at.since(self.clock.now()).to_std());
            tokio::select! {
                biased;
                changed = control.interrupts.changed(), if interrupted < 2 => {
                    // The sender lives as long as the program.
                    interrupted = if changed.is_ok() { *control.interrupts.borrow() } else { 2 };
                    if interrupted >= 2 {
                        return Ok(EndReason::Interrupted);
                    }
                    self.progress.stage = "stopping";
                    self.phases.clear();
                    engine.order(load::Control::Stop);
                }
                update = engine.updates.recv() => {
                    if self.update(update)? {
                        self.emit(self.clock.now(), EventKind::TrafficEnded)?;
                        let is_whole = interrupted == 0;
                        return Ok(if is_whole { EndReason::Completed } else { EndReason::Interrupted });
                    }
                }
                () = sleep(wait), if wait.is_some() => {
                    if let Some((at, phase)) = self.phases.pop_front() {
                        self.emit(at, EventKind::PhaseStarted { phase })?;
                    }
                }
                _ = ticks.tick() => {
                    self.progress.elapsed = self.clock.now().since(self.start);
                    (control.progress)(&self.progress);
                    self.sink.flush()?;
                }
            }
        }
    }

    /// Takes news of the engines; true when they have finished.
    fn update(&mut self, update: Option<Update>) -> Result<bool, BackendError> {
        let Some(second) = traffic::second_of(update)? else { return Ok(true) };
        self.rates.take(&second, &mut self.progress);
        for line in second.into_lines(0) {
            self.sink.line(line)?;
        }
        Ok(false)
    }

    fn emit(&mut self, at: Timestamp, kind: EventKind) -> Result<(), BackendError> {
        let (seq, source) = (self.seq, Source::Load);
        self.seq += 1;
        let event = Event { at, seq, source, precision: None, stated: None, kind };
        Ok(self.sink.line(Line::Event(event))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_addresses() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://127.0.0.1/", Some("127.0.0.1:80")),
            ("http://[::1]:81", Some("[::1]:81")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://127.0.0.1:99999", None),
        ] {
            let found = resolve(authority(url)).ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
