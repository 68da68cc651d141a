//! What of a trace is compared.

use std::fmt::Write;

use highwater_model::rng::Stream;
use serde_json::Value;

use crate::case::order;

/// What is compared of a trace.
#[derive(Clone, PartialEq)]
pub(crate) struct Compared {
    /// Actions, ReplicaSets and pods, in the order of the writes.
    pub entries: Vec<String>,
    /// The deployment's numbers, revision and conditions at the end of each instant that changed
    /// them.
    pub statuses: Vec<String>,
    /// The endpoints at the end of each instant that changed them.
    pub endpoints: Vec<String>,
    /// The instants at which a ReplicaSet took pods that a real one takes by chance; only of ours.
    pub chances: Vec<String>,
}

/// One line for an entry; `None` for kinds that are not compared.
fn entry(entry: &Value) -> Option<String> {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let kind = text("kind");
    let what = match kind.as_str() {
        "replicaset-created" => format!("v{} {}", entry["version"], entry["replicas"]),
        "replicaset-scaled" => {
            format!("v{} {} to {}", entry["version"], entry["from"], entry["replicas"])
        }
        "replicaset-deleted" => format!("v{}", entry["version"]),
        "pod-created" => text("pod"),
        "pod-deleted" => format!("{} by {} in {}", text("pod"), text("by"), entry["grace"]),
        "action" => {
            let verdict = if entry["error"].is_null() { "done" } else { "refused" };
            format!("{} {} {verdict}", text("action"), text("pod"))
        }
        _ => return None,
    };
    Some(format!("{} {kind} {what}", entry["at"].as_f64().unwrap()))
}

/// The statuses of a trace. Which of the reasons that only say "under way" it is depends on how
/// syncs interleave, upstream too, so these are one.
///
/// With a progress deadline of 1 s, when it is seen to have passed hangs on how many retries of all
/// kinds came before, so `Progressing` is left out then.
fn statuses(case: &Value, trace: &[Value]) -> Vec<String> {
    let is_hasty = case["deployment"]["progressDeadlineSeconds"] == 1;
    let mut parts = ["", "revision 0", "", ""].map(String::from);
    let mut found: Vec<(f64, String)> = Vec::new();
    for entry in trace {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        match (entry["kind"].as_str().unwrap(), text("type").as_str()) {
            ("deployment-status", _) => {
                let count = |name: &str| entry[name].as_u64().unwrap_or(0);
                parts[0] = format!(
                    "{} updated {} ready {} available {} terminating {}",
                    count("replicas"),
                    count("updated"),
                    count("ready"),
                    count("available"),
                    count("terminating"),
                );
            }
            ("deployment-revision", _) => parts[1] = format!("revision {}", text("revision")),
            ("deployment-condition", "Available") => {
                parts[2] = format!("minimum {}", text("status"));
            }
            ("deployment-condition", "Progressing") if !is_hasty => {
                let reason = match text("reason").as_str() {
                    known @ ("NewReplicaSetAvailable" | "ProgressDeadlineExceeded") => known.into(),
                    _ => String::from("under-way"),
                };
                parts[3] = format!("{reason} {}", entry["lastUpdate"].as_f64().unwrap_or(0.0));
            }
            _ => continue,
        }
        let at = entry["at"].as_f64().unwrap();
        found.retain(|(earlier, _)| *earlier < at);
        found.push((at, parts.join(", ")));
    }
    found.dedup_by(|later, earlier| later.1 == earlier.1);
    let line = |(at, status): (f64, String)| format!("{at} {status}");
    found.into_iter().map(line).collect()
}

/// The endpoints of a trace: how many there are, ready, serving and terminating, and a digest.
fn endpoints(trace: &[Value]) -> Vec<String> {
    let mut found: Vec<(f64, String)> = vec![(-1.0, summary(&[]))];
    for entry in trace.iter().filter(|entry| entry["kind"] == "endpoints") {
        let at = entry["at"].as_f64().unwrap();
        found.retain(|(earlier, _)| *earlier < at);
        found.push((at, summary(entry["endpoints"].as_array().unwrap())));
    }
    found.dedup_by(|later, earlier| later.1 == earlier.1);
    let line = |(at, text): (f64, String)| format!("{at} {text}");
    found.into_iter().skip(1).map(line).collect()
}

fn summary(endpoints: &[Value]) -> String {
    let count = |name: &str| endpoints.iter().filter(|endpoint| endpoint[name] == true).count();
    let (ready, serving, terminating) = (count("ready"), count("serving"), count("terminating"));
    let whole = serde_json::to_string(endpoints).unwrap();
    let digest = Stream::new(0, &whole).next_u64() >> 32;
    format!("{} {ready} {serving} {terminating} {digest:x}", endpoints.len())
}

impl Compared {
    pub(crate) fn of(case: &Value, trace: &[Value]) -> Self {
        // With these, what a batch of endpoints holds depends on the syncs of its very instant.
        let is_between = order(case) == ["replicaset", "endpointslice", "deployment"];
        let is_unknown = is_between && !case["batchSeconds"].is_null();
        Self {
            entries: trace.iter().filter_map(entry).collect(),
            statuses: statuses(case, trace),
            endpoints: if is_unknown { Vec::new() } else { endpoints(trace) },
            chances: trace
                .iter()
                .filter(|entry| entry["kind"] == "by-chance")
                .map(|entry| format!("{} ", entry["at"].as_f64().unwrap()))
                .collect(),
        }
    }

    pub(crate) fn read(line: &Value) -> Self {
        let texts = |name: &str| {
            let lines = line[name].as_array().unwrap();
            lines.iter().map(|text| text.as_str().unwrap().into()).collect()
        };
        Self {
            entries: texts("entries"),
            statuses: texts("statuses"),
            endpoints: texts("endpoints"),
            chances: Vec::new(),
        }
    }

    /// Whether ours begins to differ with victims that upstream takes by chance.
    pub(crate) fn begins_by_chance(&self, ours: &Self) -> bool {
        let begins = |lines: &[String], others: &[String]| {
            let same = lines.iter().zip(others).take_while(|(line, other)| line == other).count();
            let first = lines.get(same).into_iter().chain(others.get(same));
            first.min_by(|a, b| instant(a).total_cmp(&instant(b))).cloned()
        };
        let first = begins(&self.entries, &ours.entries);
        first.is_some_and(|line| ours.chances.iter().any(|at| line.starts_with(at)))
    }

    /// Which actions upstream's validation refused.
    pub(crate) fn refusals(&self) -> Vec<bool> {
        let actions = self.entries.iter().filter(|line| line.contains(" action "));
        actions.map(|line| line.ends_with("refused")).collect()
    }

    /// What was decided, whatever the order of the writes within an instant.
    pub(crate) fn decisions(&self) -> (Vec<String>, &[String]) {
        let mut entries = self.entries.clone();
        entries.sort();
        (entries, &self.statuses)
    }

    /// The first difference of ours from upstream's, of each kind.
    pub(crate) fn difference(&self, ours: &Self) -> Option<String> {
        let mut text = String::new();
        for (name, want, got) in [
            ("entry", &self.entries, &ours.entries),
            ("status", &self.statuses, &ours.statuses),
            ("endpoints", &self.endpoints, &ours.endpoints),
        ] {
            let longest = want.len().max(got.len());
            if let Some(place) = (0..longest).find(|&i| want.get(i) != got.get(i)) {
                write!(
                    text,
                    "\n  {name} {place}: upstream {:?}, ours {:?}, after {:?}",
                    want.get(place),
                    got.get(place),
                    place.checked_sub(1).map(|before| &want[before]),
                )
                .unwrap();
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// When a line happened.
fn instant(line: &str) -> f64 {
    line.split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn chance_explains_only_what_begins_with_it() {
    let compared = |entries: &[&str], chances: &[&str]| {
        let texts = |lines: &[&str]| lines.iter().copied().map(String::from).collect();
        let (entries, chances) = (texts(entries), texts(chances));
        Compared { entries, statuses: Vec::new(), endpoints: Vec::new(), chances }
    };
    let upstream = compared(&["1 a", "2 b", "3 c"], &[]);
    let rows = [
        ("a choice at that instant", compared(&["1 a", "2 x", "3 c"], &["2 "]), true),
        ("a choice later", compared(&["1 a", "2 x", "3 c"], &["3 "]), false),
        ("no choice", compared(&["1 a", "2 x", "3 c"], &[]), false),
        ("ours is later", compared(&["1 a", "12 b"], &["12 "]), false),
        ("ours ends", compared(&["1 a", "2 b"], &["3 "]), true),
        ("no difference", compared(&["1 a", "2 b", "3 c"], &["2 "]), false),
    ];
    for (name, ours, want) in rows {
        assert_eq!(upstream.begins_by_chance(&ours), want, "{name}");
    }
}
