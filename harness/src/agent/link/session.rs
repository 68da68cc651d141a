//! One connection to an agent, from its welcome to its end.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{Driver, End, News, lost, pings::Measured};
use crate::{
    agent::{
        Kind, frame,
        protocol::{FromAgent, HEARTBEAT, Item, ORDERS_MAX, ToAgent},
        wire::{Event, Wire},
    },
    clock::mono_ns,
};

/// A connection on which nothing came for this long is none any more: ten heartbeats.
const SILENCE: Duration = Duration::from_secs(10);
/// How long what an agent said is still read once its process is gone.
const GONE_TIME: Duration = Duration::from_secs(2);

/// How a step of a session went.
enum Left {
    Cut(String),
    End(End),
}

impl From<frame::FrameError> for Left {
    fn from(error: frame::FrameError) -> Self {
        let reason = error.to_string();
        if error.is_cut() { Self::Cut(reason) } else { Self::End(End::Lost(reason)) }
    }
}

impl From<End> for Left {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl<K: Kind> Driver<K> {
    /// Passes news on until the connection is cut; why it was.
    pub(super) async fn session(
        &mut self,
        wire: &mut Wire<FromAgent<K::Word>>,
    ) -> Result<String, End> {
        match self.converse(wire).await {
            Ok(never) => match never {},
            // What was cut off by the end of the process is its loss, and no cut.
            Err(Left::Cut(_)) if self.gone.borrow().is_some() => Err(lost(&self.gone.borrow())),
            Err(Left::Cut(reason)) => Ok(reason),
            Err(Left::End(end)) => Err(end),
        }
    }

    async fn converse(
        &mut self,
        wire: &mut Wire<FromAgent<K::Word>>,
    ) -> Result<std::convert::Infallible, Left> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_at = Instant::now() + SILENCE;
        let mut gone_at = None;
        loop {
            let can_order = self.untaken.len() < ORDERS_MAX && self.pings.is_measured();
            tokio::select! {
                biased;
                changed = self.gone.changed(), if gone_at.is_none() => if changed.is_ok() {
                    gone_at = Some(Instant::now() + GONE_TIME);
                } else {
                    return Err(End::Closed.into());
                },
                order = self.orders.recv(), if can_order => match order {
                    Some(order) => self.order(wire, order).await?,
                    None => return Err(End::Closed.into()),
                },
                event = wire.exchange(None) => {
                    if let Event::Frame(frame, at) = event? {
                        self.heard = self.config.clock.at(at);
                        self.take(wire, frame, at).await?;
                    }
                    silent_at = Instant::now() + SILENCE;
                }
                _ = heartbeat.tick() => self.ping(wire).await?,
                () = sleep_until(gone_at.unwrap_or(silent_at)) => {
                    return Err(Left::Cut(format!("nothing came for {} s", SILENCE.as_secs())));
                }
            }
        }
    }

    async fn order(
        &mut self,
        wire: &Wire<FromAgent<K::Word>>,
        order: K::Order,
    ) -> Result<(), Left> {
        let n = self.ordered + 1;
        let line = frame::encode(&ToAgent::Order { n, order })
            .map_err(|error| End::Lost(format!("an order cannot be sent: {error}")))?;
        self.ordered = n;
        self.untaken.push_back((n, line.clone()));
        Ok(wire.write(line).await?)
    }

    async fn ping(&mut self, wire: &Wire<FromAgent<K::Word>>) -> Result<(), Left> {
        match self.pings.next(mono_ns()) {
            Some(n) => self.say(wire, &ToAgent::Ping { n }).await,
            None => Ok(()),
        }
    }

    async fn say(
        &mut self,
        wire: &Wire<FromAgent<K::Word>>,
        frame: &ToAgent<()>,
    ) -> Result<(), Left> {
        let line = frame::encode(frame).map_err(|error| End::Lost(error.to_string()))?;
        Ok(wire.write(line).await?)
    }

    async fn take(
        &mut self,
        wire: &Wire<FromAgent<K::Word>>,
        frame: FromAgent<K::Word>,
        at: u64,
    ) -> Result<(), Left> {
        match frame {
            FromAgent::Pong { n, mono_ns, wall_ns } => {
                match self.pings.pong(n, mono_ns, wall_ns, at) {
                    Measured::Nothing => Ok(()),
                    Measured::Again => self.ping(wire).await,
                    Measured::First(who, clock) => Ok(self.tell(News::Up { who, clock }).await?),
                    Measured::Later(clock, drift_ns) => {
                        Ok(self.tell(News::Clock { clock, drift_ns }).await?)
                    }
                }
            }
            FromAgent::Took { n } => {
                self.took(n);
                Ok(())
            }
            FromAgent::Item { seq, item } => self.item(wire, seq, item).await,
            FromAgent::Refused { reason } => Err(End::Lost(reason).into()),
            FromAgent::Welcome(_) => Err(End::Lost("it said welcome twice".into()).into()),
        }
    }

    /// Passes an item on, once, and then acknowledges it.
    async fn item(
        &mut self,
        wire: &Wire<FromAgent<K::Word>>,
        seq: u64,
        item: Item<K::Word>,
    ) -> Result<(), Left> {
        // The hello told what was received, so the agent goes on from there.
        if seq != self.received + 1 {
            return Err(End::Lost(format!("item {seq} came after {}", self.received)).into());
        }
        let mut end = None;
        match item {
            Item::Lines(lines) => self.tell(News::Lines(lines)).await?,
            Item::Word(word) => self.tell(News::Word(word)).await?,
            Item::Broken { reason } => end = Some(End::Lost(reason)),
        }
        self.received = seq;
        self.say(wire, &ToAgent::Ack { seq }).await?;
        end.map_or(Ok(()), |end| Err(end.into()))
    }
}
