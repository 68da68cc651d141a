//! Reading what comes, and what becomes of each attempt.

use highwater_model::{
    outcome::{Failure, Hop, Outcome, OutcomeGroup},
    time::Timestamp,
};

use super::{Engine, READS_MAX};
use crate::{
    clock,
    load::{
        Route,
        connection::{ReadEnd, State, broken_outcome, connect_outcome},
        poll::Ready,
        recorder::Times,
        response,
    },
};

impl Engine {
    pub(super) fn on_ready(&mut self, event: Ready) {
        let Some(Some(conn)) = self.slots.get_mut(event.slot) else {
            return;
        };
        if conn.state == State::Connecting {
            match conn.socket.take_error() {
                Ok(None) => {
                    conn.state = State::Busy;
                    self.interest(event.slot, false);
                    self.write_request(event.slot);
                }
                Ok(Some(error)) | Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.fail(event.slot, connect_outcome(errno), Some(errno));
                }
            }
            return;
        }
        if event.writable && !conn.unwritten.is_empty() {
            let written = conn.write(&[]);
            let is_done = conn.unwritten.is_empty();
            if written.is_ok() && is_done {
                self.interest(event.slot, false);
            }
            if written.is_err() {
                return self.after_write(event.slot, written);
            }
        }
        if event.readable {
            self.read(event.slot, None);
        }
    }

    /// Reads what there is. `write_errno`: writing failed just now, so nothing more will come
    /// than what is there already.
    pub(super) fn read(&mut self, slot: usize, write_errno: Option<i32>) {
        for _ in 0..READS_MAX {
            let Some(conn) = &mut self.slots[slot] else {
                return;
            };
            let n = match conn.read(&mut self.buffer) {
                Ok(n) => n,
                Err(ReadEnd::Blocked) => {
                    if let Some(errno) = write_errno {
                        self.ended(slot, ReadEnd::Broken(errno));
                    }
                    return;
                }
                Err(end) => return self.ended(slot, end),
            };
            let now = self.config.clock.now();
            let Some(attempt) = &mut conn.attempt else {
                // Bytes that nobody asked for.
                return self.close(slot);
            };
            attempt.first_byte.get_or_insert(now);
            let expected = self.config.kinds[usize::from(attempt.kind)].expect.body.as_deref();
            match conn.parser.feed(&self.buffer[..n], expected.map(str::as_bytes)) {
                Ok(response::Progress::Partial) => {}
                Ok(response::Progress::Done(used)) => return self.answered(slot, used == n, now),
                Err(_) => return self.fail(slot, Outcome::BadResponse, None),
            }
            if n < self.buffer.len() && write_errno.is_none() {
                return;
            }
        }
    }

    /// The stream ended, idle or within an attempt.
    pub(super) fn ended(&mut self, slot: usize, end: ReadEnd) {
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else {
            return self.close(slot);
        };
        if end == ReadEnd::Eof && conn.parser.ends_at_eof() {
            return self.answered(slot, false, self.now());
        }
        let errno = match end {
            ReadEnd::Broken(errno) => Some(errno),
            ReadEnd::Eof | ReadEnd::Blocked => None,
        };
        let outcome = broken_outcome(end, attempt.first_byte.is_some(), conn.served);
        self.fail(slot, outcome, errno);
    }

    /// A whole answer is there since `now`. `is_clean`: nothing came after it.
    pub(super) fn answered(&mut self, slot: usize, is_clean: bool, now: Timestamp) {
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        let kind = &self.config.kinds[usize::from(attempt.kind)];
        let status = conn.parser.status;
        let outcome = if !kind.accepts(status) {
            match status {
                502 => Outcome::Status502,
                503 => Outcome::Status503,
                504 => Outcome::Status504,
                _ => Outcome::StatusOther,
            }
        } else if kind
            .expect
            .body
            .as_deref()
            .is_some_and(|body| !conn.parser.body_is(body.as_bytes(), true))
        {
            Outcome::WrongBody
        } else {
            Outcome::Ok
        };
        let is_kept = is_clean
            && self.config.traffic.keep_alive
            && conn.parser.keeps_alive
            && conn.unwritten.is_empty();
        self.finish(slot, outcome, None, now);
        if !is_kept {
            self.close(slot);
        } else if let Some(conn) = &mut self.slots[slot] {
            conn.served += 1;
            conn.state = State::Idle { since: now };
            self.idle.push_back((slot, conn.id));
        }
        if self.closed.is_some() {
            return self.next_of_loop(now);
        }
        self.serve_waiting();
    }

    pub(super) fn fail(&mut self, slot: usize, outcome: Outcome, errno: Option<i32>) {
        let now = self.now();
        self.finish(slot, outcome, errno, now);
        self.close(slot);
        self.rest(now);
        self.serve_waiting();
    }

    /// Records the attempt's one outcome.
    pub(super) fn finish(
        &mut self,
        slot: usize,
        outcome: Outcome,
        errno: Option<i32>,
        now: Timestamp,
    ) {
        let Some(conn) = &mut self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        if matches!(self.config.route, Route::Service(_)) {
            conn.remember_pod();
        }
        self.in_flight -= 1;
        if outcome.group() == OutcomeGroup::Unsent {
            self.counts.sent -= 1;
            self.recorder.unsent(outcome, attempt.phase, attempt.scheduled);
        } else {
            let times = Times { scheduled: attempt.scheduled, sent: attempt.sent, ended: now };
            self.recorder.ended(outcome, attempt.phase, times);
        }
        if outcome != Outcome::Ok {
            let carries_id = self.config.route.carries_id();
            let hop = carries_id
                .then(|| parse_hop(&conn.parser.upstream, &self.config.proxy_clock))
                .flatten();
            self.recorder.failure(Failure {
                n: 1,
                outcome,
                phase: attempt.phase,
                kind: attempt.kind,
                scheduled: attempt.scheduled,
                sent: attempt.sent,
                first_byte: attempt.first_byte,
                ended: now,
                status: (conn.parser.status > 0).then_some(conn.parser.status),
                errno,
                pod: hop
                    .as_ref()
                    .map_or_else(|| conn.failing_pod().map(Into::into), |hop| hop.pod.clone()),
                connection: Some(conn.identity()),
                hop,
                request_id: carries_id.then_some(attempt.number),
                consumer: conn.client,
            });
        }
        conn.attempt = None;
    }

    pub(super) fn close(&mut self, slot: usize) {
        if let Some(conn) = self.slots[slot].take() {
            self.poller.remove(&conn.socket);
            self.open -= 1;
            self.free.push(slot);
        }
    }

    fn serve_waiting(&mut self) {
        while let Some(waiting) = self.waiting.front().copied() {
            if !self.send(waiting) {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

fn parse_hop(header: &[u8], clock: &clock::RunClock) -> Option<Hop> {
    let text = std::str::from_utf8(header).ok().filter(|text| !text.is_empty())?;
    crate::proxy::header::parse(text).ok().map(|info| info.to_hop(clock))
}
