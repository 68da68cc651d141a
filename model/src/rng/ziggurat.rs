//! Exponential and normal draws by the ziggurat method: a draw mostly costs one random number, a
//! table look-up and a multiplication.
//!
//! *Source*: Marsaglia and Tsang, "The Ziggurat Method for Generating Random Variables", Journal of
//! Statistical Software 5(8), 2000; 256 layers. The tables are calculated by the compiler.

use super::Stream;

/// Layers.
const LAYERS: usize = 256;
/// Where the tail of the exponential begins, and the area of each layer: the solution of
/// `r f(r) + integral of f from r = v` for 256 layers.
const EXPONENTIAL: (f64, f64) = (7.697_117_470_131_05, 0.003_949_659_822_581_557);
/// The same of the normal, whose density is taken as `exp(-x^2 / 2)`.
const NORMAL: (f64, f64) = (3.654_152_885_361_009, 0.004_928_673_233_974_655);

/// The right ends of the layers, and the density there.
struct Tables {
    x: [f64; LAYERS + 1],
    f: [f64; LAYERS + 1],
}

static EXPONENTIAL_TABLES: Tables = tables(EXPONENTIAL, false);
static NORMAL_TABLES: Tables = tables(NORMAL, true);

/// Exponential with mean 1.
#[inline]
pub(super) fn exponential(stream: &mut Stream) -> f64 {
    loop {
        let bits = stream.next_u64();
        let layer = (bits & 0xff) as usize;
        let draw = unit(bits) * EXPONENTIAL_TABLES.x[layer];
        if draw < EXPONENTIAL_TABLES.x[layer + 1] {
            return draw;
        }
        if let Some(draw) = exponential_edge(stream, layer, draw) {
            return draw;
        }
    }
}

/// Between two layers, or beyond the last one; `None` if it is not taken.
#[cold]
fn exponential_edge(stream: &mut Stream, layer: usize, draw: f64) -> Option<f64> {
    if layer == 0 {
        return Some(EXPONENTIAL.0 - libm::log(open_unit(stream)));
    }
    let f = &EXPONENTIAL_TABLES.f;
    let height = f[layer + 1] + (f[layer] - f[layer + 1]) * stream.unit();
    (height < libm::exp(-draw)).then_some(draw)
}

/// Standard normal.
#[inline]
pub(super) fn normal(stream: &mut Stream) -> f64 {
    loop {
        let bits = stream.next_u64();
        let layer = (bits & 0xff) as usize;
        let draw = (2.0 * unit(bits) - 1.0) * NORMAL_TABLES.x[layer];
        if draw.abs() < NORMAL_TABLES.x[layer + 1] {
            return draw;
        }
        if let Some(draw) = normal_edge(stream, layer, draw) {
            return draw;
        }
    }
}

/// Likewise.
#[cold]
fn normal_edge(stream: &mut Stream, layer: usize, draw: f64) -> Option<f64> {
    if layer == 0 {
        return Some(tail(stream).copysign(draw));
    }
    let f = &NORMAL_TABLES.f;
    let height = f[layer + 1] + (f[layer] - f[layer + 1]) * stream.unit();
    (height < libm::exp(-draw * draw / 2.0)).then_some(draw)
}

/// Beyond the last layer.
///
/// *Source*: Marsaglia, "Generating a Variable from the Tail of the Normal Distribution",
/// Technometrics 6(1), 1964.
fn tail(stream: &mut Stream) -> f64 {
    loop {
        let beyond = -libm::log(open_unit(stream)) / NORMAL.0;
        let height = -libm::log(open_unit(stream));
        if 2.0 * height >= beyond * beyond {
            return NORMAL.0 + beyond;
        }
    }
}

/// In [0, 1), of the bits that choose no layer.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// In (0, 1].
fn open_unit(stream: &mut Stream) -> f64 {
    1.0 - stream.unit()
}

const fn density(x: f64, is_normal: bool) -> f64 {
    exp(if is_normal { -x * x / 2.0 } else { -x })
}

const fn inverse(f: f64, is_normal: bool) -> f64 {
    if is_normal { sqrt(-2.0 * ln(f)) } else { -ln(f) }
}

const fn tables((r, v): (f64, f64), is_normal: bool) -> Tables {
    let (mut x, mut f) = ([0.0; LAYERS + 1], [0.0; LAYERS + 1]);
    x[0] = v / density(r, is_normal);
    x[1] = r;
    let mut layer = 1;
    while layer < LAYERS {
        f[layer] = density(x[layer], is_normal);
        let next = v / x[layer] + f[layer];
        // The last layer ends at the density's top, where rounding may go beyond it.
        x[layer + 1] =
            if layer + 1 == LAYERS || next >= 1.0 { 0.0 } else { inverse(next, is_normal) };
        layer += 1;
    }
    f[0] = density(x[0], is_normal);
    f[LAYERS] = 1.0;
    Tables { x, f }
}

/// By its series, for what lies between -35 and 1.
const fn exp(x: f64) -> f64 {
    // exp(x) = exp(x / 64)^64, so that the series is short.
    let small = x / 64.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while n < 20.0 {
        term = term * small / n;
        sum += term;
        n += 1.0;
    }
    let mut squared = 0;
    while squared < 6 {
        sum *= sum;
        squared += 1;
    }
    sum
}

/// By Newton's method on `exp`, for what lies between 1e-15 and 1.
const fn ln(x: f64) -> f64 {
    let (mut guess, mut step) = (0.0, 0);
    while step < 80 {
        let there = exp(guess);
        // Halley's form converges from anywhere on this side.
        guess += 2.0 * (x - there) / (x + there);
        step += 1;
    }
    guess
}

/// By Newton's method.
pub(super) const fn sqrt(x: f64) -> f64 {
    let (mut guess, mut step) = (if x > 1.0 { x } else { 1.0 }, 0);
    while step < 60 {
        guess = (guess + x / guess) / 2.0;
        step += 1;
    }
    guess
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_tables_are_those_of_the_method() {
        for (tables, is_normal) in [(&EXPONENTIAL_TABLES, false), (&NORMAL_TABLES, true)] {
            let Tables { x, f } = tables;
            assert!(x.windows(2).all(|pair| pair[0] > pair[1]), "they descend");
            let v = if is_normal { NORMAL.1 } else { EXPONENTIAL.1 };
            for layer in 1..LAYERS {
                let exact = if is_normal {
                    libm::exp(-x[layer] * x[layer] / 2.0)
                } else {
                    libm::exp(-x[layer])
                };
                assert!((f[layer] - exact).abs() < 1e-13, "{layer}");
                let area = x[layer] * (f[layer + 1] - f[layer]);
                assert!((area - v).abs() < 1e-10, "layer {layer} has the area {area}");
            }
        }
    }

    /// Draws against the distribution function, in 100 equally likely bins: chi-square with 99
    /// degrees of freedom is above 180 once in a million.
    #[test]
    fn draws_are_distributed_as_they_should() {
        let cdf_exponential = |x: f64| 1.0 - libm::exp(-x);
        let cdf_normal = |x: f64| 0.5 * libm::erfc(-x / core::f64::consts::SQRT_2);
        let n = 1_000_000;
        for is_normal in [false, true] {
            let mut stream = Stream::new(5, "ziggurat");
            let mut bins = [0_u32; 100];
            let mut beyond = 0;
            for _ in 0..n {
                let draw = if is_normal { normal(&mut stream) } else { exponential(&mut stream) };
                let u = if is_normal { cdf_normal(draw) } else { cdf_exponential(draw) };
                bins[((u * 100.0) as usize).min(99)] += 1;
                let tail = if is_normal { NORMAL.0 } else { EXPONENTIAL.0 };
                beyond += u32::from(draw.abs() > tail);
            }
            let expected = f64::from(n) / 100.0;
            let parts: Vec<f64> = bins
                .iter()
                .map(|&bin| (f64::from(bin) - expected) * (f64::from(bin) - expected))
                .collect();
            let chi = parts.iter().sum::<f64>() / expected;
            assert!(chi < 180.0, "normal {is_normal}: {chi}");
            // exp(-7.697) and 2 (1 - Phi(3.654)) of a million, five standard deviations around.
            let (mean, width) = if is_normal { (258.0, 81.0) } else { (454.0, 107.0) };
            assert!((f64::from(beyond) - mean).abs() < width, "normal {is_normal}: {beyond}");
        }
    }
}
