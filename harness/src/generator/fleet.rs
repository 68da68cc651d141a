//! All generators of a run, from the harness's side.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use highwater_model::{
    load::Share,
    spec::Scenario,
    time::{Nanos, Timestamp},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use super::{
    Generator, Order, OrderError, Plan, Word,
    ledger::{Ledger, Rest},
};
use crate::{
    agent::{
        clock::Offset,
        link::{self, Connector, Link},
        protocol::Who,
    },
    record::{Limits, Line},
};

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
            let link = Link::open(config.link.clone(), connector);
            let driver = Driver {
                plan,
                link,
                link_config: config.link.clone(),
                commands: told.clone(),
                news: news.clone(),
                ledger: Ledger::default(),
                up: None,
                is_ready: false,
                is_started: false,
                is_stopped: false,
            };
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

/// Why a driver ends.
enum End {
    /// Nobody wants to know any more.
    Closed,
    /// All of its share is in the record.
    Finished,
}

/// One generator.
struct Driver {
    plan: Plan,
    link: Link<Generator>,
    link_config: link::Config,
    commands: watch::Receiver<Commands>,
    news: mpsc::Sender<News>,
    ledger: Ledger,
    up: Option<(Who, Offset)>,
    is_ready: bool,
    is_started: bool,
    is_stopped: bool,
}

impl Driver {
    async fn run(mut self) {
        if let Err(End::Finished) = self.drive().await {
            // It fails if nobody wants to know.
            let _ = self.tell(What::Finished).await;
        }
    }

    async fn tell(&mut self, what: What) -> Result<(), End> {
        let news = News { generator: self.plan.share.index, what };
        self.news.send(news).await.map_err(|_| End::Closed)
    }

    async fn drive(&mut self) -> Result<std::convert::Infallible, End> {
        let plan = Order::Plan(Box::new(self.plan.clone()));
        self.order(plan);
        loop {
            tokio::select! {
                biased;
                changed = self.commands.changed() => {
                    changed.map_err(|_| End::Closed)?;
                    self.follow();
                }
                news = self.link.next() => match news {
                    Some(link::News::Lost { since, reason }) => {
                        return self.lost(since, reason).await;
                    }
                    Some(news) => self.heard(news).await?,
                    None => {
                        let since = self.link_config.clock.now();
                        return self.lost(since, "its link ended".into()).await;
                    }
                },
            }
        }
    }

    /// There are three orders at most, so there is always room.
    fn order(&self, order: Order) {
        let ordered = self.link.order(order);
        debug_assert!(ordered.is_ok());
    }

    /// Carries out what was commanded as far as the generator is ready for it.
    fn follow(&mut self) {
        let commands = self.commands.borrow_and_update().clone();
        if let Some(reason) = commands.gone.get(&self.plan.share.index) {
            self.link.gone(reason.clone());
        }
        if let (Some(traffic_start), Some((_, clock)), true, false) =
            (commands.start, &self.up, self.is_ready, self.is_started)
        {
            self.is_started = true;
            let run_start_mono_ns = clock.run_start(&self.link_config.clock);
            self.order(Order::Start { run_start_mono_ns, traffic_start });
        }
        if commands.stop.is_some() && !self.is_stopped {
            self.is_stopped = true;
            self.order(Order::Stop {});
        }
    }

    async fn heard(&mut self, news: link::News<Word>) -> Result<(), End> {
        match news {
            link::News::Up { who, clock } => {
                self.up = Some((who, clock));
                Ok(())
            }
            link::News::Clock { clock, drift_ns } => {
                if let Some((_, known)) = &mut self.up {
                    *known = clock;
                }
                self.tell(What::Clock { clock, drift_ns }).await
            }
            link::News::Lines(lines) => {
                self.ledger.take(&lines);
                self.tell(What::Lines(lines)).await
            }
            link::News::Word(word) => self.word(word).await,
            link::News::Cut { since, reason } => self.tell(What::Cut { since, reason }).await,
            link::News::Resumed { gap } => self.tell(What::Resumed { gap }).await,
            link::News::Lost { .. } => Ok(()),
        }
    }

    async fn word(&mut self, word: Word) -> Result<(), End> {
        match word {
            Word::Ready { address, limits } => {
                self.is_ready = true;
                if let Some((who, clock)) = self.up.clone() {
                    self.tell(What::Ready { who, clock, address, limits }).await?;
                }
                self.follow();
                Ok(())
            }
            Word::Started { late } => self.tell(What::Started { late }).await,
            Word::Finished {} => Err(End::Finished),
        }
    }

    /// From now on the plan says what the generator would have owed.
    async fn lost(
        &mut self,
        since: Timestamp,
        reason: String,
    ) -> Result<std::convert::Infallible, End> {
        let ledger = std::mem::take(&mut self.ledger);
        // The plan was checked.
        let schedule = self.plan.schedule().map_err(|_| End::Closed)?;
        let share = self.plan.share;
        let commands = self.commands.borrow().clone();
        let until = commands.start.zip(commands.stop).map(|(start, stop)| stop.since(start));
        let counting = spawn_blocking(move || {
            let rest = Rest::new(ledger, schedule, share);
            (rest.count(until), rest)
        });
        let (unsent, rest) = counting.await.map_err(|_| End::Closed)?;
        self.tell(What::Lost { since, reason, unsent }).await?;
        self.stand_in(rest).await
    }

    /// Tells each second what a lost generator did not send in it.
    async fn stand_in(&mut self, mut rest: Rest) -> Result<std::convert::Infallible, End> {
        let begun = |commands: &Commands| commands.start.is_some() || commands.stop.is_some();
        self.commands.wait_for(begun).await.map_err(|_| End::Closed)?;
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Commands { start, stop, .. } = self.commands.borrow().clone();
            let now = self.link_config.clock.now();
            let until = stop.map_or(now, |stop| stop.min(now));
            // Stopped before the start: nothing was owed.
            let Some(start) = start else { return Err(End::Finished) };
            let lines = rest.due(start, until);
            if !lines.is_empty() {
                self.tell(What::Lines(lines)).await?;
            }
            if stop.is_some() || rest.is_over() {
                return Err(End::Finished);
            }
        }
    }
}
