//! Which setting is recommended, and why: pure functions of what was measured.

use super::{
    search::Tried,
    told::{TuneSetting, TuneTotals, TuneVerdict},
};

/// Places of the settings that are always judged.
pub(super) const PRESENT: usize = 0;
pub(super) const DEFAULT: usize = 1;
/// Cheapest settings that are judged in any case.
const CHEAPEST: usize = 3;
/// A dearer setting is worth a look if it takes so much off the 99th percentile, as a share.
const SAFER: f64 = 0.97;
/// In so many of the cases that were held out, as a share, it must be better than the default.
const BETTER_SHARE: f64 = 0.75;

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recommendation {
    pub(super) verdict: TuneVerdict,
    pub(super) setting: Option<usize>,
    pub(super) why: Vec<String>,
}

/// The order in which settings are judged in the finals: of those that hold the cheapest, then dearer
/// ones that are safer, then the others; then those that do not. Of settings that did the same only the
/// first.
pub(super) fn ladder(tried: &[Tried]) -> Vec<usize> {
    let mut distinct: Vec<usize> = Vec::new();
    for (place, one) in tried.iter().enumerate() {
        if distinct.iter().all(|known| tried[*known].known() != one.known()) {
            distinct.push(place);
        }
    }
    let (mut picked, mut others): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut safest = f64::INFINITY;
    distinct.sort_by_key(|place| tried[*place].known().shortfall > 0.0);
    for place in distinct {
        let score = tried[place].known();
        if picked.len() < CHEAPEST || score.p99 < safest * SAFER {
            safest = safest.min(score.p99);
            picked.push(place);
        } else {
            others.push(place);
        }
    }
    picked.extend(others);
    picked
}

fn holds(setting: &TuneSetting) -> bool {
    setting.searched.met == setting.searched.of
}

/// Whether a setting is better than the default of Kubernetes where neither was searched with.
fn beats(one: &TuneSetting, default: &TuneSetting, held_out: &[bool]) -> (usize, usize) {
    let cases = one.runs.iter().zip(&default.runs).zip(held_out).filter(|(_, held_out)| **held_out);
    let (mut better, mut all) = (0, 0);
    for ((run, base), _) in cases {
        let (holds, base_holds) = (run.missed.is_empty(), base.missed.is_empty());
        let is_better = match (holds, base_holds) {
            (true, false) => true,
            (false, true) => false,
            // Where both miss, missing more for less money is not better.
            _ => run.shortfall <= base.shortfall && run.pod_hours < base.pod_hours,
        };
        better += usize::from(is_better);
        all += 1;
    }
    (better, all)
}

/// Whether another setting may be looked for: none of those that were found holds.
pub(super) fn wants_more(settings: &[TuneSetting]) -> bool {
    !settings.iter().skip(DEFAULT + 1).any(holds)
}

/// The cheapest setting that holds the objectives in every case that was searched with, and is better
/// than the default of Kubernetes in three quarters of those that were held out.
pub(super) fn recommend(settings: &[TuneSetting], held_out: &[bool]) -> Recommendation {
    let (present, default) = (&settings[PRESENT], &settings[DEFAULT]);
    let mut order: Vec<usize> =
        (0..settings.len()).filter(|place| holds(&settings[*place])).collect();
    // The present one is kept if nothing is cheaper.
    order.sort_by(|one, other| {
        let hours = |place: &usize| settings[*place].searched.pod_hours;
        hours(one).total_cmp(&hours(other))
    });
    let mut why = Vec::new();
    if order.is_empty() {
        why.push(nothing_holds(settings));
        return Recommendation { verdict: TuneVerdict::NothingHolds, setting: None, why };
    }
    for place in order {
        let setting = &settings[place];
        if place == PRESENT {
            why.push("No cheaper setting that was found holds the objectives.".into());
            break;
        }
        if holds(present) && setting.held_out.met < present.held_out.met {
            why.push(format!(
                "{} is cheaper, but holds in {} of {} cases that were held out, the present one in {}.",
                name(setting),
                setting.held_out.met,
                setting.held_out.of,
                present.held_out.met
            ));
            continue;
        }
        let (better, all) = beats(setting, default, held_out);
        if place != DEFAULT && (better as f64) < BETTER_SHARE * all as f64 {
            why.push(format!(
                "{} is better than the Kubernetes default in {better} of {all} cases that were held out \
                 only.",
                name(setting)
            ));
            continue;
        }
        why.extend(reasons(setting, place, settings, (better, all)));
        return Recommendation { verdict: TuneVerdict::Better, setting: Some(place), why };
    }
    if !holds(present) {
        why.push("The present setting does not hold the objectives either.".into());
    }
    Recommendation { verdict: TuneVerdict::NothingBetter, setting: None, why }
}

/// A name at the begin of a sentence.
fn name(setting: &TuneSetting) -> String {
    capital(&setting.name)
}

/// The same with a capital.
pub(super) fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn reasons(
    setting: &TuneSetting,
    place: usize,
    settings: &[TuneSetting],
    (better, all): (usize, usize),
) -> Vec<String> {
    let (searched, held_out) = (&setting.searched, &setting.held_out);
    let others = match held_out.of {
        0 => String::new(),
        of => format!(" and {} of {of} that were held out", held_out.met),
    };
    let mut why = vec![format!(
        "{} holds all objectives in {} of {} cases that were searched with{others}, for {:.3} pod-hours \
         on average.",
        name(setting),
        searched.met,
        searched.of,
        searched.pod_hours
    )];
    for other in [PRESENT, DEFAULT].into_iter().filter(|other| *other != place) {
        let (there, here) = (&settings[other].searched, &setting.searched);
        let kept = format!("{} of {}", there.met, there.of);
        why.push(format!("The {} {}; it holds in {kept}.", label(other), against(here, there)));
    }
    if setting.regret.is_some_and(|regret| regret < 0.0) {
        why.push(
            "It costs less than a scaler that knows the future and counts on no more CPU than a pod \
             requests (its limit, if it has one): these pods live on CPU that a busy node would not have \
             left for them. Raise the request, or tighten the objectives, if that is not meant."
                .into(),
        );
    }
    if all == 0 {
        why.push("No case was held out: it may suit this traffic alone.".into());
    } else if place != DEFAULT {
        why.push(format!(
            "It is better than the Kubernetes default in {better} of {all} cases that were held out."
        ));
    }
    why
}

const fn label(place: usize) -> &'static str {
    if place == PRESENT { "present setting" } else { "Kubernetes default" }
}

fn against(here: &TuneTotals, there: &TuneTotals) -> String {
    let share = (there.pod_hours / here.pod_hours - 1.0) * 100.0;
    let word = if share < 0.0 { "less" } else { "more" };
    format!("costs {:.1} % {word} ({:.3} pod-hours)", share.abs(), there.pod_hours)
}

fn nothing_holds(settings: &[TuneSetting]) -> String {
    let best = settings.iter().max_by_key(|setting| setting.searched.met);
    let missed = best.and_then(|best| best.runs.iter().find_map(|run| run.missed.first()));
    let missed = missed.map_or(String::new(), |missed| format!(" It misses: {missed}."));
    let best = best.map_or(String::new(), |best| {
        format!(" Closest: {} in {} of {} cases.", best.name, best.searched.met, best.searched.of)
    });
    format!("No setting that was found holds the objectives on the full simulator.{best}{missed}")
}
