//! What preStop hooks and shell commands do, as far as their text tells.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

/// Shells that take a script after `-c`.
const SHELLS: [&str; 4] = ["sh", "bash", "ash", "dash"];

/// A preStop hook.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hook<'a> {
    /// How long it waits at least, in seconds; nothing if its text does not tell.
    pub(super) seconds: Option<f64>,
    /// The command, if it is one.
    pub(super) command: Option<&'a [String]>,
    /// The key of what it does, below the container's.
    pub(super) path: &'static str,
}

/// The preStop hook of a container, if it does something.
pub(super) fn of(container: &Container) -> Option<Hook<'_>> {
    let handler: &LifecycleHandler = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    if let Some(sleep) = &handler.sleep {
        let seconds = Some(sleep.seconds as f64);
        return Some(Hook { seconds, command: None, path: "lifecycle.preStop.sleep.seconds" });
    }
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let (seconds, path) = (slept(command), "lifecycle.preStop.exec.command");
        return Some(Hook { seconds, command: Some(command), path });
    }
    let is_something = handler.http_get.is_some() || handler.tcp_socket.is_some();
    is_something.then_some(Hook { seconds: None, command: None, path: "lifecycle.preStop" })
}

/// The name of a program without its folder.
pub(super) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// The script of `sh -c SCRIPT`, and the shell.
pub(super) fn script<'a>(words: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let shell = base_name(words.first()?);
    if !SHELLS.contains(&shell) {
        return None;
    }
    let flag = words
        .iter()
        .skip(1)
        .position(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('c'))?;
    words.get(flag + 2).map(|script| (shell, *script))
}

/// How long a command sleeps at least.
fn slept(command: &[String]) -> Option<f64> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    if let Some((_, script)) = script(&words) {
        return slept_by_script(script);
    }
    match words.as_slice() {
        [program, span] if base_name(program) == "sleep" => span_of(span),
        _ => None,
    }
}

/// The sleeps of a script that runs straight from its beginning to its end.
fn slept_by_script(script: &str) -> Option<f64> {
    const JUMPS: [&str; 8] = ["while", "until", "for", "if", "case", "||", "exit", "&"];
    let words: Vec<&str> = script.split_whitespace().collect();
    let jumps = words.iter().any(|word| JUMPS.contains(&word.trim_end_matches(';')));
    if jumps {
        return None;
    }
    let sleeps = statements(script).filter_map(|statement| {
        let mut words = statement.split_whitespace();
        (base_name(words.next()?) == "sleep").then(|| words.next().and_then(span_of))
    });
    let sum: Option<f64> = sleeps.sum();
    sum.filter(|sum| *sum > 0.0)
}

/// The statements of a script, roughly: what stands between newlines, `;`, `&` and `|`.
pub(super) fn statements(script: &str) -> impl Iterator<Item = &str> {
    script
        .split(['\n', ';', '&', '|', '(', ')', '{', '}'])
        .map(str::trim)
        .filter(|statement| !statement.is_empty() && !statement.starts_with('#'))
}

/// `15`, `15s`, `1m` in seconds.
fn span_of(text: &str) -> Option<f64> {
    let text = text.trim_matches(['"', '\'']);
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let unit = match unit {
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => 1.0,
    };
    let seconds: f64 = number.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_tell_how_long_they_sleep_or_nothing() {
        for (words, seconds) in [
            (vec!["sleep", "15"], Some(15.0)),
            (vec!["/bin/sleep", "1m"], Some(60.0)),
            (vec!["sh", "-c", "sleep 5"], Some(5.0)),
            (vec!["/bin/sh", "-c", "sleep 5; nginx -s quit; sleep 2"], Some(7.0)),
            (vec!["bash", "-ec", "/bin/sleep 10 && kill 1"], Some(10.0)),
            (vec!["sh", "-c", "while true; do sleep 1; done"], None),
            (vec!["sh", "-c", "sleep $SECONDS"], None),
            (vec!["sh", "-c", "nginx -s quit"], None),
            (vec!["sh", "-c", "curl x || sleep 30"], None),
            (vec!["sleep"], None),
            (vec!["sleep", "nan"], None),
            (vec![], None),
        ] {
            let command: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(slept(&command), seconds, "{words:?}");
        }
    }
}
