//! Random streams split from the run's seed, one per purpose, so that one more probe does not
//! move the arrivals.

mod exp;
mod ziggurat;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// One stream of random numbers, the same on every machine for the same seed and purpose.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream of `purpose` (a path such as `arrivals` or `probe/readiness/v2-3`) under `seed`.
    ///
    /// *Source*: FNV-1a (64 bit) of the purpose, mixed with the seed by SplitMix64, which is what
    /// Xoshiro's authors recommend for seeding.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Xoshiro256PlusPlus::seed_from_u64(seed.rotate_left(32) ^ hash))
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1), 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0..`bound`; 0 if the bound is 0. Bias below 2^-32 for bounds below 2^32.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Exponential with mean 1 (ziggurat; Marsaglia and Tsang 2000).
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        ziggurat::exponential(self)
    }

    /// Lognormal: the exponential of a normal draw with mean 0 and standard deviation `sigma`.
    #[inline]
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        exp::exp(sigma * self.normal())
    }

    /// Standard normal (ziggurat, likewise).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        ziggurat::normal(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_do_not_share_a_stream_and_seeds_repeat() {
        let first = Stream::new(7, "arrivals").next_u64();
        assert_eq!(first, Stream::new(7, "arrivals").next_u64());
        assert_ne!(first, Stream::new(7, "probes").next_u64());
        assert_ne!(first, Stream::new(8, "arrivals").next_u64());
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        let mut stream = Stream::new(1, "means");
        let n = 200_000;
        let (mut unit, mut exponential, mut normal) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            unit += stream.unit();
            exponential += stream.exponential();
            normal += stream.normal();
        }
        let n = f64::from(n);
        assert!((unit / n - 0.5).abs() < 0.005);
        assert!((exponential / n - 1.0).abs() < 0.02);
        assert!((normal / n).abs() < 0.02);
    }

    #[test]
    fn below_stays_below() {
        let mut stream = Stream::new(3, "below");
        assert_eq!(stream.below(0), 0);
        assert!((0..1000).all(|_| stream.below(3) < 3));
    }
}
