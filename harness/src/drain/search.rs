//! The least preStop, then the least grace period.

use highwater_model::time::{Nanos, SECOND};

use super::{
    DrainError,
    trial::{Endings, Setting, Trial},
};

/// How often the answer is raised at most.
const RAISES_MAX: u32 = 3;
/// Seeds of the last trial, which the search has not seen, are so far from the others.
const FRESH: u64 = 1_000;

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The trial of the answer, with seeds that the search has not seen; `None` without an answer.
    pub(super) answer: Option<Trial>,
    /// All trials, in order.
    pub(super) tried: Vec<Trial>,
    /// Without an answer: why.
    pub(super) failure: Option<Failure>,
}

impl Found {
    fn tried(
        &mut self,
        endings: &Endings,
        setting: Setting,
        seed: u64,
    ) -> Result<Trial, DrainError> {
        let trial = endings.trial(setting, seed)?;
        self.tried.push(trial.clone());
        Ok(trial)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Requests are lost with the longest preStop, too.
    Lost,
    /// Pods do not end by themselves, however long they may take.
    Endless,
}

/// Searches. With more preStop less is lost, so that it is bisected: eight trials for a minute, and
/// fourteen for an hour. The grace period is then what the slowest pod took; that the kubelet leaves
/// a pod 2 s after its stop signal, however long preStop was, is not counted on. The answer is then tried with seeds that
/// the search has not seen, and raised by a few seconds if it loses there.
pub(super) fn search(endings: &Endings, max: u32) -> Result<Found, DrainError> {
    let mut found = Found { answer: None, tried: Vec::new(), failure: None };
    let (seed, allowance) = (endings.seed(), endings.allowance());
    let least = least(0, max, |pre_stop| {
        let setting = Setting { pre_stop, grace: pre_stop + allowance };
        Ok(!found.tried(endings, setting, seed)?.loses())
    })?;
    let Some(mut pre_stop) = least else {
        let is_killed = found.tried.last().is_some_and(|trial| trial.killed > 0);
        found.failure = Some(if is_killed { Failure::Endless } else { Failure::Lost });
        return Ok(found);
    };
    let held = found.tried.iter().find(|trial| trial.setting.pre_stop == pre_stop);
    let (drain, is_killed) = held
        .map_or((Nanos::ZERO, false), |trial| (trial.drain.unwrap_or_default(), trial.killed > 0));
    if is_killed {
        found.failure = Some(Failure::Endless);
        return Ok(found);
    }
    // At least a second: with a grace period as long as preStop the kubelet cuts that.
    let mut grace = pre_stop + drain.0.div_ceil(SECOND).max(1) as u32;
    let fresh = seed.wrapping_add(FRESH);
    let most = grace + RAISES_MAX;
    while grace <= most {
        let trial = found.tried(endings, Setting { pre_stop, grace }, fresh)?;
        if !trial.fails() {
            found.answer = Some(trial);
            return Ok(found);
        }
        // What is lost to SIGKILL needs more grace, all else more preStop and as much grace.
        pre_stop += u32::from(trial.killed == 0);
        grace += 1;
    }
    found.failure = Some(Failure::Lost);
    Ok(found)
}

/// The least in `low..=high` that `holds`, if what holds of one holds of all above it.
fn least(
    low: u32,
    high: u32,
    mut holds: impl FnMut(u32) -> Result<bool, DrainError>,
) -> Result<Option<u32>, DrainError> {
    if holds(low)? {
        return Ok(Some(low));
    }
    if !holds(high)? {
        return Ok(None);
    }
    let (mut fails, mut good) = (low, high);
    while good - fails > 1 {
        let middle = fails + (good - fails) / 2;
        if holds(middle)? { good = middle } else { fails = middle }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_found_at_both_ends_and_between() {
        for wanted in [0, 1, 7, 59, 60] {
            let mut asked = 0;
            let found = least(0, 60, |one| {
                asked += 1;
                Ok(one >= wanted)
            });
            assert_eq!(found.expect("nothing fails"), Some(wanted));
            assert!(asked <= 8, "{asked} for {wanted}");
        }
        assert_eq!(least(0, 60, |_| Ok(false)).expect("nothing fails"), None);
        assert_eq!(least(3, 3, |_| Ok(true)).expect("nothing fails"), Some(3));
    }
}
