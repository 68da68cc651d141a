//! The Service's endpoints that may be chosen, merged from its EndpointSlices.
//!
//! As ingress-nginx reads them: the ready ones and no others, whatever else serves or terminates.
//! (kube-proxy falls back to terminating ones where none is ready; an ingress answers 503.)
//!
//! *Source*: ingress-nginx, `internal/ingress/controller/endpointslices.go`,
//! `getEndpointsFromSlices`; `api/discovery/v1/types.go`, `EndpointConditions` (absent means ready).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::{backend::kube::observe::Seen, proxy::protocol::EndpointAddress};

/// The Service's port that requests go to, by name.
pub const PORT_NAME: &str = "http";

/// What the slices of one Service say.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    /// The ready endpoints of each slice, by the slice's name.
    ready: BTreeMap<String, Vec<EndpointAddress>>,
}

impl Slices {
    /// Takes what was seen of them.
    pub fn take(&mut self, seen: &Seen<EndpointSlice>) {
        match seen {
            Seen::All { objects, .. } => {
                self.ready.clear();
                objects.iter().for_each(|slice| self.insert(slice));
            }
            Seen::Changed(slice) => self.insert(slice),
            Seen::Gone(slice) => {
                self.ready.remove(name(slice));
            }
        }
    }

    fn insert(&mut self, slice: &EndpointSlice) {
        self.ready.insert(name(slice).into(), ready(slice));
    }

    /// All that may be chosen, by name of the pod, each pod once.
    ///
    /// *Behaviour*: a pod that is ready in one of several slices may be chosen (it is in two while
    /// it moves from one to the other). Of several addresses the lowest counts, IPv4 before IPv6.
    pub fn endpoints(&self) -> Vec<EndpointAddress> {
        let mut all: Vec<EndpointAddress> = self.ready.values().flatten().cloned().collect();
        all.sort_unstable();
        all.dedup_by(|later, earlier| later.pod == earlier.pod);
        all
    }
}

fn name(slice: &EndpointSlice) -> &str {
    slice.metadata.name.as_deref().unwrap_or_default()
}

/// The endpoints of a slice that may be chosen; none if it has not the port, since there is then
/// nothing to connect to.
fn ready(slice: &EndpointSlice) -> Vec<EndpointAddress> {
    let Some(port) = port(slice) else { return Vec::new() };
    let is_ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().is_none_or(|is| is.ready != Some(false))
    };
    let ready = slice.endpoints.iter().filter(is_ready);
    ready.filter_map(|endpoint| address(endpoint, port)).collect()
}

fn port(slice: &EndpointSlice) -> Option<u16> {
    let ports = slice.ports.iter().flatten();
    let mut ports = ports.filter(|port| {
        port.name.as_deref() == Some(PORT_NAME)
            && port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
    });
    ports.find_map(|port| u16::try_from(port.port?).ok())
}

/// Where an endpoint listens. One that is no pod is named by its address; one without an IP
/// address (a slice of names) is none.
///
/// *Source*: `api/discovery/v1/types.go`: the addresses of an endpoint are interchangeable, and
/// consumers may take the first.
fn address(endpoint: &Endpoint, port: u16) -> Option<EndpointAddress> {
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let address = SocketAddr::new(ip, port);
    let target = endpoint.target_ref.as_ref();
    let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod = pod.and_then(|pod| pod.name.clone()).unwrap_or_else(|| address.to_string());
    Some(EndpointAddress { pod, address })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(name: &str, ports: Value, endpoints: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": endpoints,
        }))
        .expect("a slice")
    }

    fn http() -> Value {
        json!([
            {"name": "health", "port": 8081, "protocol": "TCP"},
            {"name": "http", "port": 8080, "protocol": "TCP"},
        ])
    }

    fn endpoint(pod: &str, ip: &str, conditions: Value) -> Value {
        json!({
            "addresses": [ip],
            "conditions": conditions,
            "targetRef": {"kind": "Pod", "name": pod},
        })
    }

    fn ready(is_ready: bool) -> Value {
        json!({"ready": is_ready, "serving": is_ready, "terminating": false})
    }

    /// What may be chosen, as `pod@address`.
    fn chosen(slices: &Slices) -> Vec<String> {
        let all = slices.endpoints().into_iter();
        all.map(|EndpointAddress { pod, address }| format!("{pod}@{address}")).collect()
    }

    fn of(objects: Vec<EndpointSlice>) -> Vec<String> {
        let mut slices = Slices::default();
        slices.take(&Seen::All { objects, since: None });
        chosen(&slices)
    }

    #[test]
    fn only_ready_endpoints_with_an_address_and_the_port_may_be_chosen() {
        let draining = json!({"ready": false, "serving": true, "terminating": true});
        let no_target = json!({"addresses": ["10.0.0.5"], "conditions": {"ready": true}});
        let node = json!({"addresses": ["10.0.0.5"], "targetRef": {"kind": "Node", "name": "n"}});
        let udp = json!([{"name": "http", "port": 8080, "protocol": "UDP"}]);
        let a = |conditions| json!([endpoint("a", "10.0.0.1", conditions)]);
        let ipv6 = json!([endpoint("a", "fd00::1", ready(true))]);
        let names = json!([endpoint("a", "a.example", ready(true))]);
        let nowhere = json!([{"addresses": [], "conditions": {"ready": true}}]);
        let rows: [(&str, Value, Value, &[&str]); 14] = [
            ("ready", http(), a(ready(true)), &["a@10.0.0.1:8080"]),
            ("not ready", http(), a(ready(false)), &[]),
            ("serving, but terminating", http(), a(draining), &[]),
            ("nothing said of it", http(), a(Value::Null), &["a@10.0.0.1:8080"]),
            ("nothing said of readiness", http(), a(json!({})), &["a@10.0.0.1:8080"]),
            ("no pod", http(), json!([no_target]), &["10.0.0.5:8080@10.0.0.5:8080"]),
            ("a node", http(), json!([node]), &["10.0.0.5:8080@10.0.0.5:8080"]),
            ("another port", json!([{"name": "web", "port": 80}]), a(ready(true)), &[]),
            ("no number", json!([{"name": "http"}]), a(ready(true)), &[]),
            ("no ports at all", Value::Null, a(ready(true)), &[]),
            ("not TCP", udp, a(ready(true)), &[]),
            ("IPv6", http(), ipv6, &["a@[fd00::1]:8080"]),
            ("a name for an address", http(), names, &[]),
            ("no address", http(), nowhere, &[]),
        ];
        for (what, ports, endpoints, expected) in rows {
            assert_eq!(of(vec![slice("s", ports, endpoints)]), expected, "{what}");
        }
    }

    #[test]
    fn slices_add_up_and_a_pod_in_two_of_them_counts_once() {
        let first = slice(
            "s-1",
            http(),
            json!([
                endpoint("b", "10.0.0.2", ready(true)),
                endpoint("moving", "10.0.0.3", ready(false)),
                endpoint("two", "fd00::4", ready(true)),
            ]),
        );
        let second = slice(
            "s-2",
            json!([{"name": "http", "port": 9090}]),
            json!([
                endpoint("a", "10.0.0.1", ready(true)),
                endpoint("moving", "10.0.0.3", ready(true)),
                endpoint("two", "10.0.0.4", ready(true)),
            ]),
        );
        assert_eq!(
            of(vec![first, second]),
            ["a@10.0.0.1:9090", "b@10.0.0.2:8080", "moving@10.0.0.3:9090", "two@10.0.0.4:9090",]
        );
    }

    #[test]
    fn a_slice_is_what_was_last_seen_of_it() {
        let a =
            |is_ready| slice("s-1", http(), json!([endpoint("a", "10.0.0.1", ready(is_ready))]));
        let b = slice("s-2", http(), json!([endpoint("b", "10.0.0.2", ready(true))]));
        let mut slices = Slices::default();
        assert!(chosen(&slices).is_empty());
        slices.take(&Seen::All { objects: vec![a(true)], since: None });
        slices.take(&Seen::Changed(Box::new(b.clone())));
        assert_eq!(chosen(&slices), ["a@10.0.0.1:8080", "b@10.0.0.2:8080"]);
        slices.take(&Seen::Changed(Box::new(a(false))));
        assert_eq!(chosen(&slices), ["b@10.0.0.2:8080"]);
        slices.take(&Seen::Gone(Box::new(b.clone())));
        assert!(chosen(&slices).is_empty());
        slices.take(&Seen::Changed(Box::new(a(true))));
        // After a gap: what is not in the list any more is gone.
        slices.take(&Seen::All { objects: vec![b], since: None });
        assert_eq!(chosen(&slices), ["b@10.0.0.2:8080"]);
    }
}
