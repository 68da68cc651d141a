//! Joins the parts of the analysis.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::EventKind,
    outcome::OutcomeGroup,
    time::{Nanos, Timestamp},
};

use super::{
    Analysis, AnalyzeError, Cause, ClosedLoop, Loss, Percentiles, Requests, Timeline, Transitions,
    Verdict,
    actions::actions,
    attribute::{Attributed, TransitionKind, Way, attribute_both},
    audit,
    autoscaler::autoscaling,
    cluster::cluster,
    findings::findings,
    losses::losses,
    objectives::{self, Measured},
    path,
    pods::Lives,
    retries::{self, Retries},
    scaling::{self, ScaleUp},
    scorecard::{Known, scorecard},
    series::{self, Sums},
};
use crate::record::{EndReason, RunRecord, hist};

/// See [`super::analyze`].
pub(super) fn assemble(record: &RunRecord) -> Result<Analysis, AnalyzeError> {
    let scenario = &record.header.scenario;
    let requests: Requests = record.totals().into();
    check_sums(record, &requests)?;
    let lives = Lives::of(&record.events);
    let way = Way::of(&record.header);
    let kept = retries::hidden(&record.events);
    let (attributed, kept) = attribute_both(&record.failures, &kept, &record.events, &lives, way);
    let sums = series::sums(record)?;
    let (start, end) = traffic_span(record);
    let send_lag = Percentiles::of(&sums.lag);
    let slowest = sums.service.max();
    let explain = |failed: &[Attributed<'_>]| losses(failed, &lives, &record.header, slowest);
    let retries = retries::retries(&record.events, &kept, &record.failures, explain);
    let losses = explain(&attributed);
    let unexplained =
        losses.iter().filter(|loss| loss.cause == Cause::Unexplained).map(|loss| loss.count).sum();
    let phases = series::phases(record, &sums, start);
    let autoscaling = autoscaling(&record.events);
    let pod_starts = scaling::pod_starts(&record.events);
    let scale_ups = scaling::scale_ups(record, &autoscaling, &pod_starts, start);
    let objectives: Vec<_> = scenario
        .objectives
        .iter()
        .map(|objective| {
            let measured = measured(objective, &phases, (&sums, &attributed, &scale_ups));
            objectives::judge(objective, &measured)
        })
        .collect();
    let cluster = cluster(&record.events);
    let audit = audit::audit(record, &requests, &send_lag, &cluster.gaps);
    let end_reason = record.footer.as_ref().map(|footer| footer.reason);
    let verdict = if end_reason != Some(EndReason::Completed) {
        Verdict::Aborted
    } else if !audit.trusted {
        Verdict::Untrusted
    } else if objectives.iter().any(|objective| !objective.met) {
        Verdict::Missed
    } else {
        Verdict::Met
    };
    let transitions = transitions(&attributed, &lives, start, end);
    let replica_points = series::replicas(&record.events);
    let replicas = series::range(&replica_points, start, end);
    let run_end = record.end();
    let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
    for one in &attributed {
        if let Some(pod) = one.pod() {
            *lost.entry(pod).or_default() += one.case.failure.n;
        }
    }
    let starts = scaling::summarize(&pod_starts, start, end);
    let latency = |phase: usize| sums.phases.get(&(phase as u16)).map(|(_, latency, _)| latency);
    let scorecard = scorecard(
        record,
        Known {
            traffic: (start, end),
            phases: &phases,
            seconds: &sums.seconds,
            latency: &latency,
            replicas: &replica_points,
            starts: &starts,
            scale_downs: scaling::scale_downs(&autoscaling, &lives),
        },
    );
    let pods = lives.order.iter().filter_map(|name| {
        Some(lives.get(name)?.lane(name, run_end, lost.get(name.as_str()).copied().unwrap_or(0)))
    });
    let actions = actions(&record.events);
    let timeline = Timeline {
        traffic_start: start,
        traffic_end: end,
        end: run_end,
        replicas: replica_points,
        pods: pods.collect(),
        failures: series::marks(&attributed),
        actions: series::actions(&actions),
        seconds: sums.seconds.clone(),
    };
    let pod_hours: f64 = lives.pods.values().map(|life| life.hours(run_end)).sum();
    let closed_loop = closed_loop(record, &requests, end.since(start));
    let sentence = sentence(&requests, (&losses, &retries), &transitions, end_reason, record);
    Ok(Analysis {
        scenario: scenario.name.clone(),
        description: scenario.description.clone(),
        backend: record.header.backend,
        seed: record.header.seed,
        path: path::in_words(scenario, record.header.backend),
        closed_loop,
        verdict,
        sentence,
        end_reason,
        cost_per_thousand_good: (requests.ok > 0)
            .then(|| pod_hours * 3_600.0 * 1_000.0 / requests.ok as f64),
        requests,
        losses,
        findings: findings(&record.events, &lives),
        retries,
        unexplained,
        transitions,
        latency: Percentiles::of(&sums.latency),
        service_time: Percentiles::of(&sums.service),
        send_lag,
        phases,
        replicas,
        pod_hours,
        starts,
        autoscaling,
        scale_ups,
        pod_starts,
        actions,
        cluster,
        scorecard,
        objectives,
        audit,
        timeline,
    })
}

/// The rate of a closed loop counts over the time in which requests were sent.
fn closed_loop(record: &RunRecord, requests: &Requests, lasted: Nanos) -> Option<ClosedLoop> {
    let saturate = record.header.scenario.traffic.saturate?;
    let seconds = lasted.as_secs_f64();
    let rate = if seconds > 0.0 { requests.ok as f64 / seconds } else { 0.0 };
    Some(ClosedLoop { connections: saturate.connections, rate })
}

/// owed = sent + unsent, but for a record that was cut off; and each failure is described.
fn check_sums(record: &RunRecord, requests: &Requests) -> Result<(), AnalyzeError> {
    let accounted = requests.sent + requests.unsent;
    let is_cut = record.footer.as_ref().is_none_or(|footer| footer.reason != EndReason::Completed);
    if accounted > requests.owed || (accounted < requests.owed && !is_cut) {
        let Requests { owed, sent, unsent, .. } = *requests;
        return Err(AnalyzeError::Sums { owed, sent, unsent });
    }
    let failed =
        record.failures.iter().filter(|failure| failure.outcome.group() == OutcomeGroup::Failed);
    let described: u64 = failed.map(|failure| failure.n).sum();
    if described != requests.failed && !is_cut {
        return Err(AnalyzeError::Failures { counted: requests.failed, described });
    }
    Ok(())
}

fn traffic_span(record: &RunRecord) -> (Timestamp, Timestamp) {
    let at = |wanted: fn(&EventKind) -> bool| {
        record.events.iter().find(|event| wanted(&event.kind)).map(|e| e.at)
    };
    let start = at(|kind| matches!(kind, EventKind::TrafficStarted)).unwrap_or(record.end());
    let planned = record.header.phases.last().map_or(Nanos::ZERO, |phase| phase.end);
    let ended = at(|kind| matches!(kind, EventKind::TrafficEnded)).unwrap_or(record.end());
    (start, (start + planned).min(ended).max(start))
}

/// What an objective is judged by: the phases that count for it, added up.
fn measured(
    objective: &highwater_model::spec::Objective,
    phases: &[super::PhaseResult],
    (sums, attributed, scale_ups): (&Sums, &[Attributed<'_>], &[ScaleUp]),
) -> Measured {
    let mut measured = Measured {
        requests: Requests::default(),
        unexplained: 0,
        latency: hist::new(),
        service: hist::new(),
        slowest: scaling::slowest(scale_ups.iter().filter(|up| {
            objective.during.is_empty()
                || phases.iter().any(|phase| {
                    (phase.start..phase.end).contains(&up.at)
                        && objective.during.contains(&phase.name)
                })
        })),
    };
    for (index, (totals, latency, service)) in &sums.phases {
        if !objectives::counts(objective, phases, usize::from(*index)) {
            continue;
        }
        let part: Requests = totals.clone().into();
        measured.requests.owed += part.owed;
        measured.requests.sent += part.sent;
        measured.requests.unsent += part.unsent;
        measured.requests.ok += part.ok;
        measured.requests.failed += part.failed;
        // All have the record's bounds.
        let _ = measured.latency.add(latency);
        let _ = measured.service.add(service);
    }
    let unexplained = attributed.iter().filter(|one| {
        one.cause == Cause::Unexplained
            && objectives::counts(objective, phases, usize::from(one.case.failure.phase))
    });
    measured.unexplained = unexplained.map(|one| one.case.failure.n).sum();
    measured
}

// Transitions.

fn transitions(
    attributed: &[Attributed<'_>],
    lives: &Lives,
    start: Timestamp,
    end: Timestamp,
) -> Transitions {
    let within = |at: Option<Timestamp>| at.is_some_and(|at| at >= start && at <= end);
    let starts = lives.pods.values().filter(|life| within(life.first_ready.map(|ready| ready.at)));
    let ends = lives.pods.values().filter(|life| within(life.deletion.map(|one| one.at.at)));
    let observed = (starts.count() + ends.count()) as u64;
    let with_loss = lossy(attributed).min(observed);
    Transitions { observed, with_loss, upper_bound95: upper_bound95(with_loss, observed) }
}

/// How many transitions lost a request, at most. Of a failure that can have met one of several pods
/// any of them may be the one, but no more of them than requests were lost.
fn lossy(attributed: &[Attributed<'_>]) -> u64 {
    let of_transitions = || attributed.iter().filter_map(|one| Some((one, one.transition?)));
    let known = of_transitions().filter_map(|(one, kind)| Some((one.pod()?, kind)));
    let known: BTreeSet<(&str, TransitionKind)> = known.collect();
    let mut possible: BTreeSet<(&str, TransitionKind)> = BTreeSet::new();
    let mut unknown = 0;
    for (one, kind) in of_transitions().filter(|(one, _)| one.pods.len() > 1) {
        unknown += one.case.failure.n;
        possible.extend(one.pods.iter().map(|pod| (*pod, kind)));
    }
    let others = possible.difference(&known).count() as u64;
    // A loss that has no transition of its own is one of a known pod's, or of one of the others.
    known.len() as u64 + others.min(unknown)
}

/// The one-sided upper bound at 95 % of a share of which `k` in `n` were seen (Clopper and Pearson
/// 1934): the share at which so few would be seen one time in twenty. For 0 in n this is about
/// 3/n. 1 without any trial.
fn upper_bound95(k: u64, n: u64) -> f64 {
    if k >= n {
        return 1.0;
    }
    let (mut low, mut high) = (k as f64 / n as f64, 1.0f64);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if binomial_cdf(k, n, middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// The chance of at most `k` in `n` at a share `p`, in logarithms so that nothing underflows.
fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for i in 0..=k {
        if i > 0 {
            ln_choose += ((n - i + 1) as f64 / i as f64).ln();
        }
        sum += (ln_choose + i as f64 * ln_p + (n - i) as f64 * ln_q).exp();
    }
    sum
}

fn sentence(
    requests: &Requests,
    (losses, retries): (&[Loss], &Retries),
    transitions: &Transitions,
    end: Option<EndReason>,
    record: &RunRecord,
) -> String {
    let sent = group_digits(requests.sent);
    let mut text = if requests.failed == 0 {
        format!("Lost none of {sent} requests")
    } else {
        let names: Vec<String> = losses
            .iter()
            .map(|loss| {
                format!("{} ({})", loss.cause.title().to_lowercase(), group_digits(loss.count))
            })
            .collect();
        format!("Lost {} of {sent} requests: {}", group_digits(requests.failed), names.join(", "))
    };
    match (transitions.observed, transitions.with_loss) {
        (0, _) => {}
        (n, 0) => text.push_str(&format!(
            ", in {n} pod transitions (so at most {:.1} % of transitions lose one, at 95 %)",
            transitions.upper_bound95 * 100.0
        )),
        (n, lossy) => text.push_str(&format!(", in {lossy} of {n} pod transitions")),
    }
    if retries.rescued > 0 {
        let rescued = group_digits(retries.rescued);
        text.push_str(&format!("; retries hid {rescued} more that failed at first"));
    }
    if requests.unsent > 0 {
        text.push_str(&format!("; {} were not sent", group_digits(requests.unsent)));
    }
    text.push('.');
    match (end, &record.footer) {
        (None, _) => text.push_str(" The record was cut off."),
        (Some(EndReason::Interrupted), _) => text.push_str(" The run was interrupted."),
        (Some(EndReason::Failed), Some(footer)) => {
            text.push_str(&format!(" The run failed: {}.", footer.message))
        }
        _ => {}
    }
    text
}

/// A count with commas: `12,345`.
pub fn group_digits(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_in_n_bounds_the_rate_by_about_three_over_n() {
        assert!((upper_bound95(0, 100) - 0.0295).abs() < 0.0001);
        assert!((upper_bound95(0, 1000) - 0.002_991).abs() < 0.000_001);
        // Clopper and Pearson's own table: 1 in 20 gives 0.2161 at 95 % one-sided.
        assert!((upper_bound95(1, 20) - 0.2161).abs() < 0.0001);
        assert_eq!(upper_bound95(0, 0), 1.0);
        assert_eq!(upper_bound95(3, 3), 1.0);
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(group_digits), ["0", "999", "1,000", "1,234,567"]);
    }
}
