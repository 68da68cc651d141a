//! Where the marks of an axis are, and what is written there.

use super::{
    super::figures,
    model::{Scale, Tick, TimeAxis, Unit, ValueAxis},
};

/// More marks than this are never made.
const TICKS_MAX: usize = 40;
/// Room that the label of a mark of the time axis needs, in points.
const TIME_LABEL_WIDTH: f64 = 64.0;
/// From this ratio of largest to smallest on, latencies are drawn on a logarithmic axis.
const LOG_RATIO: f64 = 12.0;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;

/// The axis of time between two instants in seconds, for a plot of so many points.
pub(super) fn time_axis(from: f64, to: f64, columns: u32) -> TimeAxis {
    let to = if to > from { to } else { from + 1.0 };
    let wanted = (f64::from(columns) / TIME_LABEL_WIDTH).clamp(2.0, 14.0);
    let step = time_step((to - from) / wanted);
    type Label = fn(f64) -> String;
    let (label, write): (&str, Label) = if to <= 2.0 * MINUTE {
        ("seconds since the start of the run", |at| format!("{} s", trim(at)))
    } else if to <= HOUR && step < HOUR {
        ("minutes:seconds since the start of the run", |at| {
            format!("{}:{:02}", (at / MINUTE) as u64, (at % MINUTE) as u64)
        })
    } else if step < MINUTE {
        ("hours:minutes:seconds since the start of the run", |at| {
            let whole = at as u64;
            format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60)
        })
    } else if step < DAY {
        ("hours:minutes since the start of the run", |at| {
            let minutes = (at / MINUTE) as u64;
            format!("{}:{:02}", minutes / 60, minutes % 60)
        })
    } else {
        ("days since the start of the run", |at| format!("{} d", trim(at / DAY)))
    };
    let ticks = multiples(from, to, step).map(|at| Tick { at, label: write(at) }).collect();
    TimeAxis { from, to, ticks, label: label.into() }
}

/// The smallest step that people read with ease and that is not below `least` seconds.
fn time_step(least: f64) -> f64 {
    const STEPS: [f64; 26] = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0,
        1_200.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 14_400.0, 21_600.0, 28_800.0, 43_200.0,
        86_400.0, 172_800.0,
    ];
    STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| DAY * decimal_step(least / DAY))
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn decimal_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powi(least.log10().floor() as i32);
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// The multiples of `step` within `from..=to`.
fn multiples(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (from / step - 1e-9).ceil();
    (0..TICKS_MAX)
        .map(move |index| {
            // Multiplied from the whole number on, so that sums do not drift, and without the
            // noise of binary fractions.
            let at = (first + index as f64) * step;
            (at * 1e9).round() / 1e9
        })
        .take_while(move |at| *at <= to + step * 1e-9)
}

fn trim(value: f64) -> String {
    format!("{}", (value * 1e3).round() / 1e3)
}

/// The axis of values from zero to at least `max`, with about `wanted` marks above zero.
pub(super) fn linear_axis(unit: Unit, max: f64, wanted: f64) -> ValueAxis {
    let whole = matches!(unit, Unit::Count | Unit::Pods);
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let step = decimal_step(max / wanted);
    let step = if whole { step.max(1.0) } else { step };
    let to = (max / step - 1e-9).ceil() * step;
    let ticks = multiples(0.0, to, step).map(|at| Tick { at, label: value(unit, at) }).collect();
    ValueAxis { scale: Scale::Linear, unit, from: 0.0, to, ticks }
}

/// The axis of latencies in nanoseconds: logarithmic if they differ by more than [`LOG_RATIO`].
/// `range` is the smallest and the largest above zero.
pub(super) fn latency_axis(range: Option<(f64, f64)>) -> ValueAxis {
    let (low, high) = range.unwrap_or((0.0, 1e6));
    if low <= 0.0 || high / low < LOG_RATIO {
        return linear_axis(Unit::Nanoseconds, high, 3.0);
    }
    let floor = |value: f64| -> f64 {
        let power = 10f64.powi(value.log10().floor() as i32);
        [5.0, 2.0, 1.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step <= value)
            .unwrap_or(power)
    };
    let (from, to) = (floor(low), decimal_step(high));
    let decades = (to / from).log10();
    let factors: &[f64] = match decades {
        d if d <= 1.7 => &[1.0, 2.0, 5.0],
        d if d <= 2.4 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let every = (decades / 6.0).ceil().max(1.0) as i32;
    let first = from.log10().floor() as i32;
    let last = to.log10().ceil() as i32;
    let ticks = (first..=last)
        .filter(|power| power.rem_euclid(every) == 0)
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(|at| *at >= from * 0.999 && *at <= to * 1.001)
        .map(|at| Tick { at, label: value(Unit::Nanoseconds, at) })
        .collect();
    ValueAxis { scale: Scale::Log, unit: Unit::Nanoseconds, from, to, ticks }
}

/// The label of a mark: round values only.
fn value(unit: Unit, at: f64) -> String {
    if unit == Unit::Percent {
        return format!("{} %", trim(at));
    }
    if unit == Unit::Nanoseconds {
        return match at {
            v if v >= 1e9 => format!("{} s", trim(v / 1e9)),
            v if v >= 1e6 => format!("{} ms", trim(v / 1e6)),
            v if v >= 1e3 => format!("{} µs", trim(v / 1e3)),
            0.0 => "0".into(),
            v => format!("{} ns", trim(v)),
        };
    }
    match at {
        v if v >= 1e15 => format!("{v:.0e}"),
        v if v >= 1e9 => format!("{}G", trim(v / 1e9)),
        v if v >= 1e6 => format!("{}M", trim(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(v / 1e3)),
        v if v >= 1.0 => figures::count(v as u64) + fraction(v),
        v => trim(v),
    }
}

/// Marks between whole numbers only come as halves (1, 2 and 5 times a power of ten).
fn fraction(value: f64) -> &'static str {
    if value.fract() > 0.4 { ".5" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn runs_of_every_length_get_readable_marks() {
        let rows = [
            (5.0, "0 s", "5 s"),
            (60.0, "0 s", "60 s"),
            (600.0, "0:00", "10:00"),
            (3_600.0, "0:00", "60:00"),
            (86_400.0, "0:00", "24:00"),
            (10.0 * 86_400.0, "0 d", "10 d"),
        ];
        for (to, first, last) in rows {
            let axis = time_axis(0.0, to, 930);
            let labels = labels(&axis.ticks);
            assert_eq!(labels.first(), Some(&first), "{to}");
            assert_eq!(labels.last(), Some(&last), "{to}");
            assert!((5..=15).contains(&labels.len()), "{to}: {labels:?}");
        }
    }

    #[test]
    fn no_length_of_a_run_makes_too_many_marks_or_none() {
        for exponent in -3..11 {
            for columns in [200, 930, 4_000] {
                let axis = time_axis(0.0, 3.7 * 10f64.powi(exponent), columns);
                assert!((1..=TICKS_MAX).contains(&axis.ticks.len()));
            }
        }
        assert!(time_axis(5.0, 5.0, 930).to > 5.0);
    }

    #[test]
    fn pods_are_never_halved() {
        let axis = linear_axis(Unit::Pods, 3.0, 3.0);
        assert_eq!(labels(&axis.ticks), ["0", "1", "2", "3"]);
        assert_eq!(
            labels(&linear_axis(Unit::PerSecond, 250.0, 3.0).ticks),
            ["0", "100", "200", "300"]
        );
        assert_eq!(linear_axis(Unit::Count, 0.0, 2.0).to, 1.0);
        assert!(linear_axis(Unit::Count, f64::INFINITY, 2.0).to > 0.0);
    }

    #[test]
    fn latencies_that_differ_much_are_drawn_by_ratio() {
        assert_eq!(latency_axis(Some((10e6, 60e6))).scale, Scale::Linear);
        let wide = latency_axis(Some((3e6, 2.4e9)));
        assert_eq!(wide.scale, Scale::Log);
        assert_eq!(labels(&wide.ticks), ["10 ms", "100 ms", "1 s"]);
        let narrow = latency_axis(Some((9e6, 180e6)));
        assert_eq!(labels(&narrow.ticks), ["5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms"]);
        assert_eq!(latency_axis(None).scale, Scale::Linear);
        assert!(latency_axis(Some((1.0, u64::MAX as f64))).ticks.len() < 12);
    }
}
