//! One container of the bundled service: what it does with connections, requests and signals.
//!
//! *Source*: `target-service`, whose every behaviour is here again in virtual time, the wrong ones
//! with the same constants (`target-service/src/wrong.rs`).

use alloc::{collections::BinaryHeap, sync::Arc, vec::Vec};
use core::cmp::Reverse;

use super::{asks::Ask, cpu::Cpu, soon::Soon};
use crate::{
    cluster::ContainerId,
    event::LifecyclePhase,
    rng::Stream,
    spec::{Draws, Misbehaviour, OnCancel, Service, Simulation, WarmUp, WhenFull},
    time::{Nanos, Timestamp},
};

/// How long a service that is ready too early is not warm, and how slow it then is.
const WARM_UP: Nanos = Nanos::from_secs(3);
/// How often it tells at most that its queue is full.
const FULL_TOLD_EVERY: Nanos = Nanos::from_secs(1);
/// How many requests find a cold service.
const COLD_REQUESTS: u64 = 20;
/// How much longer a request takes that finds the service cold.
const SLOWNESS: Nanos = Nanos::from_secs(3);
/// How much memory a request costs that grows with each.
const GROWTH: u64 = 1 << 20;
/// How long a service that is ready too early does not listen, at least.
const PREMATURE_MIN: Nanos = Nanos::from_secs(5);
/// How long it takes until the close of a connection goes out, of who closes idle ones early.
const CLOSE_TRAVELS: Nanos = Nanos::from_millis(20);
/// Which request crashes.
const CRASH_EVERY: u64 = 100;
const CRASH_CODE: i32 = 101;
/// How long a cleanup blocks.
const CLEANUP: Nanos = Nanos::from_secs(2);
/// After how long idle connections are closed by who closes them early.
const SHORT_IDLE: Nanos = Nanos::from_secs(1);
/// The memory of an idle service.
const BASE_MEMORY: u64 = 6 << 20;
/// Upper bounds of the latency histogram that it tells, seconds.
pub(super) const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same in nanoseconds, and one that nothing is above.
const BOUNDS: [u64; BUCKETS.len() + 1] = bounds();
/// By the number of bits that a latency has: how many bounds have fewer.
const FEWER_BITS: [u8; 65] = fewer_bits();

const fn bounds() -> [u64; BUCKETS.len() + 1] {
    let (mut bounds, mut place) = ([u64::MAX; BUCKETS.len() + 1], 0);
    while place < BUCKETS.len() {
        bounds[place] = (BUCKETS[place] * 1e9 + 0.5) as u64;
        place += 1;
    }
    bounds
}

const fn fewer_bits() -> [u8; 65] {
    let (mut fewer, mut bits) = ([0; 65], 0);
    while bits < fewer.len() {
        while (u64::BITS - BOUNDS[fewer[bits] as usize].leading_zeros()) < bits as u32 {
            fewer[bits] += 1;
        }
        bits += 1;
    }
    fewer
}

/// The bucket of a latency; behind the last one if it is above all bounds. No two bounds have the
/// same number of bits, so that one comparison is enough.
fn bucket(ns: u64) -> usize {
    let fewer = usize::from(FEWER_BITS[(u64::BITS - ns.leading_zeros()) as usize]);
    fewer + usize::from(ns > BOUNDS[fewer])
}

/// What is due of a replica by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It listens.
    Listen,
    /// The delay of its drain is over.
    EndDelay,
    /// The deadline of its drain has come.
    Deadline,
    /// A dependency is closed.
    Dependency(u32),
    /// The process ends.
    Exit(i32),
    /// A request makes it crash.
    Crash,
    /// The kernel ends it for its memory.
    OutOfMemory,
}

/// What becomes of a request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// An answer.
    Answer {
        /// When it leaves.
        at: Timestamp,
        /// Whether it is a refusal, 503.
        is_refusal: bool,
    },
    /// None: the process ends with it, by a crash of its own.
    Crash,
    /// None: the process ends with it, as it has more memory than it may.
    OutOfMemory,
    /// None as long as the process does not go on.
    Stalled,
    /// None: its connection is closed as it comes.
    Closed,
}

/// What a connection attempt meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// It is taken.
    Open,
    /// It waits in the kernel's queue of a listener that nobody looks at, until that closes.
    Queued,
    /// Nothing listens.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    Delaying,
    Finishing,
    Closing,
    Gone,
}

/// What a replica wants told or done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// A line of its life.
    Tell(LifecyclePhase, alloc::string::String),
    /// A step at a time.
    Plan(Timestamp, Step),
    /// What waits in the queue of its listener is cut off now.
    CutQueue,
    /// Whatever is in flight, or waits in the queue, is cut off now.
    Cut,
    /// It is about to end for its memory.
    OutOfMemory,
    /// The process has ended.
    Exited(i32),
}

/// What it tells of its requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) buckets: [u64; BUCKETS.len()],
}

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) container: ContainerId,
    service: Service,
    /// Whether it works on all that comes, in its own way: nothing else need be looked at.
    is_plain: bool,
    /// Its wrong behaviours, a bit of each.
    wrong: u32,
    waits: Draws,
    /// What each kind of request asks for.
    asks: Arc<[Ask]>,
    /// What the machine adds to each request.
    overhead: Draws,
    cpu: Cpu,
    memory_limit: Option<u64>,
    /// When each worker is free, where their number is bounded.
    workers: Soon,
    /// When each request that waits for a worker does so no more, where their number is bounded.
    queue: BinaryHeap<Reverse<Timestamp>>,
    /// When it last told that its queue is full.
    told_full: Option<Timestamp>,
    /// Whether it tells so now.
    pub(super) tells_full: bool,
    stage: Stage,
    listens_at: Timestamp,
    signal_at: Option<Timestamp>,
    announces: bool,
    refuses: bool,
    is_accepting: bool,
    is_blocked: bool,
    gave_up_readiness: bool,
    /// When the last of what it works on is done.
    busy_until: Timestamp,
    pub(super) frozen_at: Option<Timestamp>,
    /// When it closed its idle connections.
    pub(super) closed_idle_at: Option<Timestamp>,
    pub(super) dead_at: Option<Timestamp>,
    pub(super) in_flight: u32,
    /// Connections that are open, as it sees them.
    pub(super) open: u32,
    taken: u64,
    pub(super) counts: Counts,
}

impl Replica {
    #[expect(clippy::too_many_arguments, reason = "all that a process is made of")]
    pub(super) fn new(
        now: Timestamp,
        container: ContainerId,
        service: Service,
        misbehave: &[Misbehaviour],
        simulation: &Simulation,
        limits: (Option<u64>, Option<u64>),
        [latency, overhead]: [Stream; 2],
        asks: Arc<[Ask]>,
        acts: &mut Vec<Act>,
    ) -> Self {
        let is_premature = misbehave.contains(&Misbehaviour::ReadyBeforeListening);
        let least = if is_premature { PREMATURE_MIN } else { Nanos::ZERO };
        let listens = now + service.startup.max(least);
        let is_own = |ask: &Ask| ask.is_work && ask.cpu.is_none() && ask.wait.is_none();
        let is_plain = misbehave.is_empty()
            && limits.1.is_none()
            && service.queue.is_none()
            && service.warm_up.is_none()
            && asks.iter().all(is_own);
        let mut replica = Self {
            is_plain,
            container,
            cpu: Cpu::new(now, simulation.cores, limits.0),
            memory_limit: limits.1,
            waits: Draws::new(service.latency.sampler(), latency),
            service,
            wrong: misbehave.iter().fold(0, |wrong, how| wrong | 1 << *how as u32),
            asks,
            overhead: Draws::new(simulation.overhead.sampler(), overhead),
            workers: Soon::default(),
            queue: BinaryHeap::new(),
            told_full: None,
            tells_full: false,
            stage: Stage::Starting,
            listens_at: now,
            signal_at: None,
            announces: false,
            refuses: false,
            is_accepting: true,
            is_blocked: false,
            gave_up_readiness: false,
            busy_until: now,
            frozen_at: None,
            closed_idle_at: None,
            dead_at: None,
            in_flight: 0,
            open: 0,
            taken: 0,
            counts: Counts::default(),
        };
        acts.push(tell(LifecyclePhase::Starting));
        if replica.has(Misbehaviour::ReadyBeforeListening) {
            acts.push(tell(LifecyclePhase::Ready));
        }
        if listens == now {
            replica.step(now, Step::Listen, acts);
        } else {
            acts.push(Act::Plan(listens, Step::Listen));
        }
        replica
    }

    pub(super) fn has(&self, how: Misbehaviour) -> bool {
        self.wrong & 1 << how as u32 != 0
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead_at.is_some()
    }

    /// After how long it closes an idle connection.
    pub(super) fn idle_timeout(&self) -> Option<Nanos> {
        if !self.has(Misbehaviour::ShortIdleTimeout) {
            return self.service.idle_timeout;
        }
        Some(self.service.idle_timeout.map_or(SHORT_IDLE, |timeout| timeout.min(SHORT_IDLE)))
    }

    /// How long after it closed an idle connection that goes out.
    pub(super) fn close_travels(&self) -> Nanos {
        if self.has(Misbehaviour::ShortIdleTimeout) { CLOSE_TRAVELS } else { Nanos::ZERO }
    }

    /// Whether answers say `Connection: close`.
    pub(super) fn announces_close(&self) -> bool {
        self.announces
    }

    /// What a connection attempt meets now.
    pub(super) fn door(&self) -> Door {
        let is_bound = !self.has(Misbehaviour::BindLoopback);
        match self.stage {
            Stage::Serving | Stage::Delaying if is_bound && !self.is_dead() => {
                if self.is_accepting { Door::Open } else { Door::Queued }
            }
            _ => Door::Closed,
        }
    }

    /// Whether `/readyz` passes.
    pub(super) fn is_ready(&self) -> bool {
        if self.has(Misbehaviour::StayReady) && self.stage != Stage::Starting {
            return true;
        }
        match self.stage {
            Stage::Starting => self.has(Misbehaviour::ReadyBeforeListening),
            Stage::Serving => !self.gave_up_readiness,
            _ => false,
        }
    }

    /// Its preStop hook was called.
    pub(super) fn pre_stop(&mut self, acts: &mut Vec<Act>) -> Nanos {
        if self.has(Misbehaviour::UnreadyTooEarly) {
            self.gave_up_readiness = true;
            acts.push(tell(LifecyclePhase::NotReady));
        }
        self.service.drain.delay
    }

    /// Whether `/startupz` passes.
    pub(super) fn has_started(&self) -> bool {
        self.stage != Stage::Starting || self.has(Misbehaviour::ReadyBeforeListening)
    }

    /// Whether a probe gets an answer at all, and after how long.
    pub(super) fn probe_delay(&self, now: Timestamp) -> Option<Nanos> {
        if self.is_dead() || self.frozen_at.is_some() || self.is_blocked {
            return None;
        }
        let is_behind = self.has(Misbehaviour::SlowProbeUnderLoad);
        Some(if is_behind { self.busy_until.since(now) } else { Nanos::ZERO })
    }

    /// A request has come, whose client closes the connection at `gives_up` if it has no answer by
    /// then.
    #[inline(always)]
    pub(super) fn take(&mut self, now: Timestamp, gives_up: Timestamp, kind: u16) -> Reply {
        self.in_flight += 1;
        if self.frozen_at.is_some() || self.is_blocked {
            return Reply::Stalled;
        }
        if self.is_plain {
            self.taken += 1;
        } else if let Some(reply) = self.turns_away(now, kind) {
            return reply;
        }
        let at = self.work(now, gives_up, kind);
        self.busy_until = self.busy_until.max(at.min(gives_up));
        Reply::Answer { at, is_refusal: false }
    }

    /// What becomes of a request that it does not work on.
    #[inline(never)]
    fn turns_away(&mut self, now: Timestamp, kind: u16) -> Option<Reply> {
        let refusal = Reply::Answer { at: now, is_refusal: true };
        if self.asks.get(usize::from(kind)).is_some_and(|ask| !ask.is_work) {
            return Some(Reply::Answer { at: now, is_refusal: false });
        }
        if self.refuses {
            return Some(refusal);
        }
        if let Some(full) = self.is_full(now) {
            if self.told_full.is_none_or(|told| now >= told + FULL_TOLD_EVERY) {
                self.told_full = Some(now);
                self.tells_full = true;
            }
            return Some(match full {
                WhenFull::Unavailable => refusal,
                WhenFull::Close => Reply::Closed,
            });
        }
        self.taken += 1;
        if self.has(Misbehaviour::CrashOnRequest) && self.taken >= CRASH_EVERY {
            return Some(Reply::Crash);
        }
        let is_beyond = self.memory_limit.is_some_and(|limit| self.usage(now).memory > limit);
        is_beyond.then_some(Reply::OutOfMemory)
    }

    /// A request that had come while it was frozen gets its turn: when it is answered, and whether by
    /// a refusal.
    pub(super) fn take_again(&mut self, now: Timestamp, kind: u16) -> Option<(Timestamp, bool)> {
        self.in_flight = self.in_flight.saturating_sub(1);
        match self.take(now, Timestamp::MAX, kind) {
            Reply::Answer { at, is_refusal } => Some((at, is_refusal)),
            Reply::Crash | Reply::OutOfMemory | Reply::Stalled | Reply::Closed => None,
        }
    }

    /// What becomes of a request for which there is no room.
    fn is_full(&mut self, now: Timestamp) -> Option<WhenFull> {
        let (queue, workers) = (self.service.queue?, self.service.workers?);
        while self.queue.peek().is_some_and(|Reverse(left)| *left <= now) {
            self.queue.pop();
        }
        let waits = self.workers.len() >= workers as usize
            && self.workers.peek().is_some_and(|(free, _)| *free > now);
        (waits && self.queue.len() >= queue.length as usize).then_some(queue.full)
    }

    /// When the request is done that came at `now`: in its turn, if its client still waits then.
    #[inline(always)]
    fn work(&mut self, now: Timestamp, gives_up: Timestamp, kind: u16) -> Timestamp {
        let Some(workers) = self.service.workers else {
            return self.work_from(now, kind);
        };
        if self.workers.len() < workers as usize {
            let end = self.work_from(now, kind);
            self.workers.push((self.busy_with(end, gives_up), 0));
            return end;
        }
        let free = self.workers.peek().map_or(now, |(free, _)| *free);
        let start = free.max(now);
        if start > now && self.service.queue.is_some() {
            self.queue.push(Reverse(self.busy_with(start, gives_up)));
        }
        if start >= gives_up && self.service.on_cancel == OnCancel::Stop {
            // It is gone before its turn comes.
            return Timestamp::MAX;
        }
        let end = self.work_from(start, kind);
        let until = self.busy_with(end, gives_up);
        self.workers.pop();
        self.workers.push((until, 0));
        end
    }

    /// Until when a request is waited for that would last until `end`.
    #[inline(always)]
    fn busy_with(&self, end: Timestamp, gives_up: Timestamp) -> Timestamp {
        match self.service.on_cancel {
            OnCancel::Stop => end.min(gives_up),
            OnCancel::Finish => end,
        }
    }

    #[inline(always)]
    fn work_from(&mut self, start: Timestamp, kind: u16) -> Timestamp {
        // It is drawn even if it is not wanted, so that what others draw stays the same.
        let drawn = self.waits.draw();
        let (cpu, wait) =
            if self.is_plain { (self.service.cpu, drawn) } else { self.takes(start, kind, drawn) };
        self.cpu.run(start, cpu) + wait + self.overhead.draw()
    }

    /// How much CPU and waiting a request of this kind takes that begins at `start`.
    #[inline(never)]
    fn takes(&self, start: Timestamp, kind: u16, drawn: Nanos) -> (Nanos, Nanos) {
        let ask = self.asks.get(usize::from(kind)).unwrap_or(&Ask::PLAIN);
        let mut cpu = ask.cpu.unwrap_or(self.service.cpu);
        let mut wait = ask.wait.unwrap_or(drawn);
        if let Some(factor) = self.slower(start) {
            cpu = Nanos((cpu.0 as f64 * factor) as u64);
            wait = Nanos((wait.0 as f64 * factor) as u64);
        }
        let is_cold = self.has(Misbehaviour::ColdStart) && self.taken <= COLD_REQUESTS;
        let is_warming =
            self.has(Misbehaviour::ReadyBeforeWarm) && start < self.listens_at + WARM_UP;
        if is_cold || is_warming {
            wait = wait + SLOWNESS;
        }
        (cpu, wait)
    }

    /// How many times as long a request takes that begins now, if it is not as long.
    fn slower(&self, now: Timestamp) -> Option<f64> {
        let WarmUp { for_, requests, factor } = self.service.warm_up?;
        let is_young = for_.is_some_and(|span| now < self.listens_at + span);
        let is_early = requests.is_some_and(|requests| self.taken <= requests);
        (is_young || is_early).then_some(factor)
    }

    /// A request that came at `came` was answered at `now`.
    #[inline(always)]
    pub(super) fn answered(&mut self, came: Timestamp, now: Timestamp, is_refusal: bool) {
        let took = now.since(came).0;
        if is_refusal {
            self.counts.refused += 1;
        } else {
            self.counts.answered += 1;
        }
        if let Some(bucket) = self.counts.buckets.get_mut(bucket(took)) {
            *bucket += 1;
        }
    }

    /// A request is in flight no more, however it ended.
    #[inline(always)]
    pub(super) fn left(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.look_whether_drained(now, acts);
    }

    /// A connection was closed by its client.
    pub(super) fn hung_up(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        self.open = self.open.saturating_sub(1);
        self.look_whether_drained(now, acts);
    }

    fn look_whether_drained(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        if self.stage != Stage::Finishing || self.in_flight > 0 {
            return;
        }
        let waits = (self.has(Misbehaviour::NoConnectionClose) && self.open > 0)
            || self.has(Misbehaviour::EndlessDrain);
        if !waits {
            acts.push(tell(LifecyclePhase::Drained));
            self.close_dependency(now, 0, acts);
        }
    }

    fn close_dependency(&mut self, now: Timestamp, next: u32, acts: &mut Vec<Act>) {
        self.stage = Stage::Closing;
        match self.service.dependencies.get(next as usize) {
            Some(dependency) => {
                acts.push(Act::Plan(now + dependency.close, Step::Dependency(next)));
            }
            None => self.exit(now, 0, acts),
        }
    }

    /// Does a step of its own.
    pub(super) fn step(&mut self, now: Timestamp, step: Step, acts: &mut Vec<Act>) {
        if self.is_dead() {
            return;
        }
        match step {
            Step::Listen if self.stage == Stage::Starting => {
                self.stage = Stage::Serving;
                self.listens_at = now;
                let is_bound = !self.has(Misbehaviour::BindLoopback);
                let address = if is_bound { "0.0.0.0:8080" } else { "127.0.0.1:8080" };
                let detail = alloc::format!("addr=\"{address}\"");
                acts.push(Act::Tell(LifecyclePhase::Listening, detail));
                if !self.has(Misbehaviour::ReadyBeforeListening) {
                    acts.push(tell(LifecyclePhase::Ready));
                }
            }
            Step::EndDelay if self.stage == Stage::Delaying => self.close(now, acts),
            Step::Deadline if self.stage == Stage::Finishing => {
                acts.push(tell(LifecyclePhase::Cancelled));
                self.open = 0;
                self.in_flight = 0;
                acts.push(Act::Cut);
                self.close_dependency(now, 0, acts);
            }
            Step::Dependency(index) if self.stage == Stage::Closing => {
                acts.push(tell(LifecyclePhase::DependencyClosed));
                self.close_dependency(now, index + 1, acts);
            }
            Step::Exit(code) => self.exit(now, code, acts),
            Step::Crash => self.die(now, CRASH_CODE, acts),
            Step::OutOfMemory => {
                acts.push(Act::OutOfMemory);
                self.die(now, 128 + 9, acts);
            }
            _ => {}
        }
    }

    /// SIGTERM.
    pub(super) fn terminate(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        if self.is_dead() || self.signal_at.is_some() || self.has(Misbehaviour::NoSignalHandler) {
            return;
        }
        self.signal_at = Some(now);
        acts.push(tell(LifecyclePhase::Signal));
        if self.has(Misbehaviour::ExitOnSigterm) {
            return self.exit(now, 143, acts);
        }
        if self.has(Misbehaviour::BlockingCleanup) {
            self.is_blocked = true;
            acts.push(Act::Plan(now + CLEANUP, Step::Exit(0)));
            return;
        }
        if !self.has(Misbehaviour::StayReady) {
            acts.push(tell(LifecyclePhase::NotReady));
        }
        acts.push(tell(LifecyclePhase::DrainStarted));
        self.announces = !self.has(Misbehaviour::NoConnectionClose);
        self.refuses = self.has(Misbehaviour::RefuseWhileDraining);
        self.is_accepting = !self.has(Misbehaviour::DropAcceptQueue);
        if self.stage == Stage::Starting {
            // Nobody is served by what has not begun.
            return self.exit(now, 0, acts);
        }
        let delay = self.service.drain.delay;
        if self.has(Misbehaviour::CloseListenerFirst) || delay == Nanos::ZERO {
            self.close(now, acts);
        } else {
            self.stage = Stage::Delaying;
            acts.push(Act::Plan(now + delay.min(self.service.drain.deadline), Step::EndDelay));
        }
    }

    /// Closes the listener.
    fn close(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        self.stage = Stage::Finishing;
        if !self.has(Misbehaviour::DropAcceptQueue) {
            acts.push(tell(LifecyclePhase::AcceptQueueEmptied));
        }
        acts.push(tell(LifecyclePhase::ListenerClosed));
        if !self.has(Misbehaviour::NoConnectionClose) {
            self.closed_idle_at = Some(now);
            self.open = self.in_flight;
        }
        if !self.is_accepting {
            acts.push(Act::CutQueue);
        }
        if !self.has(Misbehaviour::EndlessDrain) {
            let signal = self.signal_at.unwrap_or(now);
            acts.push(Act::Plan(signal + self.service.drain.deadline, Step::Deadline));
        }
        self.look_whether_drained(now, acts);
    }

    fn exit(&mut self, now: Timestamp, code: i32, acts: &mut Vec<Act>) {
        acts.push(tell(LifecyclePhase::Exiting));
        self.die(now, code, acts);
    }

    /// The process ends, by itself or by SIGKILL.
    pub(super) fn die(&mut self, now: Timestamp, code: i32, acts: &mut Vec<Act>) {
        if self.is_dead() {
            return;
        }
        self.stage = Stage::Gone;
        self.dead_at = Some(now);
        acts.push(Act::Cut);
        acts.push(Act::Exited(code));
    }

    /// What it has used.
    pub(super) fn usage(&self, now: Timestamp) -> crate::metrics::resource::Usage {
        let grown = if self.has(Misbehaviour::MemoryGrowth) { self.taken * GROWTH } else { 0 };
        crate::metrics::resource::Usage { cpu: self.cpu.used(now), memory: BASE_MEMORY + grown }
    }
}

fn tell(phase: LifecyclePhase) -> Act {
    Act::Tell(phase, alloc::string::String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        for bound in &BOUNDS[..BUCKETS.len()] {
            for ns in [bound / 2, bound - 1, *bound, bound + 1, bound * 3] {
                let first = BOUNDS.iter().position(|bound| ns <= *bound);
                assert_eq!(Some(bucket(ns)), first, "{ns} ns");
            }
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS.len()));
    }
}
