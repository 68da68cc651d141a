//! The generator in its pod: a hidden subcommand, one share, then it ends.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use highwater_model::time::{Nanos, Timestamp};
use tokio::{
    net::{TcpListener, lookup_host},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Generator, Order, Plan, Word};
use crate::{
    agent::{
        self,
        protocol::{HEARTBEAT, Item, ORDERS_MAX, Who},
    },
    clock::RunClock,
    limits,
    load::{self, Control, Update},
};

/// Items that wait to be put among those that are kept.
const ITEMS_MAX: usize = 16;
/// How long a name may take to be looked up.
const LOOKUP_TIME: Duration = Duration::from_secs(10);
/// How long it goes on after SIGTERM to let requests end and to tell of them: a little less than the
/// usual grace period of a pod.
const TERMINATED_TIME: Duration = Duration::from_secs(25);
/// The exit code when not all could be done or told.
const EXIT_NOT_CARRIED_OUT: u8 = 3;

/// How a generator is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the harness connects; a loopback address, so that only a port-forward gets there
    #[arg(long, default_value = "127.0.0.1:9797")]
    pub listen: SocketAddr,
    /// How long it goes on without a word of the harness, which pings every second; at least 3s
    #[arg(long, default_value = "120s", value_parser = orphan_after)]
    pub orphan_after: Nanos,
    /// How long it waits to be told when to start
    #[arg(long, default_value = "30m")]
    pub start_deadline: Nanos,
    /// How many bytes of the record it keeps while the harness cannot be reached
    #[arg(long, default_value_t = 64 << 20)]
    pub kept_bytes: usize,
    /// The name of its pod [default: the host's name, which is the pod's]
    #[arg(long, env = "POD_NAME")]
    pub pod: Option<String>,
    /// The name of its pod's node
    #[arg(long, env = "NODE_NAME", default_value = "")]
    pub node: String,
    /// The index that its Job gave it
    #[arg(long, env = "JOB_COMPLETION_INDEX")]
    pub completion_index: Option<u32>,
}

fn orphan_after(text: &str) -> Result<Nanos, String> {
    let span: Nanos = text.parse().map_err(|error| format!("{error}"))?;
    if span.to_std() < 3 * HEARTBEAT {
        return Err("the harness pings every second; three of them may be late".into());
    }
    Ok(span)
}

/// Runs a generator: the harness's orders in, the record's lines out.
///
/// *Behaviour*: returns 0 once its share is done and all of it has been acknowledged; 3, with the
/// reason on stderr, if it could not be done or nobody is there to be told. SIGTERM ends the
/// traffic, and what is known by then is still told.
pub fn main_with(args: Args) -> ExitCode {
    limits::raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting the runtime: {error}")),
    };
    let ended = runtime.block_on(run(args));
    // A name that is still looked up must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

fn fail(message: &str) -> ExitCode {
    use std::io::Write as _;
    // Nobody is left to be told if stderr is closed too.
    let _ = writeln!(std::io::stderr(), "highwater generator: {message}");
    ExitCode::from(EXIT_NOT_CARRIED_OUT)
}

async fn run(args: Args) -> Result<(), String> {
    let terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("listening on {}: {error}", args.listen))?;
    announce(&listener);
    let config = agent::Config {
        who: Who {
            pod: args.pod.unwrap_or_else(host_name),
            node: args.node,
            completion_index: args.completion_index,
        },
        orphan_after: args.orphan_after.to_std(),
        kept_bytes_max: args.kept_bytes,
    };
    let (give, orders) = mpsc::channel(ORDERS_MAX);
    let (items, said) = mpsc::channel(ITEMS_MAX);
    let start_by = Instant::now() + args.start_deadline.to_std();
    let mut late = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let work = tokio::spawn(Work { orders, items, terminate, start_by }.run());
    let terminated = async {
        late.recv().await;
        sleep(TERMINATED_TIME).await;
    };
    tokio::select! {
        served = agent::serve::<Generator>(listener, config, give, said) => {
            served.map_err(|error| error.to_string())?;
        }
        () = terminated => {
            let seconds = TERMINATED_TIME.as_secs();
            return Err(format!("{TERMINATED}, and not all was told within {seconds} s"));
        }
    }
    // Everything was said, so the work is over.
    work.await.unwrap_or_else(|_| Err("the generator panicked".into()))
}

/// Says on stdout where it listens: port 0 takes any.
fn announce(listener: &TcpListener) {
    use std::io::Write as _;
    if let Ok(address) = listener.local_addr() {
        // Whoever needs it reads it.
        let _ = writeln!(std::io::stdout(), "{{\"listening\":\"{address}\"}}");
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

/// What is done with the orders.
struct Work {
    orders: mpsc::Receiver<Order>,
    items: mpsc::Sender<Item<Word>>,
    terminate: Signal,
    start_by: Instant,
}

/// A plan that is ready to be started.
struct Ready {
    plan: Box<Plan>,
    address: SocketAddr,
}

impl Work {
    /// Works until its share is done; tells the harness of what went wrong, and returns it.
    async fn run(mut self) -> Result<(), String> {
        let ended = self.work().await;
        if let Err(reason) = &ended {
            self.say(Item::Broken { reason: reason.clone() }).await;
        }
        ended
    }

    async fn work(&mut self) -> Result<(), String> {
        let Some(engine) = self.prepare().await? else {
            // Stopped before it began: nothing was owed.
            self.say(Item::Word(Word::Finished {})).await;
            return Ok(());
        };
        self.drive(engine).await
    }

    async fn say(&self, item: Item<Word>) {
        // It fails when nobody serves any more; the process is then about to end.
        let _ = self.items.send(item).await;
    }

    /// Takes the orders up to the start.
    async fn prepare(&mut self) -> Result<Option<(load::Handle, u32)>, String> {
        let mut ready: Option<Ready> = None;
        loop {
            let order = tokio::select! {
                biased;
                _ = self.terminate.recv() => return Err(TERMINATED.into()),
                order = self.orders.recv() => order,
                () = sleep_until(self.start_by) => {
                    return Err("it was not told in time when to start".into());
                }
            };
            match order {
                None => return Err("nobody is there any more to give orders".into()),
                Some(Order::Stop {}) => return Ok(None),
                Some(Order::Plan(plan)) => {
                    let address = look_up(&plan.address).await?;
                    plan.check().map_err(|error| error.to_string())?;
                    let limits = limits::of_machine();
                    self.say(Item::Word(Word::Ready { address, limits })).await;
                    ready = Some(Ready { plan, address });
                }
                Some(Order::Start { run_start_mono_ns, traffic_start }) => {
                    let ready = ready.ok_or("it was to start before it had a plan")?;
                    let clock = RunClock::with_start(run_start_mono_ns);
                    return self.start(&ready, clock, traffic_start).await.map(Some);
                }
            }
        }
    }

    async fn start(
        &self,
        Ready { plan, address }: &Ready,
        clock: RunClock,
        start: Timestamp,
    ) -> Result<(load::Handle, u32), String> {
        let config = plan.load(*address, clock, start).map_err(|error| error.to_string())?;
        let engine = load::start(config).map_err(|error| error.to_string())?;
        self.say(Item::Word(Word::Started { late: clock.now().since(start) })).await;
        Ok((engine, plan.share.index))
    }

    /// Passes the engine's news on until it has finished.
    async fn drive(&mut self, (mut engine, index): (load::Handle, u32)) -> Result<(), String> {
        let mut terminated = false;
        let mut orders_end = false;
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv(), if !terminated => {
                    terminated = true;
                    engine.order(Control::Stop);
                }
                order = self.orders.recv(), if !orders_end => match order {
                    Some(Order::Stop {}) => engine.order(Control::Stop),
                    // It has its plan, and it runs.
                    Some(Order::Plan(_) | Order::Start { .. }) => {}
                    None => orders_end = true,
                },
                update = engine.updates.recv() => match update {
                    Some(Update::Second(second)) => {
                        self.say(Item::Lines(second.into_lines(index))).await;
                    }
                    Some(Update::Finished) => break,
                    Some(Update::Broken(reason)) => return Err(reason),
                    None => return Err("the load engine panicked".into()),
                },
            }
        }
        engine.join();
        if terminated {
            return Err(TERMINATED.into());
        }
        self.say(Item::Word(Word::Finished {})).await;
        Ok(())
    }
}

const TERMINATED: &str = "its pod was told to end (SIGTERM)";

/// The first address of `host:port`.
async fn look_up(address: &str) -> Result<SocketAddr, String> {
    let found = timeout(LOOKUP_TIME, lookup_host(address)).await;
    let found = found.map_err(|_| format!("looking up {address} took too long"))?;
    let mut found = found.map_err(|error| format!("looking up {address}: {error}"))?;
    found.next().ok_or_else(|| format!("{address} has no address"))
}
