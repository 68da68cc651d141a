//! What a reverse proxy decides on the way to a pod: whom it sends a request to, whether it sends it
//! again, whom it passes over, what it answers by itself. `harness` asks here with sockets in hand,
//! [`sim`](crate::sim) in virtual time.
//!
//! 1. which endpoint: [`balance`], without those that failed: [`health`]
//! 2. whether another gets the request: [`retry`]
//! 3. what is told of that, in bounds: [`telling`]

pub mod balance;
pub mod health;
pub mod retry;
pub mod telling;

use crate::outcome::HopError;

/// How many idle connections to pods a worker keeps.
///
/// *Source*: ingress-nginx, `upstream-keepalive-connections`: 320.
pub const IDLE_MAX: usize = 320;

/// The status that nginx answers with (facts 4.2); 408 where the client was too slow to be sent
/// on.
pub fn status(error: HopError) -> u16 {
    match error {
        HopError::NoEndpoint => 503,
        HopError::ConnectTimeout | HopError::Timeout => 504,
        HopError::ClientGone => 408,
        HopError::ConnectRefused
        | HopError::ConnectUnreachable
        | HopError::ConnectOther
        | HopError::Reset
        | HopError::Eof
        | HopError::Truncated
        | HopError::BadResponse => 502,
    }
}
