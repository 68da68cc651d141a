//! Percentiles while a run goes on.

use std::collections::VecDeque;

use highwater_model::outcome::Outcome;

use crate::record::{
    Window,
    hist::{self, Hist},
};

/// Seconds that "just now" is made of. A histogram of each is kept: about 230 KB.
pub const RECENT_SECONDS: usize = 10;

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl Figures {
    /// Those of a histogram; `None` of an empty one.
    pub fn of(hist: &Hist) -> Option<Self> {
        let at = |quantile| hist.value_at_quantile(quantile);
        (!hist.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: hist.max(),
        })
    }
}

/// What is known of times so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// From scheduled to end, good answers that were owed in the last [`RECENT_SECONDS`].
    pub recent: Option<Figures>,
    /// The same of the whole run.
    pub run: Option<Figures>,
    /// From scheduled to sent, all that was sent in the run.
    pub send_lag: Option<Figures>,
}

/// Adds up the histograms of windows.
#[derive(Debug)]
pub struct Meter {
    /// By second of schedule, ascending; at most [`RECENT_SECONDS`].
    recent: VecDeque<(u64, Hist)>,
    run: Hist,
    lag: Hist,
}

impl Default for Meter {
    fn default() -> Self {
        Self { recent: VecDeque::new(), run: hist::new(), lag: hist::new() }
    }
}

impl Meter {
    /// Takes a window. A histogram that cannot be decoded is passed over: the reader of the record
    /// refuses it in the end.
    pub fn window(&mut self, window: &Window) {
        for (outcome, part) in &window.outcomes {
            let _ = part.lag.add_to(&mut self.lag);
            if *outcome == Outcome::Ok && !part.latency.is_empty() {
                let _ = part.latency.add_to(&mut self.run);
                if let Some(hist) = self.second(window.second) {
                    let _ = part.latency.add_to(hist);
                }
            }
        }
    }

    /// The histogram of a second; `None` if that is past.
    fn second(&mut self, second: u64) -> Option<&mut Hist> {
        let index = self.recent.partition_point(|(known, _)| *known < second);
        if self.recent.get(index).is_none_or(|(known, _)| *known != second) {
            let is_full = self.recent.len() >= RECENT_SECONDS;
            if is_full && index == 0 {
                return None;
            }
            // The oldest one's memory serves the new one.
            let reused = if is_full { self.recent.pop_front() } else { None };
            let mut hist = reused.map_or_else(hist::new, |(_, hist)| hist);
            hist.reset();
            let index = index - usize::from(is_full);
            self.recent.insert(index, (second, hist));
            return self.recent.get_mut(index).map(|(_, hist)| hist);
        }
        self.recent.get_mut(index).map(|(_, hist)| hist)
    }

    /// The percentiles.
    pub fn latencies(&self) -> Latencies {
        let last = self.recent.back().map_or(0, |(second, _)| *second);
        let mut recent = hist::new();
        for (second, hist) in &self.recent {
            if second + RECENT_SECONDS as u64 > last {
                // Both have the record's bounds.
                let _ = recent.add(hist);
            }
        }
        Latencies {
            recent: Figures::of(&recent),
            run: Figures::of(&self.run),
            send_lag: Figures::of(&self.lag),
        }
    }

    /// The 99th percentile of each second that is kept.
    pub fn seconds(&self) -> impl Iterator<Item = (u64, u64)> {
        self.recent.iter().map(|(second, hist)| (*second, hist.value_at_quantile(0.99)))
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::time::MILLISECOND;

    use super::*;
    use crate::live::testkit::window;

    #[test]
    fn just_now_forgets_and_the_run_does_not() {
        let mut meter = Meter::default();
        assert_eq!(meter.latencies(), Latencies::default());
        meter.window(&window(3, 10, 0, 900 * MILLISECOND));
        meter.window(&window(3, 990, 0, MILLISECOND));
        for second in 4..40 {
            meter.window(&window(second, 100, 0, 2 * MILLISECOND));
        }
        let seen = meter.latencies();
        let close = |value: u64, millis: u64| value.abs_diff(millis * MILLISECOND) < MILLISECOND;
        let (recent, run) = (seen.recent.unwrap(), seen.run.unwrap());
        assert!(close(recent.max, 2), "{recent:?}");
        assert!(close(run.max, 900) && close(run.p50, 2), "{run:?}");
        assert_eq!(meter.seconds().count(), RECENT_SECONDS);
    }

    #[test]
    fn late_windows_count_in_their_own_second() {
        let mut meter = Meter::default();
        for second in [5, 7, 6, 5, 90, 4, 91] {
            meter.window(&window(second, 1, 0, second * MILLISECOND));
        }
        let seconds: Vec<u64> = meter.seconds().map(|(second, _)| second).collect();
        assert_eq!(seconds, [4, 5, 6, 7, 90, 91]);
        let recent = meter.latencies().recent.unwrap();
        assert!(recent.p50 > 80 * MILLISECOND, "after a silence only what is new: {recent:?}");
        for second in 100..120 {
            meter.window(&window(second, 1, 0, MILLISECOND));
        }
        meter.window(&window(4, 1, 0, MILLISECOND));
        assert_eq!(meter.seconds().next().map(|(second, _)| second), Some(110));
    }
}
