//! `/metrics` in Prometheus' text format 0.0.4.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::{drain::Machine, scaling::counters::Counters};

/// Upper bounds of the latency buckets, seconds: Prometheus' defaults, and two finer ones.
pub const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The methods that are told apart; all others are `OTHER`.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Counters of the service. Few, fixed labels: routes and methods outside of the known ones are
/// `other` and `OTHER`, statuses are at most 500.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    latency: Mutex<BTreeMap<&'static str, Latency>>,
    in_flight: AtomicI64,
    samples: AtomicU64,
    scaling: Option<Arc<Counters>>,
}

#[derive(Clone, Debug, Default)]
struct Latency {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// Counters at zero; those of `self-scaling` are shown on the page if given.
    pub fn new(scaling: Option<Arc<Counters>>) -> Self {
        Self { scaling, ..Self::default() }
    }

    /// A request begins; it ends when the guard is dropped, also when it is cancelled.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts an answered request.
    pub fn answered(&self, route: &'static str, method: &str, status: u16, took: Duration) {
        let method = METHODS.iter().copied().find(|known| *known == method).unwrap_or("OTHER");
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, method, status)).or_default() += 1;
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = latency.entry(route).or_default();
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            latency.buckets[bucket] += 1;
        }
        latency.count += 1;
        latency.sum += seconds;
    }

    /// Requests of `/work` answered so far, whatever their status.
    pub fn work_answered(&self) -> u64 {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|((route, ..), _)| *route == "/work").map(|(_, n)| n).sum()
    }

    /// The background sampler was here.
    pub fn sampled(&self) {
        self.samples.fetch_add(1, Ordering::Relaxed);
    }

    /// The page. `state` is the drain machine's.
    pub fn page(&self, state: &str) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut page, state);
        page
    }

    fn write(&self, page: &mut String, state: &str) -> std::fmt::Result {
        head(page, "http_requests_total", "counter", "Answered requests.")?;
        for ((route, method, status), n) in
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            writeln!(
                page,
                "http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {n}"
            )?;
        }
        let name = "http_request_duration_seconds";
        head(page, name, "histogram", "From the request's head to the answer's.")?;
        for (route, latency) in self.latency.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let mut below = 0;
            for (bound, n) in BUCKETS.iter().zip(latency.buckets) {
                below += n;
                writeln!(page, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {below}")?;
            }
            writeln!(page, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}", latency.count)?;
            writeln!(page, "{name}_sum{{route=\"{route}\"}} {}", latency.sum)?;
            writeln!(page, "{name}_count{{route=\"{route}\"}} {}", latency.count)?;
        }
        head(page, "http_requests_in_flight", "gauge", "Requests being answered.")?;
        writeln!(page, "http_requests_in_flight {}", self.in_flight())?;
        head(page, "process_cpu_seconds_total", "counter", "CPU time of the process.")?;
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        writeln!(page, "process_cpu_seconds_total {}.{:09}", cpu.tv_sec, cpu.tv_nsec)?;
        if let Some(bytes) = resident_bytes() {
            head(page, "process_resident_memory_bytes", "gauge", "Resident memory.")?;
            writeln!(page, "process_resident_memory_bytes {bytes}")?;
        }
        head(page, "highwater_self_samples_total", "counter", "Rounds of the background sampler.")?;
        writeln!(page, "highwater_self_samples_total {}", self.samples.load(Ordering::Relaxed))?;
        head(
            page,
            "highwater_drain_state",
            "gauge",
            "1 for the stage of the shutdown, 0 for the others.",
        )?;
        for known in Machine::STATES {
            writeln!(
                page,
                "highwater_drain_state{{state=\"{known}\"}} {}",
                u8::from(*known == state)
            )?;
        }
        self.scaling.as_ref().map_or(Ok(()), |scaling| scaling.write(page))
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Resident memory by `/proc`; `None` where there is none.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_prometheus_text_and_adds_up() {
        let metrics = Metrics::default();
        let guard = metrics.begin();
        metrics.answered("/work", "GET", 200, Duration::from_millis(3));
        metrics.answered("/work", "GET", 200, Duration::from_secs(60));
        metrics.answered("/work", "BREW\"\n", 418, Duration::from_millis(3));
        metrics.answered("/readyz", "GET", 200, Duration::from_millis(3));
        assert_eq!(metrics.work_answered(), 3, "probes are no load");
        let page = metrics.page("delaying");
        for line in [
            "http_requests_total{route=\"/work\",method=\"GET\",status=\"200\"} 2",
            "http_requests_total{route=\"/work\",method=\"OTHER\",status=\"418\"} 1",
            "http_request_duration_seconds_bucket{route=\"/work\",le=\"0.0025\"} 0",
            "http_request_duration_seconds_bucket{route=\"/work\",le=\"0.005\"} 2",
            "http_request_duration_seconds_bucket{route=\"/work\",le=\"10\"} 2",
            "http_request_duration_seconds_bucket{route=\"/work\",le=\"+Inf\"} 3",
            "http_requests_in_flight 1",
            "highwater_drain_state{state=\"delaying\"} 1",
            "highwater_drain_state{state=\"serving\"} 0",
        ] {
            assert!(page.lines().any(|candidate| candidate == line), "{line} in\n{page}");
        }
        assert!(!page.contains("self_scaling"), "a service that does not scale itself");
        drop(guard);
        assert_eq!(metrics.in_flight(), 0);
    }
}
