//! What the pods use and tell: readings for the modelled pipeline of metrics.
//!
//! CPU and memory come from the processes' own accounting in `/proc`, over the container's process
//! and all below it. The CPU time of processes that ended counts where they were waited for.

use std::{fs, time::Duration};

use highwater_model::metrics::{prometheus::Told, resource::Usage};
use rustix::param::{clock_ticks_per_second, page_size};

/// The most processes of one container that are looked at.
const PROCESSES_MAX: usize = 4096;
/// The longest page of metrics that is read.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How long a scrape may take.
///
/// *Source*: Prometheus' default `scrape_timeout`.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether this machine accounts for processes so that it can be read.
pub(super) fn can_account() -> bool {
    usage(std::process::id()).is_some()
}

/// What the process `pid` and all below it have used; `None` if it is gone.
///
/// *Shape*: CPU to the kernel's tick (10 ms mostly); memory that no file backs, as a working set
/// without page cache.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let mut sum = Usage::default();
    of_process(pid, &mut sum)?;
    let mut below = vec![pid];
    let mut seen = 1;
    while let Some(pid) = below.pop() {
        for child in children(pid) {
            seen += 1;
            // One that ended in between has been, or will be, waited for.
            if seen > PROCESSES_MAX || of_process(child, &mut sum).is_none() {
                continue;
            }
            below.push(child);
        }
    }
    Some(sum)
}

fn of_process(pid: u32, sum: &mut Usage) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows its last parenthesis does not.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    // utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5), counted from the state, 3.
    let ticks: u64 = (11..15).filter_map(|place| fields.get(place)?.parse::<u64>().ok()).sum();
    sum.cpu =
        sum.cpu.saturating_add(ticks.saturating_mul(1_000_000_000 / clock_ticks_per_second()));
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: Vec<u64> =
        statm.split_whitespace().take(3).filter_map(|field| field.parse().ok()).collect();
    if let [_, resident, shared] = pages[..] {
        let own = resident.saturating_sub(shared).saturating_mul(page_size() as u64);
        sum.memory = sum.memory.saturating_add(own);
    }
    Some(())
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten().take(PROCESSES_MAX) {
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// Reads a page of metrics; `None` if there is none in time.
pub(super) async fn scrape(client: &reqwest::Client, url: String) -> Option<String> {
    let read = async {
        let mut response = client.get(url).send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let mut page = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            page.extend_from_slice(&chunk);
            if page.len() > PAGE_BYTES_MAX {
                return None;
            }
        }
        String::from_utf8(page).ok()
    };
    tokio::time::timeout(SCRAPE_TIMEOUT, read).await.ok().flatten()
}

/// The series of a page in Prometheus' text format 0.0.4. Comments, and lines that are none, are
/// left out.
pub(super) fn series(page: &str) -> impl Iterator<Item = Told<'_>> {
    page.lines().filter_map(|line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (series, rest) = split(line)?;
        let brace = series.find('{').unwrap_or(series.len());
        let (name, labels) = series.split_at(brace);
        let value = number(rest.split_whitespace().next()?)?;
        let le = label(labels, "le").and_then(number);
        Some(Told { name: name.trim(), labels, le, value })
    })
}

/// Series and what follows it. A label's value may hold spaces and braces.
fn split(line: &str) -> Option<(&str, &str)> {
    let Some(open) = line.find('{') else { return line.split_once(char::is_whitespace) };
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (place, c) in line.char_indices().skip_while(|(place, _)| *place <= open) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' if !is_quoted => return Some(line.split_at(place + 1)),
            _ => {}
        }
    }
    None
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=\"");
    let place = labels
        .match_indices(&start)
        .find(|(place, _)| matches!(labels[..*place].chars().next_back(), Some('{' | ',' | ' ')))?;
    labels[place.0 + start.len()..].split('"').next()
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_line_by_line_and_nonsense_is_left_out() {
        let page = "# HELP a b\n\
                    http_requests_total{route=\"/a b}\",code=\"200\"} 12 1395066363000\n\
                    in_flight 3\n\
                    d_bucket{le=\"0.5\",route=\"x\"} 7\n\
                    d_bucket{route=\"le=\\\"9\\\"\", le=\"+Inf\"} 1e3\n\
                    broken{route=\"\n\
                    nothing\n\
                    text value\n\
                    nan NaN\n";
        let told: Vec<_> = series(page)
            .map(|line| (line.name.to_owned(), line.le, line.value.to_string()))
            .collect();
        let line = |name: &str, le, value: &str| (name.to_owned(), le, value.to_owned());
        assert_eq!(
            told,
            [
                line("http_requests_total", None, "12"),
                line("in_flight", None, "3"),
                line("d_bucket", Some(0.5), "7"),
                line("d_bucket", Some(f64::INFINITY), "1000"),
                line("nan", None, "NaN"),
            ]
        );
    }

    #[test]
    fn a_process_and_what_is_below_it_are_accounted_for() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sh -c 'while :; do :; done' & wait"])
            .spawn()
            .expect("a shell");
        let end = std::time::Duration::from_secs(20);
        let start = crate::clock::mono_ns();
        // The child's child burns; the reading must come to see it.
        let mut cpu = 0;
        while cpu < 50_000_000 && crate::clock::mono_ns() - start < end.as_nanos() as u64 {
            std::thread::yield_now();
            cpu = usage(shell.id()).map_or(0, |usage| usage.cpu);
        }
        for child in children(shell.id()) {
            let pid = rustix::process::Pid::from_raw(child as i32).expect("a process");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        shell.wait().expect("it ends");
        assert!(cpu >= 50_000_000, "{cpu} ns");
        assert_eq!(usage(shell.id()), None, "what is gone uses nothing");
        assert!(can_account());
    }
}
