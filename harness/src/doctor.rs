//! Is this machine fit to measure? Every check says what was found and what to do about it.
//!
//! [`examine`] looks, [`render`] tells. Nothing is changed, except that loopback addresses are
//! bound and a cgroup is made for a moment; both are undone at once.

mod machine;
mod network;
mod tools;

use std::fmt;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it will do.
    pub status: Status,
    /// What was found, with units.
    pub found: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

/// Whether what was found will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It will do, or it does not matter.
    Ok,
    /// Runs work; some numbers are weaker or some runs are out of reach.
    Warn,
    /// Runs do not work, or their numbers mean nothing.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), advice: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), advice: advice.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(name, found, advice) }
    }
}

/// Examines this machine. Takes about a tenth of a second, most of it to measure the timer.
pub fn examine() -> Vec<Check> {
    let mut checks = machine::examine();
    checks.extend(network::examine());
    checks.extend(tools::examine());
    checks
}

/// The checks as text: one line each, advice below, and a verdict at the end.
pub fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut out = String::new();
    for check in checks {
        let Check { name, status, found, advice } = check;
        out.push_str(&format!("{status:<4}  {name:<width$}  {found}\n"));
        if !advice.is_empty() {
            out.push_str(&format!("{:<4}  {:<width$}  -> {advice}\n", "", ""));
        }
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (fails, warns) = (count(Status::Fail), count(Status::Warn));
    out.push_str(&match (fails, warns) {
        (0, 0) => "This machine is fit to measure.\n".to_owned(),
        (0, _) => format!("This machine can measure; {warns} of {} checks warn.\n", checks.len()),
        _ => format!("This machine is not fit to measure: {fails} checks fail.\n"),
    });
    out
}

/// The text of a small file of the system, trimmed; `None` if it cannot be read.
fn read_small(path: &str) -> Option<String> {
    use std::io::Read;
    const BYTES_MAX: u64 = 64 << 10;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_one_line_and_advice_stands_below() {
        let checks = [
            Check::ok("cores", "8"),
            Check::warn("open files", "256", "raise it: ulimit -n 65536"),
        ];
        assert_eq!(
            render(&checks),
            "ok    cores       8\n\
             warn  open files  256\n\
             \u{20}                 -> raise it: ulimit -n 65536\n\
             This machine can measure; 1 of 2 checks warn.\n"
        );
        assert_eq!(render(&[]), "This machine is fit to measure.\n");
        let told = render(&[Check::fail("timer", "20 ms late", "leave this machine")]);
        assert!(told.ends_with("not fit to measure: 1 checks fail.\n"), "{told}");
    }

    #[test]
    fn each_thing_is_examined_once_and_weak_ones_come_with_advice() {
        let checks = examine();
        let mut names: Vec<_> = checks.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks.len());
        for check in &checks {
            assert!(!check.found.is_empty(), "{check:?}");
            assert_eq!(check.status == Status::Ok, check.advice.is_empty(), "{check:?}");
        }
    }
}
