//! What a replica that scales itself wants, from nothing but its own load. Pure.

/// How one replica would like its Deployment to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Requests per second that one replica should serve; finite and above 0.
    pub target_per_s: f64,
    /// The most replicas to ask for; 1 or more.
    pub replicas_max: u32,
}

/// The replicas to write over `current`; `None` if there is nothing to change.
///
/// `ceil(current * load / target)`, between 1 and the wish's maximum. It is the HPA's ratio without
/// all that makes the HPA usable: the load is this replica's alone (the HPA takes all pods
/// together), there is no tolerance, no stabilisation window and no bound on the step. A replica
/// that idles therefore wants 1, whatever the others carry.
///
/// A Deployment that somebody set to 0 is switched off and stays so, as with the HPA.
pub fn decide(current: u32, load_per_s: f64, wish: Wish) -> Option<u32> {
    if current == 0 {
        return None;
    }
    let wanted = (f64::from(current) * load_per_s / wish.target_per_s).ceil();
    // The cast saturates, and makes 0 of NaN.
    let wanted = (wanted as u32).clamp(1, wish.replicas_max.max(1));
    (wanted != current).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_judges_by_its_own_load_alone() {
        let wish = Wish { target_per_s: 50.0, replicas_max: 10 };
        for (current, load_per_s, wanted, why) in [
            (3, 50.0, None, "just right"),
            (3, 50.1, Some(4), "no tolerance above"),
            (3, 33.3, Some(2), "no stabilisation on the way down"),
            (4, 100.0, Some(8), "no bound on the step but the maximum"),
            (4, 1e6, Some(10), "the maximum"),
            (10, 1e6, None, "at the maximum already"),
            (12, 50.0, Some(10), "above the maximum"),
            (7, 0.0, Some(1), "an idle replica wants one, whatever the others carry"),
            (1, 0.0, None, "never below one"),
            (0, 1e6, None, "switched off stays off"),
            (4, f64::NAN, Some(1), "no number is no load"),
            (u32::MAX, f64::INFINITY, Some(10), "no overflow"),
        ] {
            assert_eq!(decide(current, load_per_s, wish), wanted, "{why}");
        }
    }

    #[test]
    fn two_replicas_with_uneven_loads_never_agree() {
        // 60/s on one and 20/s on the other, in all what two replicas should serve: the sum is in
        // balance, and each overwrites what the other wants.
        let wish = Wish { target_per_s: 50.0, replicas_max: 10 };
        let mut current = 2;
        let mut seen = Vec::new();
        for load_per_s in [60.0, 20.0].into_iter().cycle().take(6) {
            current = decide(current, load_per_s, wish).unwrap_or(current);
            seen.push(current);
        }
        assert_eq!(seen, [3, 2, 3, 2, 3, 2]);
    }
}
