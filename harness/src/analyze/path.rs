//! The way of a request to a pod, in words.

use highwater_model::spec::{Balancing, Generators, Path, PathKind, Retry, Scenario, ServiceType};

use crate::record::BackendKind;

/// In words: `l4: 1 client to the pods, keep-alive`.
pub(super) fn in_words(scenario: &Scenario, backend: BackendKind) -> String {
    let way = way(scenario, backend);
    match scenario.traffic.saturate {
        None => way,
        Some(loop_) => {
            format!("{way}; closed loop over {}", counted(loop_.connections, "connection"))
        }
    }
}

fn way(scenario: &Scenario, backend: BackendKind) -> String {
    let path = &scenario.path;
    let client =
        if scenario.traffic.keep_alive { "keep-alive" } else { "a connection per request" };
    if let Some(url) = &scenario.target.url {
        return format!("to {url}, {client}");
    }
    if backend == BackendKind::Kube {
        return format!("{}, {client}; {}", in_cluster(path), generators(scenario));
    }
    match path.kind {
        PathKind::L4 => {
            format!("l4: {} to the pods, {client}", counted(path.clients, "client"))
        }
        PathKind::L7 => {
            let workers = counted(path.proxy_workers, "worker");
            format!("l7: through a proxy with {workers}, {client}, {}", pool(path))
        }
    }
}

fn in_cluster(path: &Path) -> String {
    let service = match path.service_type {
        ServiceType::ClusterIp => "the ClusterIP",
        ServiceType::NodePort => "a NodePort",
    };
    match (path.kind, &path.url) {
        (_, Some(url)) => {
            let host = path.host.as_ref().map(|host| format!(" as {host}")).unwrap_or_default();
            format!("l7: through the ingress at {url}{host}")
        }
        (PathKind::L4, None) => format!("l4: {service} of the Service"),
        (PathKind::L7, None) => {
            let proxies = counted(path.proxy_workers, "proxy worker");
            format!("l7: {service} of {proxies} in pods, {}", pool(path))
        }
    }
}

/// How the proxy treats the pods, its defaults left out.
fn pool(path: &Path) -> String {
    let kept = if path.keep_alive {
        "keep-alive to the pods"
    } else {
        "a connection per request to the pods"
    };
    let balancing = match path.balancing {
        Balancing::RoundRobin => None,
        Balancing::LeastRequest => Some("fewest requests first".into()),
        Balancing::Random => Some("at random".into()),
    };
    let retried = match path.retry {
        Retry::None => None,
        Retry::ConnectFailure => Some("failed connections"),
        Retry::Idempotent => Some("failed connections and idempotent requests"),
    };
    let retries = counted(path.retries, "time");
    let retries = retried.map(|what| format!("{what} tried again up to {retries}"));
    let health = path.passive_health.map(|health| {
        let fails = counted(health.max_fails, "failure");
        format!("pods passed over for {} after {fails}", health.fail_timeout)
    });
    let parts = [Some(kept.into()), balancing, retries, health];
    parts.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

fn generators(scenario: &Scenario) -> String {
    match scenario.traffic.generators {
        None => "1 generator pod".into(),
        Some(Generators::Pods(pods)) => counted(pods, "generator pod"),
        Some(Generators::Local) => "load from outside of the cluster".into(),
    }
}

fn counted(n: u32, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::spec::{Objective, PassiveHealth, Saturate, Traffic};

    fn scenario(path: Path, generators: Option<Generators>) -> Scenario {
        let traffic: Traffic = serde_json::from_str(r#"{"phases": []}"#).expect("traffic");
        Scenario {
            name: "a".into(),
            description: String::new(),
            seed: 1,
            target: Default::default(),
            path,
            metrics_pipeline: highwater_model::spec::MetricsPipeline::default(),
            nodes: None,
            simulation: highwater_model::spec::Simulation::default(),
            controller_manager: highwater_model::spec::ControllerManager::default(),
            autoscaler: None,
            traffic: Traffic { generators, ..traffic },
            events: Vec::new(),
            objectives: Vec::<Objective>::new(),
            tune: None,
            gates: Vec::new(),
        }
    }

    #[test]
    fn a_url_and_a_closed_loop_are_named() {
        let mut scenario = scenario(Path::default(), None);
        scenario.target.url = Some("http://a:80".into());
        assert_eq!(in_words(&scenario, BackendKind::Local), "to http://a:80, keep-alive");
        scenario.traffic.saturate =
            Some(Saturate { connections: 50, for_: highwater_model::time::Nanos::from_secs(1) });
        assert_eq!(
            in_words(&scenario, BackendKind::Local),
            "to http://a:80, keep-alive; closed loop over 50 connections"
        );
    }

    #[test]
    fn each_way_has_its_words() {
        let l7 = || Path { kind: PathKind::L7, ..Path::default() };
        let node_port = Path { service_type: ServiceType::NodePort, ..Path::default() };
        let ingress = Path {
            url: Some("http://10.0.0.7:80".into()),
            host: Some("shop.example".into()),
            ..l7()
        };
        let rows = [
            (Path::default(), BackendKind::Local, "l4: 1 client to the pods, keep-alive"),
            (
                l7(),
                BackendKind::Local,
                "l7: through a proxy with 2 workers, keep-alive, keep-alive to the pods",
            ),
            (
                Path {
                    retry: Retry::Idempotent,
                    balancing: Balancing::LeastRequest,
                    passive_health: Some(PassiveHealth { max_fails: 3, ..Default::default() }),
                    ..l7()
                },
                BackendKind::Local,
                "l7: through a proxy with 2 workers, keep-alive, keep-alive to the pods, fewest requests first, failed connections and idempotent requests tried again up to 2 times, pods passed over for 10s after 3 failures",
            ),
            (
                Path::default(),
                BackendKind::Kube,
                "l4: the ClusterIP of the Service, keep-alive; 2 generator pods",
            ),
            (
                node_port,
                BackendKind::Kube,
                "l4: a NodePort of the Service, keep-alive; 2 generator pods",
            ),
            (
                l7(),
                BackendKind::Kube,
                "l7: the ClusterIP of 2 proxy workers in pods, keep-alive to the pods, keep-alive; 2 generator pods",
            ),
            (
                ingress,
                BackendKind::Kube,
                "l7: through the ingress at http://10.0.0.7:80 as shop.example, keep-alive; 2 generator pods",
            ),
        ];
        for (path, backend, words) in rows {
            let scenario = scenario(path, Some(Generators::Pods(2)));
            assert_eq!(in_words(&scenario, backend), words);
        }
        let outside = scenario(Path::default(), Some(Generators::Local));
        assert!(
            in_words(&outside, BackendKind::Kube).ends_with("load from outside of the cluster")
        );
    }
}
