//! What the service says of its own life: JSON lines on stdout, one an event.

use std::{
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// The version of the lines.
pub const SCHEMA: &str = "lifecycle/v1";

/// Nanoseconds of the machine's monotonic clock.
pub fn mono_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Where the lines go.
#[derive(Clone, Debug)]
pub struct Feed {
    pod: String,
}

impl Feed {
    /// A feed that names this pod in each line.
    pub fn new(pod: &str) -> Self {
        Self { pod: pod.into() }
    }

    /// Tells an event with its details (an object).
    #[expect(
        clippy::disallowed_methods,
        reason = "the wall clock is part of the line, and decides nothing"
    )]
    pub fn tell(&self, event: &str, details: Value) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Map::new();
        line.insert("highwater".into(), json!(SCHEMA));
        line.insert("event".into(), json!(event));
        line.insert("monoNs".into(), json!(mono_ns()));
        line.insert(
            "time".into(),
            json!(rfc3339(since_epoch.as_secs(), since_epoch.subsec_nanos())),
        );
        line.insert("pod".into(), json!(self.pod));
        if let Value::Object(details) = details {
            line.extend(details);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let mut out = std::io::stdout().lock();
        // Nobody may be listening any more, and the service serves on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Seconds and nanoseconds since 1970 as `2026-11-23T05:58:00.000000000Z`.
pub fn rfc3339(seconds: u64, nanos: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{nanos:09}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000007Z"),
            (1_795_413_480, "2026-11-23T05:58:00.000000007Z"),
        ] {
            assert_eq!(rfc3339(seconds, 7), text);
        }
    }
}
