//! The probability of waiting in a queue with several servers.
//!
//! *Source*: A. K. Erlang 1917.

/// Erlang's C: the share of requests that wait where each of `servers` is busy to `utilization`. 1
/// where that is too much. By the recursion of Erlang's B, which neither overflows nor cancels.
pub fn erlang_c(servers: u32, utilization: f64) -> f64 {
    if utilization <= 0.0 {
        return 0.0;
    }
    if utilization >= 1.0 {
        return 1.0;
    }
    let load = utilization * f64::from(servers.max(1));
    // Erlang's B: of so many servers all are busy.
    let busy = (1..=servers).fold(1.0, |busy, n| load * busy / (f64::from(n) + load * busy));
    busy / (1.0 - utilization * (1.0 - busy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_waits_is_that_of_the_tables() {
        // One server: its utilisation. Two: 2 u^2 / (1 + u). Erlang's table for more.
        for (servers, load, share) in [
            (1, 0.5, 0.5),
            (1, 0.0, 0.0),
            (2, 1.0, 1.0 / 3.0),
            (5, 4.0, 0.5541),
            (10, 8.0, 0.4092),
            (3, 3.0, 1.0),
            (3, 9.0, 1.0),
        ] {
            let got = erlang_c(servers, load / f64::from(servers));
            assert!((got - share).abs() < 1e-4, "{servers} servers, {load}: {got} is not {share}");
        }
    }
}
