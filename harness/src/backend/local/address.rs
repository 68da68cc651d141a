//! An address and ports of its own for every pod.
//!
//! A pod binds its ports some time after they were chosen (a misbehaving one seconds later), so
//! "free when it was looked at" is not enough when several harnesses run at once. Each harness
//! owns whole blocks of ports, by an exclusive lock on a file per block, which the system drops
//! with the process, however it ends.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use rustix::fs::{FlockOperation, flock};

use crate::limits;

/// Ports below the range that outgoing connections draw from, so that no connection of the load
/// engine takes a pod's port between its choice and its use.
const FIRST_PORT: u16 = 10_000;
/// Ports of a block: a hundred pods.
const BLOCK_PORTS: u16 = 200;

/// Gives out addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    folder: PathBuf,
    blocks: u16,
    /// The blocks that are ours, with their locks.
    owned: Vec<(u16, File)>,
    taken: BTreeSet<u16>,
    last: u16,
    can_alias: bool,
}

/// Where a pod listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodAddress {
    /// Its own address: 127.x.y.z where the system has all of 127/8, else 127.0.0.1.
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
        Self::in_folder(std::env::temp_dir().join("highwater-ports"))
    }

    fn in_folder(folder: PathBuf) -> Self {
        let first_ephemeral = limits::ephemeral_ports().map_or(32_768, |(first, _)| first);
        let end = first_ephemeral.max(FIRST_PORT + BLOCK_PORTS);
        Self {
            folder,
            blocks: ((end - FIRST_PORT) / BLOCK_PORTS).min(256),
            owned: Vec::new(),
            taken: BTreeSet::new(),
            last: 0,
            can_alias: TcpListener::bind((Ipv4Addr::new(127, 1, 0, 1), 0)).is_ok(),
        }
    }

    /// An address for pod `number`: in a network of this harness's own.
    ///
    /// # Errors
    /// If no port is free.
    pub(super) fn take(&mut self, number: u32) -> io::Result<PodAddress> {
        let (port, health_port) = (self.free_port()?, self.free_port()?);
        let ip = if self.can_alias {
            let block = self.owned.first().map_or(0, |(block, _)| *block as u8);
            let (net, host) = (1 + number / 250 % 100, 1 + number % 250);
            Ipv4Addr::new(127, net as u8, block, host as u8)
        } else {
            Ipv4Addr::LOCALHOST
        };
        Ok(PodAddress { ip: ip.into(), port, health_port })
    }

    /// Gives an address back.
    pub(super) fn give_back(&mut self, address: PodAddress) {
        self.taken.remove(&address.port);
        self.taken.remove(&address.health_port);
    }

    fn free_port(&mut self) -> io::Result<u16> {
        loop {
            let mut ports: Vec<u16> = self
                .owned
                .iter()
                .flat_map(|(block, _)| {
                    (0..BLOCK_PORTS).map(move |index| FIRST_PORT + block * BLOCK_PORTS + index)
                })
                .collect();
            // Go on from the last one: a port that was given back rests for as long as it can.
            let after = ports.iter().position(|port| *port > self.last).unwrap_or(0);
            ports.rotate_left(after);
            // A target may bind any address, so the port must be free on all.
            let is_free = |port: &u16| {
                !self.taken.contains(port)
                    && TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
            };
            if let Some(port) = ports.into_iter().find(is_free) {
                self.taken.insert(port);
                self.last = port;
                return Ok(port);
            }
            self.own_block()?;
        }
    }

    /// Takes the first block that nobody has.
    fn own_block(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for block in 0..self.blocks {
            if self.owned.iter().any(|(known, _)| *known == block) {
                continue;
            }
            let path = self.folder.join(block.to_string());
            // A block whose lock belongs to another user is another user's.
            let Ok(file) = File::options().create(true).truncate(false).write(true).open(path)
            else {
                continue;
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                self.owned.push((block, file));
                return Ok(());
            }
        }
        let message = "all blocks of ports below the ephemeral range are in use; end other runs";
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_harnesses_share_neither_ports_nor_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let harness = || Addresses::in_folder(folder.path().join("ports"));
        let (mut one, mut two) = (harness(), harness());
        let (mut ports, mut ips) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..150 {
            for addresses in [&mut one, &mut two] {
                let address = addresses.take(number).unwrap();
                assert!(ports.insert(address.port) && ports.insert(address.health_port));
                assert!(ips.insert(address.ip) || !addresses.can_alias);
            }
        }
        assert!(one.owned.len() > 1, "a second block was needed");
        drop(one);
        // A process that another test is starting has a copy of every open file until it executes,
        // and with it of the lock.
        let is_free = || {
            let mut three = harness();
            three.take(0).unwrap();
            three.owned[0].0 == 0
        };
        let freed = (0..500).any(|_| {
            let is_free = is_free();
            if !is_free {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            is_free
        });
        assert!(freed, "the lock goes with its owner");
    }

    #[test]
    fn a_port_that_someone_else_listens_on_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let next = || Addresses::in_folder(folder.path().join("ports")).take(0).unwrap().port;
        let port = next();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_ne!(next(), port);
        drop(taken);
    }

    #[test]
    fn a_port_that_was_given_back_is_not_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::in_folder(folder.path().join("ports"));
        let first = addresses.take(0).unwrap();
        addresses.give_back(first);
        assert_ne!(addresses.take(1).unwrap().port, first.port);
    }
}
