//! The model stays pure: no I/O, no clock, no randomness of its own, directly or by a dependency.
//!
//! `no_std` keeps the standard library out of the crate itself; this keeps out dependencies that
//! would bring it back under another name, and checks that `no_std` stays.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What the crate may depend on. A new one needs a look at what it does, not only at its name.
const DIRECT: [&str; 6] = ["libm", "rand_core", "rand_xoshiro", "schemars", "serde", "thiserror"];

/// What these may bring with them: derive macros, which run in the compiler only, and plain data.
const TRANSITIVE: [&str; 16] = [
    "dyn-clone",
    "itoa",
    "memchr",
    "proc-macro2",
    "quote",
    "ref-cast",
    "ref-cast-impl",
    "schemars_derive",
    "serde_core",
    "serde_derive",
    "serde_derive_internals",
    "serde_json",
    "syn",
    "thiserror-impl",
    "unicode-ident",
    "zmij",
];

/// What would be I/O, time or randomness, named so that the refusal says so.
const REFUSED: [&str; 16] = [
    "async-std",
    "chrono",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "polling",
    "rand",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
    "windows-sys",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// The names in the section `[dependencies]` of a manifest.
fn direct(manifest: &str) -> BTreeSet<String> {
    let (mut names, mut is_inside) = (BTreeSet::new(), false);
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_inside = section == "dependencies]";
            if let Some(name) = section.strip_prefix("dependencies.") {
                names.insert(name.trim_end_matches(']').to_owned());
            }
            assert!(!section.starts_with("target."), "dependencies by target are not read here");
        } else if is_inside && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The dependencies of each package of a lock file, by name.
fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let (head, tail) = package.split_once("dependencies = [").unwrap_or((package, ""));
        let name =
            head.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"');
        let list = tail.split(']').next().unwrap();
        let named = list.split('"').skip(1).step_by(2);
        let names = named.map(|entry| entry.split(' ').next().unwrap().to_owned());
        packages.entry(name.to_owned()).or_default().extend(names);
    }
    packages
}

#[test]
fn direct_dependencies_are_those_allowed() {
    let names = direct(&read(&root().join("Cargo.toml")));
    let allowed: BTreeSet<String> = DIRECT.iter().map(ToString::to_string).collect();
    assert_eq!(names, allowed);
}

#[test]
fn no_dependency_brings_io_time_or_randomness() {
    let packages = locked(&read(&root().join("../Cargo.lock")));
    let mut left: Vec<String> = DIRECT.iter().map(ToString::to_string).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = left.pop() {
        assert!(!REFUSED.contains(&name.as_str()), "{name} is not pure");
        let is_known = DIRECT.contains(&name.as_str()) || TRANSITIVE.contains(&name.as_str());
        assert!(is_known, "{name} is new: is it pure?");
        if seen.insert(name.clone()) {
            let dependencies = packages.get(&name);
            left.extend(dependencies.expect("each dependency is locked").iter().cloned());
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A folder `tests` holds modules for tests only, like a file of that name.
            if path.file_name().is_none_or(|name| name != "tests") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_standard_library_is_for_tests_only() {
    let source = read(&root().join("src/lib.rs"));
    let is_no_std = source.lines().any(|line| line == "#![no_std]");
    assert!(is_no_std, "the model is no_std");
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 20);
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = read(file);
        // Tests stand at the end of a file.
        let own = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for (number, line) in (1..).zip(own.lines()) {
            let code = line.split("//").next().unwrap();
            let place = format!("{}:{number}: {line}", file.display());
            assert!(!code.contains("std::"), "{place}");
            assert!(
                !code.contains("extern crate std")
                    || own.contains("#[cfg(test)]\nextern crate std"),
                "{place}"
            );
        }
    }
}

#[test]
fn manifests_and_lock_files_are_read_right() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\nc = \"1\"\n\
                    [dependencies.d]\nversion = \"1\"\n[dev-dependencies]\ne = \"1\"\n";
    let names: Vec<String> = direct(manifest).into_iter().collect();
    assert_eq!(names, ["b", "c", "d"]);
    let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1\"\ndependencies = [\n \"b 1.0\",\n \"c\",\n]\n\n\
                [[package]]\nname = \"b\"\n";
    let packages = locked(lock);
    assert_eq!(packages["a"].iter().collect::<Vec<_>>(), ["b", "c"]);
    assert!(packages["b"].is_empty());
}
