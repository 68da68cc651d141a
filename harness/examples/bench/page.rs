//! The page: tables of medians and ratios.

use std::fmt::Write as _;

use crate::{
    figures::{Bare, CONNECTIONS, Figures, OPEN_RATE, Open, Report, median},
    tools::{Cores, Tool},
};

/// Renders it as Markdown.
pub(crate) fn render(
    found: &Figures,
    cores: &Cores,
    rounds: u32,
    seconds: u32,
    notes: &str,
) -> String {
    let mut out = String::from(
        "# How fast the load engine is\n\n<!-- Made by `just bench`: do not edit. The words are \
         those of performance-notes.md. -->\n\nEach figure stands beside that of a peer which was \
         measured in the same run, in turn with it, against the same nginx on loopback. Another \
         machine, or a busier one, gives other figures; the ratios are what lasts.\n\n",
    );
    machine(&mut out, found, cores);
    saturate(&mut out, found, rounds, seconds);
    open(&mut out, found, cores, rounds);
    memory(&mut out, found);
    if let Some(report) = &found.report {
        hour(&mut out, report);
    }
    if !notes.trim().is_empty() {
        put(&mut out, format_args!("\n{}\n", notes.trim()));
    }
    out
}

/// A String takes whatever is written.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn machine(out: &mut String, found: &Figures, cores: &Cores) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or("an unknown processor", |name| name.trim_start_matches([' ', '\t', ':']));
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    put(
        out,
        format_args!(
            "- machine: {model}, {} cores, Linux {}; {}\n",
            cores.count,
            kernel.trim(),
            cores.words()
        ),
    );
    put(out, format_args!("- load average of the machine at the end: {load}\n"));
    if !found.versions.is_empty() {
        put(out, format_args!("- versions: {}\n", found.versions.join("; ")));
    }
    if !found.missing.is_empty() {
        put(
            out,
            format_args!("- not installed here, and so left out: {}\n", found.missing.join(", ")),
        );
    }
}

fn saturate(out: &mut String, found: &Figures, rounds: u32, seconds: u32) {
    let Some(ours) = found.saturate.get(&Tool::Highwater) else { return };
    put(
        out,
        format_args!(
            "\n## As much as one core can\n\n{CONNECTIONS} keep-alive connections, a closed loop, one \
         thread; {rounds} rounds of {seconds} s, tools in turn. The ratio is the median of those \
         of the rounds.\n\n| tool | answers/s, median | least | most | Highwater is |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
        ),
    );
    for (tool, rates) in &found.saturate {
        let ratio = median(ours.iter().zip(rates).map(|(ours, theirs)| ours / theirs));
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let ratio = if *tool == Tool::Highwater { String::new() } else { format!("{ratio:.2} ×") };
        let name = tool.name();
        let middle = median(rates.iter().copied());
        put(out, format_args!("| {name} | {middle:.0} | {least:.0} | {most:.0} | {ratio} |\n"));
    }
    if !found.bare_rates.is_empty() {
        let middle = median(found.bare_rates.iter().copied());
        put(
            out,
            format_args!(
                "\nA loop of some lines that only reads and sends, over as many connections and \
                 rounds, gets {middle:.0} answers/s: what this server has to give.\n"
            ),
        );
    }
}

fn open(out: &mut String, found: &Figures, cores: &Cores, rounds: u32) {
    if found.open.is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "\n## At a given rate\n\n{OPEN_RATE} requests per second, evenly, an open loop on one core; \
         {rounds} rounds, tools in turn, medians. CPU is that of the whole process from its start \
         to its end, with all of the record and the report for Highwater; that of the engine's \
         thread alone stands in brackets. The achieved rate is the one furthest from what was asked \
         for. wrk has no open loop.{}\n\n| tool | achieved | CPU per request | send lag, p50 | \
         p99.9 | latency, p99 |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
            if cores.is_urgent {
                " Server and tools have a real-time priority here (`chrt`), so that nobody else runs \
                 in between."
            } else {
                ""
            }
        ),
    );
    for (tool, runs) in &found.open {
        let of = |what: fn(&Open) -> f64| median(runs.iter().map(what));
        let worst = runs
            .iter()
            .map(|run| run.achieved)
            .max_by(|a, b| (a - 1.0).abs().total_cmp(&(b - 1.0).abs()));
        let optional = |what: fn(&Open) -> Option<f64>| {
            let known: Vec<f64> = runs.iter().filter_map(what).collect();
            (!known.is_empty()).then(|| median(known))
        };
        let engine =
            optional(|run| run.engine_us).map(|us| format!(" ({us:.1})")).unwrap_or_default();
        let lag = |place: usize| {
            let known: Vec<f64> = runs.iter().filter_map(|run| Some(run.lag_ms?[place])).collect();
            if known.is_empty() { "not told".into() } else { format!("{:.3} ms", median(known)) }
        };
        let (name, achieved) = (tool.name(), worst.unwrap_or(f64::NAN) * 100.0);
        let (cpu, p99) = (of(|run| run.cpu_us), of(|run| run.p99_ms));
        put(
            out,
            format_args!(
                "| {name} | {achieved:.3} % | {cpu:.1}{engine} µs | {} | {} | {p99:.2} ms |\n",
                lag(0),
                lag(1),
            ),
        );
    }
    bare(out, found);
}

fn bare(out: &mut String, found: &Figures) {
    if found.bare.is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "\nWhat this machine lets any program do at that rate, by a loop of some lines without \
             records, parsing or epoll; medians of as many rounds:\n\n| loop | CPU per turn | late, p50 | \
             p99.9 |\n| --- | ---: | ---: | ---: |\n"
        ),
    );
    let names = ["it sleeps until each instant", "and sends a request, and reads an answer"];
    for (place, name) in names.iter().enumerate() {
        let of = |what: fn(&Bare) -> f64| median(found.bare.iter().map(|run| what(&run[place])));
        put(
            out,
            format_args!(
                "| {name} | {:.1} µs | {:.3} ms | {:.3} ms |\n",
                of(|bare| bare.cpu_us),
                of(|bare| bare.lag_ms[0]),
                of(|bare| bare.lag_ms[1]),
            ),
        );
    }
}

fn memory(out: &mut String, found: &Figures) {
    if found.memory.is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "\n## Memory\n\nThe most resident memory of the process, report included, over about a \
         million requests and ten times as many (and as long); the last column has a tenth of the \
         rate for that long again, so that what grows with time stands apart from what would grow \
         with requests.\n\n| tool | requests | memory | requests | memory | ratio | a tenth of these, \
         as long |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        ),
    );
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for (tool, few, many, slow) in &found.memory {
        put(
            out,
            format_args!(
                "| {} | {:.1} million | {:.1} MiB | {:.1} million | {:.1} MiB | {:.2} × | {} |\n",
                tool.name(),
                few.requests / 1e6,
                mib(few.memory),
                many.requests / 1e6,
                mib(many.memory),
                many.memory as f64 / few.memory as f64,
                slow.map_or_else(|| "no rate".into(), |slow| format!("{:.1} MiB", mib(slow))),
            ),
        );
    }
}

fn hour(out: &mut String, report: &Report) {
    let took = median(report.took.iter().map(std::time::Duration::as_secs_f64));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    put(
        out,
        format_args!(
            "\n## The report of an hour\n\n3.6 million requests in 3,600 seconds, fifty pods, 5,000 lost \
         requests: `highwater report` takes {took:.2} s (median of {}) for a record of {:.1} MB, \
         and the page has {:.2} MB.\n",
            report.took.len(),
            mb(report.record),
            mb(report.page),
        ),
    );
}
