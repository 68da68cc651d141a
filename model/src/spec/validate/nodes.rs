//! The nodes under a simulated cluster.

use alloc::format;

use super::Problems;
use crate::{spec::Scenario, time::Nanos};

/// The most nodes.
const NODES_MAX: u32 = 1_000;
/// The most pods of a node.
const PODS_MAX: u32 = 1_000;
/// The shortest time between two looks of the autoscaler.
const SCAN_MIN: Nanos = Nanos::from_secs(1);

pub(super) fn check(found: &mut Problems, scenario: &Scenario) {
    let Some(nodes) = &scenario.nodes else { return };
    found.check_within("nodes.count", nodes.count, 0, NODES_MAX);
    let room = &nodes.allocatable;
    found.check_within("nodes.allocatable.pods", room.pods, 1, PODS_MAX);
    for (key, is_none) in [
        ("cpu", room.cpu.is_some_and(|cpu| cpu.0 == 0)),
        ("memory", room.memory.is_some_and(|memory| memory.0 == 0)),
    ] {
        if is_none {
            found.add(format!("nodes.allocatable.{key}"), "must be above zero");
        }
    }
    let Some(scaler) = &nodes.cluster_autoscaler else { return };
    let path = "nodes.clusterAutoscaler";
    found.check_within(format!("{path}.maxNodesTotal"), scaler.max_nodes_total, 1, NODES_MAX);
    if scaler.max_nodes_total < nodes.count {
        found.add(
            format!("{path}.maxNodesTotal"),
            format!("is below nodes.count, which is {}", nodes.count),
        );
    }
    if scaler.scan_interval < SCAN_MIN {
        found.add(format!("{path}.scanInterval"), format!("must be {SCAN_MIN} at least"));
    }
    found.check_span(format!("{path}.scanInterval"), scaler.scan_interval);
    found.check_distribution(&format!("{path}.provisionTime"), &scaler.provision_time);
}
