//! What "no divergence in n traces" says, with bounds that hold whenever one chooses to stop.

/// An upper bound, at 95 %, on the chance that one more independent trace diverges, after `traces` that did not.
///
/// For no failure in n trials, `(1 - p)^-n` is the likelihood ratio of p = 0 against p, a martingale under p; by Ville's
/// inequality it exceeds 1 / 0.05 with a chance of at most 0.05 over all n together. So the bound `1 - 0.05^(1/n)` may be
/// read at any time, and running on until it looks good is no cheating.
pub fn rate_bound(traces: u64) -> f64 {
    if traces == 0 { 1.0 } else { -f64::exp_m1(0.05f64.ln() / traces as f64) }
}

/// The G statistic of two frequency tables over the same values, its degrees of freedom, and the relative difference in
/// one value's share that samples of this size would show with a power of 0.9 at a level of 0.001 (normal approximation).
pub fn compare_frequencies(expected: &[u64], observed: &[u64]) -> Frequencies {
    let (n, m): (u64, u64) = (expected.iter().sum(), observed.iter().sum());
    let total = (n + m) as f64;
    let mut g = 0.0;
    let mut values = 0usize;
    for (&a, &b) in expected.iter().zip(observed) {
        if a + b == 0 {
            continue;
        }
        values += 1;
        let share = (a + b) as f64 / total;
        for (count, size) in [(a, n), (b, m)] {
            if count > 0 {
                g += 2.0 * count as f64 * (count as f64 / (share * size as f64)).ln();
            }
        }
    }
    let freedom = values.saturating_sub(1);
    let share = 1.0 / values.max(1) as f64;
    let spread = (share * (1.0 - share) * (1.0 / n.max(1) as f64 + 1.0 / m.max(1) as f64)).sqrt();
    // 3.29 and 1.28: the normal quantiles of a two-sided level of 0.001 and of a power of 0.9.
    Frequencies { g, freedom, detectable: (3.29 + 1.28) * spread / share }
}

/// What [`compare_frequencies`] found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frequencies {
    /// The G statistic.
    pub g: f64,
    /// Degrees of freedom.
    pub freedom: usize,
    /// The relative difference that would have been seen.
    pub detectable: f64,
}

impl Frequencies {
    /// Whether the tables differ at a level of 0.001, by the Wilson–Hilferty approximation of chi-square.
    pub fn differ(&self) -> bool {
        if self.freedom == 0 {
            return false;
        }
        let k = self.freedom as f64;
        let z = ((self.g / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt();
        z > 3.09
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_bound_is_about_three_over_n() {
        assert_eq!(rate_bound(0), 1.0);
        assert!((rate_bound(1_000_000) * 1e6 - 2.996).abs() < 0.01);
    }

    #[test]
    fn compare_frequencies_sees_a_loaded_die_and_not_a_fair_one() {
        assert!(!compare_frequencies(&[1000, 1010, 990], &[1005, 1000, 995]).differ());
        assert!(compare_frequencies(&[1000, 1000, 1000], &[1300, 1000, 700]).differ());
    }
}
