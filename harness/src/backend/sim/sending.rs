//! What a simulated client sent and when, for the audit of the arrivals: as a load engine counts it.

use std::collections::BTreeMap;

use highwater_model::{
    load::{Arrival, Profile, Share, Watch},
    spec,
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
        Self::of(plan.profile.clone(), plan.scenario.traffic.arrivals)
    }

    fn of(profile: Profile, arrivals: spec::Arrivals) -> Self {
        Self {
            profile,
            scheduled: Watch::new(arrivals, Share::WHOLE),
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

#[cfg(test)]
mod tests {
    use highwater_model::{load::Schedule, spec::Traffic};

    use super::*;

    /// What is counted if those of some numbers are sent late, or never; and the same counted by two
    /// watches from the beginning.
    fn counted(late: impl Fn(u64) -> Option<Nanos>) -> (Arrivals, Arrivals, u64) {
        let text = r#"{"phases": [{"hold": "200/s", "for": "20s"}]}"#;
        let traffic: Traffic = serde_json::from_str(text).expect("traffic");
        let profile = Profile::new(&traffic).expect("a profile");
        let mut sending = Sending::of(profile.clone(), traffic.arrivals);
        let [mut scheduled, mut sent] = [0; 2].map(|_| Watch::new(traffic.arrivals, Share::WHOLE));
        let mut seconds = 0;
        for arrival in Schedule::new(profile.clone(), traffic.arrivals, 7) {
            sending.owed(arrival);
            scheduled.see(&profile, arrival, arrival.at);
            if let Some(late) = late(arrival.number) {
                sending.sent(Timestamp::ZERO + arrival.at + late, arrival, late);
                sent.see(&profile, arrival, arrival.at + late);
                seconds += 1;
            }
        }
        let all: u64 = sending.take_sent_in().iter().map(|(_, n)| n).sum();
        assert_eq!((all, sending.take_sent_in()), (seconds, Vec::new()), "each is told once");
        let (scheduled, sent) = (scheduled.counts().clone(), sent.counts().clone());
        (sending.arrivals(), Arrivals { scheduled, sent }, seconds)
    }

    #[test]
    fn what_is_counted_once_is_what_two_would_count() {
        let late = Nanos::from_millis(3);
        type Row<'a> = (&'a str, &'a dyn Fn(u64) -> Option<Nanos>);
        let rows: [Row<'_>; 5] = [
            ("all at once", &|_| Some(Nanos::ZERO)),
            ("one is late", &|number| Some(if number == 500 { late } else { Nanos::ZERO })),
            ("the first is late", &|number| Some(if number == 0 { late } else { Nanos::ZERO })),
            ("some are never sent", &|number| (number % 100 != 7).then_some(Nanos::ZERO)),
            ("none after a while", &|number| (number < 1000).then_some(late)),
        ];
        for (why, late) in rows {
            let (found, expected, sent) = counted(late);
            assert_eq!(found, expected, "{why}");
            assert_eq!(found.sent.n, sent, "{why}");
        }
    }
}
