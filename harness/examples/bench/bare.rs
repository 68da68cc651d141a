//! What machine and server let any program do: a closed loop that only reads and sends; and at the
//! open loop's rate a loop that only sleeps until each instant, and one that then sends a request and
//! reads the answers that are there. Without records and parsing: less than a load generator does.

use std::{
    io::{Read as _, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use highwater::clock;
use rustix::{
    event::{Timespec as Wait, epoll},
    thread::clock_nanosleep_absolute,
    time::{ClockId, Timespec},
};

use crate::{
    BenchError, doing,
    figures::{Bare, CONNECTIONS, OPEN_RATE},
    tools::Cores,
    wrong,
};

const SECOND: u64 = 1_000_000_000;
const GAP: u64 = SECOND / OPEN_RATE as u64;

/// Runs this program as the bare loops at the given rate, where the tools run: sleeping only, and
/// with requests.
pub(crate) fn open(cores: &Cores, address: &str, seconds: u32) -> Result<[Bare; 2], BenchError> {
    match child(cores, address, seconds, true)?[..] {
        [a, b, c, d, e, f] => {
            Ok([Bare { cpu_us: a, lag_ms: [b, c] }, Bare { cpu_us: d, lag_ms: [e, f] }])
        }
        _ => Err(wrong("running the bare loop", "not six figures")),
    }
}

/// As the bare closed loop: answers per second.
pub(crate) fn saturate(cores: &Cores, address: &str, seconds: u32) -> Result<f64, BenchError> {
    let figures = child(cores, address, seconds, false)?;
    figures.first().copied().ok_or_else(|| wrong("running the bare loop", "no figure"))
}

fn child(
    cores: &Cores,
    address: &str,
    seconds: u32,
    is_open: bool,
) -> Result<Vec<f64>, BenchError> {
    let program = std::env::current_exe().map_err(doing("finding this program"))?;
    let mut command = Command::new(program);
    command.args(["--bare", address, "--seconds", &seconds.to_string()]);
    if is_open {
        command.args(["--only", "open"]);
        command = cores.urgent(&command);
    }
    let mut command = cores.on_client(command);
    let output =
        command.stderr(Stdio::inherit()).output().map_err(doing("running the bare loop"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}

/// The loops themselves; their figures as text.
pub(crate) fn run(address: SocketAddr, seconds: u32, is_open: bool) -> Result<String, BenchError> {
    let mut connections = connect(address)?;
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    if !is_open {
        let rate = closed(&mut connections, request.as_bytes(), seconds);
        return rate.map(|rate| rate.to_string()).map_err(doing("saturating"));
    }
    let turns = u64::from(OPEN_RATE) * u64::from(seconds);
    let sleeping = turn(turns, |_| Ok(()))?;
    let mut buffer = [0; 4096];
    let sending = turn(turns, |number| {
        let number = number as usize % connections.len();
        // The answer to the one before, as a rule; what comes later is read a round later.
        let before = (number + connections.len() - 1) % connections.len();
        let _ = connections[before].read(&mut buffer);
        connections[number].write_all(request.as_bytes()).map_err(doing("sending"))
    })?;
    let words = [sleeping, sending]
        .map(|Bare { cpu_us, lag_ms: [middle, high] }| format!("{cpu_us} {middle} {high}"));
    Ok(words.join(" "))
}

fn connect(address: SocketAddr) -> Result<Vec<TcpStream>, BenchError> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).map_err(doing("connecting"))?;
        stream.set_nodelay(true).map_err(doing("connecting"))?;
        stream.set_nonblocking(true).map_err(doing("connecting"))?;
        connections.push(stream);
    }
    Ok(connections)
}

/// Sends the next request as soon as it has read an answer, without ever sleeping.
fn closed(connections: &mut [TcpStream], request: &[u8], seconds: u32) -> std::io::Result<f64> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, stream) in connections.iter_mut().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &*stream, data, epoll::EventFlags::IN)?;
        stream.write_all(request)?;
    }
    let at_once = Wait { tv_sec: 0, tv_nsec: 0 };
    let (mut answers, mut buffer) = (0_u64, [0; 4096]);
    let end = clock::mono_ns() + u64::from(seconds) * SECOND;
    while clock::mono_ns() < end {
        let mut events = [const { MaybeUninit::uninit() }; CONNECTIONS as usize];
        let (events, _) = epoll::wait(&epoll, &mut events, Some(&at_once))?;
        for event in &*events {
            let data = event.data;
            let stream = &mut connections[data.u64() as usize];
            if stream.read(&mut buffer)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            stream.write_all(request)?;
            answers += 1;
        }
        if events.is_empty() {
            std::thread::yield_now();
        }
    }
    Ok(answers as f64 / f64::from(seconds))
}

/// Sleeps until each of so many instants and then does `work`.
fn turn(
    turns: u64,
    mut work: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Bare, BenchError> {
    let mut late = Vec::with_capacity(turns as usize);
    let (start, cpu) = (clock::mono_ns() + GAP, clock::thread_cpu_ns());
    for number in 0..turns {
        let due = start + number * GAP;
        if clock::mono_ns() < due {
            let until = Timespec { tv_sec: (due / SECOND) as _, tv_nsec: (due % SECOND) as _ };
            clock_nanosleep_absolute(ClockId::Monotonic, &until)
                .map_err(|error| doing("sleeping")(error.into()))?;
        }
        late.push(clock::mono_ns().saturating_sub(due));
        work(number)?;
    }
    let cpu_us = (clock::thread_cpu_ns() - cpu) as f64 / turns as f64 / 1e3;
    late.sort_unstable();
    let quantile = |of: f64| late[(late.len() as f64 * of) as usize] as f64 / 1e6;
    Ok(Bare { cpu_us, lag_ms: [quantile(0.5), quantile(0.999)] })
}
