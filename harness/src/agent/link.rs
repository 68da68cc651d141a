//! The harness's side: one agent, whatever becomes of the connection to it.
//!
//! A task connects, says hello, measures the agent's clock and then passes news on, until the
//! agent is lost or [`Link`] is dropped. After a cut it connects again with growing pauses, for as
//! long as [`Config::give_up_after`] says.

mod connect;
mod pings;
mod session;

use std::{collections::VecDeque, fmt, pin::Pin, time::Duration};

use bytes::Bytes;
use highwater_model::time::{Nanos, Timestamp};
use tokio::sync::{mpsc, watch};

pub use super::wire::{BoxStream, Stream};
use super::{
    Kind,
    clock::Offset,
    protocol::{ORDERS_MAX, Who},
};
use crate::{clock::RunClock, record::Line};
use pings::Pings;

/// News that wait to be taken. The agent keeps what does not fit.
const NEWS_MAX: usize = 64;

/// How an agent is treated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The run's clock.
    pub clock: RunClock,
    /// What tells this run's harness from another; the same for all connections.
    pub token: String,
    /// How long the first connection may take.
    pub connect_within: Duration,
    /// How long a cut may last.
    pub give_up_after: Duration,
}

impl Config {
    /// The usual times: a minute for the first connection to a pod that runs, two for a cut, in
    /// which an API server restarts.
    pub fn new(clock: RunClock, token: String) -> Self {
        let minute = Duration::from_secs(60);
        Self { clock, token, connect_within: minute, give_up_after: 2 * minute }
    }
}

/// A token that no other harness has: 128 random bits.
///
/// # Errors
/// If the system gives no random bytes.
pub fn new_token() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Another try may succeed.
    #[error("{0}")]
    Failed(String),
    /// No try will succeed: the pod is gone.
    #[error("{0}")]
    Gone(String),
}

type Connecting = Pin<Box<dyn Future<Output = Result<BoxStream, ConnectError>> + Send>>;

/// Makes streams to one agent, one after the other.
pub struct Connector(Box<dyn FnMut() -> Connecting + Send>);

impl Connector {
    /// `connect` is called for the first connection and again after each cut.
    pub fn new<F, C, S>(mut connect: F) -> Self
    where
        F: FnMut() -> C + Send + 'static,
        C: Future<Output = Result<S, ConnectError>> + Send + 'static,
        S: Stream + 'static,
    {
        Self(Box::new(move || {
            let connecting = connect();
            Box::pin(async move { Ok(Box::new(connecting.await?) as BoxStream) })
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// What is heard of an agent. Lines and words come in the order in which it said them, each once.
#[derive(Debug)]
pub enum News<W> {
    /// It is there. Once, before any order is sent to it.
    Up {
        /// Who it is.
        who: Who,
        /// Its clocks.
        clock: Offset,
    },
    /// Its clocks were measured again.
    Clock {
        /// How they stand now.
        clock: Offset,
        /// How far its monotonic clock ran ahead of the harness's since [`News::Up`]; known to
        /// the sum of both uncertainties.
        drift_ns: i64,
    },
    /// Lines for the record.
    Lines(Vec<Line>),
    /// Something about itself.
    Word(W),
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
    /// It is lost. Nothing follows.
    Lost {
        /// When it was last heard.
        since: Timestamp,
        /// Why.
        reason: String,
    },
}

/// Too many orders wait for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ORDERS_MAX} orders wait for the agent already")]
pub struct OrdersFull;

/// An agent. When it is dropped, orders that were given are still sent, what came is still
/// acknowledged, and then the connection is closed.
#[derive(Debug)]
pub struct Link<K: Kind> {
    orders: mpsc::Sender<K::Order>,
    gone: watch::Sender<Option<String>>,
    news: mpsc::Receiver<News<K::Word>>,
}

impl<K: Kind> Link<K> {
    /// Begins to connect.
    ///
    /// *Panics*: outside a tokio runtime with I/O and time.
    pub fn open(config: Config, connector: Connector) -> Self {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        let (gone, told_gone) = watch::channel(None);
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let driver = Driver::<K> {
            heard: config.clock.now(),
            config,
            connector,
            orders: given,
            gone: told_gone,
            news: tell,
            untaken: VecDeque::new(),
            ordered: 0,
            received: 0,
            is_known: false,
            pings: Pings::default(),
        };
        tokio::spawn(driver.run());
        Self { orders, gone, news }
    }

    /// Gives an order; it is sent once there is a connection, and arrives once.
    ///
    /// # Errors
    /// If too many wait. An agent that is lost takes orders too, to no effect.
    pub fn order(&self, order: K::Order) -> Result<(), OrdersFull> {
        match self.orders.try_send(order) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(OrdersFull),
        }
    }

    /// Tells that the agent's process is gone: what it has said is still read, and it is not
    /// connected to again.
    pub fn gone(&self, reason: String) {
        self.gone.send_replace(Some(reason));
    }

    /// The next news; `None` after [`News::Lost`]. Loses nothing if it is dropped before it is
    /// done.
    pub async fn next(&mut self) -> Option<News<K::Word>> {
        self.news.recv().await
    }
}

/// How it ends with an agent.
enum End {
    /// Nobody wants its news.
    Closed,
    /// It is lost.
    Lost(String),
}

struct Driver<K: Kind> {
    config: Config,
    connector: Connector,
    orders: mpsc::Receiver<K::Order>,
    gone: watch::Receiver<Option<String>>,
    news: mpsc::Sender<News<K::Word>>,
    /// Orders that the agent has not taken yet, encoded, by number.
    untaken: VecDeque<(u64, Bytes)>,
    /// The number of the last order.
    ordered: u64,
    /// The number of the last item.
    received: u64,
    /// Whether the agent has welcomed this harness before.
    is_known: bool,
    pings: Pings,
    heard: Timestamp,
}

impl<K: Kind> Driver<K> {
    async fn run(mut self) {
        if let Err(End::Lost(reason)) = self.drive().await {
            // It fails if nobody wants to know.
            let _ = self.news.send(News::Lost { since: self.heard, reason }).await;
        }
    }

    async fn drive(&mut self) -> Result<(), End> {
        let mut wire = self.connect(self.config.connect_within).await?;
        loop {
            let reason = self.session(&mut wire).await;
            let reason = match reason {
                Ok(reason) => reason,
                Err(end) => {
                    wire.close().await;
                    return Err(end);
                }
            };
            drop(wire);
            self.tell(News::Cut { since: self.heard, reason }).await?;
            let since = self.heard;
            wire = self.connect(self.config.give_up_after).await?;
            self.tell(News::Resumed { gap: self.config.clock.now().since(since) }).await?;
        }
    }

    async fn tell(&mut self, news: News<K::Word>) -> Result<(), End> {
        self.news.send(news).await.map_err(|_| End::Closed)
    }
}

fn lost(reason: &Option<String>) -> End {
    End::Lost(reason.clone().unwrap_or_default())
}
