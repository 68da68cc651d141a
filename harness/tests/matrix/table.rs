//! The anti-patterns: how each is made, what it has to be found as, and what is said of it in
//! `docs/anti-patterns.md`.
//!
//! A row is a setting in which nothing is lost, and what makes it wrong. Both are `--set`s on
//! [`BASE`], so that every row is a scenario that anybody can run.

use highwater::analyze::{Cause, findings::FindingKind};

/// Two pods of a correct service, and a rollout under load.
pub(crate) const BASE: &str = "
name: matrix
target:
  service:
    latency: {lognormal: {median: 8ms, p99: 40ms}}
    startup: 200ms
    drain: {delay: 2s, deadline: 10s}
  deployment:
    replicas: 2
    strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
path: {propagation: {uniform: [0s, 1s]}}
traffic:
  phases: [{hold: 80/s, for: 9s}]
  requests: [{get: /work, weight: 4}, {post: /work, body: hello, weight: 1}]
  timeout: 5s
events: [{at: 1s, rollout: {}}]
objectives: [{failed: 0}]
";

/// One anti-pattern.
pub(crate) struct Row {
    /// Its name: that of the switch, if one makes it.
    pub(crate) name: &'static str,
    /// In a few words.
    pub(crate) title: &'static str,
    /// What people see.
    pub(crate) symptom: &'static str,
    /// Why.
    pub(crate) why: &'static str,
    /// What stops it.
    pub(crate) fix: &'static str,
    /// The setting, in which a correct target loses nothing.
    pub(crate) setting: &'static [&'static str],
    /// What makes it wrong.
    pub(crate) wrong: &'static [&'static str],
    /// What it has to be found as on `l4`.
    pub(crate) l4: Expected,
    /// And on `l7`.
    pub(crate) l7: Expected,
}

/// What a row has to be found as: all of it, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) causes: &'static [Cause],
    pub(crate) findings: &'static [FindingKind],
}

const fn lost(causes: &'static [Cause]) -> Expected {
    Expected { causes, findings: &[] }
}

const fn found(findings: &'static [FindingKind]) -> Expected {
    Expected { causes: &[], findings }
}

const fn both(causes: &'static [Cause], findings: &'static [FindingKind]) -> Expected {
    Expected { causes, findings }
}

const NOTHING: Expected = lost(&[]);

// Settings that several rows share.

/// Requests of a tenth of a second, so that at each instant some are under way on every pod.
const IN_FLIGHT: &[&str] = &[
    "target.service.latency={uniform: [50ms, 150ms]}",
    "target.service.drain.deadline=3500ms",
    "target.deployment.template.terminationGracePeriodSeconds=4",
];
/// Requests of seconds.
const LONG: &[&str] = &[
    "target.service.latency={uniform: [1s, 3s]}",
    "target.service.drain.delay=3s",
    "path.propagation={uniform: [0s, 200ms]}",
    "traffic.phases=[{hold: 20/s, for: 10s}]",
    "traffic.timeout=9s",
];
/// Clients without patience, and a rollout when the first pods have long been warm.
const IMPATIENT: &[&str] = &[
    "traffic.timeout=2s",
    "events=[{at: 3s, rollout: {}}]",
    "traffic.phases=[{hold: 80/s, for: 10s}]",
];
/// One pod that takes three seconds to start.
const ONE: &[&str] = &[
    "target.deployment.replicas=1",
    "target.service.startup=3s",
    "target.service.drain.delay=3s",
    "target.deployment.template.readinessProbe.failureThreshold=1",
    "path.propagation={uniform: [0s, 300ms]}",
];
/// An eviction from two pods.
const EVICTION: &[&str] = &[
    "target.service.startup=3s",
    "target.service.drain.delay=3s",
    "target.deployment.template.readinessProbe.failureThreshold=1",
    "path.propagation={uniform: [0s, 300ms]}",
    "events=[{at: 1s, evict: {}}]",
];
/// Requests of a second and a half, and a liveness probe that does not wait for long.
const TIGHT: &[&str] = &[
    "target.service.latency={uniform: [1300ms, 1700ms]}",
    "target.deployment.template.readinessProbe.timeoutSeconds=5",
    "target.deployment.template.livenessProbe={httpGet: {path: /livez}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2}",
    "traffic.phases=[{hold: 40/s, for: 8s}]",
    "events=[]",
];

/// A spike from a fifth of what one pod can do to two and a half times that.
const SPIKE: &[&str] = &[
    "target.deployment.replicas=3",
    "target.service.workers=2",
    "target.service.latency=50ms",
    "target.service.startup=2s",
    "autoscaler={minReplicas: 3, maxReplicas: 5, metrics: [{type: Pods, pods: {metric: {name: requests_per_second}, target: {type: AverageValue, averageValue: 25}}}]}",
    "controllerManager={horizontalPodAutoscalerSyncPeriod: 1s}",
    "metricsPipeline={prometheus: {scrapeInterval: 1s, window: 3s, rules: [{name: requests_per_second, rate: http_requests_total, matchLabels: {route: /work}}]}}",
    "path.keepAlive=false",
    "traffic.keepAlive=false",
    "traffic.timeout=2s",
    "traffic.phases=[{hold: 8/s, for: 2s}, {hold: 100/s, for: 8s}]",
    "events=[]",
];

/// All of them.
pub(crate) const TABLE: &[Row] = &[
    Row {
        name: "no-signal-handler",
        title: "No SIGTERM handler",
        symptom: "Old pods linger for the whole grace period and end with exit code 137. Clients that keep \
                  their connections are cut off then.",
        why: "The kernel does not apply a signal's default action to PID 1. Without a handler, or below a shell \
              that keeps the signal to itself, SIGTERM does nothing, and SIGKILL ends the process.",
        fix: "Handle SIGTERM; start the process with `exec`, or below an init such as tini.",
        setting: IN_FLIGHT,
        wrong: &["target.misbehave=[no-signal-handler]"],
        l4: both(&[Cause::GraceExceeded], &[FindingKind::SigtermIgnored]),
        l7: found(&[FindingKind::SigtermIgnored]),
    },
    Row {
        name: "exit-on-sigterm",
        title: "Exits at once on SIGTERM",
        symptom: "With each pod that goes, requests in work are cut off, and new ones are refused until every \
                  proxy has learnt of it.",
        why: "SIGTERM and the news that the pod goes travel at the same time. A process that ends at once is \
              gone before its clients know.",
        fix: "Serve on until the clients know (a preStop sleep, or a delay in the service), then finish what is in \
              work.",
        setting: &[],
        wrong: &["target.misbehave=[exit-on-sigterm]"],
        l4: lost(&[Cause::AbruptExit]),
        l7: lost(&[Cause::AbruptExit]),
    },
    Row {
        name: "close-listener-first",
        title: "Closes its listener at once on SIGTERM",
        symptom: "Requests in work end well; new connections are refused for as long as the news takes.",
        why: "Many libraries' graceful shutdown begins by closing the listener, while proxies still choose the pod.",
        fix: "Wait before closing: a preStop sleep that covers the propagation.",
        setting: &[],
        wrong: &["target.misbehave=[close-listener-first]"],
        l4: lost(&[Cause::TerminationRace]),
        l7: lost(&[Cause::TerminationRace]),
    },
    Row {
        name: "drop-accept-queue",
        title: "Drops its accept queue",
        symptom: "Resets of connections that had been established, all at the moment when the listener closes.",
        why: "The kernel completes handshakes before the process accepts them. Whatever is in that queue when the \
              listener closes is reset.",
        fix: "Accept until the queue is empty, then close.",
        setting: &[],
        wrong: &["target.misbehave=[drop-accept-queue]"],
        l4: lost(&[Cause::AcceptQueueDrop]),
        l7: lost(&[Cause::AcceptQueueDrop]),
    },
    Row {
        name: "refuse-while-draining",
        title: "Answers 503 while it drains",
        symptom: "Clean 503s with the application's own headers, from SIGTERM on.",
        why: "The framework refuses new work while the pod is still in rotation.",
        fix: "Serve on until nobody sends any more; refuse nothing.",
        setting: &[],
        wrong: &["target.misbehave=[refuse-while-draining]"],
        l4: lost(&[Cause::RefusedByApp]),
        l7: lost(&[Cause::RefusedByApp]),
    },
    Row {
        name: "stay-ready",
        title: "Stays ready while it shuts down",
        symptom: "Nothing is lost in rollouts. When the container gets SIGTERM without a deletion of its pod, \
                  connections are refused from its listener's end until its own end is noticed.",
        why: "Only a deletion takes a pod out of rotation by itself. In every other case readiness has to, and it \
              still passes.",
        fix: "Fail readiness on SIGTERM, and serve on.",
        setting: &[
            "target.service.drain.delay=3s",
            "target.deployment.template.readinessProbe.failureThreshold=1",
            "path.propagation={uniform: [0s, 300ms]}",
            "path.keepAlive=false",
            "traffic.keepAlive=false",
            "events=[{at: 1s, kill: {signal: SIGTERM}}]",
        ],
        wrong: &["target.misbehave=[stay-ready]"],
        l4: lost(&[Cause::TerminationRace]),
        l7: lost(&[Cause::TerminationRace]),
    },
    Row {
        name: "unready-too-early",
        title: "Fails readiness in its preStop hook",
        symptom: "With one replica, or when all go at once: no endpoint until the new pod is ready, although the \
                  old one serves on.",
        why: "Where no pod is ready, traffic falls back to pods that terminate and still pass readiness. A pod \
              that fails it at once takes itself out of that.",
        fix: "Stay ready through the preStop hook; fail readiness on SIGTERM.",
        setting: &[
            "target.deployment.replicas=1",
            "target.service.startup=2s",
            "target.service.drain.delay=5s",
            "target.deployment.template.readinessProbe.failureThreshold=1",
            "target.deployment.template.lifecycle={preStop: {httpGet: {path: /prestop, port: http}}}",
            "path.propagation={uniform: [0s, 300ms]}",
            "traffic.keepAlive=false",
            "events=[{at: 1s, delete: {}}]",
        ],
        wrong: &["target.misbehave=[unready-too-early]"],
        l4: lost(&[Cause::NoReadyEndpoint]),
        l7: lost(&[Cause::NoReadyEndpoint]),
    },
    Row {
        name: "ready-before-listening",
        title: "Ready before it listens",
        symptom: "Refused connections right after each new pod, when the old one may be gone already.",
        why: "Readiness is answered by something else than the port that serves.",
        fix: "Probe the port that serves.",
        setting: &[],
        wrong: &["target.misbehave=[ready-before-listening]"],
        l4: lost(&[Cause::PrematureReady]),
        l7: lost(&[Cause::PrematureReady]),
    },
    Row {
        name: "ready-before-warm",
        title: "Ready before it is warm",
        symptom: "Time-outs for the first seconds of each new pod.",
        why: "Readiness says that the port is open, and not that requests are answered in time: caches are \
              empty, pools are unfilled, code is not compiled yet.",
        fix: "Warm up first, then be ready; `minReadySeconds` keeps a rollout from outrunning it.",
        setting: IMPATIENT,
        wrong: &["target.misbehave=[ready-before-warm]"],
        l4: lost(&[Cause::PrematureReady]),
        l7: lost(&[Cause::PrematureReady]),
    },
    Row {
        name: "bind-loopback",
        title: "Binds 127.0.0.1",
        symptom: "Every request is refused, and the pod is ready.",
        why: "A probe from inside the pod, or of another port, passes; nobody outside reaches the port that serves.",
        fix: "Bind 0.0.0.0 or [::], and probe that port by httpGet.",
        setting: &[],
        wrong: &["target.misbehave=[bind-loopback]"],
        l4: lost(&[Cause::WrongBind]),
        l7: lost(&[Cause::WrongBind]),
    },
    Row {
        name: "short-idle-timeout",
        title: "Closes idle connections before its clients do",
        symptom: "A trickle of resets or 502s with no event near, and fewer of them under more load.",
        why: "A client sends on a kept connection just as the server closes it.",
        fix: "Keep idle connections on the server for longer than any client or proxy does.",
        setting: &[
            "target.deployment.replicas=1",
            "target.service.latency=1ms",
            "traffic.arrivals=constant",
            "traffic.phases=[{hold: 4/s, for: 8s}]",
            "events=[]",
        ],
        wrong: &["target.misbehave=[short-idle-timeout]", "target.service.idleTimeout=240ms"],
        l4: lost(&[Cause::IdleTimeoutRace]),
        l7: lost(&[Cause::IdleTimeoutRace]),
    },
    Row {
        name: "no-connection-close",
        title: "Drains without `Connection: close`",
        symptom: "Old pods are kept busy by connections opened long before, until their drain is cut off with \
                  requests in work.",
        why: "Nothing moves an established connection to another pod, and nobody told its client to leave.",
        fix: "Answer with `Connection: close` (HTTP/2: GOAWAY) from SIGTERM on.",
        setting: IN_FLIGHT,
        wrong: &["target.misbehave=[no-connection-close]"],
        l4: lost(&[Cause::GraceExceeded]),
        l7: NOTHING,
    },
    Row {
        name: "blocking-cleanup",
        title: "Cleans up before it serves what is in work",
        symptom: "From SIGTERM on nothing is answered; then everything that waited is cut off.",
        why: "The signal handler closes pools and flushes caches while requests still need them, and then exits.",
        fix: "Finish requests first, clean up last, each step with a bound.",
        setting: &[],
        wrong: &["target.misbehave=[blocking-cleanup]"],
        l4: lost(&[Cause::AbruptExit]),
        l7: lost(&[Cause::AbruptExit]),
    },
    Row {
        name: "endless-drain",
        title: "Drains without a deadline",
        symptom: "Nothing is lost, and each old pod takes its whole grace period to go, to end with exit code 137.",
        why: "The shutdown waits for a connection or a task that never ends.",
        fix: "Give the drain a deadline below the grace period.",
        setting: IN_FLIGHT,
        wrong: &["target.misbehave=[endless-drain]"],
        l4: found(&[FindingKind::KilledAtGraceEnd]),
        l7: found(&[FindingKind::KilledAtGraceEnd]),
    },
    Row {
        name: "liveness-on-dependency",
        title: "Liveness depends on a dependency",
        symptom: "A short outage of a dependency restarts every pod at about the same time.",
        why: "The liveness probe fails for something that a restart cannot mend.",
        fix: "Let liveness tell of the process alone.",
        setting: &[
            "target.service.dependencies=[{name: db}]",
            "target.deployment.template.livenessProbe={httpGet: {path: /livez}, periodSeconds: 1, failureThreshold: 2}",
            "events=[{at: 1s, dependencyOutage: {name: db, for: 4s}}]",
        ],
        wrong: &["target.misbehave=[liveness-on-dependency]"],
        l4: lost(&[Cause::LivenessKill]),
        l7: lost(&[Cause::LivenessKill]),
    },
    Row {
        name: "slow-probe-under-load",
        title: "Probes queue behind the traffic",
        symptom: "Under load the busiest pods are restarted, which puts their load on the others.",
        why: "The probe waits for its turn behind requests, longer than its time-out.",
        fix: "Answer probes apart from requests: a port and a thread of their own.",
        setting: TIGHT,
        wrong: &["target.misbehave=[slow-probe-under-load]"],
        l4: lost(&[Cause::LivenessKill]),
        l7: lost(&[Cause::LivenessKill]),
    },
    Row {
        name: "cold-start",
        title: "Slow on its first requests",
        symptom: "Time-outs of the first requests of each new pod.",
        why: "What is made at first use is made on a client's time: connections, compiled code, caches.",
        fix: "Send yourself some requests before you are ready.",
        setting: IMPATIENT,
        wrong: &["target.misbehave=[cold-start]"],
        l4: lost(&[Cause::PrematureReady]),
        l7: lost(&[Cause::PrematureReady]),
    },
    Row {
        name: "memory-growth",
        title: "Grows until it is killed",
        symptom: "Restarts with reason OOMKilled, more often under more load; requests in work are cut off.",
        why: "Each request leaves something behind.",
        fix: "Bound caches and queues; find the leak.",
        setting: &[
            "target.deployment.template.resources={limits: {memory: 64Mi}}",
            "traffic.phases=[{hold: 40/s, for: 8s}]",
            "events=[]",
        ],
        wrong: &["target.misbehave=[memory-growth]"],
        l4: lost(&[Cause::Crash]),
        l7: lost(&[Cause::Crash]),
    },
    Row {
        name: "crash-on-request",
        title: "Crashes on some requests",
        symptom: "Restarts without any event; with each, everything in work on that pod is cut off.",
        why: "One request ends the process for all of them.",
        fix: "Catch what a request throws at its own edge; run at least two replicas.",
        setting: &["traffic.phases=[{hold: 80/s, for: 7s}]", "events=[]"],
        wrong: &["target.misbehave=[crash-on-request]"],
        l4: lost(&[Cause::Crash]),
        l7: lost(&[Cause::Crash]),
    },
    // What settings make.
    Row {
        name: "grace-too-short",
        title: "Grace period shorter than the longest request",
        symptom: "Requests are cut off exactly at the end of the grace period.",
        why: "SIGKILL comes `terminationGracePeriodSeconds` after the deletion, whatever is still in work.",
        fix: "terminationGracePeriodSeconds ≥ preStop + the longest request + a margin.",
        setting: LONG,
        wrong: &["target.deployment.template.terminationGracePeriodSeconds=2"],
        l4: both(&[Cause::GraceExceeded], &[FindingKind::KilledAtGraceEnd]),
        l7: both(&[Cause::GraceExceeded], &[FindingKind::KilledAtGraceEnd]),
    },
    Row {
        name: "prestop-eats-grace",
        title: "preStop takes the whole grace period",
        symptom: "The drain always has two seconds, whatever the service wants.",
        why: "The hook's time counts towards the grace period, and two seconds are the least that is left.",
        fix: "terminationGracePeriodSeconds > preStop + drain.",
        setting: &[
            "target.service.latency={uniform: [1s, 3s]}",
            "target.service.drain.delay=3s",
            "target.deployment.template.lifecycle={preStop: {sleep: {seconds: 4}}}",
            "path.propagation={uniform: [0s, 200ms]}",
            "traffic.phases=[{hold: 20/s, for: 11s}]",
            "traffic.timeout=9s",
        ],
        wrong: &["target.deployment.template.terminationGracePeriodSeconds=4"],
        l4: both(&[Cause::GraceExceeded], &[FindingKind::KilledAtGraceEnd]),
        l7: found(&[FindingKind::KilledAtGraceEnd]),
    },
    Row {
        name: "prestop-fails",
        title: "The preStop hook's program is missing",
        symptom: "As without any hook; the only trace is a FailedPreStopHook event.",
        why: "An `exec` hook whose program is not in the image ends at once, and SIGTERM follows.",
        fix: "Use the `sleep` action.",
        setting: &[],
        wrong: &[
            "target.service.drain.delay=0",
            "target.deployment.template.lifecycle={preStop: {exec: {command: [/no/such/sleep, \"2\"]}}}",
        ],
        l4: both(&[Cause::TerminationRace], &[FindingKind::PreStopFailed]),
        l7: both(&[Cause::TerminationRace], &[FindingKind::PreStopFailed]),
    },
    Row {
        name: "no-prestop",
        title: "Neither preStop nor a delay in the service",
        symptom: "A few refused connections with each pod that goes.",
        why: "The listener is closed as soon as SIGTERM comes, before every client has learnt of it.",
        fix: "A preStop sleep that covers the propagation of your data path.",
        setting: &[],
        wrong: &["target.service.drain.delay=0"],
        l4: lost(&[Cause::TerminationRace]),
        l7: lost(&[Cause::TerminationRace]),
    },
    Row {
        name: "no-readiness-probe",
        title: "No readiness probe",
        symptom: "Refused connections right after each new pod.",
        why: "Without a probe a pod is ready as soon as its container runs.",
        fix: "A readiness probe of the port that serves.",
        setting: &["target.service.startup=2s"],
        wrong: &["target.deployment.template.readinessProbe=null"],
        l4: lost(&[Cause::PrematureReady]),
        l7: lost(&[Cause::PrematureReady]),
    },
    Row {
        name: "recreate",
        title: "Strategy Recreate",
        symptom: "Nothing is served from the old pods' end until the new ones are ready.",
        why: "All old pods go before any new one is made.",
        fix: "Strategy RollingUpdate.",
        setting: ONE,
        wrong: &["target.deployment.strategy={type: Recreate}"],
        l4: lost(&[Cause::NoReadyEndpoint]),
        l7: lost(&[Cause::NoReadyEndpoint]),
    },
    Row {
        name: "no-surge",
        title: "The only pod goes first",
        symptom: "An outage with each rollout, as long as a start.",
        why: "`maxUnavailable: 1` with one replica (also as a percentage that rounds to no surge) takes it down \
              before its replacement is there.",
        fix: "maxUnavailable: 0 and maxSurge: 1.",
        setting: ONE,
        wrong: &["target.deployment.strategy.rollingUpdate={maxSurge: 0, maxUnavailable: 1}"],
        l4: lost(&[Cause::NoReadyEndpoint]),
        l7: lost(&[Cause::NoReadyEndpoint]),
    },
    Row {
        name: "too-many-unavailable",
        title: "maxUnavailable too high for the load",
        symptom: "Latency and time-outs from the begin of a rollout on; no connection breaks.",
        why: "The pods that are left have to do the work of all.",
        fix: "maxUnavailable: 0 with a surge.",
        setting: &[
            "target.deployment.replicas=4",
            "target.service.workers=2",
            "target.service.latency=50ms",
            "target.service.startup=3s",
            "path.keepAlive=false",
            "traffic.keepAlive=false",
            "traffic.timeout=2s",
            "traffic.phases=[{hold: 90/s, for: 9s}]",
            "events=[{at: 2s, rollout: {}}]",
        ],
        wrong: &["target.deployment.strategy.rollingUpdate={maxSurge: 0, maxUnavailable: 3}"],
        l4: lost(&[Cause::Overload]),
        l7: lost(&[Cause::Overload]),
    },
    Row {
        name: "one-replica-before-a-spike",
        title: "minReplicas 1 before a spike",
        symptom: "Time-outs as soon as load rises, until the autoscaler has added pods and they have started.",
        why: "One pod takes all of a spike for as long as the metric's way, the decision and a start take together; \
              `minReplicas` is 1 where nothing else is said.",
        fix: "`minReplicas` of at least 2 or 3: enough that the pods of quiet hours outlast the time to scale.",
        setting: SPIKE,
        wrong: &["autoscaler.minReplicas=1", "target.deployment.replicas=1"],
        l4: lost(&[Cause::Overload]),
        l7: lost(&[Cause::Overload]),
    },
    Row {
        name: "liveness-too-tight",
        title: "Liveness probe too tight under load",
        symptom: "As with probes that queue: restarts under load, and only then.",
        why: "`timeoutSeconds: 1` is less than a request takes, and the probe waits behind requests.",
        fix: "A time-out and a threshold that the worst load does not reach; liveness is for processes that hang.",
        setting: &[
            "target.misbehave=[slow-probe-under-load]",
            "target.service.latency={uniform: [1300ms, 1700ms]}",
            "target.deployment.template.readinessProbe.timeoutSeconds=5",
            "target.deployment.template.livenessProbe={httpGet: {path: /livez}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 3}",
            "traffic.phases=[{hold: 40/s, for: 8s}]",
            "events=[]",
        ],
        wrong: &[
            "target.deployment.template.livenessProbe.timeoutSeconds=1",
            "target.deployment.template.livenessProbe.failureThreshold=2",
        ],
        l4: lost(&[Cause::LivenessKill]),
        l7: lost(&[Cause::LivenessKill]),
    },
    Row {
        name: "no-startup-probe",
        title: "A slow start without a startup probe",
        symptom: "New pods are restarted before they are ready, again and again; the rollout does not go on.",
        why: "The liveness probe counts from the container's start and has no patience with it.",
        fix: "A startup probe: liveness waits for it.",
        setting: &[
            "target.deployment.template.startupProbe={tcpSocket: {port: http}, periodSeconds: 1, failureThreshold: 30}",
            "target.deployment.template.livenessProbe={tcpSocket: {port: http}, periodSeconds: 1, failureThreshold: 2}",
            "events=[{at: 1s, rollout: {service: {startup: 5s}}}]",
        ],
        wrong: &["target.deployment.template.startupProbe=null"],
        l4: found(&[FindingKind::KilledWhileStarting]),
        l7: found(&[FindingKind::KilledWhileStarting]),
    },
    Row {
        name: "bad-version",
        title: "A version that never becomes ready",
        symptom: "The rollout stops half-way; the old pods serve on.",
        why: "maxUnavailable keeps the old pods until new ones are available, and nothing rolls back by itself.",
        fix: "Watch `kubectl rollout status` (it fails at the progress deadline), and undo.",
        setting: &["target.deployment.progressDeadlineSeconds=4"],
        wrong: &["events=[{at: 1s, rollout: {service: {startup: 1h}}}]"],
        l4: found(&[FindingKind::RolloutStalled]),
        l7: found(&[FindingKind::RolloutStalled]),
    },
    Row {
        name: "one-replica-evicted",
        title: "One replica, and its node is drained",
        symptom: "An outage as long as a start, with no rollout at all.",
        why: "An eviction has no surge: the pod goes first, and then its replacement is made.",
        fix: "Two replicas and a PodDisruptionBudget.",
        setting: EVICTION,
        wrong: &["target.deployment.replicas=1"],
        l4: lost(&[Cause::NoReadyEndpoint]),
        l7: lost(&[Cause::NoReadyEndpoint]),
    },
    Row {
        name: "budget-forbids",
        title: "A disruption budget that forbids every eviction",
        symptom: "Nodes cannot be drained.",
        why: "`minAvailable` equals the replicas.",
        fix: "More replicas than the budget wants to stay.",
        setting: &["target.podDisruptionBudget={minAvailable: 1}", "events=[{at: 1s, evict: {}}]"],
        wrong: &["target.deployment.replicas=1"],
        l4: found(&[FindingKind::EvictionRefused]),
        l7: found(&[FindingKind::EvictionRefused]),
    },
    Row {
        name: "long-pause",
        title: "The process stands still for seconds",
        symptom: "Time-outs of whatever was sent to one pod in that time, and none on the others.",
        why: "A pause of the runtime or of the machine, or a CPU limit that is used up, stops the whole process.",
        fix: "Raise or remove the CPU limit; tune what pauses; let readiness take the pod out sooner.",
        setting: &["traffic.timeout=2s", "events=[]", "traffic.phases=[{hold: 80/s, for: 8s}]"],
        wrong: &["events=[{at: 1s, freeze: {for: 4s}}]"],
        l4: lost(&[Cause::Throttling]),
        l7: lost(&[Cause::Throttling]),
    },
];
