//! An address and ports of its own for every pod.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

/// Ports below the range that outgoing connections draw from, so that no connection of the load
/// engine takes a pod's port between its choice and its use.
const FIRST_PORT: u16 = 10_000;

/// Gives out addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    next_port: u16,
    last_port: u16,
    taken: BTreeSet<u16>,
    can_alias: bool,
}

/// Where a pod listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodAddress {
    /// Its own address: 127.1.x.y where the system has all of 127/8, else 127.0.0.1.
    pub(super) ip: IpAddr,
    /// The main port.
    pub(super) port: u16,
    /// The port for probes.
    pub(super) health_port: u16,
}

impl PodAddress {
    /// Where requests go.
    pub(super) fn main(&self) -> SocketAddr {
        (self.ip, self.port).into()
    }

    /// Where probes of the bundled service go.
    pub(super) fn health(&self) -> SocketAddr {
        (self.ip, self.health_port).into()
    }
}

impl Addresses {
    pub(super) fn new() -> Self {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let first_ephemeral =
            range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
        let last_port =
            first_ephemeral.unwrap_or(32_768u16).saturating_sub(1).max(FIRST_PORT + 2_000);
        // Runs at the same time begin at different places; the check below does the rest.
        let spread = std::process::id() % u32::from(last_port - FIRST_PORT);
        Self {
            next_port: FIRST_PORT + spread as u16,
            last_port,
            taken: BTreeSet::new(),
            can_alias: TcpListener::bind((Ipv4Addr::new(127, 1, 0, 1), 0)).is_ok(),
        }
    }

    /// An address for pod `number`.
    ///
    /// # Errors
    /// If no port is free.
    pub(super) fn take(&mut self, number: u32) -> std::io::Result<PodAddress> {
        let ip = if self.can_alias {
            let [_, _, high, low] = (number % 60_000 + 1).to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        } else {
            Ipv4Addr::LOCALHOST
        };
        Ok(PodAddress { ip: ip.into(), port: self.free_port()?, health_port: self.free_port()? })
    }

    /// Gives an address back.
    pub(super) fn give_back(&mut self, address: PodAddress) {
        self.taken.remove(&address.port);
        self.taken.remove(&address.health_port);
    }

    fn free_port(&mut self) -> std::io::Result<u16> {
        for _ in FIRST_PORT..=self.last_port {
            let port = self.next_port;
            self.next_port = if port >= self.last_port { FIRST_PORT } else { port + 1 };
            // A target may bind any address, so the port must be free on all.
            if !self.taken.contains(&port)
                && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            {
                self.taken.insert(port);
                return Ok(port);
            }
        }
        Err(std::io::Error::new(
            std::io::ErrorKind::AddrInUse,
            "no port below the ephemeral range is free",
        ))
    }
}
