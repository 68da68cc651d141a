//! What a generator is told and says.

use std::net::SocketAddr;

use highwater_model::{
    load::{Profile, Schedule, Share},
    spec::{PathKind, Phase, Scenario},
    time::{Nanos, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Kind, protocol::FRAME_BYTES_MAX},
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

/// The longest plan: what a frame between the harness and a generator may hold, less a quarter.
const PLAN_BYTES_MAX: usize = FRAME_BYTES_MAX / 4 * 3;
/// The most requests of traces in a plan, at up to 24 bytes each.
const PLAN_TRACE_REQUESTS_MAX: u64 = 500_000;

/// What of a scenario is too long to be sent to generators: the key, and why.
pub fn too_long(scenario: &Scenario) -> Option<(String, String)> {
    let traced = |phase: &Phase| {
        phase.trace.as_ref().and_then(|trace| trace.data.as_ref()).map_or(0, |data| data.requests)
    };
    let phases = &scenario.traffic.phases;
    let requests: u64 = phases.iter().map(traced).sum();
    if requests > PLAN_TRACE_REQUESTS_MAX {
        let longest = (0..phases.len()).max_by_key(|index| traced(&phases[*index]))?;
        let message = format!(
            "its {requests} requests are more than generator pods are told \
             ({PLAN_TRACE_REQUESTS_MAX}); cut it by `until`, or use traffic.generators: local"
        );
        return Some((format!("traffic.phases[{longest}].trace"), message));
    }
    let mut length = Length(0);
    // Writing to a counter does not fail, and a scenario has no key that JSON cannot say.
    let _ = serde_json::to_writer(&mut length, &scenario.traffic);
    (length.0 > PLAN_BYTES_MAX).then(|| {
        let message = format!(
            "takes {} bytes to send to generator pods; {PLAN_BYTES_MAX} are the most: make its \
             curves coarser or the bodies of its requests shorter",
            length.0
        );
        ("traffic".into(), message)
    })
}

/// Counts bytes.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::spec::{RequestKind, Trace, TraceBuilder};

    #[test]
    fn curves_and_traces_survive_the_way_and_what_is_too_long_is_refused_by_name() {
        let mut here = plan(Share { index: 1, of: 2 });
        let curve = serde_json::json!({
            "sum": [{"curve": {"points": [["0s", "1/s"], ["7s", "33.3333333333/s"]]}}]});
        let trace = |requests: u64| {
            let mut builder = TraceBuilder::default();
            for number in 0..requests {
                builder.push(Nanos(number * 999_983), Some((number % 2) as u32)).unwrap();
            }
            let kind = |path: &str| RequestKind { get: Some(path.into()), ..Default::default() };
            let data = builder.finish(Nanos::from_secs(600), vec![kind("/a"), kind("/b")]);
            let trace = Trace { file: "a".into(), data: data.ok(), ..Trace::default() };
            Phase { trace: Some(trace), scale: Some(0.7), ..Phase::default() }
        };
        here.scenario.traffic.phases.push(serde_json::from_value(curve).unwrap());
        here.scenario.traffic.phases.push(trace(3_000));
        let line = serde_json::to_string(&Order::Plan(Box::new(here.clone()))).unwrap();
        let Order::Plan(there) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(*there, here);
        let arrivals: Vec<_> = here.schedule().unwrap().collect();
        assert!(arrivals.iter().any(|arrival| arrival.kind == Some(1)));
        assert!(there.schedule().unwrap().eq(arrivals));
        assert_eq!(too_long(&here.scenario), None);

        here.scenario.traffic.phases[4] = trace(500_001);
        let (path, why) = too_long(&here.scenario).expect("too long");
        assert_eq!(path, "traffic.phases[4].trace");
        assert!(why.contains("500001 requests"), "{why}");
        here.scenario.traffic.phases.truncate(1);
        let body = Some("x".repeat(1 << 20));
        let kind = RequestKind { post: Some("/".into()), body, ..RequestKind::default() };
        here.scenario.traffic.requests = vec![kind; 13];
        assert_eq!(too_long(&here.scenario).expect("too long").0, "traffic");
    }

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
