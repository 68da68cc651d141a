//! The exponential function, for draws: faster than libm's, and as much the same on every machine,
//! since it adds and multiplies and nothing else.
//!
//! `exp(x) = 2^(k / 32) exp(r)` with `k` whole and `|r| <= ln 2 / 64`: the first factor of a table
//! and of the exponent's bits, the second of the series, of which what is left out is below 1e-17.

/// Steps of the table within one power of two.
const STEPS: usize = 32;
/// `32 / ln 2`.
const STEPS_PER_UNIT: f64 = STEPS as f64 * core::f64::consts::LOG2_E;
/// `ln 2 / 32` in two parts, of which the first has so few bits that its product with `k` is exact.
const STEP_HIGH: f64 = f64::from_bits((core::f64::consts::LN_2 / 32.0).to_bits() & !0xffff_ffff);
const STEP_LOW: f64 = (core::f64::consts::LN_2 / 32.0 - STEP_HIGH) + LN_2_REST / 32.0;
/// What `LN_2` lacks of `ln 2`.
const LN_2_REST: f64 = 2.319_046_813_846_3e-17;
/// Added and taken away, it rounds to a whole number, which then is in the lowest bits.
const ROUNDS: f64 = 6_755_399_441_055_744.0;
/// Beyond it libm's is as good.
const LARGE: f64 = 600.0;

static POWERS: [f64; STEPS] = powers();

/// `2^(i / 32)`.
const fn powers() -> [f64; STEPS] {
    let mut powers = [1.0; STEPS];
    let mut i = 0;
    while i < STEPS {
        // By its bits: each halves the exponent of the root.
        let (mut root, mut bit) = (2.0, STEPS / 2);
        while bit > 0 {
            root = super::ziggurat::sqrt(root);
            if i & bit != 0 {
                powers[i] *= root;
            }
            bit /= 2;
        }
        i += 1;
    }
    powers
}

/// `exp(x)`, with a relative error below 1e-15.
#[inline]
pub(super) fn exp(x: f64) -> f64 {
    if x.is_nan() || x.abs() > LARGE {
        return libm::exp(x);
    }
    let rounded = x * STEPS_PER_UNIT + ROUNDS;
    let k = rounded.to_bits() as i32;
    let whole = rounded - ROUNDS;
    let r = (x - whole * STEP_HIGH) - whole * STEP_LOW;
    let square = r * r;
    let series = r
        + square * (0.5 + r * (1.0 / 6.0))
        + square * square * ((1.0 / 24.0 + r * (1.0 / 120.0)) + square * (1.0 / 720.0));
    let power = POWERS[k as usize % STEPS];
    let scale = f64::from_bits(((1023 + (k >> 5)) as u64) << 52);
    (power + power * series) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_function() {
        let mut x = -800.0;
        while x < 800.0 {
            let (ours, theirs) = (exp(x), libm::exp(x));
            let is_near = ours == theirs || (ours / theirs - 1.0).abs() < 1e-15;
            assert!(is_near, "exp({x}): {ours} is not {theirs}");
            x += 0.001_037;
        }
        for (x, y) in [(0.0, 1.0), (f64::NEG_INFINITY, 0.0), (f64::INFINITY, f64::INFINITY)] {
            assert_eq!(exp(x).to_bits(), f64::to_bits(y), "exp({x})");
        }
        assert!(exp(f64::NAN).is_nan());
    }
}
