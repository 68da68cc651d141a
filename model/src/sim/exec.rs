//! What a program does that a hook or a probe executes in a simulated container.
//!
//! There is no image, so this says what is in it: `sleep`, `true`, `false` and a `sh` that runs
//! one of them, in `/bin` and `/usr/bin`. Any other program is missing, and fails as a missing one.

use alloc::string::String;

use crate::time::Nanos;

/// How an execution ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Executed {
    /// With exit code 0, after so long.
    Done(Nanos),
    /// With another one, at once.
    Failed,
    /// It does not begin: there is no such program.
    Missing,
}

impl Executed {
    /// How long it takes.
    pub(super) const fn takes(self) -> Nanos {
        match self {
            Self::Done(after) => after,
            Self::Failed | Self::Missing => Nanos::ZERO,
        }
    }

    /// What the kubelet says of it; nothing if all is well.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Done(_) => "",
            Self::Failed => "exit code 1",
            Self::Missing => "no such program in the simulated image",
        }
    }
}

/// Executes a command, program first.
pub(super) fn execute(command: &[String]) -> Executed {
    let Some((program, arguments)) = command.split_first() else { return Executed::Missing };
    match name(program) {
        Some("sh") => match arguments {
            [flag, script] if flag == "-c" => run(script.split_ascii_whitespace()),
            _ => Executed::Missing,
        },
        _ => run(command.iter().map(String::as_str)),
    }
}

fn name(program: &str) -> Option<&str> {
    let (folder, name) = program.rsplit_once('/').unwrap_or(("/bin", program));
    matches!(folder, "/bin" | "/usr/bin").then_some(name)
}

fn run<'a>(mut words: impl Iterator<Item = &'a str>) -> Executed {
    let mut program = words.next().and_then(name);
    if program == Some("exec") {
        program = words.next().and_then(name);
    }
    match program {
        Some("true") => Executed::Done(Nanos::ZERO),
        Some("false") => Executed::Failed,
        Some("sleep") => match words.map(seconds).sum() {
            Some(after) => Executed::Done(Nanos::from_secs_f64(after)),
            None => Executed::Failed,
        },
        _ => Executed::Missing,
    }
}

/// An argument of `sleep`: a number of seconds, or of what its unit says. None that is endless.
fn seconds(argument: &str) -> Option<f64> {
    const DAY: f64 = 86_400.0;
    let (number, unit) = match argument.as_bytes().last()? {
        b's' => (&argument[..argument.len() - 1], 1.0),
        b'm' => (&argument[..argument.len() - 1], 60.0),
        b'h' => (&argument[..argument.len() - 1], 3600.0),
        b'd' => (&argument[..argument.len() - 1], DAY),
        _ => (argument, 1.0),
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = number.parse::<f64>().ok().filter(|_| is_plain)? * unit;
    (value <= 365.0 * DAY).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_what_is_said_and_nothing_else() {
        let after = |seconds: f64| Executed::Done(Nanos::from_secs_f64(seconds));
        for (command, wanted) in [
            (&["sleep", "2"][..], after(2.0)),
            (&["/bin/sleep", "1.5"], after(1.5)),
            (&["/usr/bin/sleep", "1m", "2s"], after(62.0)),
            (&["sh", "-c", "sleep 3"], after(3.0)),
            (&["/bin/sh", "-c", "exec sleep 3"], after(3.0)),
            (&["true"], after(0.0)),
            (&["false"], Executed::Failed),
            (&["sleep", "soon"], Executed::Failed),
            (&["sleep", "-1"], Executed::Failed),
            (&["sleep", "inf"], Executed::Failed),
            (&["sleep", "1e300"], Executed::Failed),
            (&["sleep", "999999d"], Executed::Failed),
            (&["sleep", "é"], Executed::Failed),
            (&["/no/such/sleep", "2"], Executed::Missing),
            (&["nginx", "-s", "quit"], Executed::Missing),
            (&["sh", "-c", "nginx -s quit"], Executed::Missing),
            (&["sh", "-c"], Executed::Missing),
            (&["/"], Executed::Missing),
            (&[""], Executed::Missing),
            (&[], Executed::Missing),
        ] {
            let words: alloc::vec::Vec<String> =
                command.iter().map(|word| (*word).into()).collect();
            assert_eq!(execute(&words), wanted, "{command:?}");
        }
    }
}
