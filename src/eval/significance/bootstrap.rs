//! Percentile bootstrap of a mean (Efron 1979): queries are drawn with replacement, as many as there are, again and
//! again; the interval holds the middle share of the means.

use super::Settings;
use rand::Rng;
use rayon::prelude::*;

/// Resamples a stream serves.
const BLOCK: u32 = 256;

/// Ends of the interval for the mean of `differences`, which are not empty.
#[must_use]
pub fn interval(differences: &[f64], settings: &Settings) -> [f64; 2] {
    let blocks = settings.resamples.div_ceil(BLOCK);
    let mut means: Vec<f64> = (0..blocks)
        .into_par_iter()
        .flat_map_iter(|index| {
            let mut random = settings.seed.stream(&format!("bootstrap/{index}"));
            let first = index * BLOCK;
            (first..settings.resamples.min(first.saturating_add(BLOCK)))
                .map(move |_| resampled_mean(differences, &mut random))
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    // As many means lie below the interval as above it, so that swapped runs give the mirrored interval.
    let outside = (1.0 - settings.confidence) / 2.0 * means.len() as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let below = (outside as usize).min((means.len() - 1) / 2);
    [means[below], means[means.len() - 1 - below]]
}

fn resampled_mean(differences: &[f64], random: &mut impl Rng) -> f64 {
    let count = differences.len() as u64;
    // A product's upper half is uniform to within count / 2^32, far below what resampling resolves.
    let draw = |word: u32| differences[((u64::from(word) * count) >> 32) as usize];
    (0..count).map(|_| draw(random.next_u32())).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use super::super::mean;
    use super::*;
    use crate::data::Seed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_interval_holds_the_mean_and_mirrors_when_runs_are_swapped(
            differences in proptest::collection::vec(-1.0..1.0_f64, 1..60), seed in 0..1000_u64
        ) {
            let settings = Settings { resamples: 1000, seed: Seed(seed), ..Settings::default() };
            let [low, high] = interval(&differences, &settings);
            let centre = mean(&differences);
            prop_assert!(low <= centre + 1e-12 && centre <= high + 1e-12, "{low} {centre} {high}");
            let swapped: Vec<f64> = differences.iter().map(|difference| -difference).collect();
            let [mirrored_low, mirrored_high] = interval(&swapped, &settings);
            prop_assert!((mirrored_low + high).abs() < 1e-12 && (mirrored_high + low).abs() < 1e-12);
        }
    }

    #[test]
    fn more_confidence_is_a_wider_interval() {
        let differences: Vec<f64> = (0..50).map(|i| f64::from(i % 7) / 7.0 - 0.4).collect();
        let width = |confidence| {
            let [low, high] = interval(&differences, &Settings { confidence, ..Settings::default() });
            high - low
        };
        assert!(width(0.5) < width(0.9) && width(0.9) < width(0.99));
    }
}
