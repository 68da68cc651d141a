//! The forms that are read, and how they are told apart.

use clap::ValueEnum;
use serde_json::Value;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// By its first line
    Auto,
    /// An access log of nginx or Apache, common or combined
    Combined,
    /// An access log of Envoy in its default format
    Envoy,
    /// An access log of an AWS Application Load Balancer
    Alb,
    /// A JSON object a line, each a request (with --rate-field: a point)
    Json,
    /// Comma-separated values, a request a line (with --rate-field: a point)
    Csv,
    /// The response of a range query of Prometheus, its values as requests per second
    Prometheus,
    /// What `k6 run --out json` writes
    K6Json,
    /// What `k6 run --out csv` writes
    K6Csv,
    /// What `vegeta encode --to json` writes
    VegetaJson,
    /// What `vegeta encode --to csv` writes
    VegetaCsv,
}

/// The form of a stream by its first bytes; `has_time` says that --time-field was given, so that any
/// JSON and CSV will do.
pub fn detect(head: &[u8], has_time: bool) -> Option<Format> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // It may end within a character.
        Err(error) if error.valid_up_to() + 4 > head.len() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    if first.starts_with('{') {
        return Some(object(first, text));
    }
    let words: Vec<&str> = first.split(' ').take(3).collect();
    let is_stamp = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() > 18 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T'
    };
    if first.strip_prefix('[').is_some_and(is_stamp) {
        return Some(Format::Envoy);
    }
    let kinds = ["http", "https", "h2", "ws", "wss", "grpcs"];
    if words.first().is_some_and(|word| kinds.contains(word))
        && words.get(1).is_some_and(|word| is_stamp(word))
    {
        return Some(Format::Alb);
    }
    if super::access::combined(first).is_ok() {
        return Some(Format::Combined);
    }
    if first.starts_with("metric_name,timestamp,") {
        return Some(Format::K6Csv);
    }
    let fields: Vec<&str> = first.split(',').collect();
    let is_digits =
        |text: &&str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fields.len() >= 10 && fields.first().is_some_and(is_digits) {
        return Some(Format::VegetaCsv);
    }
    let has_known = fields.iter().any(|field| {
        super::table::TIMES.contains(&field.trim().trim_matches('"').to_lowercase().as_str())
    });
    let begins_with_time = super::time::parse(fields[0].trim().trim_matches('"')).is_some();
    (has_time || has_known || begins_with_time).then_some(Format::Csv)
}

/// Which of the forms that begin with `{`.
fn object(first: &str, text: &str) -> Format {
    let has = |value: &Value, keys: &[&str]| keys.iter().all(|key| value.get(key).is_some());
    match serde_json::from_str::<Value>(first) {
        Ok(value) if has(&value, &["type", "metric", "data"]) => Format::K6Json,
        Ok(value) if has(&value, &["seq", "code", "timestamp", "latency"]) => Format::VegetaJson,
        Ok(value) if has(&value, &["status", "data"]) && value["data"]["result"].is_array() => {
            Format::Prometheus
        }
        Ok(_) => Format::Json,
        // Longer than what was looked at, or over several lines.
        Err(_) if text.contains("\"resultType\"") => Format::Prometheus,
        Err(_) => Format::Json,
    }
}
