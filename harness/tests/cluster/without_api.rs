//! The API server away in the middle of a run. The last of the tests by name: for some time after
//! it the cluster's controllers take its nodes for lost.

use std::{path::PathBuf, process::Command, time::Duration};

use highwater_model::{
    event::EventKind,
    time::{Nanos, Timestamp},
};

use crate::{
    generators::{owed, planned},
    kubectl::{attempt, kubectl, wait_until},
    lab::Lab,
};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(30);

/// Stops the API server of the test cluster, and starts it again however the test ends.
struct Outage {
    script: PathBuf,
    is_over: bool,
}

impl Outage {
    fn begin() -> Self {
        let cluster = std::env::var_os("HIGHWATER_CLUSTER").expect(
            "needs HIGHWATER_CLUSTER, the folder of the cluster's scripts, with `api` in it",
        );
        let outage = Self { script: PathBuf::from(cluster).join("api"), is_over: false };
        outage.api("stop");
        outage
    }

    fn api(&self, word: &str) {
        let output = Command::new(&self.script).arg(word).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "api {word}: {errors}");
    }

    fn end(mut self) {
        self.is_over = true;
        self.api("start");
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        if !self.is_over {
            self.api("start");
        }
    }
}

/// How much of the run nothing was heard of what was watched.
fn deaf(gaps: &[(Timestamp, Timestamp)]) -> Nanos {
    let from = gaps.iter().map(|(from, _)| *from).min();
    let to = gaps.iter().map(|(_, to)| *to).max();
    from.zip(to).map_or(Nanos::ZERO, |(from, to)| to.since(from))
}

#[test]
#[ignore = "needs a cluster whose API server can be stopped: just test-cluster"]
fn a_run_goes_on_without_the_api_server_and_marks_the_gap() {
    let lab = Lab::alone("outage");
    let mut going = lab
        .bundled("run", "rolling-update")
        .set(&[
            "path={kind: l4}",
            // Not much longer than until the server is back: controllers that come back later than
            // the kubelets' leases end take all nodes for lost, and that is no fault of the run's.
            "traffic.phases=[{hold: 30/s, for: 58s}]",
            // Pods come and go before; the second action is due in the gap.
            "events=[{at: 1s, rollout: {}}, {at: 25s, scale: {replicas: 4}}]",
            "objectives=[{failed: 0}, {unexplained: 0}]",
        ])
        .start();
    going.wait_for(r#""kind":"rollout-complete","revision":2"#, 1);
    let outage = Outage::begin();
    assert!(!attempt(&["get", "--raw", "/readyz"]).status.success(), "the API server is away");
    std::thread::sleep(AWAY);
    assert!(going.is_alive());
    outage.end();
    wait_until("the API server", || attempt(&["get", "--raw", "/readyz"]).status.success());
    let done = going.finish();
    done.is_flawless();
    // What the generator did meanwhile it told later: its stream leads through the API server.
    assert_eq!(owed(&done), planned(&done), "load went on meanwhile");
    done.all_actions_worked(&["rollout", "scale"]);
    let gaps: Vec<(Timestamp, Timestamp)> = done
        .record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::WatchGap { from, .. } => Some((*from, event.at)),
            _ => None,
        })
        .collect();
    // The server takes some seconds to be ready again.
    let deaf = deaf(&gaps).to_std();
    assert!(deaf >= AWAY.mul_f64(0.9) && deaf <= AWAY * 2, "{deaf:?} of gaps: {gaps:?}");
    let told = done.summary.watch_gaps.expect("the summary tells the gaps");
    assert!(told.total_ms >= AWAY.as_secs_f64() * 900.0, "{told:?}");
    done.left_nothing();
    let ready = ["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s"];
    kubectl(&ready);
}
