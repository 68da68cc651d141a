//! The tools, each as a process of its own on the client's core.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use crate::{
    Args, BenchError, doing,
    figures::{CONNECTIONS, Figures, Open, Saturated},
    wrong,
};

/// Ticks of a second in `/proc/PID/stat` (`USER_HZ`, 100 on every Linux that Rust runs on).
const TICKS: f64 = 100.0;
/// The real-time priority of whatever is measured at a rate, and of its server.
pub(crate) const URGENT: &str = "10";
/// How often a process's memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Which tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Highwater,
    Wrk,
    Oha,
}

impl Tool {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Highwater => "highwater",
            Self::Wrk => "wrk",
            Self::Oha => "oha",
        }
    }
}

/// A tool that is there.
pub(crate) trait Peer {
    fn tool(&self) -> Tool;
    /// As much as it can over so many keep-alive connections.
    fn saturate(&self, seconds: u32) -> Result<Saturated, BenchError>;
    /// At a rate, evenly, urgently where that may be; `None` if it has no open loop.
    fn open(&self, rate: u32, seconds: u32) -> Result<Option<Open>, BenchError>;
}

/// Where server and client run.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    pub(crate) count: usize,
    is_pinned: bool,
    /// Whether real-time priorities may be given.
    pub(crate) is_urgent: bool,
}

impl Cores {
    pub(crate) fn of_machine() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let has_taskset = Command::new("taskset").arg("-V").output().is_ok();
        let mut urgent = Command::new("chrt");
        urgent.args(["-f", URGENT, "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        let is_urgent = urgent.status().is_ok_and(|status| status.success());
        Self { count, is_pinned: count > 1 && has_taskset, is_urgent }
    }

    pub(crate) fn words(&self) -> &'static str {
        if self.is_pinned {
            "the server pinned to core 0, the tools to core 1"
        } else {
            "nothing pinned (one core, or no taskset)"
        }
    }

    pub(crate) fn on_server(&self, command: Command) -> Command {
        self.on("0", command)
    }

    pub(crate) fn on_client(&self, command: Command) -> Command {
        self.on("1", command)
    }

    /// The command at a real-time priority, if that may be.
    pub(crate) fn urgent(&self, command: &Command) -> Command {
        let mut urgent = Command::new(if self.is_urgent { "chrt" } else { "env" });
        if self.is_urgent {
            urgent.args(["-f", URGENT]);
        }
        urgent.arg(command.get_program()).args(command.get_args());
        urgent
    }

    fn on(&self, core: &str, command: Command) -> Command {
        if !self.is_pinned {
            return command;
        }
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core).arg(command.get_program()).args(command.get_args());
        pinned
    }
}

/// Asks the scheduler for more than the neighbours get, where it lets us (Linux' autogroups; as
/// root). All tools inherit it alike.
pub(crate) fn protect() {
    let _ = fs::write("/proc/self/autogroup", "-20");
}

/// Those that are installed; Highwater must be.
pub(crate) fn all(
    args: &Args,
    folder: &Path,
    cores: &Cores,
    address: &str,
    found: &mut Figures,
) -> Result<Vec<Box<dyn Peer>>, BenchError> {
    let base = |program: PathBuf| Base {
        program,
        folder: folder.to_owned(),
        cores: cores.clone(),
        url: format!("http://{address}"),
    };
    let mut tools: Vec<Box<dyn Peer>> = vec![Box::new(Highwater(base(args.binary.clone())))];
    let ours = version(&args.binary, "--version");
    found.versions.push(ours.ok_or_else(|| {
        wrong(format!("starting {}", args.binary.display()), "build it: cargo build --release")
    })?);
    for (tool, program, flag) in
        [(Tool::Wrk, PathBuf::from("wrk"), "-v"), (Tool::Oha, args.oha.clone(), "--version")]
    {
        match version(&program, flag) {
            None => found.missing.push(tool.name().into()),
            Some(version) => {
                found.versions.push(version);
                let base = base(program);
                tools.push(if tool == Tool::Wrk {
                    Box::new(Wrk(base))
                } else {
                    Box::new(Oha(base))
                });
            }
        }
    }
    found.versions.extend(version(Path::new("nginx"), "-v"));
    Ok(tools)
}

/// The first line that it says of itself.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(
        line.split(" Copyright")
            .next()
            .unwrap_or(line)
            .trim_start_matches("nginx version: ")
            .into(),
    )
}

struct Base {
    program: PathBuf,
    folder: PathBuf,
    cores: Cores,
    url: String,
}

/// What a process said and used.
struct Ran {
    text: String,
    cpu_seconds: f64,
    memory: u64,
}

impl Base {
    fn run(&self, arguments: &[&str], is_urgent: bool) -> Result<Ran, BenchError> {
        let what = format!("running {}", self.program.display());
        let mut command = Command::new(&self.program);
        command.args(arguments);
        if is_urgent {
            command = self.cores.urgent(&command);
        }
        let (out, errors) = (self.folder.join("stdout"), self.folder.join("stderr"));
        let file = |path: &Path| fs::File::create(path).map_err(doing("making a file"));
        let mut child = self
            .cores
            .on_client(command)
            .stdin(Stdio::null())
            .stdout(file(&out)?)
            .stderr(file(&errors)?)
            .spawn()
            .map_err(doing(what.as_str()))?;
        let (memory, cpu_seconds) = watch(&child);
        let status = child.wait().map_err(doing(what.as_str()))?;
        let text = fs::read_to_string(&out).map_err(doing(what.as_str()))?;
        if !status.success() {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            return Err(wrong(what, format!("{status}: {text}{said}")));
        }
        Ok(Ran { text, cpu_seconds, memory })
    }

    fn json(&self, text: &str) -> Result<Value, BenchError> {
        serde_json::from_str(text).map_err(|error| {
            wrong(format!("reading {}", self.program.display()), error.to_string())
        })
    }

    fn number(&self, value: &Value, pointer: &str) -> Result<f64, BenchError> {
        value.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| {
            wrong(format!("reading {}", self.program.display()), format!("it has no {pointer}"))
        })
    }
}

/// Waits for a process's end without taking its status: the most memory that it had, and its CPU
/// time, which a process that nobody has waited for still tells.
fn watch(child: &Child) -> (u64, f64) {
    let id = child.id();
    let mut memory = 0;
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    // As long as the process lives, which every tool bounds itself.
    while let Some(pid) = pid {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(pid), options), Ok(None)) {
            break;
        }
        memory = memory.max(peak(id).unwrap_or(0));
        std::thread::sleep(LOOK);
    }
    (memory, cpu(id).unwrap_or(f64::NAN))
}

fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// User and system time (fields 14 and 15 of `/proc/PID/stat`, proc(5)), seconds.
fn cpu(id: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

struct Highwater(Base);

impl Highwater {
    /// Runs a scenario: what it used, and its summary.
    fn scenario(&self, traffic: &str, is_urgent: bool) -> Result<(Ran, Value), BenchError> {
        let (file, out) = (self.0.folder.join("scenario.yaml"), self.0.folder.join("run"));
        let url = &self.0.url;
        let text = format!("name: bench\ntarget: {{url: \"{url}\"}}\ntraffic:\n{traffic}");
        fs::write(&file, text).map_err(doing("writing a scenario"))?;
        let paths = [file.display().to_string(), out.display().to_string()];
        let ran = self.0.run(&["run", &paths[0], "--out", &paths[1]], is_urgent)?;
        let summary = fs::read_to_string(out.join("summary.json")).map_err(doing("the summary"))?;
        let summary = self.0.json(&summary)?;
        Ok((ran, summary))
    }

    fn discard(&self) -> Result<(), BenchError> {
        fs::remove_dir_all(self.0.folder.join("run")).map_err(doing("removing a run folder"))
    }

    /// CPU time of the engine's threads for each request, microseconds, by the record's samples.
    fn engine_us(&self) -> Option<f64> {
        let record = highwater::record::read(&self.0.folder.join("run")).ok()?;
        let (first, last) = (record.samples.first()?, record.samples.last()?);
        let requests = last.sent.checked_sub(first.sent).filter(|n| *n > 0)?;
        Some((last.engine_cpu - first.engine_cpu) as f64 / requests as f64 / 1e3)
    }
}

impl Peer for Highwater {
    fn tool(&self) -> Tool {
        Tool::Highwater
    }

    fn saturate(&self, seconds: u32) -> Result<Saturated, BenchError> {
        let traffic = format!("  saturate: {{connections: {CONNECTIONS}, for: {seconds}s}}\n");
        let (ran, summary) = self.scenario(&traffic, false)?;
        self.discard()?;
        let rate = self.0.number(&summary, "/closedLoop/rate")?;
        let requests = self.0.number(&summary, "/requests/ok")?;
        Ok(Saturated { rate, requests, memory: ran.memory })
    }

    fn open(&self, rate: u32, seconds: u32) -> Result<Option<Open>, BenchError> {
        let traffic =
            format!("  arrivals: constant\n  phases: [{{hold: {rate}/s, for: {seconds}s}}]\n");
        let (ran, summary) = self.scenario(&traffic, true)?;
        let engine_us = self.engine_us();
        self.discard()?;
        let sent = self.0.number(&summary, "/requests/sent")?;
        let wanted = f64::from(rate) * f64::from(seconds);
        Ok(Some(Open {
            achieved: sent / wanted,
            cpu_us: ran.cpu_seconds * 1e6 / sent,
            engine_us,
            lag_ms: Some([
                self.0.number(&summary, "/sendLagMs/p50")?,
                self.0.number(&summary, "/sendLagMs/p999")?,
            ]),
            p99_ms: self.0.number(&summary, "/latencyMs/p99")?,
            memory: ran.memory,
        }))
    }
}

struct Wrk(Base);

impl Peer for Wrk {
    fn tool(&self) -> Tool {
        Tool::Wrk
    }

    fn saturate(&self, seconds: u32) -> Result<Saturated, BenchError> {
        let connections = CONNECTIONS.to_string();
        let span = format!("{seconds}s");
        let url = format!("{}/", self.0.url);
        let ran = self.0.run(&["-t", "1", "-c", &connections, "-d", &span, &url], false)?;
        let field = |line: &str| {
            let found = ran.text.lines().find_map(|one| one.trim().strip_prefix(line));
            found.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok())
        };
        let rate = field("Requests/sec:").ok_or_else(|| wrong("reading wrk", ran.text.clone()))?;
        let requests = rate * f64::from(seconds);
        Ok(Saturated { rate, requests, memory: ran.memory })
    }

    fn open(&self, _: u32, _: u32) -> Result<Option<Open>, BenchError> {
        Ok(None)
    }
}

struct Oha(Base);

impl Oha {
    fn measure(
        &self,
        more: &[&str],
        seconds: u32,
        is_urgent: bool,
    ) -> Result<(Ran, Value), BenchError> {
        let (connections, span) = (CONNECTIONS.to_string(), format!("{seconds}s"));
        let url = format!("{}/", self.0.url);
        let mut arguments = vec!["--no-tui", "--output-format", "json", "--worker-threads", "1"];
        arguments.extend(["-c", &connections, "-z", &span]);
        arguments.extend(more);
        arguments.push(&url);
        let ran = self.0.run(&arguments, is_urgent)?;
        let found = self.0.json(&ran.text)?;
        Ok((ran, found))
    }

    fn rate(&self, found: &Value) -> Result<f64, BenchError> {
        self.0.number(found, "/summary/requestsPerSec")
    }
}

impl Peer for Oha {
    fn tool(&self) -> Tool {
        Tool::Oha
    }

    fn saturate(&self, seconds: u32) -> Result<Saturated, BenchError> {
        let (ran, found) = self.measure(&[], seconds, false)?;
        let rate = self.rate(&found)?;
        Ok(Saturated { rate, requests: rate * f64::from(seconds), memory: ran.memory })
    }

    fn open(&self, rate: u32, seconds: u32) -> Result<Option<Open>, BenchError> {
        let asked = rate.to_string();
        let more = ["-q", &asked, "--latency-correction"];
        let (ran, found) = self.measure(&more, seconds, true)?;
        let achieved = self.rate(&found)?;
        Ok(Some(Open {
            achieved: achieved / f64::from(rate),
            cpu_us: ran.cpu_seconds * 1e6 / (achieved * f64::from(seconds)),
            engine_us: None,
            lag_ms: None,
            p99_ms: self.0.number(&found, "/latencyPercentiles/p99")? * 1e3,
            memory: ran.memory,
        }))
    }
}
