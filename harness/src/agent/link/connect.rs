//! From no connection to one that was welcomed.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{ConnectError, Driver, End, lost};
use crate::agent::{
    Kind,
    frame::{self, FrameError},
    protocol::{FromAgent, Hello, ToAgent, VERSION, Welcome},
    wire::{self, Event, Wire},
};

/// How long one try to connect and be welcomed may take.
const TRY_TIME: Duration = Duration::from_secs(10);
/// The first and the longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl<K: Kind> Driver<K> {
    /// Connects, within `time`, unless told that there is nobody any more.
    pub(super) async fn connect(
        &mut self,
        time: Duration,
    ) -> Result<Wire<FromAgent<K::Word>>, End> {
        let deadline = Instant::now() + time;
        let mut gone = self.gone.clone();
        let news = self.news.clone();
        tokio::select! {
            biased;
            Ok(reason) = gone.wait_for(Option::is_some) => Err(lost(&reason)),
            () = news.closed() => Err(End::Closed),
            wire = self.try_until(deadline) => wire,
        }
    }

    async fn try_until(&mut self, deadline: Instant) -> Result<Wire<FromAgent<K::Word>>, End> {
        let mut pause = PAUSE.0;
        loop {
            let reason = match timeout(TRY_TIME, self.try_once()).await {
                Ok(Ok(wire)) => return Ok(wire),
                Ok(Err(ConnectError::Gone(reason))) => return Err(End::Lost(reason)),
                Ok(Err(ConnectError::Failed(reason))) => reason,
                Err(_) => format!("no answer within {} s", TRY_TIME.as_secs()),
            };
            if Instant::now() + pause >= deadline {
                return Err(End::Lost(format!("it could not be reached any more: {reason}")));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn try_once(&mut self) -> Result<Wire<FromAgent<K::Word>>, ConnectError> {
        let stream = (self.connector.0)().await?;
        let mut wire = Wire::new(wire::split(stream));
        let hello = ToAgent::<()>::Hello(Hello {
            version: VERSION,
            kind: K::NAME.into(),
            token: self.config.token.clone(),
            resumes: self.is_known,
            received: self.received,
        });
        let hello = frame::encode(&hello).map_err(|error| ConnectError::Gone(error.to_string()))?;
        let again = |error: FrameError| match error.is_cut() {
            true => ConnectError::Failed(error.to_string()),
            false => ConnectError::Gone(error.to_string()),
        };
        wire.write(hello).await.map_err(again)?;
        match wire.exchange(None).await.map_err(again)? {
            Event::Frame(FromAgent::Welcome(welcome), _) => self.welcomed(&welcome)?,
            Event::Frame(FromAgent::Refused { reason }, _) => {
                return Err(ConnectError::Gone(reason));
            }
            Event::Frame(..) | Event::Sent => {
                return Err(ConnectError::Gone("it spoke before its welcome".into()));
            }
        }
        for (_, order) in &self.untaken {
            wire.write(order.clone()).await.map_err(again)?;
        }
        Ok(wire)
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), ConnectError> {
        if welcome.version != VERSION || welcome.taken > self.ordered {
            return Err(ConnectError::Gone("its welcome makes no sense".into()));
        }
        self.is_known = true;
        self.heard = self.config.clock.now();
        self.pings.connected(&welcome.who);
        self.took(welcome.taken);
        Ok(())
    }

    /// Orders up to `n` need not be sent again.
    pub(super) fn took(&mut self, n: u64) {
        self.untaken.retain(|(number, _)| *number > n);
    }
}
