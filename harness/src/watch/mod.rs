//! `highwater watch`: what the autoscalers of a namespace see, decide and say, line by line. It
//! only reads.
//!
//! 1. what the cluster tells comes by [`crate::backend::kube::watch`]; what is polled, by [`read`]
//! 2. what an autoscaler makes of each pod: [`judge`]
//! 3. what changed: [`reporter`]; how it is printed: [`change`]

pub mod change;
pub mod judge;
pub mod read;
pub mod reporter;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::ValueEnum;
use highwater_model::time::Nanos;
use k8s_openapi::{
    api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Namespace},
    jiff,
};
use kube::{Api, Client, api::ListParams};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    backend::kube::{
        client::{Access, AccessError, Cluster},
        observe::{News, Seen, Watched},
        watch::{self, Watches, trouble::words},
    },
    cli::{BAD_INPUT, MET, NOT_CARRIED_OUT, complain},
    clock::RunClock,
};
use change::Line;
use read::{LOOKED_AT_MAX, Reader};
use reporter::{Look, Reporter};

/// How long the cluster may take to answer the first request.
const ANSWER: Duration = Duration::from_secs(10);
/// How often the metrics are looked at. They change every 15 s.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What to watch.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A HorizontalPodAutoscaler [default: all of the namespace]
    pub autoscaler: Option<String>,
    /// Its namespace [default: the context's]
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The context [default: the current one]
    #[arg(long)]
    pub context: Option<String>,
    /// The kubeconfig file [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// End after this time [default: with Ctrl-C]
    #[arg(long = "for", value_name = "DURATION")]
    pub lasts: Option<Nanos>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of text for each change; times are UTC
    Text,
    /// A line of JSON for each change
    Json,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("starting the runtime: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("asking {server} for its HorizontalPodAutoscalers: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("there is no namespace `{namespace}` in this cluster")]
    NoNamespace { namespace: String },
    #[error(
        "there is no HorizontalPodAutoscaler `{name}` in namespace `{namespace}`; there are: {}",
        if known.is_empty() { "none".into() } else { known.join(", ") }
    )]
    NoAutoscaler { name: String, namespace: String, known: Vec<String> },
}

impl WatchError {
    fn code(&self) -> u8 {
        match self {
            Self::Access(_) | Self::NoNamespace { .. } | Self::NoAutoscaler { .. } => BAD_INPUT,
            Self::Runtime(_) | Self::Unreachable { .. } => NOT_CARRIED_OUT,
        }
    }
}

/// Watches, and returns the exit code: 0 at its end, 2 for bad input, 3 without a cluster.
pub fn main(args: &Args) -> u8 {
    match run(args) {
        Ok(()) => MET,
        Err(error) => {
            complain(&error);
            error.code()
        }
    }
}

fn run(args: &Args) -> Result<(), WatchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(WatchError::Runtime)?.block_on(async {
        let access = Access {
            kubeconfig: args.kubeconfig.clone(),
            context: args.context.clone(),
            confirmed: false,
        };
        let cluster = access.connect(false).await?;
        let default = cluster.client.default_namespace().to_string();
        let namespace = args.namespace.clone().unwrap_or(default);
        check(&cluster, &namespace, args.autoscaler.as_deref()).await?;
        Session::start(cluster.client, &namespace, args).run(args.lasts).await;
        Ok(())
    })
}

/// Whether there is something to watch.
async fn check(
    cluster: &Cluster,
    namespace: &str,
    autoscaler: Option<&str>,
) -> Result<(), WatchError> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.client.clone(), namespace);
    let unreachable = |reason| WatchError::Unreachable { server: cluster.server.clone(), reason };
    let list = timeout(ANSWER, api.list(&ListParams::default())).await;
    let list = list
        .map_err(|_| unreachable(format!("no answer within {} s", ANSWER.as_secs())))?
        .map_err(|error| unreachable(words(&error)))?;
    let known: Vec<String> =
        list.items.into_iter().filter_map(|object| object.metadata.name).collect();
    if known.is_empty() && !is_namespace(&cluster.client, namespace).await {
        return Err(WatchError::NoNamespace { namespace: namespace.into() });
    }
    match autoscaler {
        Some(name) if !known.iter().any(|known| known == name) => {
            let (name, namespace) = (name.into(), namespace.into());
            Err(WatchError::NoAutoscaler { name, namespace, known })
        }
        None if known.is_empty() => {
            complain(format!("there is no HorizontalPodAutoscaler in namespace `{namespace}` yet"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the namespace is there, as far as it may be asked for.
async fn is_namespace(client: &Client, name: &str) -> bool {
    let api: Api<Namespace> = Api::all(client.clone());
    match timeout(ANSWER, api.get_metadata_opt(name)).await {
        Ok(Ok(found)) => found.is_some(),
        _ => true,
    }
}

/// A watch under way.
struct Session {
    clock: RunClock,
    watches: Watches,
    reporter: Reporter,
    autoscalers: BTreeMap<String, HorizontalPodAutoscaler>,
    only: Option<String>,
    /// Looks at the metrics, and comes back with what it saw.
    looking: JoinSet<(Reader, Vec<(String, Look)>)>,
    reader: Option<Reader>,
    format: Format,
}

impl Session {
    fn start(client: Client, namespace: &str, args: &Args) -> Self {
        let clock = RunClock::start();
        let plan = watch::Plan {
            namespace: namespace.into(),
            pods: String::new(),
            deployment: None,
            service: None,
            autoscaler: args.autoscaler.clone(),
            kinds: BTreeSet::from([Watched::Autoscalers, Watched::Events]),
            pace: watch::Pace::default(),
        };
        Self {
            clock,
            watches: Watches::start(client.clone(), clock, &plan),
            reporter: Reporter::new(time_of_day(), args.autoscaler.as_deref()),
            autoscalers: BTreeMap::new(),
            only: args.autoscaler.clone(),
            looking: JoinSet::new(),
            reader: Some(Reader::new(client, namespace)),
            format: args.format,
        }
    }

    /// Goes on until Ctrl-C, until the time is over, or until nobody reads any more.
    async fn run(mut self, lasts: Option<Nanos>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = async {
            match lasts {
                Some(lasts) => tokio::time::sleep(lasts.to_std()).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let mut lines = Vec::new();
            tokio::select! {
                message = self.watches.next() => {
                    let Some(message) = message else { return };
                    self.keep(&message.what);
                    self.reporter.take(message.at, &message.what, &mut lines);
                }
                _ = ticks.tick() => self.look(),
                Some(Ok((reader, looks))) = self.looking.join_next() => {
                    self.reader = Some(reader);
                    let now = self.clock.now();
                    for (name, look) in looks {
                        self.reporter.look(now, &name, look, &mut lines);
                    }
                }
                () = &mut end => return,
                _ = tokio::signal::ctrl_c() => return,
            }
            if !print(&lines, self.format) {
                return;
            }
        }
    }

    /// Keeps the autoscalers as they are, for the looks at their metrics.
    fn keep(&mut self, news: &News) {
        let News::Autoscalers(seen) = news else { return };
        let name = |object: &HorizontalPodAutoscaler| object.metadata.name.clone();
        let is_wanted = |name: &String| self.only.as_ref().is_none_or(|only| only == name);
        match seen {
            Seen::All { objects, .. } => {
                let named = objects.iter().filter_map(|one| Some((name(one)?, one.clone())));
                self.autoscalers = named.filter(|(name, _)| is_wanted(name)).collect();
            }
            Seen::Changed(object) => {
                if let Some(name) = name(object).filter(is_wanted) {
                    self.autoscalers.insert(name, (**object).clone());
                }
            }
            Seen::Gone(object) => {
                self.autoscalers.remove(&name(object).unwrap_or_default());
            }
        }
    }

    /// Begins a look at the metrics, unless one is under way.
    fn look(&mut self) {
        let Some(mut reader) = self.reader.take() else { return };
        let now = self.reporter.time(self.clock.now());
        let autoscalers: Vec<(String, HorizontalPodAutoscaler)> = self
            .autoscalers
            .iter()
            .take(LOOKED_AT_MAX)
            .map(|(name, object)| (name.clone(), object.clone()))
            .collect();
        self.looking.spawn(async move {
            let mut looks = Vec::new();
            for (name, object) in autoscalers {
                looks.push((name, reader.look(&object, now).await));
            }
            (reader, looks)
        });
    }
}

/// Prints lines to stdout. Returns whether somebody reads them.
fn print(lines: &[Line], format: Format) -> bool {
    let mut out = std::io::stdout().lock();
    let written = lines.iter().try_for_each(|line| match format {
        Format::Text => writeln!(out, "{}", line.text()),
        Format::Json => writeln!(out, "{}", line.json()),
    });
    written.and_then(|()| out.flush()).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "the time of day is printed, and decides nothing")]
fn time_of_day() -> jiff::Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = jiff::Timestamp::UNIX_EPOCH.checked_add(since_epoch);
    now.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
