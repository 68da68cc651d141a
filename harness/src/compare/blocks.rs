//! The noise within runs, where there are too few of them: blocks of time take the place of runs.
//!
//! *Source*: the moving block bootstrap (Künsch 1989), circular (Politis and Romano 1992), with
//! blocks of the cube root of the number of cells (Hall, Horowitz and Jing 1995). Both sides run
//! the same plan of traffic, so each resample takes the same times of both: what the plan does to
//! both does not count as noise. Only the standard error is taken from the resamples; the interval
//! is Student's, as for a dozen of blocks the percentiles of a bootstrap are too narrow.
//!
//! What differs from run to run but not within one (which pod a node got, how warm a cache was) is
//! not seen by this, and a comparison says so.

use std::collections::BTreeMap;

use highwater_model::rng::Stream;

use super::{
    measure::{Kind, Measure, Part, QUANTILES, What},
    run::RunFigures,
    stats::{self, Estimate},
    units::{ShareShift, Shift, worth},
};
use crate::record::hist::DecodeError;

/// How often a run is put together anew: the error of a standard error from so many is 3.5 %.
const RESAMPLES: usize = 400;
/// Fewer blocks than this say nothing.
const BLOCKS_MIN: usize = 5;
/// More cells than this have no blocks: sixteen times what a run has. Each has a place for every bin,
/// so a file with more than any run has would take gigabytes.
const CELLS_MAX: usize = 16 * super::run::CELLS as usize;
/// Bins of a latency per doubling by e: 1 % wide.
const BINS: f64 = 100.0;

/// A side's cells in order of time, with sums from the start on, so that any stretch is the
/// difference of two.
struct Prefix {
    /// One more than there are cells; each with as many sums.
    sums: Vec<Vec<f64>>,
}

impl Prefix {
    fn new(cells: &[Vec<f64>], width: usize) -> Self {
        let mut sums = vec![vec![0.0; width]];
        // Twice around, so that no block has to be cut.
        for cell in cells.iter().chain(cells) {
            let mut next = sums[sums.len() - 1].clone();
            for (sum, value) in next.iter_mut().zip(cell) {
                *sum += value;
            }
            sums.push(next);
        }
        Self { sums }
    }

    /// Adds the stretch of `length` cells from `start` on.
    fn add(&self, start: usize, length: usize, into: &mut [f64]) {
        let (from, to) = (&self.sums[start], &self.sums[start + length]);
        for ((sum, from), to) in into.iter_mut().zip(from).zip(to) {
            *sum += to - from;
        }
    }
}

/// The shift of a measure by blocks of time; `None` if there are too few.
///
/// # Errors
/// If a histogram is damaged.
pub fn shift(
    measure: &Measure,
    (base, new): (&[RunFigures], &[RunFigures]),
    seed: u64,
) -> Result<Option<Shift>, DecodeError> {
    match (measure.what, measure.what.kind()) {
        (What::Latency(index), _) => latency(measure, QUANTILES[index].0, (base, new), seed),
        (What::Pods, _) => Ok(pods((base, new), seed)),
        (_, Kind::Share) => Ok(Some(share(measure, (base, new), seed))),
        // One number per run has no blocks.
        _ => Ok(None),
    }
}

fn latency(
    measure: &Measure,
    quantile: f64,
    (base, new): (&[RunFigures], &[RunFigures]),
    seed: u64,
) -> Result<Option<Shift>, DecodeError> {
    let (base, new) = aligned(binned(measure, base)?, binned(measure, new)?);
    if base.len() > CELLS_MAX {
        return Ok(None);
    }
    let mut bins: Vec<u32> =
        base.iter().chain(&new).flat_map(|cell| cell.keys().copied()).collect();
    bins.sort_unstable();
    bins.dedup();
    let dense = |cells: &[Bins]| -> Vec<Vec<f64>> {
        let row =
            |cell: &Bins| bins.iter().map(|bin| cell.get(bin).map_or(0.0, |n| *n as f64)).collect();
        cells.iter().map(row).collect()
    };
    let of = |counts: &[f64]| log_quantile(&bins, counts, quantile);
    let (base, new) = (dense(&base), dense(&new));
    let estimate = resampled((&base, &new), bins.len(), of, seed);
    Ok(estimate.map(|estimate| Shift::Mean(at_least(estimate, 1.0 / BINS))))
}

/// An estimate whose two sides are rounded to `step`, which is their deviation at least.
fn at_least(mut estimate: Estimate, step: f64) -> Estimate {
    estimate.error = estimate.error.max(step * (2.0f64 / 12.0).sqrt());
    estimate
}

/// Latencies in bins of 1 %: how many in each.
type Bins = BTreeMap<u32, u64>;

/// The cells of both sides at the times of either: a time at which one has nothing is an empty cell
/// of it, so that each cell has its like on the other side.
fn aligned<T: Clone + Default>(base: BTreeMap<u64, T>, new: BTreeMap<u64, T>) -> (Vec<T>, Vec<T>) {
    let mut times: Vec<u64> = base.keys().chain(new.keys()).copied().collect();
    times.sort_unstable();
    times.dedup();
    let filled = |side: &BTreeMap<u64, T>| {
        times.iter().map(|time| side.get(time).cloned().unwrap_or_default()).collect()
    };
    (filled(&base), filled(&new))
}

/// The latencies of a side's cells by time; those of several runs at the same time are added.
fn binned(measure: &Measure, runs: &[RunFigures]) -> Result<BTreeMap<u64, Bins>, DecodeError> {
    let mut cells: BTreeMap<u64, Bins> = BTreeMap::new();
    for run in runs {
        for cell in measure.cells(run) {
            let into = cells.entry(cell.time).or_default();
            cell.latency.each(|value, count| {
                *into.entry(((value.max(1) as f64).ln() * BINS) as u32).or_default() += count;
                Ok(())
            })?;
        }
    }
    Ok(cells)
}

/// The logarithm of a quantile of binned values; `None` of nothing.
fn log_quantile(bins: &[u32], counts: &[f64], quantile: f64) -> Option<f64> {
    let total: f64 = counts.iter().sum();
    let wanted = total * quantile;
    let mut seen = 0.0;
    for (bin, count) in bins.iter().zip(counts) {
        if *count > 0.0 && seen + count >= wanted {
            return Some((f64::from(*bin) + (wanted - seen) / count) / BINS);
        }
        seen += count;
    }
    None
}

fn pods((base, new): (&[RunFigures], &[RunFigures]), seed: u64) -> Option<Shift> {
    let cells = |runs: &[RunFigures]| -> Vec<Vec<f64>> {
        let most = runs.iter().map(|run| run.pods.len()).max().unwrap_or_default();
        let cell = |index: usize| {
            let known = runs.iter().filter_map(|run| run.pods.get(index));
            vec![known.clone().sum::<f64>(), known.count() as f64]
        };
        (0..most).map(cell).collect()
    };
    let of = |sums: &[f64]| Some((sums[0] / sums[1]).ln()).filter(|log| log.is_finite());
    let estimate = resampled((&cells(base), &cells(new)), 2, of, seed)?;
    Some(Shift::Mean(at_least(estimate, What::PODS_STEP)))
}

fn share(measure: &Measure, (base, new): (&[RunFigures], &[RunFigures]), seed: u64) -> Shift {
    let dense = |cells: Vec<Part>| -> Vec<Vec<f64>> {
        cells.into_iter().map(|(k, n)| vec![k as f64, n as f64]).collect()
    };
    let (base_cells, new_cells) = aligned(parts(measure, base), parts(measure, new));
    let (base_cells, new_cells) = (dense(base_cells), dense(new_cells));
    let units = resampled((&base_cells, &new_cells), 2, share_of, seed);
    let (base, new) = (measure.pooled_part(base), measure.pooled_part(new));
    let worth_of = |cells: &[Vec<f64>], part| {
        let own = against_none(cells, seed);
        own.map_or(1.0, |own| worth(part, own.error.powi(2), own.freedom))
    };
    let worth = (worth_of(&base_cells, base), worth_of(&new_cells, new));
    Shift::Share(ShareShift { base, new, worth, units })
}

/// The share of one run, against a side that loses nothing: how it varies within the run. `None` if
/// it has too few cells.
pub fn share_within(measure: &Measure, run: &RunFigures, seed: u64) -> Option<Estimate> {
    let cells = parts(measure, std::slice::from_ref(run)).into_values();
    let cells: Vec<Vec<f64>> = cells.map(|(k, n)| vec![k as f64, n as f64]).collect();
    against_none(&cells, seed)
}

fn against_none(cells: &[Vec<f64>], seed: u64) -> Option<Estimate> {
    resampled((&vec![vec![0.0, 1.0]; cells.len()], cells), 2, share_of, seed)
}

/// How many of how many, by time; those of several runs at the same time are added.
fn parts(measure: &Measure, runs: &[RunFigures]) -> BTreeMap<u64, Part> {
    let mut cells: BTreeMap<u64, Part> = BTreeMap::new();
    for run in runs {
        for cell in measure.cells(run) {
            let into = cells.entry(cell.time).or_default();
            let (k, n) = measure.part_of_cell(cell);
            *into = (into.0.saturating_add(k), into.1.saturating_add(n));
        }
    }
    cells
}

fn share_of(sums: &[f64]) -> Option<f64> {
    (sums[1] > 0.0).then(|| sums[0] / sums[1])
}

/// The difference `of` new minus `of` base, and its standard error from resamples of blocks.
fn resampled(
    (base, new): (&[Vec<f64>], &[Vec<f64>]),
    width: usize,
    of: impl Fn(&[f64]) -> Option<f64>,
    seed: u64,
) -> Option<Estimate> {
    let cells = base.len().min(new.len());
    let length = block_length(cells);
    let blocks = cells.div_ceil(length);
    if blocks < BLOCKS_MIN {
        return None;
    }
    let is_aligned = base.len() == new.len();
    let (base_sums, new_sums) = (Prefix::new(base, width), Prefix::new(new, width));
    let whole = |prefix: &Prefix, cells: usize| {
        let mut sums = vec![0.0; width];
        prefix.add(0, cells, &mut sums);
        of(&sums)
    };
    let value = whole(&new_sums, new.len())? - whole(&base_sums, base.len())?;
    let mut random = Stream::new(seed, "compare/blocks");
    let mut sums = [vec![0.0; width], vec![0.0; width]];
    let mut resamples = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        sums.iter_mut().for_each(|sums| sums.fill(0.0));
        for block in 0..blocks {
            let length = length.min(cells - block * length);
            let start = random.below(base.len() as u64) as usize;
            base_sums.add(start, length, &mut sums[0]);
            let start = if is_aligned { start } else { random.below(new.len() as u64) as usize };
            new_sums.add(start, length, &mut sums[1]);
        }
        resamples.extend(of(&sums[1]).zip(of(&sums[0])).map(|(new, base)| new - base));
    }
    let (_, variance) = stats::moments(&resamples);
    // Blocks that were drawn vary less than blocks that come: by one of their number.
    let few = blocks as f64 / (blocks as f64 - 1.0);
    let error = (variance.filter(|_| resamples.len() >= RESAMPLES / 2)? * few).sqrt();
    Some(Estimate { value, error, freedom: blocks as f64 - 1.0 })
}

/// Cells of one block.
fn block_length(cells: usize) -> usize {
    ((cells as f64).cbrt().ceil() as usize).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|value| vec![*value, 1.0]).collect()
    }

    fn mean(sums: &[f64]) -> Option<f64> {
        (sums[1] > 0.0).then(|| sums[0] / sums[1])
    }

    #[test]
    fn what_the_plan_does_to_both_is_no_noise() {
        let rise: Vec<f64> = (0..60).map(f64::from).collect();
        let higher: Vec<f64> = rise.iter().map(|value| value + 3.0).collect();
        let found = resampled((&cells(&rise), &cells(&higher)), 2, mean, 1).unwrap();
        assert!((found.value - 3.0).abs() < 1e-9 && found.error < 1e-9, "{found:?}");
    }

    #[test]
    fn noise_that_lasts_is_more_than_noise_that_does_not() {
        let none = cells(&[0.0; 120]);
        let error = |values: &[f64]| resampled((&none, &cells(values)), 2, mean, 1).unwrap().error;
        // Over many series: what lasts eight cells is fifteen values, whose deviation is known to a
        // fifth.
        let (mut of_white, mut of_lasting) = (0.0, 0.0);
        for seed in 0..100 {
            let mut random = Stream::new(seed, "noise");
            let white: Vec<f64> = (0..120).map(|_| random.normal()).collect();
            let lasting: Vec<f64> = (0..120).map(|at| white[at / 8 * 8]).collect();
            of_white += error(&white) / 100.0;
            of_lasting += error(&lasting) / 100.0;
        }
        assert!((0.08..0.1).contains(&of_white), "1/√120 = 0.091: {of_white}");
        // Blocks of five see a variance of 4 (endless ones 8), less what fifteen values lack: 1.93, with a
        // deviation of 0.04.
        let ratio = of_lasting / of_white;
        assert!((1.75..2.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn few_cells_say_nothing_and_the_same_seed_says_the_same() {
        assert!(resampled((&cells(&[1.0; 8]), &cells(&[2.0; 8])), 2, mean, 1).is_none());
        assert!(resampled((&[], &[]), 2, mean, 1).is_none());
        let (a, b) = (cells(&[1.0, 2.0, 5.0, 1.0].repeat(10)), cells(&[2.0, 1.0, 3.0].repeat(14)));
        assert_eq!(resampled((&a, &b), 2, mean, 7), resampled((&a, &b), 2, mean, 7));
    }

    #[test]
    fn a_time_without_anything_has_its_like_on_the_other_side() {
        let side = |times: &[u64]| times.iter().map(|time| (*time, *time + 1)).collect();
        let (base, new) = aligned(side(&[0, 1, 3]), side(&[1, 2]));
        assert_eq!((base, new), (vec![1, 2, 0, 4], vec![0, 2, 3, 0]));
    }

    #[test]
    fn sides_without_any_noise_differ_by_their_rounding() {
        let exactly = Estimate { value: 0.01, error: 0.0, freedom: 20.0 };
        // A bin apart on each side may be next to nothing, or two bins.
        assert!(at_least(exactly, 1.0 / BINS).p_two_sided(0.0) > 0.01);
    }

    #[test]
    fn quantiles_of_bins_lie_within_them() {
        let bins = [690, 700, 710];
        assert_eq!(log_quantile(&bins, &[0.0, 0.0, 0.0], 0.5), None);
        let median = log_quantile(&bins, &[1.0, 2.0, 1.0], 0.5).unwrap();
        assert!((7.0..=7.01).contains(&median), "{median}");
        assert_eq!(log_quantile(&bins, &[1.0, 0.0, 0.0], 1.0), Some(6.91));
    }
}
