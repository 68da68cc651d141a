//! What became of the requests to the API server.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
};

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::RequestError;

/// How a request to the API server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 200.
    Ok,
    /// 409: somebody else wrote since it was read.
    Conflict,
    /// 429: the API server throttles.
    Throttled,
    /// Any other status.
    OtherStatus,
    /// No whole, readable answer: no token, no connection, no answer in time, not JSON.
    NoAnswer,
}

impl Class {
    const ALL: [Self; 5] =
        [Self::Ok, Self::Conflict, Self::Throttled, Self::OtherStatus, Self::NoAnswer];

    /// The class of a request's result.
    pub fn of<T>(result: &Result<T, RequestError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(RequestError::Status(StatusCode::CONFLICT)) => Self::Conflict,
            Err(RequestError::Status(StatusCode::TOO_MANY_REQUESTS)) => Self::Throttled,
            Err(RequestError::Status(_)) => Self::OtherStatus,
            Err(_) => Self::NoAnswer,
        }
    }

    /// Its label in the metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::OtherStatus => "other-status",
            Self::NoAnswer => "no-answer",
        }
    }
}

/// Counters of one replica's loop.
#[derive(Debug, Default)]
pub struct Counters {
    classes: [AtomicU64; Class::ALL.len()],
    changes: AtomicU64,
    last_other: AtomicU16,
}

impl Counters {
    /// Counts a request by its result.
    pub fn count<T>(&self, result: &Result<T, RequestError>) {
        if let Err(RequestError::Status(status)) = result
            && Class::of(result) == Class::OtherStatus
        {
            self.last_other.store(status.as_u16(), Ordering::Relaxed);
        }
        self.classes[Class::of(result) as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write that changed the replicas.
    pub fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, class: Class) -> u64 {
        self.classes[class as usize].load(Ordering::Relaxed)
    }

    /// The details of the lifecycle line: counts since the start. `lastOtherStatus` is the last
    /// status that has no count of its own (403: a missing right), 0 if there was none.
    pub fn details(&self) -> Value {
        json!({
            "requests": Class::ALL.iter().map(|class| self.get(*class)).sum::<u64>(),
            "ok": self.get(Class::Ok),
            "conflicts": self.get(Class::Conflict),
            "throttled": self.get(Class::Throttled),
            "otherStatus": self.get(Class::OtherStatus),
            "noAnswer": self.get(Class::NoAnswer),
            "changes": self.changes.load(Ordering::Relaxed),
            "lastOtherStatus": self.last_other.load(Ordering::Relaxed),
        })
    }

    /// Appends them to the metrics' page.
    ///
    /// # Errors
    /// If the page cannot be written; a string can.
    pub fn write(&self, page: &mut String) -> std::fmt::Result {
        let name = "highwater_self_scaling_requests_total";
        writeln!(page, "# HELP {name} Requests to the API server by result.")?;
        writeln!(page, "# TYPE {name} counter")?;
        for class in Class::ALL {
            writeln!(page, "{name}{{result=\"{}\"}} {}", class.label(), self.get(class))?;
        }
        let name = "highwater_self_scaling_changes_total";
        writeln!(page, "# HELP {name} Writes that changed the replicas.")?;
        writeln!(page, "# TYPE {name} counter")?;
        writeln!(page, "{name} {}", self.changes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_by_status_and_the_sum_is_the_whole() {
        let counters = Counters::default();
        let status = |code| Err(RequestError::Status(StatusCode::from_u16(code).expect("status")));
        let results: [Result<(), RequestError>; 8] = [
            Ok(()),
            Ok(()),
            status(409),
            status(429),
            status(500),
            status(403),
            Err(RequestError::TimedOut),
            Err(RequestError::TooLarge),
        ];
        results.iter().for_each(|result| counters.count(result));
        counters.count_change();
        let expected = json!({
            "requests": 8, "ok": 2, "conflicts": 1, "throttled": 1, "otherStatus": 2,
            "noAnswer": 2, "changes": 1, "lastOtherStatus": 403,
        });
        assert_eq!(counters.details(), expected);
        let mut page = String::new();
        counters.write(&mut page).expect("a string takes it");
        for line in [
            "highwater_self_scaling_requests_total{result=\"conflict\"} 1",
            "highwater_self_scaling_requests_total{result=\"no-answer\"} 2",
            "highwater_self_scaling_changes_total 1",
        ] {
            assert!(page.lines().any(|candidate| candidate == line), "{line} in\n{page}");
        }
    }
}
