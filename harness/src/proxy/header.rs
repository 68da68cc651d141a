//! `x-highwater-upstream`: what the proxy did towards the pod, in each answer that it gives.

use std::fmt;

use highwater_model::{
    outcome::{Connection, Hop, HopError},
    time::{Nanos, Timestamp},
};
use serde::{Deserialize, Serialize};

/// The header's name.
pub const NAME: &str = crate::load::response::UPSTREAM_HEADER;

/// What the proxy did towards the pod. Instants are readings of the machine's monotonic clock.
///
/// Written as `worker=0;tries=1;start=..;end=..;pod=v1-1;conn=17;opened=..;served=3;idle=..;error=reset`;
/// the parts from `pod` on are absent where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpstreamInfo {
    /// Which worker.
    pub worker: u32,
    /// How many tries.
    pub tries: u32,
    /// When the last try began.
    pub start_mono_ns: u64,
    /// When it ended: the answer's head, or the error.
    pub end_mono_ns: u64,
    /// The pod it tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its connection to the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<UpstreamConnection>,
    /// What it met; `None` if the pod answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<HopError>,
}

/// A connection of the proxy to a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpstreamConnection {
    /// Unique within the proxy.
    pub id: u64,
    /// When it was begun.
    pub opened_mono_ns: u64,
    /// Requests answered on it before.
    pub served: u64,
    /// How long it had been idle.
    pub idle_ns: u64,
}

impl fmt::Display for UpstreamInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, tries, start_mono_ns, end_mono_ns, .. } = self;
        write!(f, "worker={worker};tries={tries};start={start_mono_ns};end={end_mono_ns}")?;
        if let Some(pod) = &self.pod {
            write!(f, ";pod={pod}")?;
        }
        if let Some(UpstreamConnection { id, opened_mono_ns, served, idle_ns }) = self.connection {
            write!(f, ";conn={id};opened={opened_mono_ns};served={served};idle={idle_ns}")?;
        }
        match self.error {
            Some(error) => write!(f, ";error={}", error.name()),
            None => Ok(()),
        }
    }
}

/// Reads a header's value; `None` if it is not one of ours.
pub fn parse(text: &str) -> Option<UpstreamInfo> {
    let mut info = UpstreamInfo::default();
    let mut connection = UpstreamConnection::default();
    let mut has = (false, false);
    for part in text.split(';') {
        let (key, value) = part.split_once('=')?;
        let number = || value.parse::<u64>().ok();
        match key {
            "worker" => (info.worker, has.0) = (u32::try_from(number()?).ok()?, true),
            "tries" => info.tries = u32::try_from(number()?).ok()?,
            "start" => info.start_mono_ns = number()?,
            "end" => info.end_mono_ns = number()?,
            "pod" => info.pod = Some(value.into()),
            "conn" => (connection.id, has.1) = (number()?, true),
            "opened" => connection.opened_mono_ns = number()?,
            "served" => connection.served = number()?,
            "idle" => connection.idle_ns = number()?,
            "error" => info.error = Some(HopError::from_name(value)?),
            // A newer proxy may say more.
            _ => {}
        }
    }
    info.connection = has.1.then_some(connection);
    has.0.then_some(info)
}

impl UpstreamInfo {
    /// In the record's terms; `run_start_mono_ns` is the run's start on the machine's clock.
    pub fn to_hop(&self, run_start_mono_ns: u64) -> Hop {
        let at = |mono: u64| Timestamp(mono.saturating_sub(run_start_mono_ns));
        Hop {
            consumer: self.worker,
            error: self.error,
            pod: self.pod.clone(),
            connection: self.connection.map(|connection| Connection {
                id: connection.id,
                opened: at(connection.opened_mono_ns),
                served: connection.served,
                idle: Nanos(connection.idle_ns),
            }),
            started: at(self.start_mono_ns),
            ended: at(self.end_mono_ns),
            tries: self.tries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            numbers in any::<(u32, u32, u64, u64, u64, u64, u64)>(),
            pod in proptest::option::of("[a-z0-9-]{1,63}"),
            is_connected in any::<bool>(),
            error in proptest::option::of(0..HopError::ALL.len()),
        ) {
            let (worker, tries, start_mono_ns, end_mono_ns, id, served, idle_ns) = numbers;
            let connection = UpstreamConnection { id, opened_mono_ns: start_mono_ns, served, idle_ns };
            let info = UpstreamInfo {
                worker, tries, start_mono_ns, end_mono_ns, pod,
                connection: is_connected.then_some(connection),
                error: error.map(|index| HopError::ALL[index]),
            };
            prop_assert_eq!(parse(&info.to_string()), Some(info));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
