//! The objects that rules are about, read from documents, with the relations between them.

use std::{collections::BTreeMap, rc::Rc};

use k8s_openapi::{
    api::{
        apps::v1::DeploymentStrategy,
        core::v1::{
            Container, LimitRangeSpec, PersistentVolumeClaimSpec, PodSpec, ResourceQuotaSpec,
            ServicePort, ServiceSpec,
        },
        networking::v1::IngressSpec,
        policy::v1::PodDisruptionBudgetSpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::core::{Selector, SelectorExt as _};

use super::{hpa::Hpa, known::Known, subject::Subject};

/// Labels, annotations or a selector.
pub(super) type Pairs = BTreeMap<String, String>;

/// A kind of workload that rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkloadKind {
    Deployment,
    StatefulSet,
}

/// A Deployment or StatefulSet.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) subject: Subject,
    pub(super) kind: WorkloadKind,
    /// As the manifest says.
    pub(super) replicas: Option<u32>,
    pub(super) strategy: DeploymentStrategy,
    pub(super) min_ready_seconds: u32,
    pub(super) progress_deadline_seconds: u32,
    /// Of the pods.
    pub(super) labels: Pairs,
    pub(super) pod: PodSpec,
    pub(super) known: Known,
}

/// A Service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) subject: Subject,
    pub(super) annotations: Pairs,
    pub(super) spec: ServiceSpec,
}

/// A PodDisruptionBudget.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) subject: Subject,
    pub(super) spec: PodDisruptionBudgetSpec,
}

/// An Ingress.
#[derive(Debug)]
pub(super) struct Ingress {
    pub(super) subject: Subject,
    pub(super) annotations: Pairs,
    /// The class that it names in its spec.
    pub(super) class: Option<String>,
    /// The Services that it leads to.
    pub(super) services: Vec<String>,
}

/// All objects that rules are about.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) workloads: Vec<Workload>,
    pub(super) services: Vec<Service>,
    pub(super) hpas: Vec<Hpa>,
    pub(super) budgets: Vec<Budget>,
    pub(super) ingresses: Vec<Ingress>,
    /// Namespaces and their labels.
    pub(super) namespaces: Vec<(Subject, Pairs)>,
    pub(super) claims: Vec<(Subject, PersistentVolumeClaimSpec)>,
    pub(super) quotas: Vec<(Subject, ResourceQuotaSpec)>,
    pub(super) limit_ranges: Vec<(Subject, LimitRangeSpec)>,
    /// The targets of autoscalers of other kinds (KEDA), of which no rule knows more.
    pub(super) scaled_elsewhere: Vec<(Subject, String)>,
}

impl World {
    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.workloads.len()
            + self.services.len()
            + self.hpas.len()
            + self.budgets.len()
            + self.ingresses.len()
            + self.namespaces.len()
            + self.claims.len()
            + self.quotas.len()
            + self.limit_ranges.len()
            + self.scaled_elsewhere.len()
    }

    /// The Services whose pods these are.
    pub(super) fn services_of<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = &'a Service> {
        self.services.iter().filter(|service| service.selects(workload))
    }

    /// Whether clients reach the pods through a Service. Without any Service among the objects, a
    /// pod with a port for clients is taken for served. A headless Service names the pods of a StatefulSet and
    /// says nothing of clients.
    pub(super) fn is_served(&self, workload: &Workload) -> bool {
        if workload.known.is_scenario {
            return true;
        }
        if self.services.is_empty() {
            return workload.kind == WorkloadKind::Deployment
                && workload.pod.containers.iter().any(ContainerExt::may_serve);
        }
        let counts =
            |service: &Service| workload.kind == WorkloadKind::Deployment || !service.is_headless();
        self.services_of(workload).any(counts)
    }

    /// Whether each Service of the pods has pods of other workloads as well, which answer when
    /// these do not: as versions of a service side by side do.
    pub(super) fn has_peers(&self, workload: &Workload) -> bool {
        let is_other = |service: &Service, other: &Workload| {
            !std::ptr::eq(other, workload) && service.selects(other) && self.replicas(other).0 > 0
        };
        let mut services = self.services_of(workload).peekable();
        services.peek().is_some()
            && services.all(|service| self.workloads.iter().any(|other| is_other(service, other)))
    }

    /// The containers that clients' requests come to, with their index.
    pub(super) fn serving<'a>(&self, workload: &'a Workload) -> Vec<(usize, &'a Container)> {
        let all: Vec<_> = workload.pod.containers.iter().enumerate().collect();
        let ports: Vec<&ServicePort> = self
            .services_of(workload)
            .flat_map(|service| service.spec.ports.iter().flatten())
            .collect();
        let holds = |container: &Container| ports.iter().any(|port| container.holds(port));
        let of = |is_meant: &dyn Fn(&Container) -> bool| -> Vec<_> {
            all.iter().copied().filter(|(_, container)| is_meant(container)).collect()
        };
        let (meant, with_ports) = (of(&holds), of(&ContainerExt::may_serve));
        match (meant.is_empty(), with_ports.is_empty()) {
            (false, _) => meant,
            (true, false) => with_ports,
            (true, true) => all.into_iter().take(1).collect(),
        }
    }

    /// The autoscaler of a workload.
    pub(super) fn hpa_of(&self, workload: &Workload) -> Option<&Hpa> {
        self.hpas.iter().find(|hpa| {
            hpa.target.0 == workload.subject.kind()
                && hpa.target.1 == workload.subject.name()
                && hpa.subject.is_near(&workload.subject)
        })
    }

    /// Whether something that no rule knows scales it.
    pub(super) fn is_scaled_elsewhere(&self, workload: &Workload) -> bool {
        self.scaled_elsewhere.iter().any(|(subject, name)| {
            name == workload.subject.name() && subject.is_near(&workload.subject)
        })
    }

    /// The workload that an autoscaler scales.
    pub(super) fn target_of(&self, hpa: &Hpa) -> Option<&Workload> {
        self.workloads
            .iter()
            .find(|workload| self.hpa_of(workload).is_some_and(|found| std::ptr::eq(found, hpa)))
    }

    /// The least and the most replicas that it has, as far as the manifests tell.
    pub(super) fn replicas(&self, workload: &Workload) -> (u32, u32) {
        match self.hpa_of(workload) {
            Some(hpa) => (hpa.min_replicas(), hpa.max_replicas.max(hpa.min_replicas())),
            None => {
                let replicas = workload.replicas.unwrap_or(1);
                (replicas, replicas)
            }
        }
    }

    /// The budgets of a workload.
    pub(super) fn budgets_of<'a>(
        &'a self,
        workload: &'a Workload,
    ) -> impl Iterator<Item = &'a Budget> {
        self.budgets.iter().filter(|budget| budget.selects(workload))
    }

    /// Whether the pods mount a claim that only one node at a time may use; a claim that is not
    /// among the objects is taken for one, as most are.
    pub(super) fn mounts_single_claim(&self, workload: &Workload) -> bool {
        let claims = workload.pod.volumes.iter().flatten().filter_map(|volume| {
            volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str())
        });
        claims.into_iter().any(|name| self.is_single_claim(workload, name).unwrap_or(true))
    }

    /// Whether a claim is for one node at a time; nothing if it is not among the objects.
    pub(super) fn is_single_claim(&self, workload: &Workload, name: &str) -> Option<bool> {
        let is_meant =
            |subject: &Subject| subject.name() == name && subject.is_near(&workload.subject);
        let (_, claim) = self.claims.iter().find(|(subject, _)| is_meant(subject))?;
        let modes = claim.access_modes.as_deref().unwrap_or_default();
        Some(modes.iter().all(|mode| mode.starts_with("ReadWriteOnce")))
    }
}

impl Workload {
    /// The grace period in seconds.
    pub(super) fn grace(&self) -> u32 {
        self.pod
            .termination_grace_period_seconds
            .map_or(30, |seconds| u32::try_from(seconds).unwrap_or(0))
    }

    /// Whether a rollout replaces pods one after the other, new ones first where it may.
    pub(super) fn is_rolling(&self) -> bool {
        self.kind == WorkloadKind::Deployment
            && self.strategy.type_.as_deref().unwrap_or("RollingUpdate") == "RollingUpdate"
    }

    /// Containers, and those that are started before them and stay.
    pub(super) fn lasting(&self) -> impl Iterator<Item = (String, &Container)> {
        let spec = "spec.template.spec";
        let sidecars = self.pod.init_containers.iter().flatten().enumerate();
        let sidecars = sidecars
            .filter(|(_, container)| container.restart_policy.as_deref() == Some("Always"))
            .map(move |(index, container)| (format!("{spec}.initContainers[{index}]"), container));
        let containers = self.pod.containers.iter().enumerate();
        containers
            .map(move |(index, container)| (format!("{spec}.containers[{index}]"), container))
            .chain(sidecars)
    }
}

impl Service {
    fn selects(&self, workload: &Workload) -> bool {
        let selector = self.spec.selector.as_ref();
        selector.is_some_and(|selector| {
            !selector.is_empty()
                && selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
        }) && self.subject.is_near(&workload.subject)
    }

    fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }
}

impl Budget {
    fn selects(&self, workload: &Workload) -> bool {
        let Some(selector) = self.spec.selector.clone() else { return false };
        let matches =
            Selector::try_from(selector).is_ok_and(|selector| selector.matches(&workload.labels));
        matches && self.subject.is_near(&workload.subject)
    }
}

impl Ingress {
    pub(super) fn new(subject: Subject, annotations: Pairs, spec: &IngressSpec) -> Self {
        let rules = spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref());
        let paths = rules.flat_map(|http| &http.paths).map(|path| &path.backend);
        let backends = paths.chain(&spec.default_backend);
        let services = backends
            .filter_map(|backend| backend.service.as_ref().map(|service| service.name.clone()))
            .collect();
        Self { subject, annotations, class: spec.ingress_class_name.clone(), services }
    }

    /// Whether it leads to one of the Services of a workload.
    pub(super) fn leads_to(&self, world: &World, workload: &Workload) -> bool {
        world.services_of(workload).any(|service| {
            self.services.iter().any(|name| name == service.subject.name())
                && self.subject.is_near(&service.subject)
        })
    }
}

/// What rules ask a container.
pub(super) trait ContainerExt {
    /// The ports that it names.
    fn ports(&self) -> &[k8s_openapi::api::core::v1::ContainerPort];
    /// Whether it has a port that is for clients, and not for metrics or health alone.
    fn may_serve(&self) -> bool;
    /// Whether the Service's port leads to it.
    fn holds(&self, port: &ServicePort) -> bool;
    /// Program and arguments, as far as the manifest gives them.
    fn words(&self) -> Vec<&str>;
}

impl ContainerExt for Container {
    fn ports(&self) -> &[k8s_openapi::api::core::v1::ContainerPort] {
        self.ports.as_deref().unwrap_or_default()
    }

    fn may_serve(&self) -> bool {
        const ASIDE: [&str; 4] = ["metrics", "prom", "health", "probe"];
        self.ports().iter().any(|port| {
            let name = port.name.as_deref().unwrap_or_default();
            let is_tcp = port.protocol.as_deref().unwrap_or("TCP") == "TCP";
            is_tcp && !ASIDE.iter().any(|word| name.contains(word))
        })
    }

    fn holds(&self, port: &ServicePort) -> bool {
        self.ports().iter().any(|own| match &port.target_port {
            Some(IntOrString::String(name)) => own.name.as_deref() == Some(name.as_str()),
            Some(IntOrString::Int(number)) => own.container_port == *number,
            None => own.container_port == port.port,
        })
    }

    fn words(&self) -> Vec<&str> {
        let words = self.command.iter().flatten().chain(self.args.iter().flatten());
        words.map(String::as_str).collect()
    }
}

/// The file name that all objects of one file share.
pub(super) type Origin = Rc<str>;
