//! Files of the traffic: sound ones, hostile ones, real ones.

use std::{fs, path::PathBuf};

use highwater_model::{
    load::{Profile, Schedule},
    spec::validate,
    time::SECOND,
};

use super::super::{Loaded, Origin, Overrides, ScenarioError, load_text};
use super::text::{Field, Time, fields, time};
use super::*;

/// A scenario file and a data file beside it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), bytes).expect("written");
        Self(folder)
    }

    fn load(&self, phase: &str) -> Result<Loaded, ScenarioError> {
        let text = format!("name: test\ntraffic:\n  phases:\n    - {phase}\n");
        let origin = Origin::File(self.0.path().join("f.yaml"));
        load_text(text, origin, &Overrides::default())
    }
}

fn points(bytes: &[u8], curve: &str) -> Result<Vec<(f64, f64)>, String> {
    let folder = Folder::new("c.csv", bytes);
    let loaded = folder.load(&format!("{{curve: {{file: c.csv{curve}}}}}"));
    let prefix = format!("{}/", folder.0.path().display());
    let scenario = loaded.map_err(|error| error.to_string().replace(&prefix, ""))?.scenario;
    let curve = scenario.traffic.phases[0].curve.as_ref().expect("a curve");
    Ok(curve.points.iter().map(|point| (point.0.as_secs_f64(), point.1.0)).collect())
}

#[test]
fn curves_are_read_in_the_spellings_that_files_have() {
    let expected = [(0.0, 10.0), (1.5, 20.0)];
    for (text, more) in [
        ("0,10\n1.5,20\n", ""),
        ("time,rate\n0,10\n1.5,20", ""),
        ("0s,10/s\r\n1s500ms,1200/m\r\n", ""),
        ("\u{feff}\"time\",\"rate, per second\"\n\"0\" , \"10\"\n\n# a comment\n1.5,20,30\n", ""),
        ("2024-02-28 23:59:59,10\n2024-02-29T00:00:00.5Z,20\n", ""),
        ("zone,n,t\nx,600,0\ny,1200,1.5\n", ", time: t, rate: n, per: 1m"),
        ("1e-9,10\n1.5e0,20\n", ""),
    ] {
        let found = points(text.as_bytes(), more).unwrap_or_else(|error| panic!("{text}: {error}"));
        let near = |(a, b): (&(f64, f64), &(f64, f64))| {
            (a.0 - b.0).abs() < 1e-8 && (a.1 - b.1).abs() < 1e-9
        };
        assert!(found.iter().zip(&expected).all(near) && found.len() == 2, "{text}: {found:?}");
    }
}

#[test]
fn files_that_make_no_curve_are_refused_with_file_line_and_column() {
    let long = format!("0,1\n1,{}\n", "9".repeat(70_000));
    let many: String = (0..=100_000).map(|second| format!("{second},1\n")).collect();
    let rows: &[(&[u8], &str, &str)] = &[
        (b"", "", "c.csv: has 0 entries; 2 are needed at least (traffic.phases[0].curve.file)"),
        (b"0,1\n", "", "c.csv: has 1 entries"),
        (b"0,1\n1,NaN\n", "", "c.csv:2:3: `NaN` is no rate from 0 to 10000000/s"),
        (b"0,1\n1,inf\n", "", "c.csv:2:3: `inf` is no rate"),
        (b"0,1\n1,-5\n", "", "c.csv:2:3: `-5` is no rate"),
        (b"0,1\n1,1e300\n", "", "c.csv:2:3: `1e300` is no rate"),
        (b"0,1\n1,\n", "", "c.csv:2:3: `` is no rate"),
        (b"0,1\n  x, 2\n", "", "c.csv:2:3: `x` is no time; write seconds"),
        (b"0,1\n-1,2\n", "", "c.csv:2:1: `-1` is no time"),
        (b"0,1\n1e300,2\n", "", "c.csv:2:1: `1e300` is no time"),
        (b"0,1\n99999999999999999999,2\n", "", "c.csv:2:1: `99999999999999999999` is no time"),
        (b"5,1\n7,1\n6.5,2\n", "", "c.csv:3:1: the time is 500ms before that of the line before"),
        (b"5,1\n5,2\n", "", "c.csv:2:1: the time is that of the line before"),
        (b"2024-05-01 10:00:00,1\n2024-05-01 09:00:00,2\n", "", "c.csv:2:1: the time is 1h before"),
        (b"0,1\n2024-05-01 09:00:00,2\n", "", "c.csv:2:1: some times of the file are of day"),
        (b"0,1\n1\n", "", "c.csv:2:1: the line has 1 fields, and field 2 is needed"),
        (b"0,1\n1,\"2\n", "", "c.csv:2:3: the quotes of this field do not match"),
        (b"0,1\n1,\"2\"x\n", "", "c.csv:2:3: the quotes"),
        ("0,1\nä,\"\n".as_bytes(), "", "c.csv:2:3: the quotes"),
        (b"0,1\n1,\xff\n", "", "c.csv:2:3: the file is not UTF-8 text"),
        (b"\0\x01\x02,3\n\x1b[31m,4\n", "", "c.csv:2:1: `\\u{1b}[31m` is no time"),
        (b"a,b\n0,1\n1,2\n", ", rate: c", "c.csv:1:1: there is no column `c`; there are a, b"),
        (long.as_bytes(), "", "c.csv:2:1: the line is longer than 65536 bytes"),
        (many.as_bytes(), "", "c.csv: has more than 100000 entries"),
        (b"0,1\n1,1\n", ", points: [[0s, 1], [1s, 1]]", "stands beside `points`"),
        (b"0,1\n1,1\n", ", per: 0s", "is no rate"),
        (b"0,1\n1,1\n", ", from: 5s", "empty between `from` and `until`"),
        (b"0,1\n999999999,1\n", "", "last 277777h46m39s in all"),
    ];
    for (bytes, more, wanted) in rows {
        let error = points(bytes, more).expect_err(wanted);
        assert!(error.contains(wanted), "wanted {wanted}, found {error}");
        assert!(error.lines().all(|line| line.len() < 400), "{error}");
    }
}

#[test]
fn what_is_no_file_is_refused_and_never_waited_for() {
    let folder = Folder::new("c.csv", b"");
    fs::create_dir(folder.0.path().join("d")).expect("a folder");
    for (file, wanted) in [
        ("nowhere.csv", "nowhere.csv: cannot be read"),
        ("d", "d: is no regular file"),
        ("/dev/zero", "/dev/zero: is no regular file"),
        ("/dev/stdin", "is no regular file"),
        ("'a\\0b'", "cannot be read"),
    ] {
        let told =
            folder.load(&format!("{{curve: {{file: {file}}}}}")).expect_err(file).to_string();
        // What stands in for the terminal in a test may be a file.
        assert!(told.contains(wanted) || file == "/dev/stdin", "{file}: {told}");
    }
    let endless = folder.0.path().join("endless.csv");
    let file = fs::File::create(&endless).expect("a file");
    // Without any blocks on the disk: zeros to read.
    file.set_len(1 << 40).expect("a long file");
    let told = folder.load("{curve: {file: endless.csv}}").expect_err("endless").to_string();
    assert!(told.contains("endless.csv:1:1: the line is longer than 65536 bytes"), "{told}");
    let told = folder.load("{sum: [{curve: {file: x}}], for: 1s}").expect_err("x").to_string();
    assert!(told.ends_with("(traffic.phases[0].sum[0].curve.file)"), "{told}");
}

#[test]
fn a_file_beyond_the_limit_is_not_read_to_its_end() {
    let line = [b'#'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
    let folder = Folder::new("c.csv", &line.repeat((16 << 10) + 1));
    let told = folder.load("{curve: {file: c.csv}}").expect_err("long").to_string();
    assert!(told.contains("c.csv: is longer than 16777216 bytes"), "{told}");
}

#[test]
fn a_record_holds_the_curve_and_needs_its_file_no_more() {
    let folder = Folder::new("c.csv", b"0,10\n10,30.125\n");
    let loaded = folder.load("{curve: {file: c.csv, speed: 2}, scale: 3}").expect("a scenario");
    drop(folder);
    let written = serde_json::to_string(&loaded.scenario).expect("JSON");
    let again: Scenario = serde_json::from_str(&written).expect("what we write, we read");
    assert_eq!(again, loaded.scenario);
    assert_eq!(validate::problems(&again), []);
    let profile = Profile::new(&again.traffic).expect("a shape");
    assert_eq!(profile.lasts(), Nanos::from_secs(5));
    assert!((profile.expected() - 3.0 * 5.0 * 20.0625).abs() < 1e-9);
}

#[test]
fn times_are_read_to_the_nanosecond() {
    for (text, ns) in [
        ("0", 0),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("0.0000000019", 1),
        ("1m30s", 90 * SECOND),
    ] {
        assert_eq!(time(text), Some(Time::Offset(Nanos(ns))), "{text}");
    }
    for (text, seconds) in [
        ("1970-01-01 00:00:00", 0),
        ("2000-02-29T12:00", 951_825_600),
        ("2024-03-01 00:00:00+02:00", 1_709_251_200),
        ("1969-12-31 23:59:59", -1),
    ] {
        assert_eq!(time(text), Some(Time::OfDay(seconds * SECOND as i64)), "{text}");
    }
    for text in [
        "",
        ".",
        "-1",
        "1..2",
        "NaN",
        "2024-13-01 00:00:00",
        "2024-01-01 24:00:00",
        "2024-01-01 00:00:00 x",
        "2024-01-01",
        "9999999999999",
    ] {
        assert_eq!(time(text), None, "{text}");
    }
}

#[test]
fn fields_are_split_at_commas_outside_of_quotes() {
    let row = |line: &str| -> Vec<(usize, String)> {
        let found = fields(line).expect(line);
        found.into_iter().map(|Field { column, text }| (column, text.into_owned())).collect()
    };
    let cell = |column: usize, text: &str| (column, text.to_owned());
    assert_eq!(row("a,b"), [cell(1, "a"), cell(3, "b")]);
    assert_eq!(row(""), [cell(1, "")]);
    assert_eq!(row(",,"), [cell(1, ""), cell(2, ""), cell(3, "")]);
    assert_eq!(row(r#" "a,""b""" ,ä , c"#), [cell(2, r#"a,"b""#), cell(13, "ä"), cell(17, "c")]);
}

/// The folder of real traces, if this machine has it.
pub(super) fn traces() -> Option<PathBuf> {
    let given = std::env::var_os("HIGHWATER_TRACES").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    given.or(Some(default)).filter(|folder| folder.is_dir())
}

#[test]
fn two_weeks_of_a_real_load_balancer_fit_into_a_quarter_of_an_hour() {
    let Some(traces) = traces() else { return };
    let file = traces.join("nab-elb-requests-5min.csv");
    let folder = Folder::new("unused", b"");
    let curve = format!(
        "{{curve: {{file: {}, per: 5m, speed: 1344, interpolation: step}}, scale: 100}}",
        file.display()
    );
    let loaded = folder.load(&curve).expect("a scenario");
    let traffic = &loaded.scenario.traffic;
    let profile = Profile::new(traffic).expect("a shape");
    let points = &traffic.phases[0].curve.as_ref().expect("a curve").points;
    assert_eq!(points.len(), 4032);
    assert!((profile.lasts().as_secs_f64() / 900.0 - 1.0).abs() < 0.01, "{}", profile.lasts());
    // Each count lasts for its 5 minutes, but where the file has gaps.
    let sum: f64 = points.iter().map(|point| point.1.0 * 300.0).sum();
    let expected = profile.expected() * 1344.0 / 100.0;
    assert!((expected / sum - 1.0).abs() < 0.01, "{expected} for {sum}");
}

/// Offsets in seconds and kinds.
fn requests(bytes: &[u8], more: &str) -> Result<(Vec<(f64, String)>, Profile), String> {
    let folder = Folder::new("t", bytes);
    let loaded = folder.load(&format!("{{trace: {{file: t{more}}}}}"));
    let prefix = format!("{}/", folder.0.path().display());
    let scenario = loaded.map_err(|error| error.to_string().replace(&prefix, ""))?.scenario;
    let data = scenario.traffic.phases[0].trace.as_ref().and_then(|trace| trace.data.as_ref());
    let data = data.expect("requests");
    let text = |kind: u32| {
        let kind = &data.kinds[kind as usize];
        let (method, path) = kind.method_and_path().expect("a request");
        format!("{method} {path} {}", kind.body.as_ref().map_or(0, String::len))
    };
    let found = data.iter().map(|(at, kind)| (at.as_secs_f64(), kind.map_or(String::new(), text)));
    Ok((found.collect(), Profile::new(&scenario.traffic).expect("a shape")))
}

#[test]
fn traces_are_read_in_the_spellings_that_files_have() {
    let made = ", path: '/work?cpu={cpu}us', method: '{verb}', body: '{size}', digits: 2";
    let csv = "at,verb,cpu,size\n0.5,get,1234,0\n0.5,POST,1250,7\n2,HEAD,5,0\n";
    let json = "{\"at\": 0.5, \"verb\": \"get\", \"cpu\": 1234, \"size\": 0}\n\
        {\"at\": \"500ms\", \"verb\": \"POST\", \"cpu\": \"1250\", \"size\": 7, \"more\": [1]}\n\
        {\"at\": 2.0, \"verb\": \"HEAD\", \"cpu\": 5, \"size\": 0}\n";
    for text in [csv, json] {
        let (found, profile) = requests(text.as_bytes(), made).expect(text);
        let expected = [
            (0.5, "GET /work?cpu=1200us 0".to_owned()),
            (0.5, "POST /work?cpu=1300us 7".to_owned()),
            (2.0, "HEAD /work?cpu=5us 0".to_owned()),
        ];
        assert_eq!(found, expected, "{text}");
        assert_eq!((profile.lasts(), profile.expected()), (Nanos::from_secs(3), 3.0));
    }
    let (found, profile) =
        requests(b"0\n1\n2\n3\n4.5\n9\n", ", from: 1s, until: 5s, speed: 2").expect("cut");
    assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.5]);
    assert_eq!((profile.lasts(), profile.expected()), (Nanos::from_secs(2), 4.0));
    let (found, _) =
        requests(b"2024-01-01 00:00:10,a\n2024-01-01 00:00:11.25,b\n", "").expect("days");
    assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), [0.0, 1.25]);
}

#[test]
fn files_that_make_no_trace_are_refused_with_file_line_and_column() {
    let kinds: String = (0..1001).map(|number| format!("{number},{number}\n")).collect();
    let rows: &[(&[u8], &str, &str)] = &[
        (b"", "", "has no request between `from` and `until`"),
        (b"5\n", ", until: 3s", "has no request between"),
        (b"0\nNaN\n", "", "t:2:1: `NaN` is no time"),
        (b"3\n1\n", "", "t:2:1: the time is 2s before"),
        (b"a,b\n0,/x y\n", ", path: '{b}'", "t:2:3: `/x y` has a space"),
        (b"a,b\n0,x\n", ", path: '{b}'", "must begin with `/`"),
        (b"a,b\n0,x\n", ", path: '/{c}'", "t:2:1: there is no column `c`; there are a, b"),
        (b"0,x\n", ", path: '/{c'", "t: `/{c` has a { without its }"),
        (b"a,b\n0,TRACE\n", ", path: /, method: '{b}'", "t:2:3: `TRACE` is no method"),
        (b"a,b\n0,9999999\n", ", path: /, body: '{b}'", "t:2:3: `9999999` is no size"),
        (b"a,b\n0,-1\n", ", path: /, body: '{b}'", "t:2:3: `-1` is no size"),
        (b"0,1\n", ", body: '5'", "must be there if `method` or `body` is"),
        (b"{\"at\": 1\n", "", "t:1:"),
        (b"{\"at\": [1]}\n", "", "t:1:1: there is no text and no number of the key `at`"),
        (b"{}\n", "", "the key `at`"),
        (b"{\"at\": 1e999}\n", "", "t:1:"),
        (kinds.as_bytes(), ", path: '/{2}'", "t:1001:6: has more than 1000 different requests"),
    ];
    for (bytes, more, wanted) in rows {
        let error = requests(bytes, more).err().unwrap_or_else(|| panic!("passes: {wanted}"));
        assert!(error.contains(wanted), "wanted {wanted}, found {error}");
        assert!(error.lines().all(|line| line.len() < 400), "{error}");
    }
}

#[test]
fn an_hour_of_real_requests_with_their_work_fits_into_a_minute() {
    let Some(traces) = traces() else { return };
    let file = traces.join("azure-llm-2023-code.csv");
    let folder = Folder::new("unused", b"");
    let phase = format!(
        "{{trace: {{file: {}, path: '/work?cpu={{GeneratedTokens}}us', digits: 2, speed: 60}}}}",
        file.display()
    );
    let scenario = folder.load(&phase).expect("a scenario").scenario;
    let profile = Profile::new(&scenario.traffic).expect("a shape");
    assert!((profile.lasts().as_secs_f64() - 57.0).abs() < 1.0, "{}", profile.lasts());
    let arrivals: Vec<_> =
        Schedule::new(profile, scenario.traffic.arrivals, scenario.seed).collect();
    assert_eq!(arrivals.len(), 8819);
    assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert!(arrivals.iter().all(|arrival| arrival.kind.is_some()));
}
