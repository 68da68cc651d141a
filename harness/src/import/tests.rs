//! Every form as a curve and as a trace; bad lines and hostile files; and that a scenario takes what
//! is written and runs it.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::{
    cli::{BackendArg, KubeArgs, RunArgs},
    scenario::{self, Overrides},
};

const COMBINED: &str = "\
10.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] \"GET /a?token=1 HTTP/1.1\" 200 2326 \"-\" \"curl \\\"x\\\"\"
10.0.0.2 - - [10/Oct/2000:13:55:36 -0700] \"POST /b HTTP/1.1\" 201 5 \"-\" \"-\"
::1 - - [10/Oct/2000:13:55:38 -0700] \"GET /c,d HTTP/1.0\" 404 0
";
const ENVOY: &str = "\
[2000-10-10T20:55:36.500Z] \"GET /a HTTP/2\" 204 - 154 0 226 100 \"10.0.35.28\" \"x\" \"u\" \"h\" \"tcp://10.0.2.1:80\"
[2000-10-10T20:55:36.250Z] \"POST /b HTTP/2\" 204 - 154 0 226 100 \"-\" \"-\" \"-\" \"-\" \"-\"
[2000-10-10T20:55:38.250Z] \"GET /c HTTP/1.1\" 503 UH 0 0 1 - \"-\" \"-\" \"-\" \"-\" \"-\"
";
const ALB: &str = "\
http 2000-10-10T20:55:36.250000Z app/lb/1 1.2.3.4:5 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 \"GET http://x.example:80/b HTTP/1.1\" \"curl\" - -
h2 2000-10-10T20:55:36.500000Z app/lb/1 1.2.3.4:5 - -1 -1 -1 503 - 34 366 \"GET https://x.example:443/a?q=1 HTTP/2.0\" \"curl\" - -
https 2000-10-10T20:55:38.250000Z app/lb/1 1.2.3.4:5 - -1 -1 -1 460 - 34 366 \"GET https://x.example:443/c HTTP/1.1\" \"curl\" - -
";
const JSON: &str = "\
{\"ts\": 971211336.25, \"request\": \"GET /b HTTP/1.1\", \"status\": 200}
{\"ts\": 971211336.5, \"request\": \"GET /a HTTP/1.1\", \"status\": 200}

{\"ts\": \"2000-10-10T20:55:38.25Z\", \"method\": \"PUT\", \"path\": \"/c\"}
";
const CSV: &str = "\
id,timestamp,method,url
1,2000-10-10T20:55:36.25Z,GET,\"http://x/b\"
2,2000-10-10T20:55:36.5Z,GET,http://x/a
3,2000-10-10T20:55:38.25Z,GET,http://x/c
";
const K6_JSON: &str = "\
{\"type\":\"Metric\",\"metric\":\"http_reqs\",\"data\":{\"name\":\"http_reqs\",\"type\":\"counter\"}}
{\"metric\":\"http_reqs\",\"type\":\"Point\",\"data\":{\"time\":\"2000-10-10T20:55:36.25Z\",\"value\":1,\"tags\":{\"method\":\"GET\",\"url\":\"http://x/b\"}}}
{\"metric\":\"http_req_duration\",\"type\":\"Point\",\"data\":{\"time\":\"2000-10-10T20:55:36.25Z\",\"value\":12.5,\"tags\":null}}
{\"metric\":\"http_reqs\",\"type\":\"Point\",\"data\":{\"time\":\"2000-10-10T22:55:36.5+02:00\",\"value\":1,\"tags\":{\"method\":\"GET\",\"url\":\"http://x/a\"}}}
{\"metric\":\"http_reqs\",\"type\":\"Point\",\"data\":{\"time\":\"2000-10-10T20:55:38.25Z\",\"value\":1,\"tags\":{\"method\":\"GET\",\"url\":\"http://x/c\"}}}
";
const K6_CSV: &str = "\
metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,scenario,service,status,subproto,tls_version,url,extra_tags
http_reqs,971211336,1.000000,,,,true,,GET,http://x/b,HTTP/1.1,default,,200,,,http://x/b,
http_req_duration,971211336,5.5,,,,true,,GET,http://x/b,HTTP/1.1,default,,200,,,http://x/b,
http_reqs,971211336,1.000000,,,,true,,GET,http://x/a,HTTP/1.1,default,,200,,,http://x/a,
http_reqs,971211338,1.000000,,,,true,,GET,http://x/c,HTTP/1.1,default,,200,,,http://x/c,
";
const VEGETA_JSON: &str = "\
{\"attack\":\"\",\"seq\":1,\"code\":200,\"timestamp\":\"2000-10-10T20:55:36.5Z\",\"latency\":1000,\"bytes_out\":0,\"bytes_in\":1,\"error\":\"\",\"body\":null,\"method\":\"GET\",\"url\":\"http://x/a\",\"headers\":null}
{\"attack\":\"\",\"seq\":0,\"code\":200,\"timestamp\":\"2000-10-10T20:55:36.25Z\",\"latency\":1000,\"method\":\"GET\",\"url\":\"http://x/b\"}
{\"attack\":\"\",\"seq\":2,\"code\":0,\"timestamp\":\"2000-10-10T20:55:38.25Z\",\"latency\":1000,\"method\":\"GET\",\"url\":\"http://x/c\"}
";
const VEGETA_CSV: &str = "\
971211336250000000,200,1000,0,1,,aGk=,,0,GET,http://x/b,
971211336500000000,200,1000,0,1,,aGk=,,1,GET,http://x/a,
971211338250000000,200,1000,0,1,,aGk=,,2,GET,http://x/c,
";
const PROMETHEUS: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
 {"metric":{"pod":"a"},"values":[[971211336,"1.5"],[971211351.5,"2"],[971211366,"NaN"]]},
 {"metric":{"pod":"b"},"values":[[971211336,"0.5"],[971211366,"3"]]}]}}"#;

fn args(flags: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let line = ["import", "-"].iter().chain(flags);
    <Line as clap::Parser>::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args
}

fn made(text: &str, flags: &[&str]) -> Result<(String, Summary), String> {
    let mut out = Vec::new();
    let source = std::io::Cursor::new(text.as_bytes().to_vec());
    let summary = import_from(&args(flags), source, &mut out).map_err(|error| error.to_string())?;
    Ok((String::from_utf8(out).expect("text"), summary))
}

#[test]
fn every_form_is_told_and_makes_the_same_curve() {
    for (name, text, passed_over) in [
        ("combined", COMBINED, 0),
        ("envoy", ENVOY, 0),
        ("alb", ALB, 0),
        ("json", JSON, 0),
        ("csv", CSV, 1),
        ("k6-json", K6_JSON, 2),
        ("k6-csv", K6_CSV, 2),
        ("vegeta-json", VEGETA_JSON, 0),
        ("vegeta-csv", VEGETA_CSV, 0),
    ] {
        for flags in [&[][..], &["--format", name]] {
            let (curve, summary) = made(text, flags).expect(name);
            assert_eq!(curve, "time,rate\n0,2\n1,0\n2,1\n", "{name}");
            assert_eq!((summary.taken, summary.bad), (3, 0), "{name}");
            assert_eq!(summary.passed_over, passed_over, "{name}");
        }
        let (curve, _) = made(text, &["--resolution", "4s"]).expect(name);
        assert_eq!(curve, "time,rate\n0,0.75\n4,0\n", "{name}");
    }
}

#[test]
fn every_form_with_requests_makes_a_trace_in_order() {
    for (name, text, expected) in [
        // Whole seconds: spread over the second, in the order of the log.
        ("combined", COMBINED, "0,GET,/a\n0.5,POST,/b\n2,GET,/c%2Cd\n"),
        ("envoy", ENVOY, "0,POST,/b\n0.25,GET,/a\n2,GET,/c\n"),
        ("alb", ALB, "0,GET,/b\n0.25,GET,/a\n2,GET,/c\n"),
        ("json", JSON, "0,GET,/b\n0.25,GET,/a\n2,PUT,/c\n"),
        ("csv", CSV, "0,GET,/b\n0.25,GET,/a\n2,GET,/c\n"),
        ("k6-json", K6_JSON, "0,GET,/b\n0.25,GET,/a\n2,GET,/c\n"),
        ("k6-csv", K6_CSV, "0,GET,/b\n0.5,GET,/a\n2,GET,/c\n"),
        ("vegeta-json", VEGETA_JSON, "0,GET,/b\n0.25,GET,/a\n2,GET,/c\n"),
        ("vegeta-csv", VEGETA_CSV, "0,GET,/b\n0.25,GET,/a\n2,GET,/c\n"),
    ] {
        let (trace, summary) = made(text, &["--as", "trace"]).expect(name);
        assert_eq!(trace, format!("time,method,path\n{expected}"), "{name}");
        assert_eq!((summary.rows, summary.bad), (3, 0), "{name}");
    }
    let (trace, _) = made(COMBINED, &["--as", "trace", "--keep-query"]).expect("read");
    assert!(trace.contains("0,GET,/a?token=1\n"), "{trace}");
}

#[test]
fn rates_become_points_and_series_are_added_up() {
    let (curve, summary) = made(PROMETHEUS, &[]).expect("read");
    assert_eq!(curve, "time,rate\n0,2\n15.5,2\n30,3\n");
    assert_eq!((summary.taken, summary.bad), (4, 1));
    let csv = "minute,count\n2000-10-10 20:55:00,600\n2000-10-10 20:56:00,1200\n";
    let flags =
        ["--format", "csv", "--time-field", "minute", "--rate-field", "count", "--per", "1m"];
    assert_eq!(made(csv, &flags).expect("read").0, "time,rate\n0,10\n60,20\n");
    let json = "{\"t\": {\"at\": 971211336}, \"rps\": \"7.5\"}\n";
    let flags = ["--format", "json", "--time-field", "t.at", "--rate-field", "rps"];
    assert_eq!(made(json, &flags).expect("read").0, "time,rate\n0,7.5\n1,7.5\n");
    for text in [
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"value\":[1,\"2\"]}]}}",
        "{\"status\":\"error\"}",
        "[",
        "{\"data\":{\"result\":[{\"values\":[[1,2]]}]}}",
    ] {
        let error = made(text, &["--format", "prometheus"]).expect_err(text);
        assert!(error.contains("no response of a range query"), "{error}");
    }
    let error = made(PROMETHEUS, &["--as", "trace"]).expect_err("rates");
    assert!(error.contains("no single requests"), "{error}");
}

#[test]
fn packed_files_are_read_and_files_are_joined() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut packed = Vec::new();
    // Two members one behind the other, as rotated logs that were joined.
    for part in [&COMBINED[..COMBINED.len() / 2], &COMBINED[COMBINED.len() / 2..]] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part.as_bytes()).expect("packed");
        packed.extend(encoder.finish().expect("packed"));
    }
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let mut both = args(&[]);
    both.files = vec![file("a.gz", &packed), file("b.log", ENVOY.as_bytes())];
    both.out = Some(folder.path().join("rates.csv"));
    let summary = write(&both).expect("read");
    assert_eq!(summary.taken, 6);
    let curve = fs::read_to_string(folder.path().join("rates.csv")).expect("written");
    assert_eq!(curve, "time,rate\n0,4\n1,0\n2,2\n");
    for (bytes, expected) in [
        (&b"\x28\xb5\x2f\xfd...."[..], "zstd"),
        (b"\xff\xfe\x00\x01\x02", "no known form"),
        (b"", "no known form"),
        (b"hello\n", "no known form"),
        (&packed[..packed.len() / 2], "a.log"),
    ] {
        let mut one = args(&[]);
        one.files = vec![file("a.log", bytes)];
        let error = import(&one, &mut Vec::new()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut none = args(&[]);
    none.files = vec![folder.path().to_str().expect("UTF-8").to_owned()];
    assert!(
        import(&none, &mut Vec::new()).expect_err("a folder").to_string().contains("directory")
    );
    // A failure leaves no half of a file.
    let mut bad = args(&["--format", "envoy"]);
    bad.files = vec![file("c.log", b"no\n")];
    bad.out = Some(folder.path().join("none.csv"));
    assert!(write(&bad).is_err());
    assert!(!folder.path().join("none.csv").exists());
}

#[test]
fn bad_lines_are_counted_told_and_bounded() {
    let text =
        format!("{ENVOY}not a line\n[yesterday] \"GET / HTTP/1.1\" 200\n{}\n", "x".repeat(2 << 20));
    let (_, summary) = made(&text, &[]).expect("read");
    assert_eq!((summary.taken, summary.bad), (3, 3));
    let note = summary.notes.last().expect("a note");
    for part in ["-:4: no line of Envoy", "-:5: `yesterday` is no time", "-:6: the line is longer"]
    {
        assert!(note.contains(part), "{part}: {note}");
    }
    let error = made(&text, &["--max-bad", "2"]).expect_err("too many");
    assert!(error.contains("more than 2 unreadable lines"), "{error}");
    let error = made("nothing\n", &["--format", "alb"]).expect_err("none");
    assert!(error.contains("-:1: no line of an Application Load Balancer"), "{error}");
    let error = made("{\"a\": 1}\n", &[]).expect_err("no time");
    assert!(error.contains("--time-field"), "{error}");
}

#[test]
fn what_is_kept_is_bounded() {
    let far = "[1970-01-02T00:00:00Z] \"GET / HTTP/1.1\" 200\n[2024-01-01T00:00:00Z] \"GET / HTTP/1.1\" 200\n";
    let error = made(far, &[]).expect_err("too wide");
    assert!(error.contains("1970-01-02T00:00:00Z") && error.contains("--resolution"), "{error}");
    let needed = error.split("--resolution ").nth(1).and_then(|rest| rest.split(' ').next());
    let needed = needed.expect("a span");
    let (curve, _) = made(far, &["--resolution", needed]).expect("fits");
    assert!(curve.lines().count() <= 100_001);
    let late = "[2024-01-01T00:01:00Z] \"GET /a HTTP/1.1\" 200\n[2024-01-01T00:02:00Z] \"GET /b HTTP/1.1\" 200\n[2024-01-01T00:00:00Z] \"GET /c HTTP/1.1\" 200\n";
    let (trace, summary) = made(late, &["--as", "trace"]).expect("read");
    assert_eq!(trace, "time,method,path\n0,GET,/a\n60,GET,/b\n");
    assert!(
        summary.notes.last().is_some_and(|note| note.contains("-:3: 60.0 s before")),
        "{summary:?}"
    );
    let (trace, _) = made(late, &["--as", "trace", "--reorder", "5m"]).expect("read");
    assert_eq!(trace, "time,method,path\n0,GET,/c\n60,GET,/a\n120,GET,/b\n");
}

#[test]
fn a_trace_takes_only_what_is_a_request() {
    let line =
        |request: &str| format!("::1 - - [10/Oct/2000:13:55:36 -0700] \"{request}\" 400 0\n");
    for (request, expected) in [
        ("-", None),
        ("\\x16\\x03\\x01", None),
        ("GET http HTTP/1.1", None),
        ("get / HTTP/1.1", None),
        ("CONNECT x:443 HTTP/1.1", None),
        ("GET http://host HTTP/1.1", Some("GET,/")),
        ("GET /\u{e4}{x} HTTP/1.1", Some("GET,/%C3%A4%7Bx%7D")),
        ("DELETE /a#b HTTP/1.1", Some("DELETE,/a")),
    ] {
        let made = made(&line(request), &["--as", "trace"]);
        match expected {
            Some(row) => assert_eq!(made.expect(request).0, format!("time,method,path\n0,{row}\n")),
            None => assert!(made.is_err(), "{request}: {made:?}"),
        }
        // A curve counts it all the same.
        assert!(super::tests::made(&line(request), &[]).is_ok(), "{request}");
    }
}

#[test]
fn a_scenario_takes_what_is_written_and_runs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for (name, text, flags) in [
        ("curve", COMBINED, &[][..]),
        ("one", "971211336 \n", &["--format", "csv"]),
        ("points", PROMETHEUS, &[]),
        ("trace", COMBINED, &["--as", "trace"]),
        ("k6", K6_JSON, &["--as", "trace"]),
    ] {
        let file = format!("{name}.csv");
        let mut all = args(flags);
        all.files = vec![path("in").to_str().expect("UTF-8").to_owned()];
        all.out = Some(path(&file));
        fs::write(path("in"), text).expect("written");
        let summary = write(&all).expect(name);
        // The line that the notes give, as it is.
        let note = summary.notes.first().expect("a note");
        let traffic = note.strip_prefix("in the scenario: ").expect("the line");
        let traffic = traffic.replace(&path(&file).display().to_string(), &file);
        let yaml = format!("name: {name}\ntarget: {{service: {{latency: 1ms}}}}\n{traffic}\n");
        fs::write(path("scenario.yaml"), yaml).expect("written");
        let scenario = path("scenario.yaml").to_str().expect("UTF-8").to_owned();
        let loaded = scenario::load(&scenario, &Overrides::default());
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        let profile = highwater_model::load::Profile::new(&loaded.scenario.traffic).expect(name);
        let expected = match name {
            "curve" | "trace" | "k6" => 3.0,
            "one" => 1.0,
            // 2/s for 15.5 s, then 2.5/s for 14.5 s.
            _ => 67.25,
        };
        assert!((profile.expected() - expected).abs() < 0.01, "{name}: {}", profile.expected());
        let run = RunArgs {
            scenario,
            backend: BackendArg::Sim,
            out: Some(path(&format!("run-{name}"))),
            set: Vec::new(),
            seed: None,
            repeat: 1,
            tui: false,
            because: None,
            quiet: true,
            kube: KubeArgs {
                kubeconfig: None,
                context: None,
                i_know_this_is_not_a_test_cluster: false,
                namespace: "highwater".into(),
                image: None,
            },
        };
        assert_eq!(crate::run::run(&run), crate::cli::MET, "{name}");
    }
}
