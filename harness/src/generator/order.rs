//! What a generator is told and says.

use std::net::SocketAddr;

use highwater_model::{
    load::{Profile, Schedule, Share},
    spec::{PathKind, Scenario},
    time::{Nanos, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    agent::Kind,
    clock::RunClock,
    load::{self, Route, request},
    record::Limits,
};

/// The kind of agent that a generator is.
#[derive(Debug)]
pub struct Generator;

impl Kind for Generator {
    const NAME: &'static str = "generator";
    type Order = Order;
    type Word = Word;
}

/// What a generator is told, in this order; `Stop` at any time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Order {
    /// What its traffic is.
    Plan(Box<Plan>),
    /// When it begins.
    Start {
        /// What the generator's own monotonic clock read at the start of the run.
        run_start_mono_ns: i64,
        /// When the traffic starts, on the run's axis.
        traffic_start: Timestamp,
    },
    /// Owe nothing more; let what is in flight end.
    Stop {},
}

/// All that a generator needs to know of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// The scenario: its traffic and its seed are what counts.
    pub scenario: Scenario,
    /// Which part of the traffic it is.
    pub share: Share,
    /// Where to connect, as `host:port`; a name is looked up once, by the generator.
    pub address: String,
    /// The Host header of requests.
    pub host: String,
    /// What is asked for if the scenario names no requests.
    pub default_path: String,
}

/// What a generator says beside lines of the record, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Word {
    /// The plan makes sense.
    Ready {
        /// Where it will connect.
        address: SocketAddr,
        /// The limits that it may run into.
        limits: Limits,
    },
    /// It knows when to start.
    Started {
        /// How long after that instant it learned of it: zero, unless something was slow.
        late: Nanos,
    },
    /// Every request of its share that was owed has its outcome.
    Finished {},
}

/// A plan that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such share.
    #[error("share {} of {} is none", .0.index, .0.of)]
    Share(Share),
    /// A phase has no shape.
    #[error("phase {0} of the traffic: {1}")]
    Phase(usize, &'static str),
    /// Nothing can be asked for.
    #[error("the traffic has no kind of request that can be sent")]
    Requests,
}

impl Plan {
    /// Checks what [`Self::load`] needs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), OrderError> {
        if !self.share.is_valid() {
            return Err(OrderError::Share(self.share));
        }
        self.schedule()?;
        if self.kinds().is_empty() {
            return Err(OrderError::Requests);
        }
        Ok(())
    }

    /// When each request is owed, those of all shares.
    ///
    /// # Errors
    /// [`OrderError::Phase`].
    pub fn schedule(&self) -> Result<Schedule, OrderError> {
        let Scenario { traffic, seed, .. } = &self.scenario;
        let profile = Profile::new(traffic).map_err(|(at, why)| OrderError::Phase(at, why))?;
        Ok(Schedule::new(profile, traffic.arrivals, *seed))
    }

    fn kinds(&self) -> Vec<request::CompiledKind> {
        request::compile(&self.scenario.traffic, &self.default_path, &self.host)
    }

    /// What the load engine is to do.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn load(
        &self,
        address: SocketAddr,
        clock: RunClock,
        start: Timestamp,
    ) -> Result<load::Config, OrderError> {
        self.check()?;
        let mut traffic = self.scenario.traffic.clone();
        traffic.max_connections = self.share.part(traffic.max_connections);
        Ok(load::Config {
            clock,
            start,
            schedule: self.schedule()?,
            share: self.share,
            kinds: self.kinds(),
            traffic,
            route: match self.scenario.path.kind {
                PathKind::L4 => Route::Service(address),
                PathKind::L7 => Route::Proxy(address),
            },
            // A proxy in pods has a clock of its own, and so tells instants on the run's axis.
            proxy_clock: RunClock::with_start(0),
            seed: self.scenario.seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(share: Share) -> Plan {
        let scenario = serde_json::json!({
            "name": "test",
            "seed": 5,
            "path": {"kind": "l4"},
            "traffic": {
                "maxConnections": 10,
                "phases": [
                    {"hold": "33.333333333333336/s", "for": "3s"},
                    {"ramp": {"to": "0.1/s"}, "over": "1m1s1ms1us1ns"},
                    {"hold": "100000/m", "for": "500ms"},
                ],
            },
        });
        Plan {
            scenario: serde_json::from_value(scenario).unwrap(),
            share,
            address: "10.96.0.1:80".into(),
            host: "web".into(),
            default_path: "/work".into(),
        }
    }

    #[test]
    fn a_plan_means_the_same_on_both_ends_to_the_last_arrival() {
        let here = plan(Share { index: 2, of: 3 });
        let line = serde_json::to_string(&Order::Plan(Box::new(here.clone()))).unwrap();
        let Order::Plan(there) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(*there, here);
        let arrivals: Vec<_> = here.schedule().unwrap().collect();
        assert!(arrivals.len() > 1_000);
        assert!(there.schedule().unwrap().eq(arrivals));
    }

    #[test]
    fn connections_are_shared_out_and_none_is_forgotten() {
        let address = "10.96.0.1:80".parse().unwrap();
        let caps = Share::all(3).map(|share| {
            let config = plan(share).load(address, RunClock::with_start(0), Timestamp(1));
            config.unwrap().traffic.max_connections
        });
        assert_eq!(caps.collect::<Vec<_>>(), [4, 3, 3]);
    }

    #[test]
    fn plans_that_make_no_sense_are_refused() {
        let share = Share { index: 3, of: 3 };
        assert_eq!(plan(share).check(), Err(OrderError::Share(share)));
        assert!(plan(Share { index: 0, of: 0 }).check().is_err());
        let mut wrong = plan(Share::WHOLE);
        wrong.scenario.traffic.phases[1].over = None;
        assert!(matches!(wrong.check(), Err(OrderError::Phase(1, _))));
        let text = serde_json::to_string(&Order::Stop {}).unwrap();
        assert_eq!(text, r#"{"stop":{}}"#);
    }
}
