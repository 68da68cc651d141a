//! How much each parameter matters.
//!
//! The share of the variance that the mean by level explains (the first-order index of Sobol'),
//! estimated from the settings that fill the space, with the correction for chance of ε².
//!
//! *Source*: Plischke, Borgonovo and Smith, "Global sensitivity measures from given data", European
//! Journal of Operational Research 226(3), 2013; ε²: Kelley, PNAS 21(9), 1935.

/// Which share of the variance of `values` the levels explain; 0 if they do not vary.
pub(super) fn effect(levels: &[usize], values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let total: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let kinds = levels.iter().max().map_or(0, |most| most + 1);
    let (mut between, mut used) = (0.0, 0.0);
    for level in 0..kinds {
        let of: Vec<f64> =
            levels.iter().zip(values).filter(|(one, _)| **one == level).map(|one| *one.1).collect();
        if !of.is_empty() {
            let here = of.iter().sum::<f64>() / of.len() as f64;
            between += of.len() as f64 * (here - mean).powi(2);
            used += 1.0;
        }
    }
    if total <= 1e-12 || count <= used {
        return 0.0;
    }
    let within = (total - between) / (count - used);
    ((between - (used - 1.0) * within) / total).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::effect;

    #[test]
    fn a_parameter_explains_all_or_nothing() {
        let levels = [0, 0, 1, 1, 2, 2];
        assert!((effect(&levels, &[1.0, 1.0, 2.0, 2.0, 5.0, 5.0]) - 1.0).abs() < 1e-12);
        assert_eq!(effect(&levels, &[1.0, 5.0, 1.0, 5.0, 1.0, 5.0]), 0.0, "chance is no effect");
        assert_eq!(effect(&levels, &[3.0; 6]), 0.0);
        assert_eq!(effect(&[], &[]), 0.0);
        assert_eq!(effect(&[0, 1], &[1.0, 2.0]), 0.0, "one value per level tells nothing");
    }
}
