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
    measure::{Kind, Measure, QUANTILES, What},
    run::RunFigures,
    stats::{self, Estimate},
    units::{ShareShift, Shift, worth},
};
use crate::record::hist::DecodeError;

/// How often a run is put together anew: the error of a standard error from so many is 3.5 %.
const RESAMPLES: usize = 400;
/// Fewer blocks than this say nothing.
const BLOCKS_MIN: usize = 5;
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
    let (base, new) = (binned(measure, base)?, binned(measure, new)?);
    let mut bins: Vec<u32> =
        base.iter().chain(&new).flat_map(|cell| cell.keys().copied()).collect();
    bins.sort_unstable();
    bins.dedup();
    let dense = |cells: &[BTreeMap<u32, u64>]| -> Vec<Vec<f64>> {
        let row = |cell: &BTreeMap<u32, u64>| {
            bins.iter().map(|bin| cell.get(bin).map_or(0.0, |n| *n as f64)).collect()
        };
        cells.iter().map(row).collect()
    };
    let of = |counts: &[f64]| log_quantile(&bins, counts, quantile);
    let (base, new) = (dense(&base), dense(&new));
    Ok(resampled((&base, &new), bins.len(), of, seed).map(Shift::Mean))
}

/// The latencies of a side's cells in bins of 1 %; those of several runs at the same time are added.
fn binned(measure: &Measure, runs: &[RunFigures]) -> Result<Vec<BTreeMap<u32, u64>>, DecodeError> {
    let mut cells: BTreeMap<u64, BTreeMap<u32, u64>> = BTreeMap::new();
    for run in runs {
        for cell in measure.cells(run) {
            let into = cells.entry(cell.time).or_default();
            cell.latency.each(|value, count| {
                *into.entry(((value.max(1) as f64).ln() * BINS) as u32).or_default() += count;
                Ok(())
            })?;
        }
    }
    Ok(cells.into_values().collect())
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
    let mut estimate = resampled((&cells(base), &cells(new)), 2, of, seed)?;
    estimate.error = estimate.error.max(What::Pods.deviation_min());
    Some(Shift::Mean(estimate))
}

fn share(measure: &Measure, (base, new): (&[RunFigures], &[RunFigures]), seed: u64) -> Shift {
    let cells = |runs: &[RunFigures]| -> Vec<Vec<f64>> {
        let mut cells: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for run in runs {
            for cell in measure.cells(run) {
                let into = cells.entry(cell.time).or_default();
                let (k, n) = measure.part_of_cell(cell);
                *into = (into.0.saturating_add(k), into.1.saturating_add(n));
            }
        }
        cells.into_values().map(|(k, n)| vec![k as f64, n as f64]).collect()
    };
    let of = |sums: &[f64]| (sums[1] > 0.0).then(|| sums[0] / sums[1]);
    let (base_cells, new_cells) = (cells(base), cells(new));
    let units = resampled((&base_cells, &new_cells), 2, of, seed);
    // A side against one that loses nothing: its own variance.
    let alone = |cells: &Vec<Vec<f64>>, part| {
        let none = vec![vec![0.0, 1.0]; cells.len()];
        let known = resampled((&none, cells), 2, of, seed);
        known.map_or(1.0, |own| worth(part, own.error.powi(2), own.freedom))
    };
    let (base, new) = (measure.pooled_part(base), measure.pooled_part(new));
    let worth = (alone(&base_cells, base), alone(&new_cells, new));
    Shift::Share(ShareShift { base, new, worth, units })
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
        let mut random = Stream::new(5, "noise");
        let white: Vec<f64> = (0..120).map(|_| random.normal()).collect();
        let lasting: Vec<f64> = (0..120).map(|at| white[at / 8 * 8]).collect();
        let none = cells(&[0.0; 120]);
        let error = |values: &[f64]| resampled((&none, &cells(values)), 2, mean, 1).unwrap().error;
        assert!((0.06..0.13).contains(&error(&white)), "1/√120 = 0.09: {}", error(&white));
        assert!(error(&lasting) > 1.7 * error(&white), "{}", error(&lasting));
    }

    #[test]
    fn few_cells_say_nothing_and_the_same_seed_says_the_same() {
        assert!(resampled((&cells(&[1.0; 8]), &cells(&[2.0; 8])), 2, mean, 1).is_none());
        assert!(resampled((&[], &[]), 2, mean, 1).is_none());
        let (a, b) = (cells(&[1.0, 2.0, 5.0, 1.0].repeat(10)), cells(&[2.0, 1.0, 3.0].repeat(14)));
        assert_eq!(resampled((&a, &b), 2, mean, 7), resampled((&a, &b), 2, mean, 7));
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
