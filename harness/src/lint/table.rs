//! The rules: names, reasons, consequences, fixes, sources. `docs/lint.md` is made from this table.
//!
//! *Source* of most facts: kubernetes/kubernetes at the named files; where a figure is a
//! measurement of ours, the rule says so.

use super::finding::{Level, Rule};

macro_rules! rules {
    ($($ident:ident = $name:literal $level:ident {
        $summary:literal
        why: $reason:literal
        then: $consequence:literal
        fix: $fix:literal
        source: $source:literal
    })*) => {
        $(#[doc = $summary]
        pub(super) static $ident: Rule = Rule {
            name: $name,
            level: Level::$level,
            summary: $summary,
            reason: $reason,
            consequence: $consequence,
            fix: $fix,
            source: $source,
        };)*

        /// All rules, in the order of their pages.
        pub static RULES: &[&Rule] = &[$(&$ident),*];
    };
}

rules! {
    NO_PRE_STOP = "no-pre-stop" Warning {
        "A served pod has no preStop hook, so SIGTERM comes before clients know that the pod goes."
        why: "Deleting a pod starts two things at the same time: the kubelet ends its containers, and every kube-proxy, ingress and load balancer is told to stop choosing it. Without a hook SIGTERM comes 10 to 100 ms after the deletion, and the proxies learn of it later, each at its own time: up to 4.3 s behind ingress-nginx, 25 s and more behind an AWS load balancer."
        then: "A service that closes its listener on SIGTERM refuses every request that is still sent to it: those of one pod times the propagation, for each pod that a rollout, a scale-down or an eviction ends. With `--rate` and `--propagation` the finding says how many. A service that serves on for that long by itself loses none; switch the rule off for it."
        fix: "A preStop `sleep` (Kubernetes 1.30) that is longer than the propagation, and a grace period that leaves room for it and for the drain."
        source: "kubelet `kuberuntime_container.go`; ingress-nginx `internal/ingress/controller/controller.go` (0.3 syncs/s) and `rootfs/etc/nginx/lua/balancer.lua` (1 s); aws-load-balancer-controller issues 1064, 1719, 2106"
    }
    PRE_STOP_EATS_GRACE = "pre-stop-eats-grace" Error {
        "The preStop hook takes all, or nearly all, of the grace period."
        why: "The grace period runs from the deletion of the pod, the preStop hook included; what is left of it is the time to drain. If nothing is left, the kubelet gives the container 2 s from SIGTERM to SIGKILL, whatever the service needs."
        then: "The drain has `terminationGracePeriodSeconds` less the hook, and 2 s at least. What is still in flight then is cut off, on every pod that ends. An error if the hook takes the whole grace period, a warning if less than 5 s are left and the hook takes half of the grace period or more."
        fix: "terminationGracePeriodSeconds of the hook, plus the slowest request, plus a margin."
        source: "kubelet `kuberuntime_container.go`, `killContainer`: `minimumGracePeriodInSeconds` = 2"
    }
    GRACE_TOO_SHORT = "grace-too-short" Warning {
        "The slowest request takes longer than a pod has to drain."
        why: "At the end of the grace period comes SIGKILL, and with it the end of what is in flight. The drain has the grace period less the preStop hook."
        then: "Every request that runs longer than the drain and is in flight when its pod ends is cut off: the rate of a pod times the share of requests that are longer, times their excess. How long requests take comes from `--slowest`, from the scenario, or from the proxy-read-timeout of an Ingress that leads to the pods."
        fix: "A grace period of at least the preStop hook plus the slowest request plus a margin."
        source: "kubelet `kuberuntime_container.go`; ingress-nginx annotations `proxy-read-timeout`"
    }
    PRE_STOP_NEEDS_PROGRAM = "pre-stop-needs-program" Warning {
        "The preStop hook runs a program that the image is unlikely to have."
        why: "A hook whose program is not in the image ends at once, and nothing but an event FailedPreStopHook tells of it: SIGTERM follows immediately, as if there were no hook. Images without a shell (distroless, static, scratch) have neither `sleep` nor `sh`."
        then: "The pod waits 0 s in place of what the hook says, and loses what a pod without a hook loses."
        fix: "The `sleep` action, which the kubelet does itself (on by default since Kubernetes 1.30)."
        source: "kubelet `lifecycle/handlers.go`; KEP 3960; fission/fission#3468 counted 299 such failures in one CI run"
    }
    SHELL_SWALLOWS_SIGNAL = "shell-swallows-signal" Warning {
        "A shell is process 1 and starts the service without `exec`, so SIGTERM does not reach it."
        why: "The kubelet signals process 1 of the container. A shell passes no signal on to its child, and as process 1 without a handler it does not even die of it."
        then: "The service never learns that it should drain. Each pod lingers for its whole grace period and is then killed with what is in flight; a rollout takes that much longer for every pod. (bash replaces itself by its last command; dash, the `sh` of Debian, does not.)"
        fix: "`exec` before the service's command, or the command without a shell, or an init such as tini."
        source: "measured with dash 0.5.12 and bash 5.2; kernel: signal(7), pid_namespaces(7)"
    }
    UNREADY_LAST_POD = "unready-last-pod" Warning {
        "The only pod fails its readiness as soon as it ends, so nothing is left to answer."
        why: "If a Service has no ready pod, kube-proxy falls back to those that terminate and still pass their readiness. A preStop hook that makes the readiness probe fail takes that away; a single replica is always the last one."
        then: "From the deletion until the next pod is ready every connection is refused: with an eviction or a deletion that is the start-up of a pod. With more replicas the others answer, and failing readiness does no harm."
        fix: "Leave readiness true while the pod serves on, or run two replicas or more."
        source: "KEP 1669; kube-proxy `pkg/proxy/topology.go`"
    }
    NO_READINESS_PROBE = "no-readiness-probe" Warning {
        "A served container has no readiness probe, so it gets traffic before it listens."
        why: "Without a probe a container is ready the moment it runs. Its address goes to every proxy at once, and the rollout takes the next old pod away."
        then: "Every request that comes before the service listens is refused: the rate of a pod times its start-up, for each pod that starts. And nothing stops a rollout to a version that never answers."
        fix: "A readinessProbe on the port that serves."
        source: "kubelet `prober_manager.go`, `UpdatePodStatus`"
    }
    LIVENESS_IS_READINESS = "liveness-is-readiness" Warning {
        "Liveness and readiness ask the same question and give up at the same time."
        why: "Readiness may look at what the service depends on: it takes the pod out of the rotation until that is well again. Liveness restarts the container, which heals no dependency. The same probe twice does both at once."
        then: "When a shared dependency fails, or a spike makes the probe slow, every pod is unready and restarted within the same seconds: nobody answers until all have started again, with the back-off of 10, 20, 40 s and more between attempts."
        fix: "A liveness probe that looks at the process alone, or at least one that is much more patient than readiness."
        source: "kubelet `prober/worker.go`; `kuberuntime_manager.go` (back-off)"
    }
    TIGHT_LIVENESS = "tight-liveness" Warning {
        "Liveness kills a pod within seconds of slow answers, or before readiness takes it out of the rotation."
        why: "A probe queues behind the requests. Under a spike it is answered late, and liveness takes that for death. A container that is killed so is not deleted: its endpoint stays ready until readiness fails, so that clients go on to send to it while it ends."
        then: "The busiest pod is restarted first, its load goes to the others, and they follow. The finding says after how many seconds liveness kills, and after how many readiness would have taken the pod out."
        fix: "More patience than readiness: a timeout of several seconds and a failureThreshold that makes 30 s or more."
        source: "kubelet `prober/worker.go`; kubernetes/ingress-nginx#5671"
    }
    LIVENESS_BEFORE_START = "liveness-before-start" Warning {
        "Liveness may kill the container before it has started."
        why: "Without a startup probe, liveness begins initialDelaySeconds after the container's start, whether the service is up or not."
        then: "A start that takes longer than initialDelaySeconds + (failureThreshold - 1) x periodSeconds + timeoutSeconds is killed and tried again, with 10, 20, 40 s and more in between; the rollout stands still. An error if the manifest itself gives readiness a later start than liveness allows; a warning if liveness allows less than 10 s; a note below 30 s."
        fix: "A startupProbe: the other probes wait for it, and it may be patient."
        source: "kubelet `prober/worker.go`; `kuberuntime_manager.go`"
    }
    NO_WARM_UP = "no-warm-up" Note {
        "The pod starts slowly, and a rollout does not wait for it to warm up."
        why: "A Deployment counts a pod as available as soon as it is ready; with minReadySeconds 0 the next old pod goes at that moment. A service that takes long to start mostly needs time to be fast as well."
        then: "One tooth in the latency for every step of the rollout, since each step gives load to pods that are cold and takes warm ones away."
        fix: "minReadySeconds of the warm-up, and a readiness probe that passes only once the service is warm."
        source: "kubernetes `pkg/api/v1/pod/util.go`, `IsPodAvailable`"
    }
    ROLLOUT_TAKES_ALL = "rollout-takes-all" Error {
        "A rollout may take every pod away before a new one is ready."
        why: "maxUnavailable rounds down and is at least 1 if maxSurge comes to 0 as well. If it comes to all replicas, the controller begins with ending all of them."
        then: "Nobody answers from the first moment of every rollout until a new pod is ready."
        fix: "maxSurge 1 and maxUnavailable 0, or more replicas."
        source: "`pkg/controller/deployment/util/deployment_util.go`, `ResolveFenceposts`"
    }
    ROLLOUT_CUTS_CAPACITY = "rollout-cuts-capacity" Warning {
        "A rollout begins with ending pods whose replacements do not exist yet."
        why: "maxUnavailable pods are ended at the very first moment. The default of 25 % is nothing for up to 3 replicas, 1 pod of 4, 2 of 8, 5 of 20."
        then: "For the length of the rollout the remaining pods carry the whole load: replicas / (replicas - maxUnavailable) times as much each. At peak load that is overload; an autoscaler set to 80 % has room for 1.25 times. A warning from a fifth of the pods on, else a note."
        fix: "maxUnavailable 0 with maxSurge of what the cluster has room for."
        source: "`pkg/controller/deployment/rolling.go`; `api/apps/v1/types.go` (defaults)"
    }
    ALL_AT_ONCE = "all-at-once" Warning {
        "A rollout ends all old pods in the same moment."
        why: "With maxSurge of all replicas the new pods start together, and when they are ready, which is at about the same time, the old ones are ended together: nothing paces the controller but its own rate limit of 20 requests per second."
        then: "What one pod loses when it ends is lost by all of them in one second, caches are cold together, and the rollout needs twice the resources."
        fix: "A smaller maxSurge, such as 25 %, and minReadySeconds."
        source: "`pkg/controller/deployment/rolling.go`; `pkg/controller/replicaset/replica_set.go` (deletes in parallel)"
    }
    RECREATE_WHILE_SERVED = "recreate-while-served" Warning {
        "A served Deployment is replaced by ending all its pods first."
        why: "With Recreate no new pod is made until the last old one is gone, those that terminate included."
        then: "An outage at every rollout: the longest termination plus the start-up until the first pod is ready. A note if the pods mount a claim that one node at a time may use, since these cannot overlap."
        fix: "RollingUpdate with maxUnavailable 0."
        source: "`pkg/controller/deployment/recreate.go`"
    }
    SURGE_CANNOT_START = "surge-cannot-start" Warning {
        "The additional pod of a rollout may find no place, and nothing may go before it is ready."
        why: "With maxUnavailable 0 the rollout waits for a pod above the replicas. A required anti-affinity wants a node of its own for it, a quota may not allow it, and a ReadWriteOnce volume is attached to the old pod's node."
        then: "The pod stays Pending and the rollout stands still; after progressDeadlineSeconds (600) the Deployment says so, and nothing is rolled back. No request is lost, and no new version gets out."
        fix: "A preferred anti-affinity or topologySpreadConstraints, room in the quota, or maxUnavailable 1."
        source: "`pkg/controller/deployment/progress.go`; kube-scheduler's inter-pod affinity"
    }
    HOST_PORT_CLASH = "host-port-clash" Warning {
        "Pods with a port of their node are replaced by pods that need the same port."
        why: "One node has each port once. The new pod of a rollout fits on no node that has an old one."
        then: "With maxUnavailable 0 and no free node the new pod stays Pending and the rollout stands still. A note if pods may be unavailable, since then an old one goes first."
        fix: "A Service in place of the hostPort; or maxSurge 0 and maxUnavailable 1; or a DaemonSet."
        source: "kube-scheduler's NodePorts plugin"
    }
    BUDGET_BLOCKS_DRAIN = "budget-blocks-drain" Error {
        "The disruption budget never allows an eviction."
        why: "An eviction is allowed only if minAvailable pods are left, or no more than maxUnavailable are gone. minAvailable of all replicas, or maxUnavailable 0, allows none."
        then: "`kubectl drain` asks again every 5 s for ever, and node upgrades stand still until somebody deletes the pod by hand, which asks no budget. An autoscaler at its least replicas has the same effect."
        fix: "maxUnavailable 1, and two replicas or more."
        source: "`pkg/registry/core/pod/storage/eviction.go`; kubernetes/kubernetes#90977"
    }
    NO_BUDGET = "no-budget" Warning {
        "A served workload of several replicas has no disruption budget."
        why: "Draining a node evicts all its pods at once, and two nodes drained together take the pods of both. Evictions bring no replacement first, as a rollout does. Only a PodDisruptionBudget makes them wait."
        then: "At worst all replicas go in the same moment, and nobody answers for the start-up of a pod."
        fix: "A PodDisruptionBudget with maxUnavailable 1."
        source: "KEP 85; kubernetes/kubernetes#66811"
    }
    SINGLE_REPLICA = "single-replica" Warning {
        "A served workload has one replica and no autoscaler that gives it more."
        why: "Only a rollout starts the new pod before the old one ends. A drained node, an eviction, a crash and a lost node end the pod first, and no budget helps: it could only forbid the drain."
        then: "Nobody answers for as long as a pod takes to start, at every one of these; 40 s longer if the node was lost. A note if the pods mount a claim that one node at a time may use."
        fix: "Two replicas and a PodDisruptionBudget with maxUnavailable 1."
        source: "kubernetes/kubernetes#66811; node-monitor-grace-period"
    }
    UTILIZATION_WITHOUT_REQUEST = "utilization-without-request" Error {
        "The autoscaler aims at a percentage of a request that a container does not have."
        why: "Utilisation is usage divided by what all containers of the pod request. If one of them requests nothing, the metric of the pod cannot be computed, and with it that of the workload."
        then: "The HPA says FailedGetResourceMetric and `<unknown>`, and scales on this metric never. In a spike the replicas stay as they are. With another metric that works it still scales up, and never down."
        fix: "A request for every container (sidecars too), or a ContainerResource metric of the one that matters."
        source: "`podautoscaler/replica_calculator.go`, `calculatePodRequests`"
    }
    LIMIT_HIDES_LOAD = "limit-hides-load" Error {
        "The CPU limit keeps the usage below what would make the autoscaler act."
        why: "The HPA scales up when usage exceeds its target by more than the tolerance of 10 %. A container cannot use more than its limit, so the utilisation can never exceed limit / request."
        then: "If limit / request is no more than 1.1 times the target, the pods are throttled at their limit, and the HPA sees a value within its tolerance and does nothing, whatever the load."
        fix: "A lower target, a higher limit, or none."
        source: "`podautoscaler/replica_calculator.go` (tolerance 0.1)"
    }
    CPU_LIMIT_THROTTLES = "cpu-limit-throttles" Note {
        "A served container has a CPU limit of less than a core."
        why: "The kernel gives a limited container limit x 100 ms of CPU in every period of 100 ms. A request that needs more waits for the next period, and so do probes and the start-up."
        then: "A limit of 200m is 20 ms of work, then 80 ms of standing still if all of it is used at once. The 99th percentile shows multiples of 100 ms, probes of 1 s time out. A warning at 100m and below, else a note."
        fix: "No CPU limit, or one of at least what a burst of requests needs at once; keep the request."
        source: "kernel: sched-bwc.rst (period 100 ms)"
    }
    HPA_MIN_ONE = "hpa-min-one" Warning {
        "The autoscaler may go down to one pod."
        why: "minReplicas is 1 if it is not given. At the onset of a spike one pod takes everything until the metrics are there (21 s on average, 42 s at most, with 15 s metrics), the decision is made and a pod has started. And with one pod every eviction is an outage."
        then: "A spike of f times the load is f times the load of that one pod for about 25 to 60 s."
        fix: "minReplicas 2, or 3 for three zones."
        source: "`api/autoscaling/v2/types.go`; the delay is a calculation from the three periods (10 to 15 s, 15 s, 15 s)"
    }
    NO_DOWN_STABILIZATION = "no-down-stabilization" Warning {
        "The autoscaler goes down at once after every dip."
        why: "With stabilizationWindowSeconds 0 the first low reading takes pods away; the default policy lets it take all but minReplicas in 15 s."
        then: "After each dip in the load, pods end with all that ending loses, and seconds later the rest is overloaded and new ones have to start. The number of replicas makes a sawtooth."
        fix: "The default window of 300 s, or a policy that takes few pods in a minute."
        source: "`pkg/apis/autoscaling/v2/defaults.go`"
    }
    REPLICAS_AND_HPA = "replicas-and-hpa" Error {
        "The manifest sets the replicas of a workload that an autoscaler scales."
        why: "Two write the same field. Each `kubectl apply` or Helm upgrade sets the manifest's number, the HPA sets its own 15 s later."
        then: "With the HPA at maxReplicas, an apply ends maxReplicas - replicas pods in one moment, under the load that called for them; then they start again. If the manifest says more, it is the other way round."
        fix: "Leave `replicas` out. (On the first apply without it, kubectl's own apply sets 1 once: remove it from the last-applied annotation first, or apply server-side.)"
        source: "kubernetes/kubernetes#66385, #25238"
    }
    NO_READINESS_GATE = "no-readiness-gate" Warning {
        "An AWS load balancer sends to pod addresses, and the rollout does not wait for it."
        why: "With target-type ip the load balancer has to register each new pod and check its health, which takes 30 s and more. Without the pod readiness gate the rollout takes old pods away as soon as Kubernetes thinks that the new ones are ready."
        then: "At the end of a rollout the load balancer knows old pods that are gone and new ones that it does not trust yet: 502, 503 and 504 for about 30 s although all pods are well. A note if the namespace is not among the files."
        fix: "The label `elbv2.k8s.aws/pod-readiness-gate-inject: enabled` on the namespace."
        source: "aws-load-balancer-controller `docs/deploy/pod_readiness_gate.md`"
    }
    UNKNOWN_RULE = "unknown-rule" Warning {
        "The annotation that switches rules off names one that does not exist."
        why: "A name with a typing error switches nothing off."
        then: "The rule that was meant still speaks, or speaks again after it was renamed."
        fix: "A name of this page, several with commas between them, or `all`."
        source: "this page"
    }
}

/// The rule of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}
