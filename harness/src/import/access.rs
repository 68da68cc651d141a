//! Access logs of servers and load balancers.
//!
//! *Source*: nginx `ngx_http_log_module` (combined), Apache `mod_log_config` (common, combined);
//! Envoy, "Default format string" of its access logs; AWS, "Access logs for your Application Load
//! Balancer".

use super::{entry::Raw, error::LineProblem};

/// `HOST - USER [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 2326 ...`
pub(super) fn combined(line: &str) -> Result<Raw<'_>, LineProblem> {
    let form = || LineProblem::NotOfForm("line of the common or combined log format");
    let (_, rest) = line.split_once(" [").ok_or_else(form)?;
    let (time, rest) = rest.split_once("] \"").ok_or_else(form)?;
    let is_time = time.len() >= 20 && time.as_bytes()[2] == b'/';
    if !is_time {
        return Err(form());
    }
    Ok(Raw::of_request_line(time, quoted(rest).ok_or_else(form)?))
}

/// `[2016-04-15T20:17:00.310Z] "POST /v1 HTTP/2" 204 - ...`
pub(super) fn envoy(line: &str) -> Result<Raw<'_>, LineProblem> {
    let form = || LineProblem::NotOfForm("line of Envoy's default log format");
    let rest = line.strip_prefix('[').ok_or_else(form)?;
    let (time, rest) = rest.split_once("] \"").ok_or_else(form)?;
    Ok(Raw::of_request_line(time, quoted(rest).ok_or_else(form)?))
}

/// `http 2018-07-02T22:23:00.186641Z app/... "GET http://host:80/ HTTP/1.1" ...`
///
/// The time is that of the answer; the three processing times before it are taken off by nobody,
/// since the log's own order is by that time.
pub(super) fn alb(line: &str) -> Result<Raw<'_>, LineProblem> {
    let form = || LineProblem::NotOfForm("line of an Application Load Balancer's log");
    let (_, rest) = line.split_once(' ').ok_or_else(form)?;
    let (time, rest) = rest.split_once(' ').ok_or_else(form)?;
    let (_, rest) = rest.split_once('"').ok_or_else(form)?;
    Ok(Raw::of_request_line(time, quoted(rest).ok_or_else(form)?))
}

/// What stands before the closing quote; `\"` closes nothing.
fn quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })?;
    Some(&text[..end])
}
