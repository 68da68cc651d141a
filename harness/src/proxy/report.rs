//! How the proxy tells the harness: a bounded queue, and a task that writes it out.
//!
//! Nothing waits for the harness: a report that finds the queue full is counted and left out.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use highwater_model::{
    outcome::HopError,
    proxy::telling::{Alike, Telling, Told},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    cpu_ns,
    header::UpstreamInfo,
    mono_ns,
    protocol::{CLIENT_GONE_PER_SECOND, RETRIED_GROUPS_MAX, RETRIED_PER_SECOND, Report, Stats},
};

/// Reports that may wait to be taken: four seconds of the most that may come.
pub const QUEUE_MAX: usize =
    4 * (CLIENT_GONE_PER_SECOND as usize + RETRIED_PER_SECOND as usize + RETRIED_GROUPS_MAX) + 96;

/// Where reports go.
pub(super) struct Reporter {
    /// `None` after [`Reporter::close`].
    queue: RefCell<Option<mpsc::Sender<Report>>>,
    /// [`Report::ClientGone`] in this second.
    client_gone: Cell<u32>,
    /// [`Report::Retried`] in this second.
    retried: RefCell<Telling<Option<String>, UpstreamInfo>>,
    /// Reports left out and not yet told.
    dropped: Cell<u64>,
    /// What is counted.
    pub(super) counters: Counters,
}

/// See [`Stats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: Cell<u64>,
    pub(super) connects: Cell<u64>,
    pub(super) reused: Cell<u64>,
    pub(super) retries: Cell<u64>,
    pub(super) open_downstream: Cell<u64>,
    pub(super) open_upstream: Cell<u64>,
    errors: RefCell<BTreeMap<HopError, u64>>,
}

/// Adds `change` to a count that never goes below zero.
pub(super) fn add(counter: &Cell<u64>, change: i64) {
    counter.set(counter.get().saturating_add_signed(change));
}

impl Reporter {
    /// A reporter, and the queue for [`write_out`].
    pub(super) fn new() -> (Rc<Self>, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self::into(sender), receiver)
    }

    /// A reporter into a queue.
    pub(super) fn into(queue: mpsc::Sender<Report>) -> Rc<Self> {
        Rc::new(Self {
            queue: RefCell::new(Some(queue)),
            client_gone: Cell::new(0),
            retried: RefCell::default(),
            dropped: Cell::new(0),
            counters: Counters::default(),
        })
    }

    /// Queues a report. Left out and counted if the queue is full or nobody writes it any more.
    pub(super) fn send(&self, report: Report) {
        let sent = match &*self.queue.borrow() {
            Some(queue) => queue.try_send(report).is_ok(),
            None => false,
        };
        if !sent {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// Queues an error.
    pub(super) fn error(&self, message: String) {
        self.send(Report::Error { message });
    }

    /// Counts what was met.
    pub(super) fn count_error(&self, error: HopError) {
        let mut errors = self.counters.errors.borrow_mut();
        *errors.entry(error).or_default() += 1;
    }

    /// Counts and, below the bound per second, queues that a client went away.
    pub(super) fn client_gone(&self, request_id: Option<u64>, mut info: UpstreamInfo) {
        self.count_error(HopError::ClientGone);
        info.error = Some(HopError::ClientGone);
        info.end = mono_ns();
        self.gone(request_id, info);
    }

    /// Queues, below the bound per second, that a client may not have read an answer of our own.
    pub(super) fn unread(&self, request_id: u64, info: UpstreamInfo) {
        self.gone(Some(request_id), info);
    }

    fn gone(&self, request_id: Option<u64>, info: UpstreamInfo) {
        if self.client_gone.get() >= CLIENT_GONE_PER_SECOND {
            self.dropped.set(self.dropped.get() + 1);
            return;
        }
        self.client_gone.set(self.client_gone.get() + 1);
        self.send(Report::ClientGone { request_id, info });
    }

    /// Queues an attempt that a client does not see; past the bound per second it is counted with
    /// others like it.
    pub(super) fn retried(&self, request_id: Option<u64>, rescued: bool, info: UpstreamInfo) {
        let key = Alike {
            worker: info.worker,
            pod: info.pod.clone(),
            error: info.error,
            tries: info.tries,
            has_served: info.connection.is_some_and(|connection| connection.served > 0),
            rescued,
        };
        let told = self.retried.borrow_mut().add(key, info);
        match told {
            Told::Alone(info) => self.send(Report::Retried { n: 1, request_id, rescued, info }),
            Told::Counted => {}
            Told::Dropped => self.dropped.set(self.dropped.get() + 1),
        }
    }

    /// What is due once a second: the counts, and how many reports were left out.
    pub(super) fn tick(&self) {
        self.client_gone.set(0);
        let counted = self.retried.borrow_mut().end_second();
        for (key, n, info) in counted {
            self.send(Report::Retried { n, request_id: None, rescued: key.rescued, info });
        }
        let dropped = self.dropped.take();
        if dropped > 0 {
            let before = self.dropped.get();
            self.send(Report::Dropped { count: dropped });
            if self.dropped.get() > before {
                // It was left out itself: keep the count for the next time.
                self.dropped.set(dropped);
            }
        }
        self.send(Report::Stats(self.stats()));
    }

    fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            mono_ns: mono_ns(),
            requests: counters.requests.get(),
            connects: counters.connects.get(),
            reused: counters.reused.get(),
            retries: counters.retries.get(),
            errors: counters.errors.borrow().clone(),
            open_downstream: counters.open_downstream.get(),
            open_upstream: counters.open_upstream.get(),
            cpu_ns: cpu_ns(),
        }
    }

    /// Ends the queue, so that [`write_out`] ends with its last report.
    pub(super) fn close(&self) {
        self.queue.borrow_mut().take();
    }
}

/// Writes reports as lines, flushed whenever the queue is empty, until it is closed.
///
/// *Behaviour*: ends quietly if `output` fails; without a reader there is nobody to tell.
pub(super) async fn write_out(
    mut queue: mpsc::Receiver<Report>,
    mut output: impl AsyncWrite + Unpin,
) {
    let mut lines = Vec::new();
    while let Some(report) = queue.recv().await {
        append(&mut lines, &report);
        while let Ok(report) = queue.try_recv() {
            append(&mut lines, &report);
        }
        if output.write_all(&lines).await.is_err() || output.flush().await.is_err() {
            return;
        }
        lines.clear();
    }
}

fn append(lines: &mut Vec<u8>, report: &Report) {
    let length = lines.len();
    match serde_json::to_writer(&mut *lines, report) {
        Ok(()) => lines.push(b'\n'),
        // Numbers, names and maps with names as keys: there is no report that cannot be written.
        // If there ever were, half a line must not spoil the next.
        Err(_) => lines.truncate(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn departures_beyond_the_bound_are_counted_and_told_at_the_next_tick() {
        let (reporter, mut queue) = Reporter::new();
        for _ in 0..CLIENT_GONE_PER_SECOND + 3 {
            reporter.client_gone(None, UpstreamInfo::default());
        }
        reporter.tick();
        reporter.client_gone(Some(7), UpstreamInfo::default());
        reporter.close();
        let mut reports = Vec::new();
        while let Some(report) = queue.recv().await {
            reports.push(report);
        }
        let told = CLIENT_GONE_PER_SECOND as usize;
        assert_eq!(reports[told], Report::Dropped { count: 3 });
        let Report::Stats(stats) = &reports[told + 1] else {
            panic!("expected the counts, not {:?}", reports[told + 1]);
        };
        assert_eq!(
            stats.errors[&HopError::ClientGone],
            u64::from(CLIENT_GONE_PER_SECOND) + 3,
            "counts are complete even where reports are not"
        );
        assert!(matches!(reports[told + 2], Report::ClientGone { request_id: Some(7), .. }));
    }

    #[tokio::test]
    async fn retries_beyond_the_bound_are_counted_with_those_like_them() {
        let (reporter, mut queue) = Reporter::new();
        let hidden = |pod: &str| UpstreamInfo {
            pod: Some(pod.into()),
            error: Some(HopError::Eof),
            tries: 1,
            ..UpstreamInfo::default()
        };
        for index in 0..RETRIED_PER_SECOND + 5 {
            let pod = if index % 2 == 0 { "a" } else { "b" };
            reporter.retried(Some(u64::from(index)), true, hidden(pod));
        }
        reporter.retried(None, false, hidden("a"));
        reporter.tick();
        reporter.retried(Some(7), true, hidden("a"));
        reporter.close();
        let mut told = Vec::new();
        while let Some(report) = queue.recv().await {
            if let Report::Retried { n, request_id, rescued, info } = report {
                told.push((n, request_id, rescued, info.pod.unwrap_or_default()));
            }
        }
        let one_by_one = RETRIED_PER_SECOND as usize;
        assert!(told[..one_by_one].iter().all(|(n, id, ..)| *n == 1 && id.is_some()));
        assert_eq!(
            told[one_by_one..],
            [
                (1, None, false, "a".into()),
                (3, None, true, "a".into()),
                (2, None, true, "b".into()),
                (1, Some(7), true, "a".into()),
            ],
            "none is lost"
        );
    }

    #[tokio::test]
    async fn kinds_of_retries_beyond_their_bound_are_told_as_left_out() {
        let (reporter, mut queue) = Reporter::new();
        for index in 0..RETRIED_PER_SECOND as usize + RETRIED_GROUPS_MAX + 2 {
            let pod = Some(index.to_string());
            reporter.retried(None, true, UpstreamInfo { pod, ..UpstreamInfo::default() });
        }
        reporter.tick();
        reporter.close();
        let mut dropped = None;
        while let Some(report) = queue.recv().await {
            if let Report::Dropped { count } = report {
                dropped = Some(count);
            }
        }
        assert_eq!(dropped, Some(2));
    }

    #[tokio::test]
    async fn a_queue_that_nobody_reads_stays_within_its_bound() {
        let (reporter, mut queue) = Reporter::new();
        for index in 0..2 * QUEUE_MAX {
            reporter.error(index.to_string());
        }
        reporter.tick();
        assert_eq!(queue.len(), QUEUE_MAX);
        queue.recv().await;
        queue.recv().await;
        reporter.tick();
        reporter.close();
        let mut last = Vec::new();
        while let Some(report) = queue.recv().await {
            last.push(report);
        }
        let count = QUEUE_MAX as u64 + 1;
        assert_eq!(last[last.len() - 2], Report::Dropped { count });
    }

    #[tokio::test]
    async fn a_closed_output_ends_the_writing_quietly() {
        let (reporter, queue) = Reporter::new();
        let (output, input) = tokio::io::duplex(64);
        drop(input);
        reporter.error("lost".into());
        write_out(queue, output).await;
        reporter.error("lost too".into());
        assert_eq!(reporter.dropped.get(), 1);
    }
}
