//! The load engine beside its peers: `just bench`.
//!
//! 1. nginx on one core, on loopback, from a folder of its own: [`server`]
//! 2. Highwater, wrk and oha on the other core, in turn: [`tools`]; and a loop that only sleeps and
//!    sends, which tells what of a figure is the machine's: [`bare`]
//! 3. what they found, as medians and ratios: [`figures`]
//! 4. the page: [`page`]
//!
//! Everything is bounded: 50 connections, some seconds for each run, and a machine's own loopback.
//! A peer that is not installed is left out by name. Neighbours on the machine disturb all tools
//! alike since their runs alternate; what counts are the ratios.

mod bare;
mod figures;
mod hour;
mod page;
mod server;
mod tools;

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::Parser as _;

use figures::Figures;
use tools::{Peer, Tool};

/// Measures the load engine beside its peers and writes a page of it.
#[derive(Debug, clap::Parser)]
struct Args {
    /// The program to measure
    #[arg(long, default_value = "target/release/highwater")]
    binary: PathBuf,
    /// Where oha is, if not on the PATH
    #[arg(long, default_value = "oha")]
    oha: PathBuf,
    /// How often each measurement is repeated, tools in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=60))]
    seconds: u32,
    /// Of the measurements only these: saturate, open, memory, report
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The page to write; printed only if not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Markdown that is taken over as it is
    #[arg(long)]
    notes: Option<PathBuf>,
    /// Be the bare loop, against the server at this address
    #[arg(long, hide = true)]
    bare: Option<std::net::SocketAddr>,
}

/// Something that the benchmark needs did not work.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(crate) struct BenchError {
    doing: String,
    #[source]
    source: io::Error,
}

pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let doing = what.into();
    move |source| BenchError { doing, source }
}

/// An answer that cannot be read, or a tool that failed.
pub(crate) fn wrong(what: impl Into<String>, why: impl Into<String>) -> BenchError {
    BenchError { doing: what.into(), source: io::Error::other(why.into()) }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the command line")]
fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.bare {
        Some(address) => bare::run(address, args.seconds, !args.only.is_empty()),
        None => run(&args),
    };
    match done {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, BenchError> {
    let notes = match &args.notes {
        Some(path) => fs::read_to_string(path).map_err(doing("reading the notes"))?,
        None => String::new(),
    };
    let folder = tempfile::tempdir().map_err(doing("making a folder"))?;
    let cores = tools::Cores::of_machine();
    tools::protect();
    let mut found = Figures::default();
    let wants = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    if ["saturate", "open", "memory"].iter().any(|name| wants(name)) {
        let server = server::Nginx::start(folder.path(), &cores)?;
        let tools = tools::all(args, folder.path(), &cores, &server.address, &mut found)?;
        for (name, measure) in
            [("saturate", saturate as Measure), ("open", open), ("memory", memory)]
        {
            if wants(name) {
                server.be_urgent(&cores, name == "open");
                measure(args, &tools, &mut found)?;
            }
            for _ in 0..if wants(name) { args.rounds } else { 0 } {
                let (address, seconds) = (&server.address, args.seconds);
                match name {
                    "open" => found.bare.push(bare::open(&cores, address, seconds)?),
                    "saturate" => {
                        found.bare_rates.push(bare::saturate(&cores, address, seconds)?);
                    }
                    _ => {}
                }
            }
        }
    }
    if wants("report") {
        found.report = Some(hour::measure(&args.binary, folder.path(), args.rounds)?);
    }
    let page = page::render(&found, &cores, args.rounds, args.seconds, &notes);
    if let Some(out) = &args.out {
        fs::write(out, &page).map_err(doing(format!("writing {}", out.display())))?;
    }
    Ok(page)
}

type Measure = fn(&Args, &[Box<dyn Peer>], &mut Figures) -> Result<(), BenchError>;

fn saturate(args: &Args, tools: &[Box<dyn Peer>], found: &mut Figures) -> Result<(), BenchError> {
    for _ in 0..args.rounds {
        for tool in tools {
            let rate = tool.saturate(args.seconds)?.rate;
            found.saturate.entry(tool.tool()).or_default().push(rate);
        }
    }
    Ok(())
}

fn open(args: &Args, tools: &[Box<dyn Peer>], found: &mut Figures) -> Result<(), BenchError> {
    for _ in 0..args.rounds {
        for tool in tools {
            if let Some(one) = tool.open(figures::OPEN_RATE, args.seconds.max(5))? {
                found.open.entry(tool.tool()).or_default().push(one);
            }
        }
    }
    Ok(())
}

/// As long as it takes for a million requests, ten times as long, and as long with a tenth of them.
fn memory(args: &Args, tools: &[Box<dyn Peer>], found: &mut Figures) -> Result<(), BenchError> {
    for tool in tools.iter().filter(|tool| tool.tool() != Tool::Oha) {
        let probe = tool.saturate(args.seconds)?;
        let short = (1e6 / probe.rate).ceil().clamp(1.0, 60.0) as u32;
        let few = tool.saturate(short)?;
        let many = tool.saturate(short * 10)?;
        let slow = tool.open((few.rate / 10.0) as u32, short * 10)?;
        found.memory.push((tool.tool(), few, many, slow.map(|slow| slow.memory)));
    }
    Ok(())
}
