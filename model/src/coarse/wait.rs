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

    /// The wait of who is taken, and the share that is not, if `length` may wait at most.
    ///
    /// *Source*: M/M/c/K: the states of the queue without a bound, cut off and made one again.
    pub(super) fn in_a_queue_of(self, length: u32, utilization: f64) -> (Self, f64) {
        let rho = utilization.clamp(0.0, 0.999);
        let cut = libm::pow(rho, f64::from(length));
        let states = 1.0 - self.share * cut * rho;
        let full = self.share * (1.0 - rho) * cut / states;
        let share = self.share * (1.0 - cut) / states / (1.0 - full);
        // The mean place in the queue of who waits, of geometric places from 1 to `length`.
        let all = f64::from(length) * cut / (1.0 - cut).max(1e-12);
        let place = 1.0 / (1.0 - rho) - all;
        let one = self.mean * (1.0 - rho);
        (Self { share, mean: one * place.clamp(0.0, f64::from(length)) }, full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_queue_is_that_of_m_m_1_k() {
        // M/M/1/3: two may wait. States 0 to 3 are as 1, rho, rho^2, rho^3.
        let (service, rho) = (0.5, 0.8_f64);
        let (wait, full) = Wait::new(1, service, 1.0, rho).in_a_queue_of(2, rho);
        let states = [1.0, rho, rho.powi(2), rho.powi(3)];
        let sum: f64 = states.iter().sum();
        assert!((full - states[3] / sum).abs() < 1e-12, "{full}");
        let waits = (states[1] + states[2]) / (sum - states[3]);
        assert!((wait.share - waits).abs() < 1e-12, "{}", wait.share);
        let mean = service * (states[1] + 2.0 * states[2]) / (states[1] + states[2]);
        assert!((wait.mean - mean).abs() < 1e-12, "{} {mean}", wait.mean);
        // Without a bound that is felt it is as before.
        let (wide, none) = Wait::new(1, service, 1.0, rho).in_a_queue_of(1_000, rho);
        assert!(none < 1e-9 && (wide.mean - Wait::new(1, service, 1.0, rho).mean).abs() < 1e-9);
    }

    #[test]
    fn the_mean_wait_is_that_of_pollaczek_and_khinchine_for_one_server() {
        for (variation, utilization) in [(1.0, 0.5), (0.0, 0.8), (4.0, 0.9)] {
            let wait = Wait::new(1, 0.01, variation, utilization);
            let exact = utilization * 0.01 * (1.0 + variation) / 2.0 / (1.0 - utilization);
            assert!((wait.share * wait.mean - exact).abs() < 1e-12, "{variation} {utilization}");
        }
    }
}
