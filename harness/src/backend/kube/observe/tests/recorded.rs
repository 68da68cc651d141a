//! What Kubernetes 1.35 showed in each situation (two nodes, metrics-server), as recorded from
//! its watches, against what is told of it. The objects are cut down to what is read of them.

use std::{fs, path::PathBuf};

use highwater_model::event::EventKind;
use serde::Deserialize;
use serde_json::Value;

use super::{super::time::Anchor, Observation, Observer, at, check_order, lines, news, target};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    start_unix_ns: i64,
}

#[derive(Deserialize)]
struct Row {
    at: f64,
    kind: String,
    #[serde(rename = "type")]
    action: String,
    object: Value,
}

fn replay(name: &str) -> Vec<Observation> {
    let path = folder("fixtures").join(format!("{name}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut rows = text.lines();
    let header: Header = serde_json::from_str(rows.next().expect("a header")).expect("reads");
    let anchor = Anchor { zero_wall_ns: header.start_unix_ns, ..Anchor::default() };
    let mut observer = Observer::new(target(), anchor);
    let mut out = Vec::new();
    let mut last = at(0.0);
    for row in rows {
        let row: Row = serde_json::from_str(row).expect("a row");
        last = at(row.at);
        let news = news(&row.kind, &row.action, row.object, None);
        observer.take(last, &news, &mut out);
        assert!(out.iter().all(|told| told.at <= last), "{name}: told before it was known");
    }
    observer.finish(last, &mut out);
    check_order(&out);
    out
}

fn folder(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(of).join("kube")
}

/// Compares with a file under `tests/golden/kube`; `UPDATE_GOLDEN=1` writes it. The Events' own
/// texts are left out.
fn golden(name: &str) {
    let told: Vec<Observation> = replay(name)
        .into_iter()
        .filter(|told| !matches!(told.kind, EventKind::ClusterEvent { .. }))
        .collect();
    let text = lines(&told).join("\n") + "\n";
    let path = folder("golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).expect("the golden file is written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; make it with UPDATE_GOLDEN=1", path.display())
    });
    for (number, (found, wanted)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{name}, line {}", number + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "{name}");
}

#[test]
fn golden_rollout() {
    golden("rollout");
}

#[test]
fn golden_scale() {
    golden("scale");
}

#[test]
fn golden_crash() {
    golden("crash");
}

#[test]
fn golden_probe_kill() {
    golden("probe-kill");
}

#[test]
fn golden_evict() {
    golden("evict");
}

#[test]
fn golden_bad_image() {
    golden("bad-image");
}

#[test]
fn golden_autoscaler() {
    golden("autoscaler");
}
