//! The switchable wrong behaviours, each a named anti-pattern. They exist to show that the harness
//! finds each of them, and only it.

use std::{fmt, str::FromStr};

macro_rules! misbehaviours {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A wrong behaviour.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Misbehaviour {
            $(#[doc = $doc] $variant,)*
        }

        impl Misbehaviour {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

misbehaviours! {
    NoSignalHandler "no-signal-handler" "Ignores SIGTERM, as PID 1 without a handler does.",
    ExitOnSigterm "exit-on-sigterm" "Exits at once on SIGTERM.",
    CloseListenerFirst "close-listener-first" "Closes the listener at once on SIGTERM, then drains.",
    DropAcceptQueue "drop-accept-queue" "Closes the listener with connections still in its queue.",
    RefuseWhileDraining "refuse-while-draining" "Answers 503 while it drains.",
    StayReady "stay-ready" "Stays ready while it drains.",
    UnreadyTooEarly "unready-too-early" "Fails readiness at once although it is the last pod.",
    ReadyBeforeListening "ready-before-listening" "Says that it is ready before it listens.",
    ReadyBeforeWarm "ready-before-warm" "Says that it is ready before it is warm.",
    BindLoopback "bind-loopback" "Binds 127.0.0.1 only.",
    ShortIdleTimeout "short-idle-timeout" "Closes idle connections before its clients do.",
    NoConnectionClose "no-connection-close" "Drains without `Connection: close`.",
    BlockingCleanup "blocking-cleanup" "Cleans up before it serves what is in flight.",
    EndlessDrain "endless-drain" "Drains without a deadline.",
    LivenessOnDependency "liveness-on-dependency" "Fails liveness when a dependency fails.",
    SlowProbeUnderLoad "slow-probe-under-load" "Answers probes behind the traffic.",
    ColdStart "cold-start" "Is slow on its first requests.",
    MemoryGrowth "memory-growth" "Grows with each request.",
    CrashOnRequest "crash-on-request" "Crashes on some requests.",
    SelfScaling "self-scaling" "PATCHes its own replicas.",
}

impl Misbehaviour {
    /// Whether it can only show where probes have a port of their own.
    pub const fn needs_health_port(self) -> bool {
        matches!(self, Self::ReadyBeforeListening | Self::BindLoopback)
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a wrong behaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no wrong behaviour; there are: {names}", names = names())]
pub struct UnknownMisbehaviour(String);

fn names() -> String {
    Misbehaviour::ALL.iter().map(|known| known.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Misbehaviour {
    type Err = UnknownMisbehaviour;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|known| known.name() == text);
        known.ok_or_else(|| UnknownMisbehaviour(text.into()))
    }
}
