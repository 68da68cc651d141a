//! The agent's side: one connection at a time, and nothing lost between two.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Kind,
    door::{self, Caller},
    frame::{self, FrameError},
    outbox::{KeepError, Outbox},
    protocol::{FromAgent, Item, ToAgent, VERSION, Welcome, Who},
    wire::{Event, Wire},
};
use crate::clock::{mono_ns, wall_ns};

/// How long a broken agent tries to say so.
const BROKEN_TIME: Duration = Duration::from_secs(10);

/// How an agent serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub who: Who,
    /// How long it goes on without a word of the harness.
    pub orphan_after: Duration,
    /// How many bytes of items it keeps for a harness that does not acknowledge.
    pub kept_bytes_max: usize,
}

/// Why an agent had to end before all was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody is there.
    #[error("nothing was heard of the harness for {} s; is it still there?", .0.as_secs())]
    Orphaned(Duration),
    /// An item was lost.
    #[error("something for the record was lost: {0}")]
    Lost(#[from] KeepError),
    /// It was broken, and nobody was there to be told.
    #[error("{0}")]
    Broken(String),
}

/// Serves the harness until the agent has said everything (`items` ended) and all of it was
/// acknowledged.
///
/// *Behaviour*: the first hello's token is the agent's; a later connection with the same token
/// takes the place of the one before and goes on where that one ended. Orders are put into
/// `orders` without waiting; an order that finds it full is not taken, and the connection ends.
///
/// # Errors
/// [`ServeError`]: the process should then end, whatever the agent still does.
pub async fn serve<K: Kind>(
    listener: TcpListener,
    config: Config,
    orders: mpsc::Sender<K::Order>,
    mut items: mpsc::Receiver<Item<K::Word>>,
) -> Result<(), ServeError> {
    let (call, mut callers) = mpsc::channel(1);
    let mut doors = tokio::task::JoinSet::new();
    doors.spawn(door::keep(listener, K::NAME, call));
    let mut server = Server::<K>::new(config, orders);
    let mut is_over = false;
    while !(is_over && server.outbox.is_empty()) {
        let deadline = server.deadline();
        tokio::select! {
            biased;
            Some(caller) = callers.recv() => server.admit(caller),
            event = exchange(&mut server.session, &server.outbox) => match event {
                Ok(Event::Frame(frame, _)) => server.obey(frame),
                Ok(Event::Sent) => server.sent(),
                Err(error) => server.hang_up(Some(&error)),
            },
            item = items.recv(), if !is_over => match item {
                Some(item) => server.keep(item)?,
                None => is_over = true,
            },
            () = sleep_until(deadline) => return Err(server.too_late()),
        }
    }
    Ok(())
}

/// The present connection.
struct Session<O> {
    wire: Wire<ToAgent<O>>,
    /// The next item to send on it.
    next: u64,
}

struct Server<K: Kind> {
    config: Config,
    orders: mpsc::Sender<K::Order>,
    outbox: Outbox,
    token: Option<String>,
    taken: u64,
    session: Option<Session<K::Order>>,
    heard: Instant,
    broken: Option<(Instant, String)>,
}

impl<K: Kind> Server<K> {
    fn new(config: Config, orders: mpsc::Sender<K::Order>) -> Self {
        Self {
            outbox: Outbox::new(config.kept_bytes_max),
            config,
            orders,
            token: None,
            taken: 0,
            session: None,
            heard: Instant::now(),
            broken: None,
        }
    }

    /// When it is no use to go on.
    fn deadline(&self) -> Instant {
        let orphaned = self.heard + self.config.orphan_after;
        self.broken.as_ref().map_or(orphaned, |(since, _)| orphaned.min(*since + BROKEN_TIME))
    }

    fn too_late(&mut self) -> ServeError {
        match self.broken.take() {
            Some((_, reason)) => ServeError::Broken(reason),
            None => ServeError::Orphaned(self.config.orphan_after),
        }
    }

    fn keep(&mut self, item: Item<K::Word>) -> Result<(), ServeError> {
        if let Item::Broken { reason } = &item {
            self.broken = Some((Instant::now(), reason.clone()));
        }
        Ok(self.outbox.push(item)?)
    }

    /// Lets a caller take over, or says why not.
    fn admit(&mut self, Caller { hello, input, output, refusal }: Caller) {
        let problem = match &self.token {
            Some(token) if *token != hello.token => Some("this agent is another run's"),
            None if hello.resumes => {
                Some("this agent's process is a new one: what the one before it knew is lost")
            }
            _ if self.outbox.ack(hello.received).is_err() => {
                Some("the harness says that it received what this agent never sent")
            }
            _ => None,
        };
        if let Some(reason) = problem {
            // It fails if the caller is gone.
            let _ = refusal.send((output, reason.into()));
            return;
        }
        self.token = Some(hello.token);
        self.heard = Instant::now();
        // The connection before is closed by this.
        self.session = Some(Session { wire: Wire::new((input, output)), next: hello.received + 1 });
        let who = self.config.who.clone();
        self.say(&FromAgent::Welcome(Welcome { version: VERSION, who, taken: self.taken }));
    }

    fn sent(&mut self) {
        if let Some(session) = &mut self.session {
            session.next += 1;
        }
    }

    fn obey(&mut self, frame: ToAgent<K::Order>) {
        self.heard = Instant::now();
        match frame {
            ToAgent::Ping { n } => {
                self.say(&FromAgent::Pong { n, mono_ns: mono_ns(), wall_ns: wall_ns() });
            }
            ToAgent::Order { n, order } => self.take(n, order),
            ToAgent::Ack { seq } => {
                let was_sent = self.session.as_ref().is_some_and(|session| seq < session.next);
                if !was_sent || self.outbox.ack(seq).is_err() {
                    self.hang_up(None);
                }
            }
            ToAgent::Hello(_) => self.hang_up(None),
        }
    }

    fn take(&mut self, n: u64, order: K::Order) {
        // The welcome told which were taken, so the harness goes on from there.
        if n != self.taken + 1 {
            return self.hang_up(None);
        }
        match self.orders.try_send(order) {
            // One that has nothing more to do takes orders, and does nothing.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => self.taken = n,
            // It comes again with the next connection.
            Err(mpsc::error::TrySendError::Full(_)) => return self.hang_up(None),
        }
        self.say(&FromAgent::Took { n });
    }

    fn say(&mut self, frame: &FromAgent<K::Word>) {
        let Some(session) = &self.session else { return };
        let sent = frame::encode(frame).map_err(|_| FrameError::TooLong);
        if let Err(error) = sent.and_then(|line| session.wire.push(line)) {
            self.hang_up(Some(&error));
        }
    }

    /// Ends the connection; the harness will make another one.
    fn hang_up(&mut self, error: Option<&FrameError>) {
        if let (Some(error), Some(session)) = (error, &self.session)
            && !error.is_cut()
            && let Ok(line) =
                frame::encode(&FromAgent::<K::Word>::Refused { reason: error.to_string() })
        {
            // The best that can be done for whoever speaks in tongues.
            let _ = session.wire.push(line);
        }
        if let Some(session) = self.session.take() {
            tokio::spawn(session.wire.close());
        }
    }
}

/// Reads, and sends the next item that waits.
async fn exchange<O: DeserializeOwned + Send + 'static>(
    session: &mut Option<Session<O>>,
    outbox: &Outbox,
) -> Result<Event<ToAgent<O>>, FrameError> {
    match session {
        Some(session) => session.wire.exchange(outbox.get(session.next)).await,
        None => std::future::pending().await,
    }
}
