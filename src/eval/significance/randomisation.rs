//! Fisher's paired randomisation test: if the runs do not differ, each query's difference could as well have had the
//! other sign. The p-value is the share of sign patterns whose sum is at least as far from 0 as the one seen.

use crate::data::Seed;
use rand::Rng;
use rayon::prelude::*;

/// With so many differences that are not 0, or fewer, all sign patterns are counted.
const EXACT_UP_TO: usize = 30;

/// Draws a stream serves.
const BLOCK: u32 = 1024;

/// Outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Randomisation {
    /// Two-sided: of all patterns where they were counted, else (b + 1) / (draws + 1), where b drawn patterns are
    /// at least as far from 0.
    pub p: f64,
    /// True where every pattern was counted.
    pub exact: bool,
}

/// The test on paired `differences`; those that are 0 decide nothing.
#[must_use]
pub fn test(differences: &[f64], draws: u32, seed: Seed) -> Randomisation {
    let differing: Vec<f64> = differences.iter().copied().filter(|&difference| difference != 0.0).collect();
    if differing.len() <= EXACT_UP_TO {
        Randomisation { p: counted(&differing), exact: true }
    } else {
        Randomisation { p: drawn(&differing, draws, seed), exact: false }
    }
}

/// Sums closer than this to the one seen are equal to it but for rounding.
fn slack(differences: &[f64]) -> f64 {
    1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>()
}

/// Share of all sign patterns: a pattern's sum is one of the first half's sums plus one of the second's.
fn counted(differences: &[f64]) -> f64 {
    let bound = differences.iter().sum::<f64>().abs() - slack(differences);
    if bound <= 0.0 {
        return 1.0;
    }
    let (left, right) = differences.split_at(differences.len() / 2);
    let mut sums = signed_sums(right);
    sums.sort_unstable_by(f64::total_cmp);
    let beyond = |&sum: &f64| sums.len() - sums.partition_point(|other| sum + other < bound);
    let above: usize = signed_sums(left).iter().map(beyond).sum();
    // The patterns come in pairs with opposite sums.
    2.0 * above as f64 / 2_f64.powf(differences.len() as f64)
}

/// The sums of `differences` under all 2^n sign patterns; bit i of the place is set where sign i is turned.
fn signed_sums(differences: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for difference in differences {
        let turned: Vec<f64> = sums.iter().map(|sum| sum - difference).collect();
        for sum in &mut sums {
            *sum += difference;
        }
        sums.extend(turned);
    }
    sums
}

/// Estimate from `draws` patterns. Eight signs are a byte, and the sum of eight is looked up.
fn drawn(differences: &[f64], draws: u32, seed: Seed) -> f64 {
    let tables: Vec<Vec<f64>> = differences.chunks(8).map(signed_sums).collect();
    let bound = tables.iter().map(|table| table[0]).sum::<f64>().abs() - slack(differences);
    let block = |first: u32| -> u64 {
        let mut random = seed.stream(&format!("randomisation/{}", first / BLOCK));
        let mut signs = vec![0_u8; tables.len()];
        let mut beyond = 0;
        for _ in first..draws.min(first.saturating_add(BLOCK)) {
            random.fill_bytes(&mut signs);
            // The last table may be of fewer signs: the bits above them are not looked at.
            let sum: f64 =
                tables.iter().zip(&signs).map(|(table, &byte)| table[usize::from(byte) & (table.len() - 1)]).sum();
            beyond += u64::from(sum.abs() >= bound);
        }
        beyond
    };
    let beyond: u64 = (0..draws.div_ceil(BLOCK)).into_par_iter().map(|index| block(index * BLOCK)).sum();
    (beyond + 1) as f64 / (f64::from(draws) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition: every pattern, one after the other.
    fn by_definition(differences: &[f64]) -> f64 {
        let seen = differences.iter().sum::<f64>().abs() - slack(differences);
        let sums = signed_sums(differences);
        sums.iter().filter(|sum| sum.abs() >= seen).count() as f64 / sums.len() as f64
    }

    proptest! {
        #[test]
        fn counting_by_halves_is_counting(differences in proptest::collection::vec(-8..9_i32, 0..12)) {
            let differences: Vec<f64> = differences.into_iter().map(|d| f64::from(d) / 8.0).collect();
            let Randomisation { p, exact } = test(&differences, 1, Seed(1));
            prop_assert!(exact && (p - by_definition(&differences)).abs() < 1e-12, "{p}");
        }

        #[test]
        fn drawing_comes_near_counting_and_does_not_care_which_run_is_first(
            differences in proptest::collection::vec(-1.0..1.2_f64, 2..20), seed in 0..1000_u64
        ) {
            let p = drawn(&differences, 20_000, Seed(seed));
            prop_assert!((1.0 / 20_001.0..=1.0).contains(&p));
            let exact = counted(&differences);
            // Five standard errors of a share of 20,000.
            let near = 5.0 * (exact * (1.0 - exact) / 20_000.0).sqrt() + 1e-4;
            prop_assert!((p - exact).abs() <= near, "{p} for {exact}");
            let swapped: Vec<f64> = differences.iter().map(|difference| -difference).collect();
            prop_assert!((drawn(&swapped, 20_000, Seed(seed)) - p).abs() < f64::EPSILON);
            prop_assert!((counted(&swapped) - exact).abs() < 1e-12);
        }
    }

    /// Where there is no difference, a p-value is below any level as often as that level says.
    #[test]
    fn without_a_difference_p_is_uniform() {
        let mut values = Vec::new();
        for trial in 0..400 {
            let mut random = Seed(7).stream(&format!("trial/{trial}"));
            let differences: Vec<f64> =
                (0..60).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX) - 0.5).collect();
            values.push(test(&differences, 2000, Seed(trial)).p);
        }
        values.sort_by(f64::total_cmp);
        // Kolmogorov's distance; 1.95 / sqrt(400) would be passed once in a thousand seeds, and the seed is fixed.
        let distance =
            (1..).zip(&values).map(|(rank, p): (i32, _)| (f64::from(rank) / 400.0 - p).abs()).fold(0.0, f64::max);
        assert!(distance < 0.0975, "{distance}");
    }
}
