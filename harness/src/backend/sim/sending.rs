//! What a simulated client sent and when, for the audit of the arrivals: as a load engine counts it.

use std::collections::BTreeMap;

use highwater_model::{
    load::{Arrival, Profile, Share, Watch},
    time::{Nanos, Timestamp},
};

use crate::{plan::Plan, record::Arrivals};

/// Counts what is owed and what is sent.
///
/// As long as every request is sent as it becomes due, both are the same, and are counted once.
#[derive(Debug)]
pub(super) struct Sending {
    profile: Profile,
    scheduled: Watch,
    /// `None` as long as it is the same.
    sent: Option<Watch>,
    /// The last one that became due, as long as both are the same: it may be sent at once.
    due: Option<Arrival>,
    /// By second: requests sent in it, since this was last taken.
    by_second: BTreeMap<u64, u64>,
}

impl Sending {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            profile: plan.profile.clone(),
            scheduled: Watch::new(plan.scenario.traffic.arrivals, Share::WHOLE),
            sent: None,
            due: None,
            by_second: BTreeMap::new(),
        }
    }

    /// A request is due.
    pub(super) fn owed(&mut self, arrival: Arrival) {
        if self.due.is_some() {
            self.part();
        }
        match self.sent {
            None => self.due = Some(arrival),
            Some(_) => self.scheduled.see(&self.profile, arrival, arrival.at),
        }
    }

    /// A request is sent at `at`, so long after it became due.
    pub(super) fn sent(&mut self, at: Timestamp, arrival: Arrival, late: Nanos) {
        *self.by_second.entry(at.second()).or_default() += 1;
        if late > Nanos::ZERO && self.sent.is_none() {
            self.part();
        }
        match &mut self.sent {
            Some(sent) => sent.see(&self.profile, arrival, arrival.at + late),
            None => {
                self.due = None;
                self.scheduled.see(&self.profile, arrival, arrival.at);
            }
        }
    }

    /// From now on both are counted.
    fn part(&mut self) {
        self.sent = Some(self.scheduled.clone());
        if let Some(due) = self.due.take() {
            self.scheduled.see(&self.profile, due, due.at);
        }
    }

    /// Requests by second that were sent since the last time.
    pub(super) fn take_sent_in(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.by_second).into_iter().collect()
    }

    /// What the arrivals were like.
    pub(super) fn arrivals(&mut self) -> Arrivals {
        if self.due.is_some() {
            self.part();
        }
        let scheduled = self.scheduled.counts().clone();
        let sent = self.sent.as_ref().map_or_else(|| scheduled.clone(), |it| it.counts().clone());
        Arrivals { scheduled, sent }
    }
}
