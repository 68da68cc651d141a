//! Where Kubernetes' releases differ: the same world, and what the releases on both sides of each
//! boundary make of it.
//!
//! *Source* of the answers: `pkg/controller/podautoscaler` of the last patch releases of 1.20 to
//! 1.37, read and reckoned by hand.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use highwater_model::{
    hpa::{
        ConditionType, Gates, Hpa, Identity, Moment, Pod, PodPhase, Readiness, Requests, Sample,
        Scale, Settings, Sync, Version, World,
    },
    spec::{Autoscaler, MetricIdentifier, ObjectReference},
    time::{Nanos, SECOND},
};

/// A world in which every pod runs and has settled.
#[derive(Clone, Default)]
struct Still {
    replicas: u32,
    /// What each pod uses and requests, of the container `app`; a pod without a use has no sample.
    pods: Vec<(Option<i64>, i64)>,
    /// Containers other than `app`, by pod.
    names: BTreeMap<usize, String>,
    external: Vec<i64>,
    is_external_down: bool,
}

/// A [`Still`], with what the model's pods borrow.
struct Seen<'a> {
    still: &'a mut Still,
    pods: Vec<Pod<'a>>,
    uses: Vec<Option<i64>>,
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * SECOND as i64)
}

impl Seen<'_> {
    fn samples(&self, into: &mut Vec<Sample>) -> Result<usize, String> {
        let known = self.uses.iter().enumerate().filter_map(|(pod, used)| Some((pod, (*used)?)));
        into.extend(known.map(|(pod, milli)| Sample {
            pod: pod as u32,
            milli,
            at: at(0),
            window: Nanos::from_secs(15),
        }));
        Ok(self.uses.len())
    }
}

impl World for Seen<'_> {
    fn scale(&mut self) -> Result<Scale, String> {
        Ok(Scale { spec: self.still.replicas, status: self.still.replicas })
    }

    fn write(&mut self, replicas: u32) -> Result<(), String> {
        self.still.replicas = replicas;
        Ok(())
    }

    fn pods(&self) -> &[Pod<'_>] {
        &self.pods
    }

    fn resource(&self, _: &str, _: Option<&str>, into: &mut Vec<Sample>) -> Result<usize, String> {
        self.samples(into)
    }

    fn pods_metric(&self, _: &MetricIdentifier, into: &mut Vec<Sample>) -> Result<usize, String> {
        self.samples(into)
    }

    fn object(&self, _: &MetricIdentifier, _: &ObjectReference) -> Result<i64, String> {
        Err("no such metric".into())
    }

    fn external(&self, _: &MetricIdentifier) -> Result<Vec<i64>, String> {
        if self.still.is_external_down {
            return Err("no such metric".into());
        }
        Ok(self.still.external.clone())
    }
}

fn pass(hpa: &mut Hpa, now: i64, still: &mut Still) -> Sync {
    let requests: Vec<[Requests; 1]> = still
        .pods
        .iter()
        .enumerate()
        .map(|(place, (_, milli))| {
            let name = still.names.get(&place).cloned().unwrap_or_else(|| "app".into());
            [Requests { container: name, resources: vec![("cpu".into(), *milli)] }]
        })
        .collect();
    let pods = requests.iter().enumerate().map(|(place, requests)| Pod {
        id: place as u32,
        name: "pod",
        phase: PodPhase::Running,
        is_deleted: false,
        ready: Some((Readiness::Ready, at(-3600))),
        started: Some(at(-3600)),
        requests,
        whole: None,
    });
    let pods = pods.collect();
    let uses = still.pods.iter().map(|(used, _)| *used).collect();
    hpa.sync(at(now), &mut Seen { still, pods, uses })
}

const CPU: &str = r#"{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}"#;
const CPU_200: &str = r#"{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":200}}}"#;
const APP: &str = r#"{"type":"ContainerResource","containerResource":{"container":"app","name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}"#;
const MEAN: &str = r#"{"type":"Pods","pods":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"100m"}}}"#;
const QUEUE: &str = r#"{"type":"External","external":{"metric":{"name":"q"},"target":{"type":"Value","value":"10"}}}"#;

fn spec(min: u32, metrics: &[&str], behavior: &str) -> Autoscaler {
    let behavior = if behavior.is_empty() { "null" } else { behavior };
    let metrics = metrics.join(",");
    let text = format!(
        r#"{{"minReplicas":{min},"maxReplicas":50,"metrics":[{metrics}],"behavior":{behavior}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn settings(version: &str) -> Settings {
    Settings::of(version.parse::<Version>().unwrap())
}

/// An autoscaler that has long been there.
fn settled(version: &str, spec: &Autoscaler) -> Hpa {
    let identity = Identity { namespace: "d".into(), kind: "Deployment".into(), name: "t".into() };
    let mut hpa = Hpa::new(identity, spec, settings(version));
    hpa.settle();
    hpa
}

fn used(pods: &[i64]) -> Vec<(Option<i64>, i64)> {
    pods.iter().map(|milli| (Some(*milli), 100)).collect()
}

/// One thing that differs.
struct Row {
    what: &'static str,
    spec: Autoscaler,
    still: Still,
    /// What was recommended and changed, and how many seconds ago.
    recommended: Vec<(i64, u32)>,
    changed: Vec<(i64, u32, u32)>,
    /// The last release of before and the first of after, and what they do.
    before: (&'static str, u32),
    after: (&'static str, u32),
}

fn row(what: &'static str, spec: Autoscaler, still: Still) -> Row {
    let (recommended, changed) = (Vec::new(), Vec::new());
    Row { what, spec, still, recommended, changed, before: ("", 0), after: ("", 0) }
}

fn rows() -> Vec<Row> {
    let still =
        |replicas, pods: Vec<(Option<i64>, i64)>| Still { replicas, pods, ..Still::default() };
    let missing = |replicas, pods: &[i64]| {
        let mut all = used(pods);
        all.push((None, 100));
        still(replicas, all)
    };
    let failing = Still { is_external_down: true, ..still(4, used(&[20; 4])) };
    vec![
        Row {
            before: ("1.32", 5),
            after: ("1.33", 4),
            ..row(
                "1.1 is no more than a tenth from 1",
                spec(1, &[CPU], ""),
                still(4, used(&[55; 4])),
            )
        },
        Row {
            before: ("1.32", 4),
            after: ("1.33", 4),
            ..row("nor is 0.9", spec(1, &[CPU], ""), still(4, used(&[45; 4])))
        },
        Row {
            before: ("1.20", 2),
            after: ("1.21", 4),
            ..row("a failing metric keeps the replicas", spec(1, &[CPU, QUEUE], ""), failing)
        },
        Row {
            before: ("1.25", 2),
            after: ("1.26", 3),
            ..row(
                "missing pods at a target above 100%",
                spec(1, &[CPU_200], ""),
                missing(4, &[100; 3]),
            )
        },
        Row {
            before: ("1.20", 4),
            after: ("1.21", 2),
            ..row("a mean goes no other way", spec(1, &[MEAN], ""), missing(2, &[80; 3]))
        },
        Row {
            before: ("1.27", 1),
            after: ("1.28", 2),
            ..row("missing pods with a mean on target", spec(1, &[MEAN], ""), missing(2, &[100]))
        },
        Row {
            changed: vec![(10, 10, 7)],
            before: ("1.25", 9),
            after: ("1.26", 12),
            ..row(
                "what went down may come up again",
                spec(
                    1,
                    &[CPU],
                    r#"{"scaleUp":{"policies":[{"type":"Pods","value":2,"periodSeconds":60}]}}"#,
                ),
                still(7, used(&[300; 7])),
            )
        },
        Row {
            changed: vec![(10, 4, 7)],
            before: ("1.25", 5),
            after: ("1.26", 2),
            ..row(
                "what came up may go down again",
                spec(
                    1,
                    &[CPU],
                    r#"{"scaleDown":{"policies":[{"type":"Pods","value":2,"periodSeconds":60}]}}"#,
                ),
                still(7, used(&[1; 7])),
            )
        },
        Row {
            recommended: vec![(10, 3)],
            before: ("1.20", 3),
            after: ("1.21", 5),
            ..row(
                "a window of the way up does not lead down",
                spec(1, &[CPU], r#"{"scaleUp":{"stabilizationWindowSeconds":300}}"#),
                still(5, used(&[60; 5])),
            )
        },
        Row {
            before: ("1.34", 4),
            after: ("1.35", 5),
            ..row(
                "a tolerance of its own",
                spec(1, &[CPU], r#"{"scaleUp":{"tolerance":"0"}}"#),
                still(4, used(&[52; 4])),
            )
        },
        Row {
            before: ("1.34", 4),
            after: ("1.35", 2),
            ..row(
                "a pod without the container",
                spec(1, &[APP], ""),
                Still {
                    names: BTreeMap::from([(1, "other".into())]),
                    ..still(2, used(&[100, 100]))
                },
            )
        },
    ]
}

#[test]
fn releases_on_both_sides_of_a_boundary_do_what_theirs_does() {
    for row in rows() {
        for (version, wanted) in [row.before, row.after] {
            let mut hpa = settled(version, &row.spec);
            row.recommended.iter().for_each(|&(ago, count)| hpa.recommended(at(-ago), count));
            row.changed.iter().for_each(|&(ago, from, to)| hpa.changed(at(-ago), from, to));
            let mut still = row.still.clone();
            pass(&mut hpa, 0, &mut still);
            assert_eq!(still.replicas, wanted, "{} as of {version}", row.what);
        }
    }
}

#[test]
fn what_a_failed_metric_leaves_behind_changed_too() {
    let spec = spec(1, &[CPU, QUEUE], "");
    let mut still =
        Still { replicas: 4, pods: used(&[80; 4]), external: vec![10], ..Still::default() };
    still.is_external_down = true;
    let trouble = |version| pass(&mut settled(version, &spec), 0, &mut still.clone()).trouble;
    assert_eq!(trouble("1.26"), None);
    assert!(trouble("1.27").is_some());
    // A pass that fails shows the metrics of its own only since 1.29.
    for (version, shown) in [("1.28", Some(80)), ("1.29", Some(20))] {
        let (mut hpa, mut still) = (settled(version, &spec), still.clone());
        pass(&mut hpa, 0, &mut still);
        still.pods = used(&[20; 7]);
        pass(&mut hpa, 15, &mut still);
        let first = hpa.status().metrics[0].unwrap();
        assert_eq!(first.utilization, shown, "{version}");
    }
}

/// What the autoscaler makes of a target that is at zero.
fn from_zero(version: &str, gate: Option<bool>, has_memory: bool, min: u32) -> u32 {
    let mut settings = settings(version);
    if let Some(scale_to_zero) = gate {
        settings.gates = Gates { scale_to_zero, ..settings.gates };
    }
    let identity = Identity { namespace: "d".into(), kind: "Deployment".into(), name: "t".into() };
    let mut hpa = Hpa::new(identity, &spec(min, &[QUEUE], "{}"), settings);
    hpa.settle();
    if has_memory {
        hpa.take_over_zero();
    }
    let mut still = Still { external: vec![25_000], ..Still::default() };
    pass(&mut hpa, 0, &mut still);
    still.replicas
}

#[test]
fn a_target_at_zero_comes_back_only_by_its_own_autoscaler_since_1_36() {
    for (version, gate, has_memory, min, wanted) in [
        ("1.35", None, false, 0, 3),
        ("1.35", None, false, 1, 0),
        ("1.36", None, false, 0, 0),
        ("1.36", None, true, 0, 0),
        ("1.36", Some(true), true, 0, 3),
        ("1.37", None, false, 0, 0),
        ("1.37", None, true, 0, 3),
        ("1.37", Some(false), true, 0, 0),
        // The minimum was raised meanwhile.
        ("1.37", None, true, 4, 4),
        ("1.37", None, false, 4, 0),
    ] {
        let found = from_zero(version, gate, has_memory, min);
        assert_eq!(found, wanted, "{version}, {gate:?}, {has_memory}, {min}");
    }
}

#[test]
fn that_it_went_to_zero_itself_is_a_condition() {
    let mut hpa = settled("1.37", &spec(0, &[QUEUE], ""));
    let mut still = Still { replicas: 1, pods: used(&[0]), external: vec![0], ..Still::default() };
    let zero = |hpa: &Hpa| {
        let mut conditions = hpa.status().conditions.iter();
        let found = conditions.find(|known| known.kind() == ConditionType::ScaledToZero)?;
        Some((found.holds, found.word()))
    };
    pass(&mut hpa, 0, &mut still);
    assert_eq!((still.replicas, zero(&hpa)), (0, Some((true, "ScaledToZero"))));
    still.external = vec![25_000];
    still.pods.clear();
    pass(&mut hpa, 15, &mut still);
    assert_eq!((still.replicas, zero(&hpa)), (3, Some((false, "NotScaledToZero"))));
    // Set to zero by hand it stays there.
    still.replicas = 0;
    pass(&mut hpa, 30, &mut still);
    assert_eq!(still.replicas, 0);
    let mut old = settled("1.35", &spec(0, &[QUEUE], ""));
    pass(
        &mut old,
        0,
        &mut Still { replicas: 1, external: vec![0], pods: used(&[0]), ..Still::default() },
    );
    assert_eq!(zero(&old), None);
}
