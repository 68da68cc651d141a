//! Waiting for sockets, level-triggered, with time-outs finer than a millisecond.
//!
//! On Linux this is epoll with `epoll_pwait2` (5.11 and later); elsewhere poll(2), which costs
//! time in the number of connections and waits in whole milliseconds.
//!
//! Alarms are instants that are known ahead and end a wait. To have one set before it is the next
//! is what makes them cheap: the kernel programs the processor's timer for whoever is next while it
//! handles the one before. A wait's own time-out is set anew each time, and where the next timer of
//! all is set, the processor's is written, which in a virtual machine leaves the machine (5 to 9 µs
//! on the one of docs/performance.md).

use std::{io, io::Write as _, net::TcpStream, os::unix::net::UnixStream, time::Duration};

#[cfg(target_os = "linux")]
use epoll::Set;
#[cfg(not(target_os = "linux"))]
use fallback::Set;

/// A socket that can be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// As given to [`Poller::add`].
    pub(super) slot: usize,
    /// There is something to read, an end or an error included.
    pub(super) readable: bool,
    /// There is room to write, or an error.
    pub(super) writable: bool,
}

/// The slot of the waker's own socket.
const WAKER: usize = usize::MAX;
/// The slot of all alarms; all other slots are below.
const ALARM: usize = usize::MAX - 1;

/// How many alarms may be set at a time; one more takes the place of the oldest.
pub(super) const ALARMS: usize = 4;

/// A set of sockets to wait for.
#[derive(Debug)]
pub(super) struct Poller {
    set: Set,
    woken: UnixStream,
}

/// Ends a wait from another thread.
#[derive(Debug)]
pub(super) struct Waker(UnixStream);

impl Waker {
    /// Ends the present or the next wait.
    pub(super) fn wake(&self) {
        // A full pipe wakes as well, and a closed one means that nobody waits any more.
        let _ = (&self.0).write(&[1]);
    }

    /// Another handle of its stream, which ends when the poller is gone.
    #[cfg(test)]
    pub(super) fn stream(&self) -> io::Result<UnixStream> {
        self.0.try_clone()
    }
}

impl Poller {
    pub(super) fn new() -> io::Result<(Self, Waker)> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let mut set = Set::new()?;
        set.add(&woken, WAKER, false)?;
        Ok((Self { set, woken }, Waker(waker)))
    }

    /// Waits for `socket` to be readable, and writable too until [`Self::modify`] says otherwise.
    pub(super) fn add(&mut self, socket: &TcpStream, slot: usize) -> io::Result<()> {
        self.set.add(socket, slot, true)
    }

    /// Waits for `socket` to be readable, and writable if `is_writing`.
    pub(super) fn modify(
        &mut self,
        socket: &TcpStream,
        slot: usize,
        is_writing: bool,
    ) -> io::Result<()> {
        self.set.modify(socket, slot, is_writing)
    }

    /// Waits for `socket` no more; call before it is closed.
    pub(super) fn remove(&mut self, socket: &TcpStream) {
        self.set.remove(socket);
    }

    /// Ends the wait under way at `mono_ns` of the monotonic clock, if one is; only on Linux, and
    /// possibly not at all, so a wait needs a time-out as well.
    pub(super) fn alarm(&mut self, mono_ns: u64) {
        self.set.alarm(mono_ns);
    }

    /// Waits until something is ready, the time is over, an alarm goes off, or the waker was used.
    pub(super) fn wait(&mut self, time: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.set.wait(time, ready)?;
        let mut is_woken = false;
        ready.retain(|event| {
            is_woken |= event.slot == WAKER;
            event.slot < ALARM
        });
        if is_woken {
            let mut bytes = [0; 64];
            while matches!(io::Read::read(&mut self.woken, &mut bytes), Ok(n) if n == bytes.len()) {
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod epoll {
    use std::{
        io,
        mem::MaybeUninit,
        os::fd::{AsFd, OwnedFd},
        time::Duration,
    };

    use rustix::{
        event::{Timespec, epoll},
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
            timerfd_settime,
        },
    };

    use super::{ALARM, ALARMS, Ready};

    /// Sockets that are told of at once.
    const EVENTS: usize = 512;

    #[derive(Debug)]
    pub(super) struct Set {
        epoll: OwnedFd,
        alarms: [OwnedFd; ALARMS],
        oldest: usize,
    }

    fn timer(epoll: &OwnedFd) -> io::Result<OwnedFd> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // By edges, so that it need not be read: to set it again forgets that it went off.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &timer, epoll::EventData::new_u64(ALARM as u64), flags)?;
        Ok(timer)
    }

    fn flags(is_writing: bool) -> epoll::EventFlags {
        let readable = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if is_writing { readable | epoll::EventFlags::OUT } else { readable }
    }

    impl Set {
        pub(super) fn new() -> io::Result<Self> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let alarms = [timer(&epoll)?, timer(&epoll)?, timer(&epoll)?, timer(&epoll)?];
            Ok(Self { epoll, alarms, oldest: 0 })
        }

        pub(super) fn alarm(&mut self, mono_ns: u64) {
            let alarm = &self.alarms[self.oldest];
            self.oldest = (self.oldest + 1) % ALARMS;
            let it_value = Timespec {
                tv_sec: i64::try_from(mono_ns / 1_000_000_000).unwrap_or(i64::MAX),
                // Zero would stop the timer.
                tv_nsec: (mono_ns % 1_000_000_000).max(1) as _,
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let time = Itimerspec { it_interval, it_value };
            // It fails for times that are none, and then the time-out of the wait stands.
            let _ = timerfd_settime(alarm, TimerfdTimerFlags::ABSTIME, &time);
        }

        pub(super) fn add(
            &mut self,
            socket: &impl AsFd,
            slot: usize,
            is_writing: bool,
        ) -> io::Result<()> {
            let data = epoll::EventData::new_u64(slot as u64);
            Ok(epoll::add(&self.epoll, socket, data, flags(is_writing))?)
        }

        pub(super) fn modify(
            &mut self,
            socket: &impl AsFd,
            slot: usize,
            is_writing: bool,
        ) -> io::Result<()> {
            let data = epoll::EventData::new_u64(slot as u64);
            Ok(epoll::modify(&self.epoll, socket, data, flags(is_writing))?)
        }

        pub(super) fn remove(&mut self, socket: &impl AsFd) {
            // It fails only for sockets that are not in the set.
            let _ = epoll::delete(&self.epoll, socket);
        }

        pub(super) fn wait(&mut self, time: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let time = Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            let mut events = [const { MaybeUninit::uninit() }; EVENTS];
            let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&time)) {
                Ok(events) => events,
                Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let broken = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
            ready.extend(events.iter().map(|event| {
                // The fields of a packed struct are copied before use.
                let (flags, data) = (event.flags, event.data);
                Ready {
                    slot: data.u64() as usize,
                    readable: flags
                        .intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP | broken),
                    writable: flags.intersects(epoll::EventFlags::OUT | broken),
                }
            }));
            Ok(())
        }
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod fallback {
    use std::{
        collections::BTreeMap,
        io,
        os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
        time::Duration,
    };

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::Ready;

    #[derive(Debug)]
    pub(super) struct Set(BTreeMap<RawFd, (OwnedFd, usize, bool)>);

    impl Set {
        #[expect(clippy::unnecessary_wraps, reason = "epoll's twin can fail")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(BTreeMap::new()))
        }

        #[expect(clippy::unused_self, reason = "epoll's twin has alarms")]
        pub(super) fn alarm(&mut self, _: u64) {}

        pub(super) fn add(
            &mut self,
            socket: &impl AsFd,
            slot: usize,
            is_writing: bool,
        ) -> io::Result<()> {
            let fd = socket.as_fd();
            self.0.insert(fd.as_raw_fd(), (fd.try_clone_to_owned()?, slot, is_writing));
            Ok(())
        }

        pub(super) fn modify(
            &mut self,
            socket: &impl AsFd,
            slot: usize,
            is_writing: bool,
        ) -> io::Result<()> {
            self.add(socket, slot, is_writing)
        }

        pub(super) fn remove(&mut self, socket: &impl AsFd) {
            self.0.remove(&socket.as_fd().as_raw_fd());
        }

        pub(super) fn wait(&mut self, time: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
            let mut fds: Vec<PollFd<'_>> = self
                .0
                .values()
                .map(|(fd, _, is_writing)| {
                    let flags =
                        if *is_writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                    PollFd::new(fd, flags)
                })
                .collect();
            let time = Timespec {
                tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            match poll(&mut fds, Some(&time)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let broken = PollFlags::ERR | PollFlags::HUP;
            ready.extend(fds.iter().zip(self.0.values()).filter_map(|(fd, (_, slot, _))| {
                let flags = fd.revents();
                let event = Ready {
                    slot: *slot,
                    readable: flags.intersects(PollFlags::IN | broken),
                    writable: flags.intersects(PollFlags::OUT | broken),
                };
                (event.readable || event.writable).then_some(event)
            }));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LONG: Duration = Duration::from_secs(30);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (client, listener.accept().expect("a connection").0)
    }

    macro_rules! works {
        ($name:ident, $set:ty) => {
            #[test]
            fn $name() {
                let (client, mut server) = pair();
                let mut set = <$set>::new().expect("a set");
                set.add(&client, 7, true).expect("adds");
                // Centuries away.
                set.alarm(u64::MAX);
                let mut ready = Vec::new();
                set.wait(LONG, &mut ready).expect("waits");
                assert_eq!(ready, [Ready { slot: 7, readable: false, writable: true }]);

                set.modify(&client, 7, false).expect("modifies");
                ready.clear();
                set.wait(Duration::from_micros(100), &mut ready).expect("waits");
                assert_eq!(ready, [], "writable is not asked for any more");

                server.write_all(b"x").expect("writes");
                for _ in 0..2 {
                    ready.clear();
                    set.wait(LONG, &mut ready).expect("waits");
                    assert_eq!(
                        ready,
                        [Ready { slot: 7, readable: true, writable: false }],
                        "until it is read"
                    );
                }
                drop(server);
                set.remove(&client);
                ready.clear();
                set.wait(Duration::ZERO, &mut ready).expect("waits");
                assert_eq!(ready, []);
            }
        };
    }

    works!(epoll_tells_what_is_ready, Set);
    works!(the_fallback_tells_what_is_ready, fallback::Set);

    #[cfg(target_os = "linux")]
    #[test]
    fn alarms_end_waits_one_by_one_and_are_not_told_of() {
        let (mut poller, _waker) = Poller::new().expect("a poller");
        let mut ready = Vec::new();
        // More than there are timers, each a while after the one before.
        for _ in 0..2 * ALARMS {
            let at = crate::clock::mono_ns() + 2_000_000;
            poller.alarm(at);
            poller.wait(LONG, &mut ready).expect("waits");
            assert!(crate::clock::mono_ns() >= at, "not before its time");
            assert_eq!(ready, []);
            poller.wait(Duration::from_micros(100), &mut ready).expect("waits");
        }
        // All at a time, the last of which counts.
        let at = crate::clock::mono_ns() + 20_000_000;
        for number in 0..ALARMS as u64 {
            poller.alarm(at + number);
        }
        poller.wait(LONG, &mut ready).expect("waits");
        assert!(crate::clock::mono_ns() >= at && ready.is_empty());
    }

    #[test]
    fn a_waker_ends_a_wait_and_is_not_told_of() {
        let (mut poller, waker) = Poller::new().expect("a poller");
        waker.wake();
        let mut ready = Vec::new();
        poller.wait(LONG, &mut ready).expect("waits");
        assert_eq!(ready, []);
    }
}
