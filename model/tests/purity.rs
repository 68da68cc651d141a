//! Fails when the model gets I/O: a dependency that brings it, or a source line that reaches it.
//! (The crate is `no_std` as well, so that the compiler refuses most of it by itself.)
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// All that the model may be built from, with what each is for.
const ALLOWED: &[&str] = &[
    "dyn-clone", // schemars
    "highwater-model",
    "itoa",            // serde_json, through schemars
    "libm",            // the same floating point on every machine
    "memchr",          // serde_json, through schemars
    "proc-macro2",     // derives
    "quote",           // derives
    "rand_core",       // the trait of random sources; it has none of its own
    "rand_xoshiro",    // the generator
    "ref-cast",        // schemars
    "ref-cast-impl",   // schemars
    "schemars",        // JSON Schema of the scenario
    "schemars_derive", // derives
    "serde",
    "serde_core",
    "serde_derive",
    "serde_derive_internals",
    "serde_json", // schemars' values; no reader or writer of ours
    "syn",        // derives
    "thiserror",
    "thiserror-impl",
    "unicode-ident", // derives
    "zmij",          // serde_json, through schemars
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Package → its dependencies, of `Cargo.lock`.
fn lock() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("../Cargo.lock")).unwrap();
    let mut packages = BTreeMap::new();
    for block in text.split("[[package]]").skip(1) {
        let name = block.split("name = \"").nth(1).unwrap().split('"').next().unwrap();
        let list = block.split("dependencies = [").nth(1).and_then(|rest| rest.split(']').next());
        let names = list.unwrap_or_default().split('"').skip(1).step_by(2);
        let names = names.map(|entry| entry.split(' ').next().unwrap().to_string());
        packages.entry(name.to_string()).or_insert_with(Vec::new).extend(names);
    }
    packages
}

#[test]
fn the_model_depends_on_nothing_that_does_io() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let direct = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    let mut open: Vec<String> = direct.filter(|name| !name.is_empty()).map(Into::into).collect();
    assert!(open.len() >= 4, "the manifest was not understood: {open:?}");
    let packages = lock();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        assert!(ALLOWED.contains(&name.as_str()), "the model may not depend on `{name}`");
        if seen.insert(name.clone()) {
            open.extend(packages[&name].clone());
        }
    }
}

#[test]
fn the_models_sources_reach_for_no_std_outside_of_tests() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.contains("\n#![no_std]\n"), "the compiler's guard is gone");
    assert!(lib.contains("#[cfg(test)]\nextern crate std;"), "std is for tests only");
    let (mut folders, mut files) = (vec![root().join("src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // `mod tests` in a file or folder of its own is for tests only.
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                assert!(!line.contains("std::"), "{}: {line}", path.display());
            }
        }
    }
    assert!(files > 10, "only {files} files were looked at");
}
