//! What the causes of loss are, what each means, and what stops it.

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($variant:ident $name:literal $title:literal $meaning:literal,)*) => {
        /// Why a request was lost.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Cause {
            $(#[doc = $meaning] $variant,)*
        }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in records and summaries.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A short title for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

causes! {
    TerminationRace "termination-race" "Termination race"
        "The pod closed its listener while clients or proxies still sent it new connections.",
    PrematureReady "premature-ready" "Ready too early"
        "The pod was ready, and so got traffic, before it listened.",
    NoReadyEndpoint "no-ready-endpoint" "No ready endpoint"
        "No pod could be chosen: the service had no ready endpoint.",
    AcceptQueueDrop "accept-queue-drop" "Accept queue dropped"
        "The pod closed its listener with connections still waiting in its accept queue.",
    IdleTimeoutRace "idle-timeout-race" "Idle time-out race"
        "The pod closed an idle connection at the moment when it was used again.",
    GraceExceeded "grace-exceeded" "Grace period exceeded"
        "The request was still running when the grace period ended with SIGKILL.",
    AbruptExit "abrupt-exit" "Abrupt exit"
        "The process exited on SIGTERM without a drain, with requests in flight and traffic still coming.",
    LivenessKill "liveness-kill" "Killed by its liveness probe"
        "The liveness or startup probe had the container killed while it still got traffic.",
    Crash "crash" "Crash"
        "The process ended by itself or was killed from outside, without any deletion of its pod.",
    Overload "overload" "Overload"
        "The pod had more work than it could do in time.",
    Throttling "throttling" "CPU throttling"
        "The pod was held at its CPU limit.",
    Blackhole "blackhole" "Black hole"
        "Packets to the pod's address were answered by nobody.",
    ClientLimit "client-limit" "Limit of the generator"
        "The generator's own limits got in the way.",
    RefusedByApp "refused-by-app" "Refused by the application"
        "The application itself answered with an error while its pod was still in rotation.",
    WrongBind "wrong-bind" "Wrong bind address"
        "The process listens, but not on the pod's address.",
    Unexplained "unexplained" "Unexplained"
        "Nothing in the record explains it.",
}

/// What stops a cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// In a sentence.
    pub advice: String,
    /// The same as a patch of the scenario file (YAML), where a setting does it.
    pub scenario_patch: Option<String>,
    /// The same as a strategic merge patch of a Deployment (YAML), where a setting does it.
    pub deployment_patch: Option<String>,
}
