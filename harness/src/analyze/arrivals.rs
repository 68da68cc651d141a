//! Whether the requests came as the scenario asks: the arrivals against the intended process.
//!
//! What was scheduled and what was really sent are judged each for itself, from counts that were
//! kept while the run went on ([`highwater_model::load::ArrivalCounts`], and requests by second):
//!
//! - scheduled, Poisson: requests by second against the integral of the rate, and the gaps
//!   between them, rescaled to be uniform, over twenty bins;
//! - scheduled, constant: how far the worst arrival is from its place in the expected count;
//! - sent, Poisson: the same gaps, as far as send lag leaves them apart: each bin may be off by
//!   what the lag of all requests together can have moved across its two edges;
//! - sent, any: requests by second against those that were owed then. A request that is sent
//!   [`LAG`] late at most may fall into the next second; of the others, [`DISPLACED_MAX`] may be in
//!   another second than they should. A lag that stays the same moves nothing from second to
//!   second: that is found by the demand on send lag itself.
//!
//! Counts are judged by their deviance, `2 sum(n ln(n / e) - n + e)`, which over k bins of some
//! size is chi-square with k degrees of freedom. The limits are where the Chernoff bound of that,
//! `((x / k) exp(1 - x / k))^(k / 2)`, falls to [`FALSE_ALARM`]: above its true probability. A
//! sound run fails one of the four tests with a chance below 1e-6.
//!
//! *Source*: time rescaling: Brown et al., Neural Computation 14 (2002), 325-346. Deviance: McCullagh
//! and Nelder, Generalized Linear Models, section 2.3.

use std::collections::BTreeMap;

use highwater_model::{
    event::EventKind,
    load::{ArrivalCounts, GAP_BINS, Profile},
    spec,
    time::{MILLISECOND, Nanos, SECOND, Timestamp, human},
};

use super::{Requests, audit::Judge};
use crate::record::{EndReason, RunRecord};

/// The bound of each test's chance to fail a sound run, where counts are exactly chi-square; they
/// are not quite, and the tests show that a hundred times this holds.
const FALSE_ALARM: f64 = 1e-9;
/// The fewest requests that are expected in a span whose count is judged.
const EXPECTED_MIN: f64 = 50.0;
/// The fewest spans for which too even a count is a fault: with few of them it is luck.
const EVEN_MIN: usize = 15;
/// The fewest gaps that are judged.
const GAPS_MIN: u64 = 400;
/// The lag that is allowed for.
const LAG: Nanos = Nanos(100 * MILLISECOND);
/// The share of requests that may be sent in another second than [`LAG`] explains.
const DISPLACED_MAX: f64 = 0.01;

/// Judges the arrivals of a run that came to its end. Not judged are a closed loop, which has no
/// arrival process, and a record that has no counts of arrivals (of an earlier version).
pub(super) fn judge(record: &RunRecord, requests: &Requests, judge: &mut Judge) {
    // In a closed loop the answers say when the next request comes.
    if record.header.scenario.traffic.saturate.is_some() {
        return;
    }
    let counts: Vec<_> =
        record.samples.iter().filter_map(|sample| sample.arrivals.as_deref()).collect();
    let is_whole =
        record.footer.as_ref().is_some_and(|footer| footer.reason == EndReason::Completed);
    let mut starts = record.events.iter();
    let start = starts.find(|event| matches!(event.kind, EventKind::TrafficStarted));
    let traffic = &record.header.scenario.traffic;
    let (Some(start), Ok(profile), true) = (start, Profile::new(traffic), is_whole) else { return };
    if counts.is_empty() || traffic.saturate.is_some() {
        return;
    }
    let scheduled = sum(counts.iter().map(|counts| &counts.scheduled));
    let sent = sum(counts.iter().map(|counts| &counts.sent));
    match traffic.arrivals {
        spec::Arrivals::Poisson => {
            by_second(record, &profile, start.at, judge);
            gaps("gaps between scheduled requests", &scheduled, 0, judge);
            gaps("gaps between sent requests", &sent, requests.unsent, judge);
        }
        spec::Arrivals::Constant => in_place(&scheduled, traffic, judge),
    }
    displaced(record, &profile, start.at, judge);
}

/// The counts of all generators.
fn sum<'a>(all: impl Iterator<Item = &'a ArrivalCounts>) -> ArrivalCounts {
    all.fold(ArrivalCounts::default(), |mut sum, one| {
        sum.n += one.n;
        sum.moved += one.moved;
        sum.off = sum.off.max(one.off);
        sum.gaps.resize(sum.gaps.len().max(one.gaps.len()), 0);
        sum.gaps.iter_mut().zip(&one.gaps).for_each(|(sum, n)| *sum += n);
        sum
    })
}

/// What one count of `n` where `expected` are expected adds to the deviance.
fn deviance(n: f64, expected: f64) -> f64 {
    let ratio = if n > 0.0 { n * (n / expected).ln() } else { 0.0 };
    (2.0 * (ratio - n + expected)).max(0.0)
}

/// Between which values the deviance over `bins` is that of a sound run.
fn limits(bins: usize) -> (f64, f64) {
    let freedom = bins as f64;
    // The logarithm of the bound; it falls on both sides of 1.
    let bound = |ratio: f64| freedom / 2.0 * (ratio.ln() + 1.0 - ratio);
    let search = |mut holds: f64, mut fails: f64| {
        for _ in 0..100 {
            let middle = (holds + fails) / 2.0;
            let is_likely = bound(middle) > FALSE_ALARM.ln();
            *(if is_likely { &mut holds } else { &mut fails }) = middle;
        }
        holds
    };
    let low = if bins < EVEN_MIN { 0.0 } else { search(1.0, 0.0) };
    (low * freedom, search(1.0, 1e3) * freedom)
}

fn demand(name: &str, what: &str, found: f64, (low, high): (f64, f64), judge: &mut Judge) {
    judge.demand(
        name,
        format!("deviance {found:.1} over {what}"),
        format!("from {low:.1} to {high:.1}"),
        (low..=high).contains(&found),
        "The requests did not come as the arrival process has them",
    );
}

/// Requests that were owed by second, against the rate.
fn by_second(record: &RunRecord, profile: &Profile, start: Timestamp, judge: &mut Judge) {
    let mut owed: BTreeMap<u64, u64> = BTreeMap::new();
    let traced: Vec<(Nanos, Nanos)> = profile
        .phases()
        .zip(&record.header.scenario.traffic.phases)
        .filter(|(_, phase)| phase.trace.is_some())
        .map(|(span, _)| span)
        .collect();
    for ((second, _), window) in &record.windows {
        *owed.entry(*second).or_default() += window.owed;
    }
    let (mut bins, mut found) = (0, 0.0);
    let (mut count, mut expected) = (0, 0.0);
    let end = (start + profile.lasts()).second();
    for second in start.second()..=end {
        let from = Timestamp(second * SECOND).since(start);
        let to = Timestamp((second + 1) * SECOND).since(start);
        // A trace's requests are at given instants, and no matter of chance.
        if traced.iter().any(|(begin, end)| *begin < to && from < *end) {
            continue;
        }
        count += owed.get(&second).copied().unwrap_or(0);
        expected += profile.expected_until(to) - profile.expected_until(from);
        if expected >= EXPECTED_MIN {
            found += deviance(count as f64, expected);
            (bins, count, expected) = (bins + 1, 0, 0.0);
        }
    }
    if bins > 0 {
        let what = format!("{bins} spans of whole seconds");
        demand("scheduled requests by second", &what, found, limits(bins), judge);
    }
}

/// The gaps between requests, each bin of which should have the same count; `unsent` requests left
/// two gaps out each.
fn gaps(name: &str, counts: &ArrivalCounts, unsent: u64, judge: &mut Judge) {
    let n: u64 = counts.gaps.iter().sum();
    if n < GAPS_MIN || counts.gaps.len() != GAP_BINS {
        return;
    }
    let expected = n as f64 / GAP_BINS as f64;
    // A gap changes by the difference of two lags, at most their sum; both edges of a bin count.
    let allowed = 4.0 * counts.moved + 2.0 * unsent as f64;
    if allowed >= expected {
        let found = format!("send lag is {:.3} of the mean gap", counts.moved / n as f64);
        judge.fact(name, found, "not judged: too near each other".into(), true);
        return;
    }
    let found = counts.gaps.iter().map(|n| {
        let off = *n as f64 - expected;
        deviance(expected + off.signum() * (off.abs() - allowed).max(0.0), expected)
    });
    let (low, high) = limits(GAP_BINS - 1);
    let low = if allowed > 0.0 { 0.0 } else { low };
    demand(name, &format!("{GAP_BINS} lengths"), found.sum(), (low, high), judge);
}

/// Constant arrivals: the worst one's distance from its place.
fn in_place(counts: &ArrivalCounts, traffic: &spec::Traffic, judge: &mut Judge) {
    // A trace's own count is whole, and the integral of its rate may not be.
    let traces = traffic.phases.iter().filter(|phase| phase.trace.is_some()).count();
    let bound = 1.0 + traces as f64;
    judge.demand(
        "scheduled requests, off their place",
        format!("at most {:.3} requests", counts.off),
        format!("at most {bound:.0}"),
        counts.off <= bound,
        "The requests were not evenly spaced",
    );
}

/// Requests that were sent by second, against those that were owed.
fn displaced(record: &RunRecord, profile: &Profile, start: Timestamp, judge: &mut Judge) {
    // Sent less owed, both without the unsent.
    let mut seconds: BTreeMap<u64, i64> = BTreeMap::new();
    let mut owed = 0;
    for ((second, _), window) in &record.windows {
        let unsent = window.outcomes.iter().filter(|(outcome, _)| {
            outcome.group() == highwater_model::outcome::OutcomeGroup::Unsent
        });
        let unsent: u64 = unsent.map(|(_, sum)| sum.n).sum();
        owed += window.owed;
        *seconds.entry(*second).or_default() -= window.owed.saturating_sub(unsent) as i64;
    }
    for (second, n) in record.samples.iter().flat_map(|sample| &sample.sent_in) {
        *seconds.entry(*second).or_default() += *n as i64;
    }
    let displaced: f64 = seconds
        .iter()
        .map(|(second, off)| {
            let from = Timestamp((second * SECOND).saturating_sub(LAG.0)).since(start);
            let to = Timestamp((second + 1) * SECOND).since(start);
            // What arrives within the lag, by chance or not.
            let within = profile.peak(from, to) * LAG.as_secs_f64();
            let allowed = within + 3.0 * within.sqrt() + 1.0;
            (off.unsigned_abs() as f64 - allowed).max(0.0)
        })
        .sum();
    // One that is missing in a second is too many in another.
    let share = displaced / 2.0 / (owed.max(1) as f64);
    judge.demand(
        "sent in another second than owed",
        format!("{:.3} % of the requests", share * 100.0),
        format!("at most {} %, beside a lag of {}", DISPLACED_MAX * 100.0, human(LAG)),
        share <= DISPLACED_MAX,
        "The requests were not sent when they were owed",
    );
}

#[cfg(test)]
mod tests;
