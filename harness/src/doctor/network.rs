//! Ports, queues, loopback addresses.

use std::net::{Ipv4Addr, TcpListener};

use super::{Check, read_small};

/// Ports that short runs without keep-alive use up: 28,000 is Linux' default, and at 60 s of
/// TIME_WAIT it carries 470 new connections per second to one address.
const PORTS_WANTED: u32 = 20_000;
/// The accept queue that the bundled service asks for.
const BACKLOG_WANTED: u32 = 1024;
/// How many loopback addresses are tried: the pods of a common scenario.
const ADDRESSES: u8 = 8;

pub(super) fn examine() -> Vec<Check> {
    let ports = read_small("/proc/sys/net/ipv4/ip_local_port_range");
    let backlog = read_small("/proc/sys/net/core/somaxconn");
    let refused = (1..=ADDRESSES)
        .map(|last| Ipv4Addr::new(127, 1, 0, last))
        .find_map(|address| Some((address, TcpListener::bind((address, 0)).err()?)))
        .map(|(address, error)| format!("{address}: {error}"));
    let mut checks: Vec<Check> = ports_check(ports.as_deref()).into_iter().collect();
    checks.extend(backlog_check(backlog.as_deref()));
    checks.push(addresses_check(refused.as_deref()));
    checks
}

/// `text` is `ip_local_port_range`; no check where there is none.
fn ports_check(text: Option<&str>) -> Option<Check> {
    let mut ends = text?.split_whitespace().map(str::parse::<u32>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    let count = high.checked_sub(low)? + 1;
    let found = format!("{count} ({low} to {high})");
    Some(if count >= PORTS_WANTED {
        Check::ok("ephemeral ports", found)
    } else {
        Check::warn(
            "ephemeral ports",
            found,
            "runs without keepAlive use them up; \
             `sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"`",
        )
    })
}

/// `text` is `somaxconn`; no check where there is none.
fn backlog_check(text: Option<&str>) -> Option<Check> {
    let limit: u32 = text?.parse().ok()?;
    Some(if limit >= BACKLOG_WANTED {
        Check::ok("accept queue", format!("{limit} at most"))
    } else {
        Check::warn(
            "accept queue",
            format!("{limit} at most"),
            format!(
                "bursts of new connections wait for a SYN to be resent; \
                 `sysctl -w net.core.somaxconn={BACKLOG_WANTED}`"
            ),
        )
    })
}

/// `refused` is the first address of 127.1.0.0/24 that could not be bound, and why.
fn addresses_check(refused: Option<&str>) -> Check {
    let name = "loopback addresses";
    match refused {
        None => Check::ok(name, format!("127.1.0.1 to 127.1.0.{ADDRESSES} can be bound")),
        Some(refused) => Check::warn(
            name,
            format!("not all can be bound ({refused})"),
            "pods share 127.0.0.1, so a service that binds loopback only is not caught; on macOS \
             `sudo ifconfig lo0 alias 127.1.0.N`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn few_ports_and_short_queues_are_warned_of() {
        let ports = |text| ports_check(Some(text)).map(|check| check.status);
        assert_eq!(ports("32768\t60999"), Some(Status::Ok));
        assert_eq!(ports("50000 50100"), Some(Status::Warn));
        assert_eq!(ports("60999 32768"), None);
        assert_eq!(ports("many"), None);
        assert_eq!(ports_check(None), None);
        let backlog = |text| backlog_check(Some(text)).map(|check| check.status);
        assert_eq!(backlog("4096"), Some(Status::Ok));
        assert_eq!(backlog("128"), Some(Status::Warn));
        assert_eq!(backlog(""), None);
        assert_eq!(addresses_check(None).status, Status::Ok);
        assert_eq!(addresses_check(Some("127.1.0.1: no")).status, Status::Warn);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_gives_every_pod_an_address_of_its_own() {
        let checks = examine();
        let addresses = checks.iter().find(|check| check.name == "loopback addresses");
        assert_eq!(addresses.map(|check| check.status), Some(Status::Ok));
    }
}
