//! The simulator against queueing theory: whole runs of scenarios whose answer is known.
//!
//! Each row says of itself how sure it is: the run is cut into batches, and four standard errors of
//! the mean over them must fit into the tolerance, before the tolerance is looked at.
//!
//! *Source*: the M/M/1 and M/M/c formulas and the one of Pollaczek and Khinchine are those of any
//! textbook (Kleinrock, "Queueing Systems", volume 1, 1975, chapters 3 and 5); the M/D/1 waiting time
//! is Erlang's of 1909.

use highwater_model::{
    event::{EventKind, Source},
    load::{Arrival, Profile},
    outcome::{Failure, Outcome},
    sim::{self, Observer, Run, State, Times},
    spec::{Scenario, validate},
    time::{Nanos, Timestamp},
};

/// What the theory and the run may differ by.
const TOLERANCE: f64 = 0.01;
/// What both sides of Little's law may differ by.
const LITTLE: f64 = 0.001;
/// Into how many parts a run is cut.
const BATCHES: usize = 40;
/// Requests of a run.
const REQUESTS: u64 = 8_000_000;
/// The percentiles that are looked at.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// What a run tells.
#[derive(Default)]
struct Seen {
    /// Milliseconds in the system, in order of the ends.
    sojourns: Vec<f64>,
    others: u64,
    number: Number,
}

/// The number of requests in the system over the middle of a run, and what Little makes of it.
#[derive(Default)]
struct Number {
    from: u64,
    until: u64,
    now: u64,
    since: u64,
    /// Request-nanoseconds.
    area: u128,
    /// Those that came in that time, and the sum of their times in the system.
    came: u64,
    stayed: u128,
}

impl Number {
    /// The number changes at `at`, nanoseconds.
    fn change(&mut self, at: u64, by: i64) {
        let (from, until) = (self.since.max(self.from), at.min(self.until));
        self.area += u128::from(self.now) * u128::from(until.saturating_sub(from));
        self.since = at;
        self.now = self.now.checked_add_signed(by).expect("nothing ends that did not come");
    }
}

impl Observer for Seen {
    fn event(&mut self, at: Timestamp, _: Source, kind: EventKind, _: Option<Timestamp>) {
        if matches!(kind, EventKind::TrafficStarted) {
            self.number.from += at.0;
            self.number.until += at.0;
        }
    }

    fn owed(&mut self, scheduled: Timestamp, _: Arrival) {
        self.number.change(scheduled.0, 1);
    }

    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: Outcome, _: u16, times: Times) {
        if outcome != Outcome::Ok {
            self.others += 1;
            return;
        }
        let sojourn = times.ended.since(times.scheduled);
        self.sojourns.push(sojourn.as_millis_f64());
        let number = &mut self.number;
        number.change(times.ended.0, -1);
        if (number.from..number.until).contains(&times.scheduled.0) {
            number.came += 1;
            number.stayed += u128::from(sojourn.0);
        }
    }

    fn unsent(&mut self, _: Outcome, _: u16, _: Timestamp) {
        self.others += 1;
    }

    fn failure(&mut self, _: Failure) {}

    fn second(&mut self, state: &State) -> bool {
        assert_eq!(state.in_flight + state.waiting, self.number.now, "the simulator's own count");
        true
    }
}

/// One pod with this service and so many cores, under a Poisson process of this rate.
fn play(service: &str, cores: u32, rate: u32) -> Seen {
    observe(service, cores, rate, "poisson", REQUESTS)
}

fn observe(service: &str, cores: u32, rate: u32, arrivals: &str, requests: u64) -> Seen {
    let seconds = requests / u64::from(rate);
    let scenario: Scenario = serde_json::from_str(&format!(
        r#"{{"name":"queue","seed":23,"simulation":{{"cores":{cores},"network":"0s"}},
        "target":{{"service":{service}}},
        "traffic":{{"phases":[{{"hold":"{rate}/s","for":"{seconds}s"}}],"timeout":"600s",
        "arrivals":"{arrivals}","maxConnections":100000}}}}"#
    ))
    .expect("a scenario");
    assert_eq!(validate::problems(&scenario), []);
    let profile = Profile::new(&scenario.traffic).expect("a profile");
    let names = validate::phase_names(&scenario.traffic);
    let phases = profile.phases().map(|(start, _)| start).zip(names).collect();
    let run = Run { scenario, profile, phases, actions: Vec::new() };
    let (from, until) = (Nanos::from_secs(seconds / 10).0, Nanos::from_secs(seconds * 9 / 10).0);
    let mut seen = Seen { number: Number { from, until, ..Number::default() }, ..Seen::default() };
    sim::run(&run, &mut seen).expect("it comes to its traffic");
    assert_eq!(seen.others, 0, "all are answered");
    seen
}

/// The mean of the batches' values, and its standard error.
fn over_batches(sojourns: &[f64], value: impl Fn(&[f64]) -> f64) -> (f64, f64) {
    let batches: Vec<f64> =
        sojourns.chunks(sojourns.len() / BATCHES).take(BATCHES).map(value).collect();
    let n = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / n;
    let squares: f64 = batches.iter().map(|batch| (batch - mean) * (batch - mean)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

fn quantile(batch: &[f64], q: f64) -> f64 {
    let mut batch = batch.to_vec();
    let place = (batch.len() as f64 * q) as usize;
    *batch.select_nth_unstable_by(place, f64::total_cmp).1
}

/// The run must have the `mean` and the percentiles of theory, and obey Little's law.
fn check(seen: &Seen, mean: f64, theory: impl Fn(f64) -> f64) {
    let near = |what: &str, (ours, error): (f64, f64), theirs: f64| {
        assert!(4.0 * error < TOLERANCE * theirs, "{what}: {error} ms is too much of {theirs} ms");
        let off = ours / theirs - 1.0;
        assert!(off.abs() < TOLERANCE, "{what}: {ours} ms, not {theirs} ms: {off:+.4}");
    };
    let of = |batch: &[f64]| batch.iter().sum::<f64>() / batch.len() as f64;
    near("mean", over_batches(&seen.sojourns, of), mean);
    for q in QUANTILES {
        let ours = over_batches(&seen.sojourns, |batch| quantile(batch, q));
        near(&format!("quantile {q}"), ours, theory(q));
    }
    check_little(seen);
}

/// L = lambda W: the number in the system over the middle of the run, as it changed with the calls,
/// against what came in that time and how long each of it stayed.
fn check_little(seen: &Seen) {
    let Number { from, until, area, came, stayed, .. } = seen.number;
    let lasts = (until - from) as f64;
    let in_system = area as f64 / lasts;
    let by_little = came as f64 / lasts * (stayed as f64 / came as f64);
    let off = in_system / by_little - 1.0;
    assert!(off.abs() < LITTLE, "{in_system} in the system, {by_little} by Little: {off:+.5}");
}

#[test]
fn littles_law_holds_of_any_queue() {
    for (service, cores, rate) in [
        (r#"{"latency":{"exponential":{"mean":"1ms"}},"workers":1}"#, 1, 800),
        (r#"{"latency":"1ms","workers":1}"#, 1, 950),
        (r#"{"latency":{"lognormal":{"median":"10ms","p99":"90ms"}},"workers":1000}"#, 1, 900),
        (r#"{"cpu":"3ms","latency":{"uniform":["0s","10ms"]}}"#, 4, 1_200),
    ] {
        for arrivals in ["poisson", "constant"] {
            check_little(&observe(service, cores, rate, arrivals, 500_000));
        }
    }
}

/// The least `x` at which a distribution function comes to `q`.
fn inverse(cdf: impl Fn(f64) -> f64, q: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10_000.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if cdf(middle) < q { low = middle } else { high = middle }
    }
    high
}

#[test]
fn m_m_1() {
    // Exponential with the rate mu - lambda.
    let (mu, lambda) = (0.1, 0.04);
    let seen = play(r#"{"latency":{"exponential":{"mean":"10ms"}},"workers":1}"#, 1, 40);
    check(&seen, 1.0 / (mu - lambda), |q| -(1.0 - q).ln() / (mu - lambda));
}

#[test]
fn m_m_4() {
    // A request waits with Erlang's probability C, and then exponentially with the rate
    // c mu - lambda; the service comes on top of it.
    let (mu, lambda, c) = (0.1, 0.28, 4.0_f64);
    let a = lambda / mu;
    let terms: Vec<f64> = (0..4)
        .scan(1.0, |term, k| {
            let now = *term;
            *term *= a / f64::from(k + 1);
            Some(now)
        })
        .collect();
    let all_busy = terms[3] * a / c * c / (c - a);
    let waits = all_busy / (terms.iter().sum::<f64>() + all_busy);
    let above = |t: f64| {
        let ahead = (1.0 - (-mu * t * (c - 1.0 - a)).exp()) / (c - 1.0 - a);
        (-mu * t).exp() * (1.0 + waits * ahead)
    };
    let seen = play(r#"{"latency":{"exponential":{"mean":"10ms"}},"workers":4}"#, 4, 280);
    check(&seen, waits / (c * mu - lambda) + 1.0 / mu, |q| inverse(|t| 1.0 - above(t), q));
}

/// The time in the M/D/1 system: P(wait <= t) = (1 - rho) sum of (-x)^k / k! e^x, with
/// x = lambda (t - k D), over all k that leave it positive.
fn m_d_1(seen: &Seen, lambda: f64, d: f64) {
    let rho = lambda * d;
    let waits_at_most = |t: f64| {
        let terms = (0..=(t / d) as u32).map(|k| {
            let x = lambda * (t - f64::from(k) * d);
            (1..=k).fold(x.exp(), |term, j| term * -x / f64::from(j))
        });
        (1.0 - rho) * terms.sum::<f64>()
    };
    let mean = d + rho * d / (2.0 * (1.0 - rho));
    check(seen, mean, |q| d + inverse(|t| if t > 40.0 * d { 1.0 } else { waits_at_most(t) }, q));
}

#[test]
fn m_d_1_of_waiting() {
    m_d_1(&play(r#"{"latency":"10ms","workers":1}"#, 1, 60), 0.06, 10.0);
}

#[test]
fn m_d_1_of_cpu() {
    m_d_1(&play(r#"{"cpu":"10ms"}"#, 1, 60), 0.06, 10.0);
}

/// The time in the M/G/1 system on a grid: the wait is a sum of residual services, of which there are
/// n with the probability (1 - rho) rho^n (Pollaczek and Khinchine), so it is a compound
/// geometric distribution (Panjer's recursion); the service comes on top of it.
fn m_g_1(seen: &Seen, lambda: f64, cdf: impl Fn(f64) -> f64, mean: f64, second_moment: f64) {
    const STEP: f64 = 0.05;
    const STEPS: usize = 4_000;
    let rho = lambda * mean;
    // Masses at the points of the grid, each of the half steps around it.
    let at = |k: usize| (k as f64 - 0.5) * STEP;
    let service: Vec<f64> = (0..STEPS).map(|k| cdf(at(k + 1)) - cdf(at(k))).collect();
    let mut residual: Vec<f64> =
        (0..STEPS).map(|k| (1.0 - cdf(k as f64 * STEP)) * STEP / mean).collect();
    residual[0] /= 2.0;
    let mut waits: Vec<f64> = Vec::with_capacity(STEPS);
    for k in 0..STEPS {
        let sum: f64 = (1..=k).map(|j| residual[j] * waits[k - j]).sum();
        let alone = if k == 0 { 1.0 - rho } else { 0.0 };
        waits.push((alone + rho * sum) / (1.0 - rho * residual[0]));
    }
    let sojourn: Vec<f64> =
        (0..STEPS).map(|k| (0..=k).map(|j| service[j] * waits[k - j]).sum::<f64>()).collect();
    let quantile = |q: f64| {
        let mut below = 0.0;
        for (k, mass) in sojourn.iter().enumerate() {
            if below + mass >= q {
                return at(k) + (q - below) / mass * STEP;
            }
            below += mass;
        }
        panic!("the grid ends before {q}");
    };
    check(seen, mean + lambda * second_moment / (2.0 * (1.0 - rho)), quantile);
}

#[test]
fn m_g_1_lognormal() {
    let sigma = (40.0_f64 / 8.0).ln() / 2.326_347_874_040_841;
    let normal = |z: f64| 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
    let cdf = |x: f64| if x <= 0.0 { 0.0 } else { normal((x / 8.0).ln() / sigma) };
    let mean = 8.0 * (sigma * sigma / 2.0).exp();
    let second_moment = 64.0 * (2.0 * sigma * sigma).exp();
    let service = r#"{"latency":{"lognormal":{"median":"8ms","p99":"40ms"}},"workers":1}"#;
    m_g_1(&play(service, 1, 40), 0.04, cdf, mean, second_moment);
}

#[test]
fn m_g_1_of_cpu_and_waiting() {
    // 4 ms of work, and then exponential waiting, both by the one worker.
    let cdf = |x: f64| if x <= 4.0 { 0.0 } else { 1.0 - (-(x - 4.0) / 6.0).exp() };
    let service = r#"{"cpu":"4ms","latency":{"exponential":{"mean":"6ms"}},"workers":1}"#;
    m_g_1(&play(service, 1, 45), 0.045, cdf, 10.0, 100.0 + 36.0);
}
