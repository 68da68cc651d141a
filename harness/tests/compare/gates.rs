//! Gates on what is not among the measures that are judged together.

use highwater::compare::{
    Options, compare,
    result::{GateResult, GateVerdict},
    run::RunFigures,
};

use super::kit::{lose, simulate_many};

fn gate(text: &str, base: &[RunFigures], new: &[RunFigures]) -> GateResult {
    let gate = serde_json::from_str(text).unwrap();
    let found = compare(("base", base), ("new", new), &[gate], &Options::default()).unwrap();
    found.gates.into_iter().next().unwrap()
}

#[test]
fn a_phase_has_gates_on_each_cause_and_percentile() {
    let slow = "target.service.latency={lognormal: {median: 16ms, p99: 90ms}}";
    let base = simulate_many("rolling-update", &[], 40_000, 4);
    let slow = simulate_many("rolling-update", &[slow], 41_000, 4);
    let lost: Vec<RunFigures> = base.iter().map(|run| lose(run.clone(), 0.02)).collect();
    let rows = [
        (r#"{"latency.p90":"+20%","during":["rollouts"]}"#, &base, &slow, GateVerdict::Fails),
        (r#"{"latency.p90":"+300%","during":["rollouts"]}"#, &base, &slow, GateVerdict::Holds),
        (
            r#"{"error-rate.unexplained":"+0.1pp","during":["rollouts"]}"#,
            &base,
            &lost,
            GateVerdict::Fails,
        ),
        (
            r#"{"error-rate.unexplained":"+9pp","during":["rollouts"]}"#,
            &base,
            &lost,
            GateVerdict::Holds,
        ),
        (
            r#"{"error-rate.crash":"+0.1pp","during":["rollouts"]}"#,
            &base,
            &lost,
            GateVerdict::Holds,
        ),
    ];
    for (text, base, new, expected) in rows {
        let found = gate(text, base, new);
        assert_eq!(found.verdict, expected, "{text}: {}", found.found);
    }
}

#[test]
fn the_only_phase_has_gates_like_any_other() {
    let one = "traffic.phases=[{name: rollouts, hold: 100/s, for: 30s}]";
    let base = simulate_many("rolling-update", &[one], 42_000, 4);
    let lost: Vec<RunFigures> = base.iter().map(|run| lose(run.clone(), 0.02)).collect();
    let found = gate(r#"{"error-rate":"+0.1pp","during":["rollouts"]}"#, &base, &lost);
    assert_eq!(found.verdict, GateVerdict::Fails, "{}", found.found);
}
