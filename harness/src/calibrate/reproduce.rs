//! How well a simulation reproduces a run: pure.

use std::collections::BTreeMap;

use super::told::{Pair, Reproduction};
use crate::{
    analyze::{Analysis, Cause, Percentiles, series},
    record::RunRecord,
    report::fidelity::difference::{SYNC, equal_share, losses, spread, within_share},
};

/// Puts both side by side.
pub(super) fn reproduce(
    run: (&RunRecord, &Analysis),
    sim: (&RunRecord, &Analysis),
) -> Reproduction {
    let ((run_record, run), (sim_record, sim)) = (run, sim);
    let ms = |of: fn(&Percentiles) -> u64| Pair {
        run: of(&run.latency) as f64 / 1e6,
        sim: of(&sim.latency) as f64 / 1e6,
    };
    let chance = |record: &RunRecord| {
        let sums = series::sums(record).ok()?;
        spread(&sums.latency, 0.95)
    };
    let replicas = |of: fn(&crate::analyze::ReplicaPoint) -> u32| {
        within_share(&run.timeline, &sim.timeline, SYNC, of)
    };
    Reproduction {
        p50_ms: ms(|of| of.p50),
        p95_ms: ms(|of| of.p95),
        p99_ms: ms(|of| of.p99),
        p95_chance: Pair {
            run: chance(run_record).unwrap_or_default(),
            sim: chance(sim_record).unwrap_or_default(),
        },
        ok: Pair { run: run.requests.ok as f64, sim: sim.requests.ok as f64 },
        pod_hours: Pair { run: run.pod_hours, sim: sim.pod_hours },
        desired_within_sync: replicas(|point| point.desired),
        ready_within_sync: replicas(|point| point.ready),
        ready_equal: equal_share(&run.timeline, &sim.timeline, |point| point.ready),
        losses: both(&losses(run), &losses(sim)),
    }
}

fn both(run: &BTreeMap<Cause, u64>, sim: &BTreeMap<Cause, u64>) -> BTreeMap<Cause, Pair> {
    let causes = run.keys().chain(sim.keys());
    let of = |losses: &BTreeMap<Cause, u64>, cause| {
        losses.get(cause).copied().unwrap_or_default() as f64
    };
    causes.map(|cause| (*cause, Pair { run: of(run, cause), sim: of(sim, cause) })).collect()
}
