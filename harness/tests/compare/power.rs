//! How often equals are called different, and how often what is planted is found.
//!
//! The short tests are part of the suite; the page, docs/compare-power.md, is made by `just
//! compare-power` from the same functions with more rounds.

use std::{fmt::Write as _, fs, path::Path};

use highwater::compare::{
    Margins, Options,
    result::{Comparison, MeasureVerdict, Verdict},
    run::RunFigures,
};

use super::kit::{compared, lose, simulate_many};

/// A rollout of three pods, 3,250 requests in 35 s.
const ROLLING: &str = "rolling-update";
/// An autoscaler that doubles and halves its pods, 11,000 requests in four minutes.
const SPIKE: &str = "spike";

/// How many of so many comparisons said what was asked.
#[derive(Clone, Copy)]
struct Count {
    of: usize,
    alarms: usize,
}

fn is_called(one: &Comparison) -> bool {
    let called = [MeasureVerdict::Worse, MeasureVerdict::Better];
    one.measures.iter().any(|measure| called.contains(&measure.verdict))
}

/// Compares equals, `n` runs on each side, so many times. Without pairs all seeds differ.
fn equals(scenario: &str, n: usize, rounds: usize, first: u64) -> Count {
    let mut alarms = 0;
    for round in 0..rounds as u64 {
        let runs = simulate_many(scenario, &[], first + round * 2 * n as u64, 2 * n);
        let (base, new) = runs.split_at(n);
        let found = compared(base, new, &Options::default());
        alarms += usize::from(is_called(&found));
    }
    Count { of: rounds, alarms }
}

/// What is planted, and how it is found.
struct Plant {
    name: &'static str,
    sets: &'static [&'static str],
    loss: f64,
    measure: &'static str,
}

const PLANTS: [Plant; 3] = [
    Plant {
        name: "p99 10 % longer",
        sets: &["target.service.latency={lognormal: {median: 8ms, p99: 44ms}}"],
        loss: 0.0,
        measure: "latency.p99",
    },
    Plant { name: "1 in 1,000 lost", sets: &[], loss: 0.001, measure: "error-rate" },
    Plant {
        name: "one pod more",
        sets: &["target.deployment.replicas=4"],
        loss: 0.0,
        measure: "pods",
    },
];

impl Plant {
    fn runs(&self, first: u64, n: usize) -> Vec<RunFigures> {
        let runs = simulate_many(ROLLING, self.sets, first, n).into_iter();
        runs.map(|run| if self.loss > 0.0 { lose(run, self.loss) } else { run }).collect()
    }

    /// How often `n` runs on each side find it.
    fn found(&self, n: usize, rounds: usize, first: u64) -> usize {
        let found = (0..rounds as u64).filter(|round| {
            let seed = first + round * 2 * n as u64;
            let (base, new) = (simulate_many(ROLLING, &[], seed, n), self.runs(seed + n as u64, n));
            self.is_found(&compared(&base, &new, &options()))
        });
        found.count()
    }

    fn is_found(&self, one: &Comparison) -> bool {
        let measure =
            one.measures.iter().find(|one| one.name == self.measure && one.phase.is_none());
        measure.is_some_and(|one| one.verdict == MeasureVerdict::Worse)
    }

    /// How many runs the tool recommends to find a shift of this size, from a comparison of equals
    /// with three runs on each side.
    fn recommended(&self, first: u64) -> usize {
        let runs = simulate_many(ROLLING, &[], first, 6);
        // Where three runs tell already, three are enough.
        let compared = compared(&runs[..3], &runs[3..], &options());
        let measure = compared.measures.iter().find(|one| one.name == self.measure).unwrap();
        measure.repeats.map_or(3, |n| n as usize)
    }
}

/// The size of the plants is what is to be found.
fn options() -> Options {
    Options { margins: Margins { latency: 0.1, loss: 0.001, pods: 0.1 }, ..Options::default() }
}

#[test]
fn equals_are_seldom_called_different() {
    // The level is 5 %: of 20 one, and with 5 or more of 20 (0.3 %) something is wrong.
    for n in [1, 3] {
        let found = equals(ROLLING, n, 20, 10_000);
        assert!(found.alarms <= 4, "{} of {} with {n} runs", found.alarms, found.of);
    }
}

#[test]
fn what_is_planted_is_found_with_eight_runs_on_each_side() {
    for plant in &PLANTS {
        let found = plant.found(8, 5, 20_000);
        assert!(found >= 4, "{}: {found} of 5", plant.name);
    }
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let runs = simulate_many(ROLLING, &[], 1, 3);
    let found = compared(&runs, &runs, &Options::default());
    assert_eq!(found.verdict, Verdict::Same, "{}", found.sentence);
    assert!(found.notes.iter().any(|note| note.contains("both sides")), "{:?}", found.notes);
}

/// Where the page is.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compare-power.md");

#[test]
#[ignore = "writes docs/compare-power.md: just compare-power"]
fn page() {
    let rounds: usize = std::env::var("HIGHWATER_ROUNDS").map_or(200, |n| n.parse().unwrap());
    let mut page = String::from(
        "# How often equals are called different, and how often a difference is found\n\n\
         Made by `just compare-power`; by hand nothing is changed here. All runs are in virtual time, each with a seed of its \
         own, so these are facts of the statistics and not of a machine.\n\n\
         ## Equals\n\n\
         Two sets of runs of one scenario; an alarm is any measure called worse or better. The stated level is 5 %.\n\n\
         | scenario | runs on each side | comparisons | alarms | |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for (scenario, n, part) in
        [(ROLLING, 1, 1), (ROLLING, 3, 1), (ROLLING, 5, 1), (SPIKE, 1, 4), (SPIKE, 3, 4)]
    {
        let found = equals(scenario, n, rounds / part, 100_000);
        let share = 100.0 * found.alarms as f64 / found.of as f64;
        let _ = writeln!(
            page,
            "| `{scenario}` | {n} | {} | {} | {share:.1} % |",
            found.of, found.alarms
        );
    }
    page.push_str(
        "\nOne run on each side is compared by blocks of seconds, more are compared run by run.\n\n\
         ## Planted differences\n\n\
         In `rolling-update` (3,250 requests a run), with margins of that size. How many of the comparisons called the measure \
         worse, by the number of runs on each side:\n\n\
         | planted | 3 | 5 | 8 | 12 | recommended | found with as many as recommended |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let few = (rounds / 4).max(1);
    for plant in &PLANTS {
        let _ = write!(page, "| {} |", plant.name);
        for n in [3, 5, 8, 12] {
            let share = 100.0 * plant.found(n, few, 500_000) as f64 / few as f64;
            let _ = write!(page, " {share:.0} % |");
        }
        // Each recommendation from a pilot of its own, as a user has one.
        let numbers: Vec<usize> =
            (0..few as u64).map(|at| plant.recommended(900_000 + at * 6)).collect();
        let found: usize = numbers
            .iter()
            .enumerate()
            .map(|(at, n)| plant.found((*n).min(40), 1, 1_000_000 + at as u64 * 100))
            .sum();
        let mut sorted = numbers;
        sorted.sort_unstable();
        let (low, middle, high) = (sorted[few / 10], sorted[few / 2], sorted[few - 1 - few / 10]);
        let _ = writeln!(
            page,
            " {middle} ({low} to {high}) | {:.0} % of {few} |",
            100.0 * found as f64 / few as f64
        );
    }
    page.push_str(
        "\nThe recommendation is that of `compare` itself, from three runs of equals on each side; its median is shown, and \
         what nine of ten lie between. It depends on the run: with twice as many requests the noise of a percentile is less by \
         a third.\n",
    );
    fs::write(Path::new(PAGE), page).unwrap();
}
