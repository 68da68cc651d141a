//! The nodes under a simulated cluster.

use super::*;

#[test]
fn nodes_have_bounds() {
    let scaler = |more: Value| {
        let mut scaler = json!({"maxNodesTotal": 3});
        for (key, value) in more.as_object().expect("keys") {
            scaler[key] = value.clone();
        }
        json!({"count": 2, "clusterAutoscaler": scaler})
    };
    check_rows(&[
        ("/nodes", json!({"count": 1001}), "nodes.count", "between 0 and 1000"),
        (
            "/nodes",
            json!({"count": 1, "allocatable": {"pods": 0}}),
            "nodes.allocatable.pods",
            "between 1 and 1000",
        ),
        (
            "/nodes",
            json!({"count": 1, "allocatable": {"cpu": "0"}}),
            "nodes.allocatable.cpu",
            "above zero",
        ),
        (
            "/nodes",
            json!({"count": 1, "allocatable": {"memory": "0"}}),
            "nodes.allocatable.memory",
            "above zero",
        ),
        (
            "/nodes",
            scaler(json!({"maxNodesTotal": 1})),
            "nodes.clusterAutoscaler.maxNodesTotal",
            "below nodes.count, which is 2",
        ),
        (
            "/nodes",
            scaler(json!({"maxNodesTotal": 0})),
            "nodes.clusterAutoscaler.maxNodesTotal",
            "between 1 and 1000",
        ),
        (
            "/nodes",
            scaler(json!({"scanInterval": "10ms"})),
            "nodes.clusterAutoscaler.scanInterval",
            "1s at least",
        ),
        (
            "/nodes",
            scaler(json!({"provisionTime": {"exponential": {"mean": "120h"}}})),
            "nodes.clusterAutoscaler.provisionTime",
            "gives spans above",
        ),
    ]);
    let whole = json!({"count": 2, "allocatable": {"cpu": "2", "memory": "4Gi", "pods": 20},
        "clusterAutoscaler": {"maxNodesTotal": 10, "scanInterval": "10s", "provisionTime": "90s"}});
    assert_eq!(problems(&scenario(changed("/nodes", whole))), []);
    assert_eq!(problems(&scenario(changed("/nodes", scaler(json!({}))))), []);
}
