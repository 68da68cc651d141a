//! A distribution that was measured: a file with a value a line.

use std::path::Path;

use highwater_model::{
    spec::{Distribution, ValuesFile, validate::LENGTH_MAX},
    time::Nanos,
};

use super::{
    DataProblem, Found,
    text::{Field, Lines, column, field, fields},
};
use crate::scenario::error::shown;

/// The longest file.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;

/// The distribution of the file's values.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(given: &ValuesFile, path: &Path) -> Result<Distribution, Found> {
    let mut lines = Lines::open(path, FILE_BYTES_MAX)?;
    let (mut values, mut place) = (Vec::new(), None);
    while let Some(line) = lines.next()? {
        let line = line.to_owned();
        let at = |(column, problem)| (Some((lines.number, column)), problem);
        let fields = fields(&line).map_err(at)?;
        let place = match place {
            Some(place) => place,
            None => {
                let (known, is_header) =
                    find(given, &fields).map_err(|problem| at((1, problem)))?;
                place = Some(known);
                if is_header {
                    continue;
                }
                known
            }
        };
        let field = field(&fields, place).map_err(at)?;
        let wrong = || at((field.column, unfit(&field.text)));
        values.push(value(&field.text).ok_or_else(wrong)?);
    }
    let few = (None, DataProblem::TooFew { found: 0, needed: 1 });
    Distribution::of_values(values).ok_or(few)
}

/// The column of the values, and whether the first line names it.
fn find(given: &ValuesFile, first: &[Field<'_>]) -> Result<(usize, bool), DataProblem> {
    match &given.column {
        Some(name) => Ok((column(first, name)?, true)),
        None => Ok((0, first.first().is_some_and(|field| value(&field.text).is_none()))),
    }
}

/// A duration with its unit, or a number of seconds.
fn value(text: &str) -> Option<Nanos> {
    let value = match text.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => Nanos::from_secs_f64(seconds),
        Ok(_) => return None,
        Err(_) => text.parse().ok()?,
    };
    (value <= LENGTH_MAX).then_some(value)
}

fn unfit(text: &str) -> DataProblem {
    DataProblem::Number { value: shown(text), what: "span; write seconds (0.0125), or 12.5ms" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, column: Option<&str>) -> Result<Distribution, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("values.csv");
        std::fs::write(&path, text).expect("written");
        let given = ValuesFile { path: "values.csv".into(), column: column.map(Into::into) };
        read(&given, &path).map_err(|(place, problem)| format!("{place:?} {problem}"))
    }

    #[test]
    fn values_are_read_of_the_first_column_or_a_named_one() {
        let known = Distribution::Values([8, 12, 8].map(Nanos::from_millis).into());
        for (text, column) in [
            ("8ms\n0.012\n# measured twice\n8ms\n", None),
            ("latency\n0.008\n0.012\n0.008\n", None),
            ("at,took\n1,8ms\n2,12ms\n3,8ms\n", Some("took")),
        ] {
            assert_eq!(of(text, column), Ok(known.clone()), "{text}");
        }
        let many: String = (0..5_000).map(|n| format!("{n}us\n")).collect();
        let many = of(&many, None).expect("quantiles");
        assert!(matches!(&many, Distribution::Quantiles(known) if known.len() == 1001));
        assert!(many.quantile(0.5).0.abs_diff(2_499_500) < 1_000, "{many:?}");
    }

    #[test]
    fn what_is_no_list_of_values_is_refused_with_its_place() {
        for (text, column, problem) in [
            ("", None, "None"),
            ("latency\n", None, "None"),
            ("8ms\nfast\n", None, "Some((2, 1)) `fast`"),
            ("8ms\n-1\n", None, "Some((2, 1)) `-1`"),
            ("8ms\n9d\n", None, "Some((2, 1)) `9d`"),
            ("8ms\n1e9\n", None, "Some((2, 1)) `1e9`"),
            ("at,took\n1,8ms\n2\n", Some("took"), "Some((3,"),
            ("at,took\n1,8ms\n", Some("latency"), "Some((1, 1)) there is no column `latency`"),
        ] {
            let found = of(text, column).expect_err(text);
            assert!(found.starts_with(problem), "{text:?}: {found}");
        }
    }
}
