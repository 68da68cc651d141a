//! Figures as people read them.

use highwater_model::time::{Nanos, SECOND, Timestamp, human};

use crate::analyze::{Analysis, Cause, Percentiles, Requests, Transitions};

pub use crate::analyze::group_digits as count;

/// Written where there is no figure.
pub const NONE: &str = "–";

/// A count and its noun: `1 request`, `2 requests`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A share as a percentage with two significant digits: `0.38 %`. Not a number is [`NONE`].
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        return NONE.into();
    }
    match percent {
        0.0 => "0 %".into(),
        p if p < 0.0 => format!("{p:.1} %"),
        p if p < 0.01 => "< 0.01 %".into(),
        p if p < 1.0 => format!("{p:.2} %"),
        p if p < 10.0 => format!("{p:.1} %"),
        p if p < 99.0 => format!("{p:.0} %"),
        // 99.999 % of something is not all of it.
        p if p < 100.0 => format!("{:.2} %", (p * 100.0).floor() / 100.0),
        p => format!("{p:.0} %"),
    }
}

/// `part` of `whole` as a percentage; [`NONE`] of nothing.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return NONE.into();
    }
    percent(part as f64 / whole as f64)
}

/// A span in nanoseconds with three significant digits and one unit.
pub fn nanos(ns: u64) -> String {
    if ns < 3_600 * SECOND {
        human(Nanos(ns))
    } else {
        format!("{:.1} h", ns as f64 / (3_600.0 * SECOND as f64))
    }
}

/// One of the percentiles; [`NONE`] if there were no values.
pub fn percentile(of: &Percentiles, value: u64) -> String {
    if of.count == 0 { NONE.into() } else { nanos(value) }
}

/// An instant of the run: `23.412 s`, from two minutes on `2:03.412`, from an hour on
/// `1:02:03.412`.
pub fn instant(at: Timestamp) -> String {
    let (whole, millis) = (at.0 / SECOND, at.0 % SECOND / 1_000_000);
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match whole {
        0..120 => format!("{whole}.{millis:03} s"),
        120..3_600 => format!("{minutes}:{seconds:02}.{millis:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}

/// Hours with a sensible number of digits; [`NONE`] if not a number.
pub fn hours(hours: f64) -> String {
    if !hours.is_finite() {
        return NONE.into();
    }
    match hours.abs() {
        0.0 => "0".into(),
        h if h < 0.1 => format!("{hours:.4}"),
        h if h < 10.0 => format!("{hours:.2}"),
        _ => format!("{hours:.1}"),
    }
}

/// Requests without a good answer, as far as known.
pub fn lost(requests: &Requests) -> u64 {
    requests.failed.saturating_add(requests.unsent)
}

/// What the transitions prove, in a sentence. `lost` is the number of requests lost in the run.
pub fn transitions(seen: &Transitions, lost: u64) -> String {
    let pods = counted(seen.observed, "transition");
    if seen.observed == 0 {
        return "No pod came or went while traffic ran, so this run says nothing of transitions."
            .into();
    }
    let bound = percent(seen.upper_bound95);
    if seen.with_loss == 0 && lost > 0 {
        return format!(
            "None of {pods} lost a request; at most {bound} of transitions do (95 % confidence)."
        );
    }
    if seen.with_loss == 0 {
        return format!(
            "0 lost in {pods}; at most {bound} of transitions lose a request (95 % confidence)."
        );
    }
    format!(
        "{} of {pods} lost a request; at most {bound} of transitions do (95 % confidence).",
        count(seen.with_loss)
    )
}

/// Failures without a cause that no entry of the losses tells of.
pub fn untold(analysis: &Analysis) -> u64 {
    let told = |loss: &crate::analyze::Loss| loss.cause == Cause::Unexplained;
    if analysis.losses.iter().any(told) { 0 } else { analysis.unexplained }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        for (n, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), shown);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "pod"), "1 pod");
        assert_eq!(counted(0, "pod"), "0 pods");
    }

    #[test]
    fn shares_never_round_to_nothing_or_all() {
        let rows = [
            (0, 10, "0 %"),
            (1, 1_000_000, "< 0.01 %"),
            (38, 10_000, "0.38 %"),
            (5, 100, "5.0 %"),
            (99_999, 100_000, "99.99 %"),
            (995, 1_000, "99.50 %"),
            (10, 10, "100 %"),
            (1, 0, NONE),
        ];
        for (part, whole, shown) in rows {
            assert_eq!(share(part, whole), shown);
        }
        assert_eq!(percent(f64::NAN), NONE);
    }

    #[test]
    fn instants_grow_units() {
        let rows = [
            (0, "0.000 s"),
            (23_412, "23.412 s"),
            (123_400, "2:03.400"),
            (3_723_004, "1:02:03.004"),
        ];
        for (millis, shown) in rows {
            assert_eq!(instant(Timestamp(millis * 1_000_000)), shown);
        }
    }

    #[test]
    fn the_bound_of_transitions_is_said_in_every_case() {
        let seen = |observed, with_loss, lost| {
            let seen = Transitions { observed, with_loss, upper_bound95: 0.393 };
            transitions(&seen, lost)
        };
        assert!(seen(0, 0, 0).contains("nothing"));
        assert!(seen(6, 0, 0).starts_with("0 lost in 6 transitions; at most 39 %"));
        assert!(seen(6, 0, 2).starts_with("None of 6 transitions"));
        assert!(seen(6, 1, 2).starts_with("1 of 6 transitions lost a request"));
    }
}
