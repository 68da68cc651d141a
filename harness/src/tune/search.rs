//! The search: a design that fills the space, rungs of more and more traffic, and refinement round
//! the best; all that on the coarse model. The last rung ([`last`]) is on the full simulator.
//!
//! All settings see the same arrivals and the same chance (common random numbers), so that settings
//! that do the same score the same to the bit.
//!
//! *Source*: latin hypercubes, McKay, Beckman and Conover, Technometrics 21(2), 1979; successive
//! halving, Jamieson and Talwalkar, AISTATS 2016.

mod last;

use std::{cmp::Ordering, collections::BTreeSet};

use highwater_model::rng::Stream;

use super::{
    cases::Case,
    judge::Score,
    space::{Setting, Space},
    trial::Problem,
};

/// So many settings are tried between two looks at the clock.
const BATCH: usize = 32;
/// Traffic that lasts longer, seconds, is first seen by its hardest part, which lasts as long or a
/// quarter of it.
const LONG: usize = 2 * 3600;
/// So many per cent of the settings are left for the neighbours of what is best on the full simulator.
const LEFT: usize = 12;
/// Of the settings on a rung the best so many per cent go on, and at least [`LEAST`].
const HALF: usize = 50;
const THIRD: usize = 34;
const LEAST: usize = 24;
/// The neighbours of so many settings are tried in a round,
const CENTRES: usize = 4;
/// and at least so many of these.
const SHARE: usize = 4;
/// More rounds are not made.
const ROUNDS: usize = 12;
/// So many times more draws than settings that are wanted, at most.
const DRAWS: usize = 8;
/// Parameters with so few values are tried with all of them next to a good setting.
const FEW: usize = 6;

/// What the stage is called that the budget bounds.
pub(super) const TRIED: &str = "settings";

/// A setting that was tried on all traffic that is searched with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) setting: Setting,
    /// Over all cases that are searched with, on the coarse model.
    pub(super) score: Score,
    /// On the full simulator, if it was on the last rung.
    pub(super) full: Option<Score>,
}

impl Tried {
    const fn coarse(setting: Setting, score: Score) -> Self {
        Self { setting, score, full: None }
    }

    /// What is known best of it.
    pub(super) fn known(&self) -> &Score {
        self.full.as_ref().unwrap_or(&self.score)
    }

    /// The better first; what was on the full simulator before what was not.
    fn order(&self, other: &Self) -> Ordering {
        let first = other.full.is_some().cmp(&self.full.is_some());
        let scores = || self.known().order(other.known());
        first.then_with(scores).then_with(|| self.setting.cmp(&other.setting))
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The best first.
    pub(super) tried: Vec<Tried>,
    /// The settings that fill the space, with what they came to on the first rung.
    pub(super) design: Vec<(Setting, Score)>,
    /// How many settings were tried at all.
    pub(super) settings: usize,
    /// How many of them were on the full simulator.
    pub(super) simulated: usize,
    /// Whether these are all that there are.
    pub(super) is_exhaustive: bool,
    /// Whether time was up before all that were wanted were tried.
    pub(super) is_cut: bool,
}

/// What a search is told to do.
pub(super) struct Search<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) cases: &'a [Case],
    /// So many settings at most.
    pub(super) wanted: usize,
    pub(super) seed: u64,
    /// Whether time is up. It decides how many settings are tried, never what they come to.
    pub(super) is_over: &'a dyn Fn() -> bool,
    /// Told how many of how many steps of a stage are done.
    pub(super) tell: &'a dyn Fn(&'static str, usize, usize),
}

impl Search<'_> {
    /// Searches.
    pub(super) fn run(&self) -> Found {
        let space = self.problem.space;
        let mut found =
            Found { is_exhaustive: space.size() <= self.wanted as u64, ..Found::default() };
        let candidates = if found.is_exhaustive {
            everything(space)
        } else {
            // The better half of the tries is spent near what is good already.
            design(space, self.wanted.div_ceil(2), self.seed)
        };
        let mut seen: BTreeSet<Setting> = candidates.iter().cloned().collect();
        self.design(candidates, &mut found);
        if !found.is_exhaustive {
            let wanted = self.wanted - self.wanted * LEFT / 100;
            self.refine(wanted, &mut seen, &mut found);
        }
        self.last(&mut seen, &mut found);
        self.simplify(&mut found);
        found
    }

    /// The rungs: the hardest part of the first traffic if it is long, all of it, all traffics.
    fn design(&self, candidates: Vec<Setting>, found: &mut Found) {
        let case = &self.cases[0];
        let seconds = case.load.seconds();
        let hard = (seconds > LONG).then(|| {
            let part = (seconds / 4).max(3600);
            case.load.part(case.hardest(part), part)
        });
        for batch in candidates.chunks(BATCH) {
            // The first batch holds the present setting and is always tried.
            if !found.design.is_empty() && (self.is_over)() {
                found.is_cut = true;
                break;
            }
            let scores = self.problem.scores(batch, &[case], hard.as_ref());
            let known = batch.iter().cloned().zip(scores.into_iter().map(|one| one[0]));
            found.design.extend(known);
            found.settings = found.design.len();
            (self.tell)(TRIED, found.settings, self.wanted.min(candidates.len() * 2));
        }
        let mut rung = found.design.clone();
        if hard.is_some() {
            best(&mut rung, HALF);
            rung = self.again(rung, &self.cases[..1]);
        }
        self.finish(rung, found);
    }

    fn again(&self, rung: Vec<(Setting, Score)>, cases: &[Case]) -> Vec<(Setting, Score)> {
        let settings: Vec<Setting> = rung.into_iter().map(|(setting, _)| setting).collect();
        let cases: Vec<&Case> = cases.iter().collect();
        let scores = self.problem.scores(&settings, &cases, None);
        settings.into_iter().zip(scores.iter().map(|scores| Score::mean(scores))).collect()
    }

    /// The better part of those that were tried on the first traffic goes on all of them.
    fn finish(&self, mut rung: Vec<(Setting, Score)>, found: &mut Found) {
        if self.cases.len() > 1 {
            best(&mut rung, THIRD);
            rung = self.again(rung, self.cases);
        }
        found.tried.extend(rung.into_iter().map(|(setting, score)| Tried::coarse(setting, score)));
        found.tried.sort_by(Tried::order);
    }

    /// Neighbours of the best, until none of them is better or enough were tried.
    fn refine(&self, wanted: usize, seen: &mut BTreeSet<Setting>, found: &mut Found) {
        for round in 0..ROUNDS {
            let left = wanted.saturating_sub(found.settings);
            if left == 0 || (self.is_over)() {
                found.is_cut |= left > 0;
                return;
            }
            let before = found.tried.first().map(|one| one.score);
            // A share of the neighbours each round, if not all fit.
            let share = left.div_ceil(ROUNDS - round).max(SHARE).min(left);
            let centres: Vec<Setting> =
                found.tried.iter().take(CENTRES).map(|one| one.setting.clone()).collect();
            let Some(are_all) = self.around(&centres, share, seen, found) else { return };
            let after = found.tried.first().map(|one| one.score);
            if are_all && before == after {
                return;
            }
        }
    }

    /// Tries the neighbours of some settings that were not tried yet, or about `share` of them, evenly
    /// over the parameters. Whether these were all; `None` if there were none.
    fn around(
        &self,
        centres: &[Setting],
        share: usize,
        seen: &mut BTreeSet<Setting>,
        found: &mut Found,
    ) -> Option<bool> {
        let mut fresh = Vec::new();
        for centre in centres {
            let near = neighbours(self.problem.space, centre);
            fresh.extend(near.into_iter().filter(|one| seen.insert(one.clone())));
        }
        if fresh.is_empty() {
            return None;
        }
        let every = fresh.len().div_ceil(share).max(1);
        let kept: Vec<Setting> = fresh.iter().step_by(every).cloned().collect();
        for one in &fresh {
            if !kept.contains(one) {
                seen.remove(one);
            }
        }
        found.settings += kept.len();
        let rung = kept.into_iter().map(|setting| (setting, Score::default())).collect();
        let rung = self.again(rung, &self.cases[..1]);
        self.finish(rung, found);
        (self.tell)(TRIED, found.settings, self.wanted);
        Some(every == 1)
    }

    /// Takes back what the best setting changes to no avail.
    fn simplify(&self, found: &mut Found) {
        let Some(mut best) = found.tried.first().cloned() else { return };
        let space = self.problem.space;
        let cases: Vec<&Case> = self.cases.iter().collect();
        for (place, parameter) in space.parameters.iter().enumerate() {
            let Some(present) = parameter.present else { continue };
            let mut setting = best.setting.clone();
            setting[place] = present as u8;
            if setting == best.setting || !space.allows(&setting) {
                continue;
            }
            let scores = self.problem.scores(std::slice::from_ref(&setting), &cases, None);
            let mut simpler = Tried::coarse(setting, Score::mean(&scores[0]));
            if simpler.score.order(&best.score) == Ordering::Greater {
                continue;
            }
            if best.full.is_some() {
                simpler.full = Some(last::simulate(self.problem, self.cases, &simpler.setting));
            }
            if simpler.known().order(best.known()) != Ordering::Greater {
                best = simpler;
            }
        }
        found.tried.retain(|one| one.setting != best.setting);
        // Equal to the former best, and simpler.
        found.tried.insert(0, best);
    }
}

/// Keeps the best of a rung.
fn best(rung: &mut Vec<(Setting, Score)>, percent: usize) {
    rung.sort_by(|one, other| one.1.order(&other.1).then_with(|| one.0.cmp(&other.0)));
    let kept = (rung.len() * percent).div_ceil(100).max(LEAST);
    rung.truncate(kept);
}

/// All settings that keep the constraints, in order.
pub(super) fn everything(space: &Space) -> Vec<Setting> {
    let sizes: Vec<u64> = space.parameters.iter().map(|one| one.levels.len() as u64).collect();
    let all = (0..space.size()).map(|mut number| {
        let digit = |size: &u64| {
            let digit = (number % size) as u8;
            number /= size;
            digit
        };
        sizes.iter().map(digit).collect::<Setting>()
    });
    all.filter(|setting| space.allows(setting)).collect()
}

/// The present setting, as far as the space has it, and latin hypercubes; no setting twice.
fn design(space: &Space, wanted: usize, seed: u64) -> Vec<Setting> {
    let present: Setting =
        space.parameters.iter().map(|one| one.present.unwrap_or(0) as u8).collect();
    let mut all: Vec<Setting> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut stream = Stream::new(seed, "tune/design");
    let mut fresh = vec![present];
    for _ in 0..DRAWS {
        for setting in fresh {
            if all.len() < wanted && space.allows(&setting) && seen.insert(setting.clone()) {
                all.push(setting);
            }
        }
        if all.len() >= wanted {
            break;
        }
        fresh = hypercube(space, wanted, &mut stream);
    }
    all
}

fn hypercube(space: &Space, count: usize, stream: &mut Stream) -> Vec<Setting> {
    let mut settings = vec![Setting::new(); count];
    for parameter in &space.parameters {
        let mut strata: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            strata.swap(last, stream.below(last as u64 + 1) as usize);
        }
        let levels = parameter.levels.len();
        for (setting, stratum) in settings.iter_mut().zip(strata) {
            let at = (stratum as f64 + stream.unit()) / count as f64;
            setting.push(((at * levels as f64) as usize).min(levels - 1) as u8);
        }
    }
    settings
}

/// Settings that differ from one in a single parameter by a step or two, or by anything where there
/// are few values; and by two parameters by a step.
fn neighbours(space: &Space, setting: &Setting) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut add = |changes: &[(usize, usize)]| {
        let mut near = setting.clone();
        for (place, level) in changes {
            near[*place] = *level as u8;
        }
        if near != *setting && space.allows(&near) {
            all.push(near);
        }
    };
    let steps = |place: usize, far: usize| {
        let (now, levels) = (usize::from(setting[place]), space.parameters[place].levels.len());
        let far = if levels <= FEW { levels } else { far };
        (now.saturating_sub(far)..=(now + far).min(levels - 1)).filter(move |level| *level != now)
    };
    let count = space.parameters.len();
    for place in 0..count {
        steps(place, 2).for_each(|level| add(&[(place, level)]));
    }
    for one in 0..count {
        for other in one + 1..count {
            for a in steps(one, 1) {
                for b in steps(other, 1) {
                    add(&[(one, a), (other, b)]);
                }
            }
        }
    }
    all
}
