//! What an agent has said and not been acknowledged yet.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use super::{
    frame::{self, EncodeError},
    protocol::{BATCH_BYTES, FromAgent, Item},
};
use crate::record::Line;

/// Items in order, encoded, from the first that is not acknowledged.
#[derive(Debug)]
pub(super) struct Outbox {
    kept: VecDeque<Bytes>,
    /// The number of the first one kept.
    first: u64,
    bytes: usize,
    bytes_max: usize,
}

/// An item could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The harness has not acknowledged for too long.
    #[error("{0} bytes wait for the harness, which is the most that is kept")]
    Full(usize),
    /// It cannot be sent at all.
    #[error("something of the record cannot be sent: {0}")]
    Encode(#[from] EncodeError),
}

/// The harness says that it has what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item {seq} was acknowledged, and {last} is the last there is")]
pub(super) struct BadAck {
    seq: u64,
    last: u64,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: VecDeque::new(), first: 1, bytes: 0, bytes_max }
    }

    /// The number of the last item.
    pub(super) fn last(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// An item as it is sent, unless it was acknowledged or is still to come.
    pub(super) fn get(&self, seq: u64) -> Option<&Bytes> {
        self.kept.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// Forgets the items up to `seq`.
    pub(super) fn ack(&mut self, seq: u64) -> Result<(), BadAck> {
        if seq > self.last() {
            return Err(BadAck { seq, last: self.last() });
        }
        while self.first <= seq {
            if let Some(item) = self.kept.pop_front() {
                self.bytes -= item.len();
            }
            self.first += 1;
        }
        Ok(())
    }

    /// Keeps an item; lines become as many as their length asks for.
    ///
    /// # Errors
    /// If there is no room; the agent has then lost something and must end.
    pub(super) fn push<W: Serialize>(&mut self, item: Item<W>) -> Result<(), KeepError> {
        match item {
            Item::Lines(lines) => self.push_lines(&lines),
            item => {
                let seq = self.last() + 1;
                self.keep(frame::encode(&FromAgent::Item { seq, item })?)
            }
        }
    }

    /// Each line is encoded once, so the frame around them is put together by hand.
    fn push_lines(&mut self, lines: &[Line]) -> Result<(), KeepError> {
        let mut lines = lines.iter().peekable();
        while lines.peek().is_some() {
            let seq = self.last() + 1;
            let mut batch = format!(r#"{{"item":{{"seq":{seq},"item":{{"lines":["#).into_bytes();
            let begin = batch.len();
            while batch.len() - begin < BATCH_BYTES
                && let Some(line) = lines.next()
            {
                if batch.len() > begin {
                    batch.push(b',');
                }
                serde_json::to_writer(&mut batch, line).map_err(EncodeError::from)?;
            }
            batch.extend_from_slice(b"]}}}");
            self.keep(frame::finish(batch)?)?;
        }
        Ok(())
    }

    fn keep(&mut self, item: Bytes) -> Result<(), KeepError> {
        if self.bytes + item.len() > self.bytes_max {
            return Err(KeepError::Full(self.bytes));
        }
        self.bytes += item.len();
        self.kept.push_back(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Sample, Window};

    type Frame = FromAgent<u8>;

    fn window(second: u64) -> Line {
        Line::Window(Window { second, phase: 0, owed: 1, outcomes: Default::default() })
    }

    fn read(bytes: &Bytes) -> (u64, Item<u8>) {
        match serde_json::from_slice::<Frame>(bytes).expect("a frame") {
            FromAgent::Item { seq, item } => (seq, item),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn items_are_numbered_and_kept_until_acknowledged() {
        let mut outbox = Outbox::new(1 << 20);
        let lines = vec![window(1), Line::Sample(Sample::default())];
        outbox.push(Item::<u8>::Lines(lines.clone())).expect("room");
        outbox.push(Item::Word(7u8)).expect("room");
        outbox.push(Item::<u8>::Broken { reason: "x".into() }).expect("room");
        assert_eq!(read(outbox.get(1).unwrap()), (1, Item::Lines(lines)));
        assert_eq!(read(outbox.get(2).unwrap()), (2, Item::Word(7)));
        assert_eq!((outbox.last(), outbox.get(0), outbox.get(4)), (3, None, None));
        outbox.ack(2).expect("was sent");
        outbox.ack(1).expect("an old one says nothing new");
        assert_eq!((outbox.get(2), outbox.get(3).is_some()), (None, true));
        assert_eq!(outbox.ack(4), Err(BadAck { seq: 4, last: 3 }));
        outbox.ack(3).expect("was sent");
        assert!(outbox.is_empty() && outbox.bytes == 0 && outbox.last() == 3);
    }

    #[test]
    fn many_lines_go_in_bounded_batches_in_order() {
        let mut outbox = Outbox::new(64 << 20);
        outbox.push(Item::<u8>::Lines((0..40_000).map(window).collect())).expect("room");
        assert!(outbox.last() >= 2);
        let mut seconds = Vec::new();
        for seq in 1..=outbox.last() {
            let frame = outbox.get(seq).unwrap();
            assert!(frame.len() < BATCH_BYTES + 1000, "{} bytes", frame.len());
            let (_, Item::Lines(lines)) = read(frame) else { panic!("lines") };
            seconds.extend(lines.into_iter().map(|line| match line {
                Line::Window(window) => window.second,
                other => panic!("{other:?}"),
            }));
        }
        assert!(seconds.into_iter().eq(0..40_000));
        outbox.push(Item::<u8>::Lines(vec![])).expect("nothing");
    }

    #[test]
    fn what_does_not_fit_is_an_error_until_something_is_acknowledged() {
        let mut outbox = Outbox::new(150);
        outbox.push(Item::<u8>::Lines(vec![window(1)])).expect("room");
        let more = || Item::<u8>::Lines(vec![window(2)]);
        assert!(matches!(outbox.push(more()), Err(KeepError::Full(_))));
        outbox.ack(1).expect("was sent");
        outbox.push(more()).expect("room again");
    }
}
