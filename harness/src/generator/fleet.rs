//! All generators of a run, from the harness's side.

mod driver;

use std::{collections::BTreeMap, net::SocketAddr};

use highwater_model::{
    event::{EventKind, WarningCode},
    load::Share,
    spec::Scenario,
    time::{Nanos, Timestamp},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{OrderError, Plan};
use crate::{
    agent::{
        clock::Offset,
        link::{self, Connector},
        protocol::Who,
    },
    record::{Limits, Line},
};
use driver::Driver;

/// News of all generators that wait to be taken; the generators keep what does not fit.
const NEWS_MAX: usize = 64;

/// What the generators of a run are to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// How each of them is treated.
    pub link: link::Config,
    /// The scenario.
    pub scenario: Scenario,
    /// See [`Plan::address`].
    pub address: String,
    /// See [`Plan::host`].
    pub host: String,
    /// See [`Plan::default_path`].
    pub default_path: String,
}

/// News of a generator.
#[derive(Debug)]
pub struct News {
    /// Whose, from 0.
    pub generator: u32,
    /// What.
    pub what: What,
}

/// What is heard of a generator. Of each, [`What::Finished`] is the last.
#[derive(Debug)]
pub enum What {
    /// It is there, its clock was measured, and its plan makes sense.
    Ready {
        /// Who it is.
        who: Who,
        /// How its clocks stand to the harness's.
        clock: Offset,
        /// Where it will connect.
        address: SocketAddr,
        /// The limits that it may run into.
        limits: Limits,
    },
    /// It knows when to start.
    Started {
        /// How long after that instant it learned of it.
        late: Nanos,
    },
    /// Its clock was measured again.
    Clock {
        /// How it stands now.
        clock: Offset,
        /// How far it ran ahead of the harness's since the first measurement; known to the sum of
        /// both uncertainties.
        drift_ns: i64,
    },
    /// Lines for the record, its own or those that count what it left undone.
    Lines(Vec<Line>),
    /// The connection broke; what it says meanwhile comes later.
    Cut {
        /// When it was last heard.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// There is a connection again.
    Resumed {
        /// How long there was none.
        gap: Nanos,
    },
    /// It is lost; from here on its lines say what it leaves undone.
    Lost {
        /// When it was last heard.
        since: Timestamp,
        /// Why.
        reason: String,
        /// How many requests of its share are not sent, if the run goes on to its end.
        unsent: u64,
    },
    /// All of its share is in the record: sent, or counted as unsent.
    Finished,
}

impl News {
    /// What of it belongs into the record as an event.
    pub fn event(&self) -> Option<EventKind> {
        let generator = self.generator;
        let late = |message| Some(EventKind::Warning { code: WarningCode::Late, message });
        match &self.what {
            What::Ready { who, clock, .. } => Some(EventKind::GeneratorReady {
                generator,
                pod: who.pod.clone(),
                node: who.node.clone(),
                offset_ns: clock.mono_ns,
                uncertainty: clock.uncertainty,
            }),
            What::Started { late: span } if *span > Nanos::ZERO => {
                late(format!("generator {generator} was told to start {span} late"))
            }
            What::Resumed { gap } => late(format!(
                "nothing was heard of generator {generator} for {gap}; what it said came later"
            )),
            What::Lost { reason, unsent, .. } => Some(EventKind::GeneratorLost {
                generator,
                reason: reason.clone(),
                unsent: *unsent,
            }),
            What::Started { .. }
            | What::Clock { .. }
            | What::Lines(_)
            | What::Cut { .. }
            | What::Finished => None,
        }
    }
}

/// What all generators are told; each follows it from where it is.
#[derive(Clone, Debug, Default)]
struct Commands {
    start: Option<Timestamp>,
    stop: Option<Timestamp>,
    gone: BTreeMap<u32, String>,
}

/// The generators of a run. When it is dropped, they are left to themselves and soon end.
#[derive(Debug)]
pub struct Generators {
    commands: watch::Sender<Commands>,
    config: link::Config,
    count: u32,
    // Ended with this, whatever they wait for.
    _drivers: JoinSet<()>,
}

impl Generators {
    /// Connects to the generators, one for each connector, and gives each its plan. The traffic
    /// starts with [`Self::start`], once each has said [`What::Ready`].
    ///
    /// # Errors
    /// If the scenario's traffic makes no sense.
    ///
    /// *Panics*: outside a tokio runtime with I/O and time.
    pub fn open(
        config: Config,
        connectors: Vec<Connector>,
    ) -> Result<(Self, mpsc::Receiver<News>), OrderError> {
        let (commands, told) = watch::channel(Commands::default());
        let (news, receiver) = mpsc::channel(NEWS_MAX);
        let count = u32::try_from(connectors.len()).unwrap_or(u32::MAX);
        let mut drivers = JoinSet::new();
        for (share, connector) in Share::all(count).zip(connectors) {
            let plan = Plan {
                scenario: config.scenario.clone(),
                share,
                address: config.address.clone(),
                host: config.host.clone(),
                default_path: config.default_path.clone(),
            };
            plan.check()?;
            let link = config.link.clone();
            let driver = Driver::new(plan, link, connector, told.clone(), news.clone());
            drivers.spawn(driver.run());
        }
        Ok((Self { commands, config: config.link, count, _drivers: drivers }, receiver))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Starts the traffic of all of them at `traffic_start`. It should lie so far ahead that each
    /// is told before: half a second over a port-forward.
    pub fn start(&self, traffic_start: Timestamp) {
        self.commands.send_modify(|commands| commands.start = Some(traffic_start));
    }

    /// Ends the traffic early: nothing more is owed, and what is in flight may end.
    pub fn stop(&self) {
        let now = self.config.clock.now();
        self.commands.send_modify(|commands| {
            commands.stop.get_or_insert(now);
        });
    }

    /// Tells that a generator's pod is gone, so that it is not waited for.
    pub fn gone(&self, generator: u32, reason: String) {
        self.commands.send_modify(|commands| {
            commands.gone.entry(generator).or_insert(reason);
        });
    }
}
