//! One generator, from its first connection to the end of its share, or of what stands in for it.

use std::time::Duration;

use highwater_model::time::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{Commands, News, What};
use crate::{
    agent::{
        clock::Offset,
        link::{self, Connector, Link},
        protocol::Who,
    },
    clock::RunClock,
    generator::{
        Generator, Order, Plan, Word,
        ledger::{Ledger, Rest},
    },
};

/// Why a driver ends.
enum End {
    /// Nobody wants to know any more.
    Closed,
    /// All of its share is in the record.
    Finished,
}

/// One generator.
pub(super) struct Driver {
    plan: Plan,
    link: Link<Generator>,
    clock: RunClock,
    commands: watch::Receiver<Commands>,
    news: mpsc::Sender<News>,
    ledger: Ledger,
    up: Option<(Who, Offset)>,
    is_ready: bool,
    is_started: bool,
    is_stopped: bool,
}

impl Driver {
    /// Begins to connect.
    pub(super) fn new(
        plan: Plan,
        config: link::Config,
        connector: Connector,
        commands: watch::Receiver<Commands>,
        news: mpsc::Sender<News>,
    ) -> Self {
        Self {
            plan,
            clock: config.clock,
            link: Link::open(config, connector),
            commands,
            news,
            ledger: Ledger::default(),
            up: None,
            is_ready: false,
            is_started: false,
            is_stopped: false,
        }
    }

    pub(super) async fn run(mut self) {
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
                        let since = self.clock.now();
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
            let run_start_mono_ns = clock.run_start(&self.clock);
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
            let now = self.clock.now();
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
