//! From the values of independent units, the runs, to a [`Shift`] between two sides.
//!
//! Requests of one run are not independent of each other: one slow pod slows hundreds of them. So
//! they are never the unit. Where both sides have runs, a run is; see [`super::blocks`] for where
//! they have not.

use super::{
    measure::Part,
    stats::{self, Estimate},
};

/// A difference between two sides, with what it takes to say how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shift {
    /// Of means.
    Mean(Estimate),
    /// Of shares.
    Share(ShareShift),
}

/// The difference between two shares: the pooled requests, and how much less is known than if they
/// were independent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareShift {
    /// How many of how many in the base.
    pub base: Part,
    /// How many of how many in the new.
    pub new: Part,
    /// What each of a side's requests counts, at most 1: the inverse of the design effect.
    pub worth: (f64, f64),
    /// The difference by units; `None` if there are too few.
    pub units: Option<Estimate>,
}

impl Shift {
    /// The difference: of logarithms, of shares, or of values.
    pub fn value(&self) -> f64 {
        match self {
            Self::Mean(estimate) => estimate.value,
            Self::Share(share) => share.value(),
        }
    }

    /// The chance of such a difference if there is none, two-sided.
    pub fn p(&self) -> f64 {
        match self {
            Self::Mean(estimate) => estimate.p_two_sided(0.0),
            Self::Share(share) => share.p(),
        }
    }

    /// The interval that holds the true difference with this confidence.
    pub fn interval(&self, confidence: f64) -> (f64, f64) {
        match self {
            Self::Mean(estimate) => estimate.interval(confidence),
            Self::Share(share) => share.interval(confidence),
        }
    }
}

impl ShareShift {
    fn value(&self) -> f64 {
        ratio(self.new) - ratio(self.base)
    }

    /// The larger of two: that of the units, which sees that losses come in bursts, and the exact
    /// one of the counts, which sees that a few of many may be chance. Each alone is wrong where
    /// the other is right: units that all have no loss vary not at all, and bursts are no counts.
    fn p(&self) -> f64 {
        let exact = stats::p_of_counts(self.base, self.new);
        self.units.map_or(1.0, |units| units.p_two_sided(0.0).max(exact))
    }

    /// *Source*: exact limits of each share with its effective sample size (Korn and Graubard
    /// 1998), joined by "recovery of variances" (Zou and Donner 2008).
    fn interval(&self, confidence: f64) -> (f64, f64) {
        let (base, new) = (ratio(self.base), ratio(self.new));
        let (base_low, base_high) = self.of_base(confidence);
        let (new_low, new_high) = self.of_new(confidence);
        let joined = |a: f64, b: f64| a.hypot(b);
        (
            new - base - joined(new - new_low, base_high - base),
            new - base + joined(new_high - new, base - base_low),
        )
    }

    /// The exact interval of the base's share.
    pub fn of_base(&self, confidence: f64) -> (f64, f64) {
        effective(self.base, self.worth.0, confidence)
    }

    /// The exact interval of the new's share.
    pub fn of_new(&self, confidence: f64) -> (f64, f64) {
        effective(self.new, self.worth.1, confidence)
    }
}

fn effective((k, n): Part, worth: f64, confidence: f64) -> (f64, f64) {
    stats::exact_interval(k as f64 * worth, n as f64 * worth, confidence)
}

fn ratio((k, n): Part) -> f64 {
    if n == 0 { 0.0 } else { k as f64 / n as f64 }
}

/// The difference of the means of two sides' units, new minus base.
///
/// *Behaviour*: Welch's t where both sides have two or more; where one has one, the other's three
/// or more must speak for the variance of both (Student's t). Else `None`: too few. `deviation_min`
/// is the least deviation that is believed.
///
/// *Source*: Welch 1947, with the degrees of freedom of Satterthwaite 1946.
pub fn between(base: &[f64], new: &[f64], deviation_min: f64) -> Option<Estimate> {
    if base.is_empty() || new.is_empty() {
        return None;
    }
    let ((base_mean, base_var), (new_mean, new_var)) = (stats::moments(base), stats::moments(new));
    let (base_n, new_n) = (base.len() as f64, new.len() as f64);
    let value = new_mean - base_mean;
    let least = deviation_min.powi(2);
    let (error, freedom) = match (base_var, new_var) {
        (Some(a), Some(b)) if base.len() + new.len() >= 4 => {
            let (a, b) = (a.max(least) / base_n, b.max(least) / new_n);
            let sum = a + b;
            let parts = a.powi(2) / (base_n - 1.0) + b.powi(2) / (new_n - 1.0);
            let most = base_n + new_n - 2.0;
            (sum.sqrt(), if parts > 0.0 { sum.powi(2) / parts } else { most })
        }
        (None, Some(known)) if new.len() >= 3 => one_sided(known.max(least), (1.0, new_n)),
        (Some(known), None) if base.len() >= 3 => one_sided(known.max(least), (1.0, base_n)),
        _ => return None,
    };
    Some(Estimate { value, error, freedom })
}

fn one_sided(variance: f64, (one, many): (f64, f64)) -> (f64, f64) {
    ((variance * (1.0 / one + 1.0 / many)).sqrt(), many - 1.0)
}

/// The mean difference of pairs, new minus base; fewer than three are too few.
pub fn paired(base: &[f64], new: &[f64], deviation_min: f64) -> Option<Estimate> {
    let differences: Vec<f64> = base.iter().zip(new).map(|(base, new)| new - base).collect();
    let n = differences.len() as f64;
    let (value, variance) = stats::moments(&differences);
    let variance = variance.filter(|_| differences.len() >= 3)?.max(2.0 * deviation_min.powi(2));
    Some(Estimate { value, error: (variance / n).sqrt(), freedom: n - 1.0 })
}

/// What a request counts when the mean of the units varies by `variance`: at most 1, and less for
/// few units, as their variance is not known well.
///
/// *Source*: Korn and Graubard 1998, with their correction for few degrees of freedom.
pub fn worth(part: Part, variance_of_mean: f64, freedom: f64) -> f64 {
    let (p, n) = (ratio(part), part.1 as f64);
    let independent = p * (1.0 - p) / n.max(1.0);
    if independent <= 0.0 || variance_of_mean <= independent {
        return 1.0;
    }
    let few = stats::z_quantile(0.975) / stats::t_quantile(0.975, freedom);
    (independent / variance_of_mean * few.powi(2)).clamp(1e-9, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_compared_by_their_own_variance() {
        // Worked by hand: means 2 and 5, variances 1 and 1, three each.
        let found = between(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.0).unwrap();
        assert_eq!(found.value, 3.0);
        assert!((found.error - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((found.freedom - 4.0).abs() < 1e-9);
        let pairs = paired(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.5], 0.0).unwrap();
        assert!((pairs.freedom, pairs.value) == (2.0, 9.5 / 3.0) && pairs.error < found.error);
    }

    #[test]
    fn too_few_units_say_nothing() {
        for (base, new) in [(1, 1), (1, 2), (2, 1), (0, 5), (5, 0)] {
            let (base, new) = (vec![1.0; base], vec![2.0; new]);
            assert_eq!(between(&base, &new, 0.1), None);
        }
        assert!(between(&[1.0], &[1.0, 2.0, 3.0], 0.0).is_some_and(|one| one.freedom == 2.0));
        assert_eq!(paired(&[1.0, 2.0], &[1.0, 2.0], 0.0), None);
    }

    #[test]
    fn units_that_do_not_vary_vary_by_the_rounding() {
        let found = between(&[3.0; 5], &[4.0; 5], 0.3).unwrap();
        assert!((found.error - 0.3 * 0.4f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn bursts_are_worth_less_than_as_many_single_losses() {
        // Twenty lost at once in one of five runs of 1,000.
        let shares = [0.0, 0.0, 0.02, 0.0, 0.0];
        let (_, variance) = stats::moments(&shares);
        let part = (20, 5_000);
        let worth = worth(part, variance.unwrap() / 5.0, 4.0);
        assert!(worth < 0.1, "{worth}");
        let units = between(&[0.0; 5], &shares, 0.0);
        let share = ShareShift { base: (0, 5_000), new: part, worth: (1.0, worth), units };
        assert!(share.p() > 0.3, "one burst may be chance: {}", share.p());
        let (low, high) = share.interval(0.95);
        assert!(low < 0.0 && high > 0.004, "{low} {high}");
    }

    #[test]
    fn nothing_lost_is_not_nothing() {
        let share =
            ShareShift { base: (0, 1_000), new: (0, 1_000), worth: (1.0, 1.0), units: None };
        assert_eq!(share.value(), 0.0);
        let (low, high) = share.interval(0.95);
        assert!((high - 0.003_682).abs() < 1e-5 && low == -high, "{low} {high}");
    }
}
