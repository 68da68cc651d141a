//! `kubectl`: the view from outside.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

use highwater::clock::mono_ns;
use serde_json::Value;

/// Nothing takes this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--request-timeout=30s").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it answers, whatever that is.
pub(crate) fn attempt(args: &[&str]) -> Output {
    command(args).output().expect("the tests need kubectl")
}

/// What it prints; it must succeed.
pub(crate) fn kubectl(args: &[&str]) -> String {
    text(args, attempt(args))
}

/// As [`kubectl`], with `input` on its stdin.
pub(crate) fn kubectl_with(args: &[&str], input: &str) -> String {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    text(args, child.wait_with_output().unwrap())
}

fn text(args: &[&str], output: Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {printed}{errors}", args.join(" "));
    printed
}

/// An object, or a list of them, as JSON.
pub(crate) fn json(args: &[&str]) -> Value {
    let args = [args, &["--output", "json"]].concat();
    serde_json::from_str(&kubectl(&args)).unwrap()
}

/// Names of what there is of `kinds` in the whole cluster with a label, as `namespace/kind/name`.
pub(crate) fn labelled(kinds: &str, selector: &str) -> Vec<String> {
    let list = json(&["get", kinds, "--all-namespaces", "--selector", selector]);
    let of = |item: &Value, pointer: &str| {
        item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
    };
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let (kind, name) = (of(item, "/kind"), of(item, "/metadata/name"));
            format!("{}/{kind}/{name}", of(item, "/metadata/namespace"))
        })
        .collect()
}

/// Whether there is such an object.
pub(crate) fn exists(args: &[&str]) -> bool {
    let args = [&["get", "--ignore-not-found", "--output", "name"], args].concat();
    !kubectl(&args).is_empty()
}

/// An object's `.spec`, as its API server prints it.
pub(crate) fn spec(namespace: &str, object: &str) -> String {
    kubectl(&["--namespace", namespace, "get", object, "--output", "jsonpath={.spec}"])
}

/// Asks again until `is_so`, two minutes at most.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = mono_ns() + PATIENCE.as_nanos() as u64;
    while !is_so() {
        assert!(mono_ns() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
