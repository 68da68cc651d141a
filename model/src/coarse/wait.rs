//! How long requests wait for a server: closed forms.
//!
//! *Source*: A. K. Erlang 1917 (the probability of waiting, by the recursion of the loss formula);
//! A. M. Lee and P. A. Longton 1959 (the mean wait of M/G/c is `(1 + v) / 2` times that of M/M/c,
//! `v` the squared coefficient of variation of the service time); H. C. Tijms, *A First Course in
//! Stochastic Models* (2003) section 9.6, for taking the wait of those who wait as exponential. For
//! M/M/c all of it is exact.

use crate::erlang::erlang_c;

/// The wait in one queue with several servers, in equilibrium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wait {
    /// Share of requests that wait at all.
    pub share: f64,
    /// Mean wait of those, seconds.
    pub mean: f64,
}

impl Wait {
    /// Of requests that take `service` seconds in the mean, with the squared coefficient of
    /// variation `variation`, at a `utilization` below 1.
    pub fn new(servers: u32, service: f64, variation: f64, utilization: f64) -> Self {
        let utilization = utilization.clamp(0.0, 0.999);
        let share = erlang_c(servers, utilization);
        let mean =
            (1.0 + variation) / 2.0 * service / (f64::from(servers.max(1)) * (1.0 - utilization));
        Self { share, mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_wait_is_that_of_pollaczek_and_khinchine_for_one_server() {
        for (variation, utilization) in [(1.0, 0.5), (0.0, 0.8), (4.0, 0.9)] {
            let wait = Wait::new(1, 0.01, variation, utilization);
            let exact = utilization * 0.01 * (1.0 + variation) / 2.0 / (1.0 - utilization);
            assert!((wait.share * wait.mean - exact).abs() < 1e-12, "{variation} {utilization}");
        }
    }
}
