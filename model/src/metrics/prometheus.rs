//! Custom metrics: Prometheus and its adapter.
//!
//! Prometheus scrapes each pod at an offset of its own; the adapter turns a question of the
//! autoscaler into one of Prometheus, summed by pod. What the pods' containers told ends with them.
//!
//! *Source*: prometheus `scrape/target.go` (offset by hash); kubernetes-sigs/prometheus-adapter
//! `docs/sample-config.yaml`, `pkg/custom-provider/provider.go` (values in whole thousandths).

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    string::String,
    vec::Vec,
};

use super::{
    Wish,
    query::{self, Point},
};
use crate::{
    cluster::ContainerId,
    rng::Stream,
    spec::{Prometheus, Recipe},
    time::{Nanos, Timestamp},
};

/// Prometheus takes no value that is older.
///
/// *Source*: `promql/engine.go`, the default lookback.
const LOOKBACK: Nanos = Nanos::from_secs(300);
/// The most series that are kept of one container; the rest is left out.
pub const SERIES_MAX: usize = 10_000;

/// One series as a pod tells it: `name`, the value of its label `le` if it has one, and all labels
/// as they stand there.
#[derive(Clone, Debug, PartialEq)]
pub struct Told<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels, as text.
    pub labels: &'a str,
    /// The bucket's upper bound.
    pub le: Option<f64>,
    /// Its value.
    pub value: f64,
}

/// Prometheus and its adapter.
#[derive(Clone, Debug)]
pub struct CustomMetrics {
    seed: u64,
    spec: Prometheus,
    /// The names of all series that a recipe needs.
    wanted: BTreeSet<String>,
    targets: BTreeMap<ContainerId, Target>,
    /// Answers that are kept, by metric.
    cache: BTreeMap<String, (Timestamp, Vec<(u32, f64)>)>,
}

#[derive(Clone, Debug)]
struct Target {
    next: Timestamp,
    series: BTreeMap<(String, String), Series>,
}

#[derive(Clone, Debug)]
struct Series {
    le: Option<f64>,
    points: VecDeque<Point>,
}

impl CustomMetrics {
    /// A pipeline that answers questions for the metrics `names`.
    pub fn new(spec: &Prometheus, names: &[String], seed: u64) -> Self {
        let mut metrics = Self {
            seed,
            spec: spec.clone(),
            wanted: BTreeSet::new(),
            targets: BTreeMap::new(),
            cache: BTreeMap::new(),
        };
        metrics.want(names);
        metrics
    }

    /// Keeps what these metrics need from now on, too.
    pub fn want(&mut self, names: &[String]) {
        self.wanted.extend(names.iter().map(|name| match self.spec.recipe(name) {
            Recipe::Rate(series) | Recipe::Gauge(series) => series,
            Recipe::Quantile { buckets, .. } => buckets,
        }));
    }

    /// A container runs.
    pub fn started(&mut self, now: Timestamp, container: ContainerId) {
        if self.wanted.is_empty() {
            return;
        }
        let ContainerId { pod, restarts } = container;
        let offset = Stream::new(self.seed, &format!("scrape/{pod}/{restarts}"))
            .below(self.spec.scrape_interval.0);
        let target = Target { next: now + Nanos(offset), series: BTreeMap::new() };
        self.targets.insert(container, target);
    }

    /// A container ended: its series are stale.
    pub fn ended(&mut self, container: ContainerId) {
        self.targets.remove(&container);
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Timestamp {
        self.targets.values().map(|target| target.next).min().unwrap_or(Timestamp::MAX)
    }

    /// Wishes for what is due.
    pub fn advance(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        for (&container, target) in &mut self.targets {
            if target.next <= now {
                wishes.push(Wish::Scrape(container));
                let period = self.spec.scrape_interval.0.max(1);
                let missed = now.since(target.next).0 / period + 1;
                target.next = target.next + Nanos(missed.saturating_mul(period));
            }
        }
    }

    /// What a container told at `now`. What no metric needs is left out.
    pub fn scraped<'a>(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        told: impl Iterator<Item = Told<'a>>,
    ) {
        let Some(target) = self.targets.get_mut(&container) else { return };
        let keep = self.spec.window.0.max(LOOKBACK.0);
        for line in told.filter(|line| self.wanted.contains(line.name)) {
            let is_known = target.series.len() < SERIES_MAX;
            let key = (String::from(line.name), String::from(line.labels));
            if !is_known && !target.series.contains_key(&key) {
                continue;
            }
            let series = target
                .series
                .entry(key)
                .or_insert_with(|| Series { le: line.le, points: VecDeque::new() });
            series.points.push_back(Point { at: now, value: line.value });
            while series.points.front().is_some_and(|point| now.since(point.at).0 > keep) {
                series.points.pop_front();
            }
        }
    }

    /// The value of a metric by pod, as the adapter answers at `now`.
    pub fn ask(&mut self, now: Timestamp, name: &str) -> Vec<(u32, f64)> {
        if let Some((at, answer)) = self.cache.get(name)
            && now.since(*at) < self.spec.cache
        {
            return answer.clone();
        }
        let labels = self.spec.rule(name).map(|rule| &rule.match_labels);
        let labels: Vec<String> =
            labels.into_iter().flatten().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let question =
            Question { recipe: self.spec.recipe(name), labels, now, window: self.spec.window };
        let answer: Vec<(u32, f64)> = self
            .targets
            .iter()
            .filter_map(|(container, target)| Some((container.pod, question.ask(target)?)))
            .collect();
        self.cache.insert(name.into(), (now, answer.clone()));
        answer
    }
}

/// A question about every pod.
struct Question {
    recipe: Recipe,
    /// `name="value"` that a series must have.
    labels: Vec<String>,
    now: Timestamp,
    window: Nanos,
}

impl Question {
    fn ask(&self, target: &Target) -> Option<f64> {
        match &self.recipe {
            Recipe::Gauge(name) => {
                sum(self.series(target, name).filter_map(|series| series.latest(self.now)))
            }
            Recipe::Rate(name) => {
                let series = self.series(target, name);
                sum(series.filter_map(|series| series.rate(self.now, self.window)))
            }
            Recipe::Quantile { buckets, q } => self.quantile(target, buckets, *q),
        }
    }

    fn series<'a>(&'a self, target: &'a Target, name: &'a str) -> impl Iterator<Item = &'a Series> {
        let fits = move |(known, labels): &(String, String)| {
            known == name && self.labels.iter().all(|label| has_label(labels, label))
        };
        target.series.iter().filter(move |(key, _)| fits(key)).map(|(_, series)| series)
    }

    /// Of the rates of the buckets, which are summed by their bounds.
    fn quantile(&self, target: &Target, name: &str, q: f64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for series in self.series(target, name) {
            let Some(le) = series.le else { continue };
            let Some(rate) = series.rate(self.now, self.window) else { continue };
            match buckets.iter_mut().find(|(known, _)| *known == le) {
                Some((_, sum)) => *sum += rate,
                None => buckets.push((le, rate)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        query::quantile(q, &buckets)
    }
}

/// Whether `label` (`name="value"`) stands among `labels` (`{a="b",c="d"}`).
fn has_label(labels: &str, label: &str) -> bool {
    labels.match_indices(label).any(|(place, _)| {
        let before = labels[..place].chars().next_back();
        let after = labels[place + label.len()..].chars().next();
        matches!(before, Some('{' | ',' | ' ')) && matches!(after, Some('}' | ',' | ' '))
    })
}

impl Series {
    fn latest(&self, now: Timestamp) -> Option<f64> {
        let point = self.points.back().filter(|point| now.since(point.at) <= LOOKBACK)?;
        Some(point.value)
    }

    fn rate(&self, now: Timestamp, window: Nanos) -> Option<f64> {
        let from = Timestamp(now.0.saturating_sub(window.0));
        let within: Vec<Point> =
            self.points.iter().copied().filter(|point| point.at >= from).collect();
        query::rate(&within, from, now)
    }
}

/// The sum; `None` of nothing.
fn sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values = values.peekable();
    values.peek()?;
    Some(values.sum())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        spec::{MetricRule, Quantile},
        time::SECOND,
    };

    fn told<'a>(name: &'a str, labels: &'a str, le: Option<f64>, value: f64) -> Told<'a> {
        Told { name, labels, le, value }
    }

    #[test]
    fn metrics_are_made_of_what_the_pods_tell() {
        let spec = Prometheus {
            rules: vec![
                MetricRule {
                    name: "latency_p90".into(),
                    quantile: Some(Quantile { of: "http_request_duration_seconds".into(), q: 0.9 }),
                    ..MetricRule::default()
                },
                MetricRule {
                    name: "errors_per_second".into(),
                    match_labels: [("code".into(), "500".into())].into(),
                    rate: Some("http_requests_total".into()),
                    ..MetricRule::default()
                },
            ],
            ..Prometheus::default()
        };
        let names = ["http_requests_per_second", "in_flight", "latency_p90", "errors_per_second"]
            .map(String::from);
        let mut metrics = CustomMetrics::new(&spec, &names, 1);
        let (one, two) = (ContainerId { pod: 1, restarts: 0 }, ContainerId { pod: 2, restarts: 0 });
        metrics.started(Timestamp::ZERO, one);
        metrics.started(Timestamp::ZERO, two);
        let mut asked = BTreeSet::new();
        for second in 0..120 {
            let now = Timestamp(second * SECOND);
            let mut wishes = vec![];
            metrics.advance(now, &mut wishes);
            for wish in wishes {
                let Wish::Scrape(container) = wish else { panic!("{wish:?}") };
                asked.insert((container.pod, second % 15));
                let n = second as f64 * f64::from(container.pod);
                let bucket = "http_request_duration_seconds_bucket";
                let lines = [
                    told("http_requests_total", "{code=\"200\"}", None, 10.0 * n),
                    told("http_requests_total", "{code=\"500\"}", None, n),
                    told("in_flight", "", None, 4.0),
                    told("in_flight", "{kind=\"slow\"}", None, 3.0),
                    told("unwanted", "", None, 1.0),
                    told(bucket, "{le=\"0.1\"}", Some(0.1), 8.0 * n),
                    told(bucket, "{le=\"1\"}", Some(1.0), 10.0 * n),
                    told(bucket, "{le=\"+Inf\"}", Some(f64::INFINITY), 10.0 * n),
                ];
                metrics.scraped(now, container, lines.into_iter());
            }
        }
        assert_eq!(asked.len(), 2, "each pod has an offset of its own: {asked:?}");
        let now = Timestamp(120 * SECOND);
        let rates = metrics.ask(now, "http_requests_per_second");
        for (pod, rate) in rates {
            assert!((rate - 11.0 * f64::from(pod)).abs() < 0.5, "pod {pod}: {rate}/s");
        }
        assert_eq!(metrics.ask(now, "in_flight"), [(1, 7.0), (2, 7.0)]);
        for (_, latency) in metrics.ask(now, "latency_p90") {
            assert!((latency - 0.55).abs() < 1e-9, "{latency}");
        }
        assert_eq!(metrics.ask(now, "nobody_tells_this"), []);
        for (pod, rate) in metrics.ask(now, "errors_per_second") {
            assert!((rate - f64::from(pod)).abs() < 0.1, "pod {pod}: {rate}/s");
        }
        metrics.ended(one);
        assert_eq!(metrics.ask(now, "in_flight"), [(2, 7.0)], "what ended tells nothing");
        let later = Timestamp(500 * SECOND);
        assert_eq!(metrics.ask(later, "in_flight"), [], "what is too old is not taken");
    }
}
