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
        "The pod was ready, and so got traffic, before it listened or could serve in time.",
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
        "The pod got no CPU: it was held at its limit, or its processes were stopped.",
    Blackhole "blackhole" "Black hole"
        "Packets to the pod's address were answered by nobody, and nobody had deleted the pod.",
    ClientLimit "client-limit" "Limit of the generator"
        "The generator's own limits got in the way.",
    RefusedByApp "refused-by-app" "Refused by the application"
        "The application itself answered with an error while its pod was still in rotation.",
    WrongBind "wrong-bind" "Wrong bind address"
        "The process listens, but not on the pod's address.",
    Unobserved "unobserved" "By a target that tells nothing"
        "The target is a URL, and nothing is known of what is behind it.",
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

/// What a fix is computed from.
#[derive(Clone, Debug, Default)]
pub struct FixFacts {
    /// How long it took until nobody chose a deleted pod any more.
    pub propagation: Propagation,
    /// The longest service time of a good answer, seconds.
    pub slowest_seconds: f64,
    /// The preStop sleep that is set now, seconds.
    pub pre_stop_seconds: u32,
    /// The grace period that is set now, seconds.
    pub grace_seconds: u32,
    /// The replicas that are set now.
    pub replicas: u32,
    /// The name of the container that serves; `None` if it is not known.
    pub container: Option<String>,
    /// Whether the target is a workload of the user's, which the scenario file does not describe.
    pub is_workload: bool,
}

/// How long it took until nobody chose a pod any more whose deletion was requested, and how that
/// is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Propagation {
    /// All who choose told when they stopped.
    ByViews {
        /// The longest, seconds.
        seconds: f64,
    },
    /// Nobody did, and the last loss shows the least that it took.
    ByLosses {
        /// From a deletion to the last new connection that was lost on its pod, seconds.
        seen_seconds: f64,
        /// What the data path takes as a rule, seconds.
        usual_seconds: f64,
    },
}

impl Default for Propagation {
    fn default() -> Self {
        Self::ByViews { seconds: 0.0 }
    }
}

impl Propagation {
    /// What a preStop sleep has to cover, seconds.
    fn seconds(self) -> f64 {
        match self {
            Self::ByViews { seconds } => seconds,
            Self::ByLosses { seen_seconds, usual_seconds } => seen_seconds.max(usual_seconds),
        }
    }

    /// Where it comes from, in words.
    fn in_words(self) -> String {
        match self {
            Self::ByViews { seconds } => format!("the slowest took {seconds:.1} s here"),
            Self::ByLosses { seen_seconds, usual_seconds } => format!(
                "connections were lost up to {seen_seconds:.1} s after a deletion here, and up to \
                 {usual_seconds:.1} s are usual on this path"
            ),
        }
    }
}

/// Added to a measured propagation before it becomes a setting: the next one may be slower.
const MARGIN_SECONDS: f64 = 1.0;
/// Stands for the name of a container that is not known.
const YOUR_CONTAINER: &str = "<yours>";

impl FixFacts {
    /// A preStop sleep that covers the propagation that was seen.
    fn pre_stop(&self) -> u32 {
        let seconds = (self.propagation.seconds() + MARGIN_SECONDS).ceil() as u32;
        seconds.max(self.pre_stop_seconds + 1)
    }

    /// A grace period in which that sleep and the slowest request have room.
    fn grace(&self, pre_stop: u32) -> u32 {
        let need = pre_stop + self.slowest_seconds.ceil() as u32 + 5;
        need.max(self.grace_seconds)
    }

    /// The name of the container in a patch, and what is to be said of it in the advice.
    fn container(&self) -> (&str, &str) {
        match &self.container {
            Some(name) => (name, ""),
            None => (YOUR_CONTAINER, " Put the name of your container in the place of `<yours>`."),
        }
    }

    /// A patch of the scenario file, if it describes the target.
    fn scenario_patch(&self, patch: String) -> Option<String> {
        (!self.is_workload).then_some(patch)
    }
}

/// What stops a cause.
pub fn fix(cause: Cause, facts: &FixFacts) -> Fix {
    let advice =
        |text: &str| Fix { advice: text.into(), scenario_patch: None, deployment_patch: None };
    match cause {
        Cause::TerminationRace | Cause::AbruptExit | Cause::RefusedByApp => {
            pre_stop_fix(cause, facts)
        }
        Cause::PrematureReady => probe_fix(facts),
        Cause::GraceExceeded => grace_fix(facts),
        Cause::NoReadyEndpoint => replicas_fix(facts),
        Cause::AcceptQueueDrop => advice(
            "Accept until the queue is empty before you close the listener, and close it only when \
             nobody sends new connections any more.",
        ),
        Cause::IdleTimeoutRace => advice(
            "Let the server keep idle connections longer than its clients and proxies do: server \
             idle time-out > proxy idle time-out.",
        ),
        Cause::LivenessKill => advice(
            "Give the liveness probe more room than the readiness probe (timeoutSeconds, \
             failureThreshold), a port that traffic does not queue on, and a startup probe for slow starts.",
        ),
        Cause::Crash => {
            advice("Find out from the pod's log why the process ended; run at least two replicas.")
        }
        Cause::Overload => advice("Add replicas or CPU, or shed load before requests time out."),
        Cause::Throttling => advice(
            "Raise the CPU limit or remove it; look for what stops the whole process: long pauses of \
             its runtime, or of its machine.",
        ),
        Cause::Blackhole => {
            advice("Find out why packets to the pod's address are dropped (policy, node, routing).")
        }
        Cause::ClientLimit => advice(
            "Raise the generator's limits, or add generators; `highwater doctor` tells which.",
        ),
        Cause::WrongBind => advice("Bind 0.0.0.0 (or [::]) in place of 127.0.0.1."),
        Cause::Unobserved => advice(
            "See the target's own log; for causes, give its command or its workload in place of its \
             URL.",
        ),
        Cause::Unexplained => {
            advice("Nothing in the record explains these; please report them with the run folder.")
        }
    }
}

fn pre_stop_fix(cause: Cause, facts: &FixFacts) -> Fix {
    let seconds = facts.pre_stop();
    let grace = facts.grace(seconds);
    let first = match cause {
        Cause::AbruptExit => "Handle SIGTERM: finish what is in flight before the process exits. ",
        Cause::RefusedByApp => "Serve on while the pod is still in rotation. ",
        _ => "",
    };
    let (container, hint) = facts.container();
    let advice = format!(
        "{first}A preStop sleep of {seconds} s keeps the pod serving until every client has learnt \
         that it goes ({}).{hint}",
        facts.propagation.in_words()
    );
    let scenario_patch = format!(
        "target:\n  deployment:\n    template:\n      terminationGracePeriodSeconds: {grace}\n      \
         lifecycle: {{preStop: {{sleep: {{seconds: {seconds}}}}}}}\n"
    );
    let deployment_patch = format!(
        "spec:\n  template:\n    spec:\n      terminationGracePeriodSeconds: {grace}\n      containers:\n      \
         - name: {container}\n        lifecycle:\n          preStop:\n            sleep:\n              seconds: {seconds}\n"
    );
    Fix {
        advice,
        scenario_patch: facts.scenario_patch(scenario_patch),
        deployment_patch: Some(deployment_patch),
    }
}

fn probe_fix(facts: &FixFacts) -> Fix {
    let (container, hint) = facts.container();
    let scenario_patch = "target:\n  deployment:\n    template:\n      readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}\n";
    Fix {
        advice: format!(
            "Let readiness pass only when the port that serves requests accepts them, and answers in \
             time: probe that port itself, and warm up before.{hint}"
        ),
        scenario_patch: facts.scenario_patch(scenario_patch.into()),
        deployment_patch: Some(format!(
            "spec:\n  template:\n    spec:\n      containers:\n      - name: {container}\n        readinessProbe:\n          \
             httpGet:\n            path: /readyz\n            port: http\n          periodSeconds: 1\n"
        )),
    }
}

fn grace_fix(facts: &FixFacts) -> Fix {
    let grace = (facts.grace_seconds * 2).max(facts.grace(facts.pre_stop_seconds));
    Fix {
        advice: format!(
            "Give requests time to end: terminationGracePeriodSeconds above preStop plus the longest \
             request ({grace} s here), and a drain deadline of the service below that."
        ),
        scenario_patch: facts.scenario_patch(format!(
            "target:\n  deployment:\n    template:\n      terminationGracePeriodSeconds: {grace}\n"
        )),
        deployment_patch: Some(format!(
            "spec:\n  template:\n    spec:\n      terminationGracePeriodSeconds: {grace}\n"
        )),
    }
}

fn replicas_fix(facts: &FixFacts) -> Fix {
    let replicas = facts.replicas.max(2);
    Fix {
        advice:
            "Keep at least one pod ready at all times: two replicas or more, and a rolling update \
                 that takes no pod away before its replacement is ready."
                .into(),
        scenario_patch: facts.scenario_patch(format!(
            "target:\n  deployment:\n    replicas: {replicas}\n    strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}\n"
        )),
        deployment_patch: Some(format!(
            "spec:\n  replicas: {replicas}\n  strategy:\n    type: RollingUpdate\n    rollingUpdate:\n      maxSurge: 1\n      maxUnavailable: 0\n"
        )),
    }
}
