//! How the cluster was last seen, for a driver that waits, chooses or says what is wrong.

use highwater_model::{event::Endpoint, time::Timestamp};

use super::{
    autoscaler::Autoscaler, endpoints::Endpoints, news::Watched, node::Nodes, observer::Observer,
    pod::PodState, workload::DeploymentState,
};

/// How many pods a diagnosis names.
const NAMED_MAX: usize = 3;

impl Observer {
    /// The pods that are not gone, oldest first.
    pub fn pods(&self) -> Vec<&PodState> {
        let mut pods: Vec<&PodState> = self.all_pods().filter(|pod| pod.gone.is_none()).collect();
        pods.sort_by_key(|pod| pod.order);
        pods
    }

    /// A pod by name, also one that was gone a moment ago.
    pub fn pod(&self, name: &str) -> Option<&PodState> {
        self.all_pods().find(|pod| pod.name == name)
    }

    /// The Deployment; `None` before it was seen, or if there is none.
    pub fn deployment(&self) -> Option<&DeploymentState> {
        self.workload().deployment()
    }

    /// The Service's endpoints by pod.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.slices().all()
    }

    /// The newest revision that was seen; 0 before the first.
    pub fn revision(&self) -> u32 {
        self.workload().revision()
    }

    /// Whether the Deployment is complete, each of its pods is a ready endpoint, and nothing
    /// terminates.
    pub fn is_settled(&self) -> bool {
        let Some(deployment) = self.deployment() else { return false };
        let ready = self.endpoints().iter().filter(|endpoint| endpoint.ready).count();
        deployment.is_complete
            && ready == deployment.desired as usize
            && self.pods().iter().all(|pod| pod.deletion.is_none())
    }

    /// The endpoints as they were merged, with their version.
    pub fn slices(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The autoscaler.
    pub fn autoscaler(&self) -> &Autoscaler {
        &self.autoscaler
    }

    /// The nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether all objects of a kind were seen at least once.
    pub fn has_listed(&self, what: &Watched) -> bool {
        self.listed.contains(what)
    }

    /// What nothing is heard of now, and since when.
    pub fn gaps(&self) -> impl Iterator<Item = (&Watched, Timestamp)> {
        self.gaps.iter().map(|(what, (from, _))| (what, *from))
    }

    /// Why the Deployment is not complete or has too few ready endpoints, in words; empty if it is
    /// as it should be.
    pub fn diagnosis(&self) -> String {
        let mut words: Vec<String> =
            self.gaps().map(|(what, _)| format!("{what} not heard of")).collect();
        let Some(deployment) = self.deployment() else {
            words.push("there is no Deployment".into());
            return words.join("; ");
        };
        if self.is_settled() {
            return words.join("; ");
        }
        let ready = self.endpoints().iter().filter(|endpoint| endpoint.ready).count();
        words.push(format!(
            "{} of {} pods are there, {} updated, {} ready, {ready} of them endpoints",
            deployment.current, deployment.desired, deployment.updated, deployment.ready
        ));
        words.extend(deployment.replica_failure.clone());
        words.extend(deployment.stuck.clone());
        let pods = self.pods();
        let troubled =
            pods.iter().filter_map(|pod| Some(format!("{} {}", pod.name, trouble(pod)?)));
        words.extend(troubled.take(NAMED_MAX));
        words.join("; ")
    }
}

/// What keeps a pod from being ready.
fn trouble(pod: &PodState) -> Option<String> {
    if pod.deletion.is_some() {
        return Some("terminates".into());
    }
    if let Some(message) = &pod.unschedulable {
        return Some(format!("finds no node: {message}"));
    }
    if let Some((reason, message)) = &pod.waiting {
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        return Some(format!("waits ({reason}{message})"));
    }
    if pod.is_ready {
        return None;
    }
    Some(if pod.is_running() {
        "runs and is not ready: its readiness or startup probe does not pass".into()
    } else {
        format!("is {}", pod.phase)
    })
}
