//! The machine that decides how to shut down. Pure: it is told what happens and what time it is,
//! and says what to do; the server obeys.
//!
//! The order of a correct shutdown: readiness fails; serve on, new connections too, through the
//! propagation delay, with `Connection: close`; empty the accept queue; close the listener; finish
//! what is in flight within the deadline; cancel what outlives it; close the dependencies, each
//! with a time-out; wait for every task; exit 0.

use crate::misbehave::Misbehaviour;

/// How to shut down. All spans in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to serve on after the signal: until every client knows that this pod goes.
    pub delay_ns: u64,
    /// When to cancel what is still in flight, from the signal.
    pub deadline_ns: u64,
    /// How long a connection may take to bring its first request once the listener is closed.
    pub first_request_ns: u64,
    /// How long closing one dependency may take.
    pub dependency_timeout_ns: u64,
    /// The dependencies, in the order in which they are closed.
    pub dependencies: Vec<String>,
    /// The wrong behaviours.
    pub misbehave: Vec<Misbehaviour>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// SIGTERM, or the first SIGINT.
    Signal,
    /// A second SIGINT.
    Impatience,
    /// The accept queue is empty.
    QueueEmptied,
    /// Every connection has ended.
    ConnectionsGone,
    /// A dependency is closed.
    DependencyClosed,
    /// Every background task has ended.
    TasksEnded,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `/readyz` fails from now on.
    FailReadiness,
    /// The drain has begun: told, and nothing else.
    StartDrain,
    /// Every answer says `Connection: close` from now on.
    AnnounceClose,
    /// Accept no connection any more, with the listener open: the kernel queues what comes.
    StopAccepting,
    /// Do something else that lets nothing be served meanwhile.
    Block,
    /// `/work` answers 503 from now on.
    RefuseWork,
    /// Accept what waits, then say [`Input::QueueEmptied`].
    EmptyQueue,
    /// Close the listener.
    CloseListener,
    /// Close idle connections; the others after their answer.
    CloseIdle,
    /// Close connections that have not brought a request at all.
    CloseSilent,
    /// Cancel what is still in flight.
    Cancel,
    /// Close a dependency, then say [`Input::DependencyClosed`].
    CloseDependency {
        /// Its name.
        name: String,
        /// The bound.
        timeout_ns: u64,
    },
    /// Cancel the background tasks, then say [`Input::TasksEnded`].
    StopTasks,
    /// End the process.
    Exit {
        /// Its exit code.
        code: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    Delaying { until: u64 },
    Emptying,
    Finishing { silent_until: Option<u64> },
    Cancelled,
    ClosingDependencies { next: usize },
    StoppingTasks,
    Done,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    stage: Stage,
    signal_at: u64,
    are_connections_gone: bool,
}

impl Machine {
    /// A machine that serves.
    pub fn new(config: Config) -> Self {
        Self { config, stage: Stage::Serving, signal_at: 0, are_connections_gone: false }
    }

    fn misbehaves(&self, how: Misbehaviour) -> bool {
        self.config.misbehave.contains(&how)
    }

    /// The name of the stage, for the metrics.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Serving => "serving",
            Stage::Delaying { .. } => "delaying",
            Stage::Emptying => "emptying",
            Stage::Finishing { .. } => "finishing",
            Stage::Cancelled => "cancelled",
            Stage::ClosingDependencies { .. } => "closing-dependencies",
            Stage::StoppingTasks | Stage::Done => "stopping",
        }
    }

    /// All names that [`Self::state`] can give.
    pub const STATES: &[&str] = &[
        "serving",
        "delaying",
        "emptying",
        "finishing",
        "cancelled",
        "closing-dependencies",
        "stopping",
    ];

    /// When [`Self::advance`] has something to do; nanoseconds on the caller's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadline = self.deadline();
        match self.stage {
            Stage::Delaying { until } => Some(until.min(deadline)),
            Stage::Finishing { silent_until } => {
                Some(silent_until.map_or(deadline, |silent| silent.min(deadline)))
            }
            _ => None,
        }
    }

    /// Fires what is due at `now`.
    pub fn advance(&mut self, now: u64) -> Vec<Effect> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let deadline = self.deadline();
        match self.stage {
            Stage::Delaying { .. } => self.end_delay(now),
            Stage::Finishing { .. } if now >= deadline => {
                self.stage = Stage::Cancelled;
                vec![Effect::Cancel]
            }
            Stage::Finishing { .. } => {
                self.stage = Stage::Finishing { silent_until: None };
                vec![Effect::CloseSilent]
            }
            _ => Vec::new(),
        }
    }

    /// Takes what happened at `now`. Inputs that no longer matter are ignored.
    pub fn handle(&mut self, now: u64, input: Input) -> Vec<Effect> {
        match (self.stage, input) {
            (Stage::Done, _) => Vec::new(),
            (_, Input::Impatience) => self.exit(130),
            (Stage::Serving, Input::Signal) => self.begin(now),
            (Stage::Emptying, Input::QueueEmptied) => self.close(now),
            (Stage::Finishing { .. } | Stage::Cancelled, Input::ConnectionsGone) => {
                self.close_dependency(0)
            }
            (_, Input::ConnectionsGone) => {
                self.are_connections_gone = true;
                Vec::new()
            }
            (Stage::ClosingDependencies { next }, Input::DependencyClosed) => {
                self.close_dependency(next)
            }
            (Stage::StoppingTasks, Input::TasksEnded) => self.exit(0),
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: u64) -> Vec<Effect> {
        if self.misbehaves(Misbehaviour::ExitOnSigterm) {
            return self.exit(143);
        }
        if self.misbehaves(Misbehaviour::BlockingCleanup) {
            return [vec![Effect::Block], self.exit(0)].concat();
        }
        self.signal_at = now;
        let steps = [
            (Effect::FailReadiness, !self.misbehaves(Misbehaviour::StayReady)),
            (Effect::StartDrain, true),
            (Effect::AnnounceClose, !self.misbehaves(Misbehaviour::NoConnectionClose)),
            (Effect::RefuseWork, self.misbehaves(Misbehaviour::RefuseWhileDraining)),
            (Effect::StopAccepting, self.misbehaves(Misbehaviour::DropAcceptQueue)),
        ];
        let wanted = steps.into_iter().filter(|(_, is_wanted)| *is_wanted);
        let mut effects: Vec<Effect> = wanted.map(|(step, _)| step).collect();
        if self.misbehaves(Misbehaviour::CloseListenerFirst) || self.config.delay_ns == 0 {
            effects.extend(self.end_delay(now));
        } else {
            self.stage = Stage::Delaying { until: now.saturating_add(self.config.delay_ns) };
        }
        effects
    }

    fn deadline(&self) -> u64 {
        if self.misbehaves(Misbehaviour::EndlessDrain) {
            return u64::MAX;
        }
        self.signal_at.saturating_add(self.config.deadline_ns)
    }

    fn end_delay(&mut self, now: u64) -> Vec<Effect> {
        if self.misbehaves(Misbehaviour::DropAcceptQueue) {
            return self.close(now);
        }
        self.stage = Stage::Emptying;
        vec![Effect::EmptyQueue]
    }

    fn close(&mut self, now: u64) -> Vec<Effect> {
        // Who announces nothing waits for its clients to close.
        let waits = self.misbehaves(Misbehaviour::NoConnectionClose);
        let silent_until = now.saturating_add(self.config.first_request_ns);
        self.stage = Stage::Finishing { silent_until: (!waits).then_some(silent_until) };
        let mut effects = vec![Effect::CloseListener];
        if !waits {
            effects.push(Effect::CloseIdle);
        }
        if self.are_connections_gone {
            effects.extend(self.close_dependency(0));
        }
        effects
    }

    fn close_dependency(&mut self, index: usize) -> Vec<Effect> {
        match self.config.dependencies.get(index) {
            Some(name) => {
                self.stage = Stage::ClosingDependencies { next: index + 1 };
                let timeout_ns = self.config.dependency_timeout_ns;
                vec![Effect::CloseDependency { name: name.clone(), timeout_ns }]
            }
            None => {
                self.stage = Stage::StoppingTasks;
                vec![Effect::StopTasks]
            }
        }
    }

    fn exit(&mut self, code: u8) -> Vec<Effect> {
        self.stage = Stage::Done;
        vec![Effect::Exit { code }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn machine(misbehave: &[Misbehaviour]) -> Machine {
        Machine::new(Config {
            delay_ns: 5 * S,
            deadline_ns: 30 * S,
            first_request_ns: S,
            dependency_timeout_ns: 2 * S,
            dependencies: vec!["db".into(), "cache".into()],
            misbehave: misbehave.to_vec(),
        })
    }

    fn close(name: &str) -> Vec<Effect> {
        vec![Effect::CloseDependency { name: name.into(), timeout_ns: 2 * S }]
    }

    #[test]
    fn a_correct_shutdown_takes_its_steps_in_order() {
        let mut machine = machine(&[]);
        assert_eq!(
            machine.handle(10 * S, Input::Signal),
            [Effect::FailReadiness, Effect::StartDrain, Effect::AnnounceClose]
        );
        assert_eq!(machine.next_deadline(), Some(15 * S));
        assert_eq!(machine.advance(15 * S - 1), []);
        assert_eq!(machine.advance(15 * S), [Effect::EmptyQueue]);
        assert_eq!(
            machine.handle(15 * S, Input::QueueEmptied),
            [Effect::CloseListener, Effect::CloseIdle]
        );
        assert_eq!(machine.advance(16 * S), [Effect::CloseSilent]);
        assert_eq!(machine.next_deadline(), Some(40 * S), "the deadline counts from the signal");
        assert_eq!(machine.handle(17 * S, Input::ConnectionsGone), close("db"));
        assert_eq!(machine.handle(17 * S, Input::DependencyClosed), close("cache"));
        assert_eq!(machine.handle(17 * S, Input::DependencyClosed), [Effect::StopTasks]);
        assert_eq!(machine.handle(17 * S, Input::TasksEnded), [Effect::Exit { code: 0 }]);
        assert_eq!(machine.next_deadline(), None);
    }

    #[test]
    fn what_outlives_the_deadline_is_cancelled() {
        let mut machine = machine(&[]);
        machine.handle(0, Input::Signal);
        machine.advance(5 * S);
        machine.handle(5 * S, Input::QueueEmptied);
        machine.advance(6 * S);
        assert_eq!(machine.advance(30 * S), [Effect::Cancel]);
        assert_eq!(machine.handle(30 * S, Input::ConnectionsGone), close("db"));
    }

    #[test]
    fn a_server_without_connections_goes_on_at_once_when_the_listener_is_closed() {
        let mut machine = machine(&[]);
        machine.handle(0, Input::Signal);
        assert_eq!(
            machine.handle(S, Input::ConnectionsGone),
            [],
            "the delay is for those who do not know yet"
        );
        machine.advance(5 * S);
        let effects = machine.handle(5 * S, Input::QueueEmptied);
        assert_eq!(effects[..2], [Effect::CloseListener, Effect::CloseIdle]);
        assert_eq!(effects[2..], close("db"));
    }

    #[test]
    fn the_deadline_also_ends_a_delay_that_is_longer() {
        let mut machine = Machine::new(Config { delay_ns: 60 * S, ..machine(&[]).config });
        machine.handle(0, Input::Signal);
        assert_eq!(machine.next_deadline(), Some(30 * S));
    }

    #[test]
    fn each_wrong_behaviour_changes_its_own_step_only() {
        use Misbehaviour as M;
        let first = |how| machine(&[how]).handle(0, Input::Signal);
        let right = [Effect::FailReadiness, Effect::StartDrain, Effect::AnnounceClose];
        assert_eq!(first(M::ExitOnSigterm), [Effect::Exit { code: 143 }]);
        assert_eq!(first(M::CloseListenerFirst), [&right[..], &[Effect::EmptyQueue]].concat());
        assert_eq!(first(M::RefuseWhileDraining), [&right[..], &[Effect::RefuseWork]].concat());
        assert_eq!(first(M::ReadyBeforeListening), right);
        assert_eq!(first(M::StayReady), right[1..]);
        assert_eq!(first(M::NoConnectionClose), right[..2]);
        assert_eq!(first(M::BlockingCleanup), [Effect::Block, Effect::Exit { code: 0 }]);
        assert_eq!(first(M::DropAcceptQueue), [&right[..], &[Effect::StopAccepting]].concat());
        assert_eq!(first(M::EndlessDrain), right);
    }

    #[test]
    fn who_drops_its_queue_closes_the_listener_without_emptying_it() {
        let mut machine = machine(&[Misbehaviour::DropAcceptQueue]);
        machine.handle(0, Input::Signal);
        assert_eq!(machine.advance(5 * S), [Effect::CloseListener, Effect::CloseIdle]);
    }

    #[test]
    fn who_announces_no_close_waits_for_its_clients_until_its_deadline() {
        let mut machine = machine(&[Misbehaviour::NoConnectionClose]);
        machine.handle(0, Input::Signal);
        machine.advance(5 * S);
        assert_eq!(machine.handle(5 * S, Input::QueueEmptied), [Effect::CloseListener]);
        assert_eq!(machine.advance(29 * S), []);
        assert_eq!(machine.advance(30 * S), [Effect::Cancel]);
    }

    #[test]
    fn an_endless_drain_has_no_deadline() {
        let mut machine = machine(&[Misbehaviour::EndlessDrain]);
        machine.handle(S, Input::Signal);
        machine.advance(6 * S);
        machine.handle(6 * S, Input::QueueEmptied);
        assert_eq!(machine.advance(7 * S), [Effect::CloseSilent]);
        assert_eq!(machine.advance(u64::MAX - 1), []);
    }

    #[test]
    fn a_second_interrupt_ends_it_and_a_second_signal_does_not() {
        let mut machine = machine(&[]);
        machine.handle(0, Input::Signal);
        assert_eq!(machine.handle(S, Input::Signal), []);
        assert_eq!(machine.handle(S, Input::Impatience), [Effect::Exit { code: 130 }]);
        assert_eq!(machine.handle(S, Input::Signal), []);
    }

    #[test]
    fn any_order_of_inputs_ends_without_panic_and_exits_once() {
        // Every sequence of six inputs out of six kinds: 46,656 of them.
        let inputs = [
            Input::Signal,
            Input::QueueEmptied,
            Input::ConnectionsGone,
            Input::DependencyClosed,
            Input::TasksEnded,
            Input::Impatience,
        ];
        for code in 0..6usize.pow(6) {
            let mut machine = machine(&[]);
            let (mut code, mut exits) = (code, 0);
            for step in 0..6u64 {
                let effects = machine.handle(step * 10 * S, inputs[code % 6].clone());
                let more = machine.advance(step * 10 * S + S);
                exits += effects
                    .iter()
                    .chain(&more)
                    .filter(|e| matches!(e, Effect::Exit { .. }))
                    .count();
                code /= 6;
            }
            assert!(exits <= 1);
        }
    }
}
