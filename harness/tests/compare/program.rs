//! The program itself: files in, exit codes and pages out.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");

const SCENARIO: &str = "
name: shop
seed: 3
target:
  service: {cpu: 1ms, latency: {lognormal: {median: 8ms, p99: 40ms}}, startup: 100ms}
  deployment:
    replicas: 2
    template: {readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}}
traffic:
  arrivals: poisson
  phases: [{name: day, hold: 100/s, for: 15s}, {name: night, hold: 50/s, for: 5s}]
  requests: [{get: /work}]
gates: [{failed: 0}, {latency.p99: +60%}]
";

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        fs::write(bench.0.path().join("shop.yaml"), SCENARIO).unwrap();
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// The exit code, and what was said.
    fn call(&self, args: &[&str]) -> (i32, String) {
        self.call_with(args, &[])
    }

    fn call_with(&self, args: &[&str], env: &[(&str, &Path)]) -> (i32, String) {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.0.path()).args(args).env_remove("GITHUB_ACTIONS");
        command.env_remove("GITHUB_STEP_SUMMARY").envs(env.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        (status.code().unwrap(), said.into_owned())
    }

    fn simulate(&self, out: &str, repeat: &str, sets: &[&str]) {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let args = ["run", "shop.yaml", "--backend", "sim", "--repeat", repeat, "--out", out];
        let (code, said) = self.call(&args.into_iter().chain(sets).collect::<Vec<_>>());
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn two_sets_of_repeats_become_an_exit_code_and_four_files() {
    let bench = Bench::new();
    bench.simulate("base", "3", &[]);
    bench.simulate("new", "3", &["target.service.startup=101ms"]);
    let (code, said) = bench.call(&["compare", "base", "new", "--out", "compared"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("in pairs of one seed"), "{said}");
    assert!(said.contains("target.service.startup: 100ms → 101ms"), "{said}");
    let read = |name: &str| fs::read_to_string(bench.path("compared").join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("comparison.json")).unwrap();
    assert_eq!(json["schema"], "highwater.comparison/v1");
    assert_eq!(json["verdict"], "same");
    assert_eq!(json["base"]["runs"].as_array().unwrap().len(), 3);
    assert_eq!(json["base"]["runs"][1]["seed"], 4, "each repeat has the next seed");
    assert!(read("comparison.html").contains("<svg"));
    assert!(read("comparison.md").starts_with("### ✅ Not worse: shop"));
    assert!(read("comparison.xml").contains("failures=\"0\""));
}

#[test]
fn what_is_worse_fails_and_github_is_told() {
    let bench = Bench::new();
    bench.simulate("base", "4", &[]);
    let slower = "target.service.latency={lognormal: {median: 16ms, p99: 90ms}}";
    bench.simulate("new", "4", &[slower]);
    let summary = bench.path("step");
    let env = [("GITHUB_ACTIONS", Path::new("true")), ("GITHUB_STEP_SUMMARY", &summary)];
    let (code, said) = bench.call_with(&["compare", "base", "new"], &env);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("gate   FAILS  latency.p99 +60%"), "{said}");
    assert!(said.contains("\n::error title=Highwater%3A worse%2C shop::"), "{said}");
    assert!(fs::read_to_string(&summary).unwrap().contains("❌"));
    // The gates of the scenario can be replaced.
    fs::write(bench.path("gates.yaml"), "- {latency.p99: +500%}\n").unwrap();
    let (code, said) = bench.call(&["compare", "base", "new", "--gates", "gates.yaml"]);
    assert_eq!(code, 0, "{said}");
    fs::write(bench.path("gates.yaml"), "- {latency.p98: +500%}\n").unwrap();
    let (code, said) = bench.call(&["compare", "base", "new", "--gates", "gates.yaml"]);
    assert!(code == 2 && said.contains("latency.p98"), "{said}");
    let (code, said) = bench.call(&["trend", "base", "new", "--out", "trend.html"]);
    assert!(code == 0 && said.contains("latency.p50"), "{said}");
    assert!(fs::read_to_string(bench.path("trend.html")).unwrap().contains("<svg"));
}

#[test]
fn what_must_not_be_compared_is_refused_or_untrusted() {
    let bench = Bench::new();
    bench.simulate("base", "1", &[]);
    bench.simulate("other", "1", &["traffic.phases[0].hold=120/s"]);
    let (code, said) = bench.call(&["compare", "base", "other"]);
    assert!(code == 2 && said.contains("traffic.phases[0].hold is 100/s and 120/s"), "{said}");
    let (code, said) = bench.call(&["compare", "base", "other", "--force"]);
    assert!(code == 3 && said.starts_with("UNTRUSTED"), "{said}");
    // A record that was cut off.
    let record = fs::read(bench.path("base/record.jsonl")).unwrap();
    fs::create_dir(bench.path("cut")).unwrap();
    fs::write(bench.path("cut/record.jsonl"), &record[..record.len() * 2 / 3]).unwrap();
    let (code, said) = bench.call(&["compare", "base", "cut"]);
    assert!(code == 3 && said.contains("ended before it was done"), "{said}");
    let (code, _) = bench.call(&["compare", "base", "cut", "--cannot-tell", "fail"]);
    assert_eq!(code, 1);
    let (code, said) = bench.call(&["baseline", "accept", "cut"]);
    assert!(code == 2 && said.contains("cannot be trusted"), "{said}");
    // Summaries alone.
    let summaries = ["compare", "base/summary.json", "base/summary.json"];
    let (code, said) = bench.call(&summaries);
    assert!(code == 3 && said.contains("a summary without its record"), "{said}");
    let (code, _) = bench.call(&[&summaries[..], &["--cannot-tell", "pass"]].concat());
    assert_eq!(code, 0);
    for args in [&["compare", "base"][..], &["compare", "base", "nothing-*"]] {
        assert_eq!(bench.call(args).0, 2, "{args:?}");
    }
}

#[test]
fn a_baseline_says_what_its_runs_said() {
    let bench = Bench::new();
    bench.simulate("base", "3", &[]);
    bench.simulate("new", "3", &["seed=9"]);
    let (code, said) = bench.call(&["baseline", "accept", "base"]);
    assert_eq!(code, 0, "{said}");
    let file = bench.path("reports/baseline/shop/baseline.json");
    assert!(fs::metadata(&file).unwrap().len() < 200 << 10);
    let measures = |args: &[&str]| {
        let (code, said) = bench.call(&[args, &["--format", "json"]].concat());
        assert_ne!(code, 2, "{said}");
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        (json["measures"].clone(), json["verdict"].clone(), json["gates"].clone())
    };
    let by_runs = measures(&["compare", "base", "new"]);
    assert_eq!(measures(&["compare", "--baseline", "shop", "new"]), by_runs);
    assert_eq!(measures(&["compare", "base/shop-*", "new"]), by_runs);
}
