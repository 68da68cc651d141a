//! Problems whose best answer is known by calculation.

use super::{Patient, options, scenario_of};
use crate::tune::{told::TuneVerdict, tune};

/// The share of requests that an M/M/c queue makes wait, by Erlang's formula as it is printed: the
/// sums are small enough here.
fn waits(servers: u32, offered: f64) -> f64 {
    let term = |n: u32| (1..=n).fold(1.0, |product, k| product * offered / f64::from(k));
    let busy = term(servers) / (1.0 - offered / f64::from(servers));
    busy / ((0..servers).map(term).sum::<f64>() + busy)
}

/// The share of the requests of an M/M/c queue that take longer than `limit` seconds: the sum of an
/// exponential service and a wait that is exponential for those who wait.
fn slower(servers: u32, mu: f64, lambda: f64, limit: f64) -> f64 {
    let (wait, leaves) = (waits(servers, lambda / mu), f64::from(servers) * mu - lambda);
    let alone = (-mu * limit).exp();
    // The two rates must differ, or the closed form is another one.
    let both = (leaves * alone - mu * (-leaves * limit).exp()) / (leaves - mu);
    (1.0 - wait) * alone + wait * both
}

/// Pods of `workers` workers each, exponential service and arrivals at random that find a pod at
/// random: each is an M/M/c queue. The least number of pods is to hold the objective, at 1.1 times the
/// traffic, too, which is held out.
#[test]
fn a_step_load_gets_the_fewest_pods_whose_queues_hold_the_objective() {
    let (workers, limit_ms) = (2, 188);
    let (mu, lambda) = (20.0, 1.1 * 60.0);
    let holds = |pods: &u32| {
        let each = lambda / f64::from(*pods);
        each < f64::from(workers) * mu
            && slower(workers, mu, each, f64::from(limit_ms) / 1e3) < 0.05
    };
    let wanted = (1..20).find(holds).expect("enough pods hold it");
    let text = format!(
        "
name: step
seed: 3
target:
  service: {{cpu: 0s, latency: {{exponential: {{mean: 50ms}}}}, workers: {workers}, startup: 0s}}
  deployment: {{replicas: 2, template: {{resources: {{requests: {{cpu: 100m}}}}}}}}
autoscaler:
  minReplicas: 9
  maxReplicas: 12
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 90}}}}}}]
traffic:
  arrivals: poisson
  keepAlive: false
  phases: [{{name: low, hold: 1/s, for: 60s}}, {{name: high, hold: 60/s, for: 240s}}]
objectives: [{{latency.p95: <{limit_ms}ms, during: [high]}}]
tune: {{parameters: {{min: [3, 4, 5, 6, 7, 8, 9]}}, seeds: 1, holdOutSeeds: 1}}
"
    );
    let tuned = tune(&scenario_of(&text), &options(&[], 20, 2), &Patient).expect("a result");
    let tuning = &tuned.tuning;
    assert_eq!(tuning.verdict, TuneVerdict::Better, "{:?}", tuning.why);
    let set = &tuning.settings[tuning.recommended.expect("a setting")].set;
    assert_eq!(set, &[format!("autoscaler.minReplicas={wanted}")], "{:?}", tuning.why);
    let patch = tuned.patch.expect("a patch");
    assert!(patch.contains(&format!("minReplicas: {wanted}")), "{patch}");
}

/// How the rate of [`a_wave_gets_the_largest_target_that_makes_good_for_the_lag`] swings: requests/s
/// and seconds.
const MEAN: f64 = 20.0;
const AMPLITUDE: f64 = 12.0;
const PERIOD: f64 = 300.0;

/// Whether pods that can take `most` requests/s each keep up with the wave, if as many are ready at
/// each instant as its rate `lag` seconds ago divided by `target` makes.
fn keeps_up(target: f64, lag: f64, most: f64) -> bool {
    let rate = |at: f64| MEAN + AMPLITUDE * (core::f64::consts::TAU * at / PERIOD).sin();
    (0..3_000).map(|step| f64::from(step) * PERIOD / 3_000.0).all(|at| {
        let ready = (rate(at - lag) / target).ceil();
        rate(at) <= most * ready
    })
}

/// The autoscaler goes by requests per second and pod, which it learns late and pods then start late:
/// half of the window that the rate is of (7.5 s), up to a scrape (5 s) and a sync (5 s), the start-up
/// (20 s), and until it is ready (2 s); and up to 5 s in which new pods are not scraped twice yet. The
/// larger its target is, the fewer pods there are, and the less room for what the rate rises in that
/// time. The largest target that leaves enough is known by calculation, at either end of the lag.
///
/// It waits with taking pods away, as new ones seem to have no requests at first. That leaves more
/// pods as the rate falls, when none are missing.
#[test]
fn a_wave_gets_the_largest_target_that_makes_good_for_the_lag() {
    let (shortest, longest) = (7.5 + 20.0, 7.5 + 5.0 + 5.0 + 20.0 + 2.0 + 5.0);
    // One request at a time, each for 150 ms; a queue of one pod is not to be in use for more than 0.8.
    let most = 1.0 / 0.15;
    let targets = [1.5, 2.5, 6.0];
    let largest = |lag: f64, most: f64| {
        let keep = targets.into_iter().filter(|target| keeps_up(*target, lag, most));
        keep.fold(0.0, f64::max)
    };
    let wanted = largest(longest, 0.8 * most);
    assert!(wanted > 0.0, "none of them keeps up");
    assert_eq!(wanted.to_bits(), largest(shortest, most).to_bits(), "it hangs on the lag");
    let text = format!(
        "
name: wave
seed: 5
target:
  service: {{cpu: 0s, latency: 150ms, workers: 1, startup: 20s, drain: {{delay: 5s, deadline: 20s}}}}
  deployment:
    replicas: 12
    template: {{readinessProbe: {{httpGet: {{path: /readyz}}, periodSeconds: 1}}}}
autoscaler:
  minReplicas: 1
  maxReplicas: 40
  metrics: [{{type: Pods, pods: {{metric: {{name: rps}}, target: {{type: AverageValue, averageValue: 1500m}}}}}}]
  behavior: {{scaleUp: {{tolerance: 0}}, scaleDown: {{tolerance: 0, stabilizationWindowSeconds: 40}}}}
metricsPipeline:
  prometheus:
    scrapeInterval: 5s
    window: 15s
    rules: [{{name: rps, rate: http_requests_total}}]
controllerManager: {{horizontalPodAutoscalerSyncPeriod: 5s}}
traffic:
  arrivals: poisson
  keepAlive: false
  timeout: 5s
  phases: [{{sine: {{mean: {MEAN}/s, amplitude: {AMPLITUDE}/s, period: {PERIOD}s}}, for: 450s}}]
objectives: [{{failed: 0}}]
tune:
  parameters: {{'autoscaler.metrics[0].pods.target.averageValue': [1500m, 2500m, 6]}}
  seeds: 1
  holdOutSeeds: 0
"
    );
    let tuned = tune(&scenario_of(&text), &options(&[], 20, 2), &Patient).expect("a result");
    let tuning = &tuned.tuning;
    let set = &tuning.settings[tuning.recommended.expect("a setting")].set;
    let milli = (wanted * 1_000.0) as u64;
    let path = "autoscaler.metrics[0].pods.target.averageValue";
    assert_eq!(set, &[format!("{path}={milli}m")], "{:?}", tuning.why);
}
