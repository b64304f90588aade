//! Seeded draws: an order of rows, made as it is asked for, and weighted draws without replacement.
//! Both use raw 64-bit draws, so that no version of `rand` changes them.

use rand::Rng;
use std::collections::HashMap;

/// A random order of 0..count (Fisher and Yates, with only the moved places stored).
pub(super) struct Draws<R> {
    moved: HashMap<usize, usize>,
    next: usize,
    count: usize,
    stream: R,
}

impl<R: Rng> Draws<R> {
    pub(super) fn new(count: usize, stream: R) -> Self {
        Self { moved: HashMap::new(), next: 0, count, stream }
    }
}

impl<R: Rng> Iterator for Draws<R> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let left = self.count - self.next;
        if left == 0 {
            return None;
        }
        // The high half of a 128-bit product; uneven by less than count / 2^64.
        let offset = (u128::from(self.stream.next_u64()) * left as u128) >> 64;
        let place = self.next + usize::try_from(offset).expect("below the number of rows");
        let drawn = self.moved.get(&place).copied().unwrap_or(place);
        let head = self.moved.remove(&self.next).unwrap_or(self.next);
        if place != self.next {
            self.moved.insert(place, head);
        }
        self.next += 1;
        Some(drawn)
    }
}

/// `count` places of those weighted, in ascending order, drawn one after the other without replacement, each with a
/// probability in proportion to its weight among those left; weights come as natural logarithms. (The places with the
/// greatest `log weight + Gumbel noise`: Efraimidis and Spirakis 2006, in logarithms.)
pub(super) fn weighted(log_weights: &[f64], count: usize, stream: &mut impl Rng) -> Vec<usize> {
    let mut noisy: Vec<(f64, usize)> = log_weights
        .iter()
        .enumerate()
        .map(|(place, weight)| {
            // From 2^-54 to 1 - 2^-54: neither logarithm is of 0.
            let uniform = ((stream.next_u64() >> 11) as f64 + 0.5) / 2.0_f64.powi(53);
            (weight - (-uniform.ln()).ln(), place)
        })
        .collect();
    noisy.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut places: Vec<usize> = noisy.into_iter().take(count).map(|(_, place)| place).collect();
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Seed;

    #[test]
    fn draws_are_a_permutation_and_every_row_leads_about_as_often() {
        let mut first = [0_u32; 6];
        for seed in 0..6000 {
            let mut rows: Vec<usize> = Draws::new(6, Seed(seed).stream("t")).collect();
            first[rows[0]] += 1;
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 3, 4, 5]);
        }
        // Expected 1000 each, standard deviation 29.
        assert!(first.iter().all(|&count| (850..1150).contains(&count)), "{first:?}");
    }

    #[test]
    fn the_second_draw_does_not_follow_from_the_first() {
        let mut pairs = HashMap::new();
        for seed in 0..6000 {
            let rows: Vec<usize> = Draws::new(3, Seed(seed).stream("t")).collect();
            *pairs.entry(rows).or_insert(0_u32) += 1;
        }
        assert!(pairs.len() == 6 && pairs.values().all(|count| (850..1150).contains(count)), "{pairs:?}");
    }

    #[test]
    fn weights_are_probabilities() {
        let weights = [0.5_f64, 0.3, 0.2, 0.0].map(f64::ln);
        let (mut one, mut left_out) = ([0_u32; 4], [0_u32; 4]);
        for seed in 0..6000 {
            let mut stream = Seed(seed).stream("w");
            one[weighted(&weights, 1, &mut stream)[0]] += 1;
            let two = weighted(&weights, 2, &mut stream);
            assert!(two[0] < two[1]);
            (0..4).filter(|place| !two.contains(place)).for_each(|place| left_out[place] += 1);
        }
        // Expected 3000, 1800, 1200, 0; standard deviations 39, 36, 31.
        for (count, expected) in one.into_iter().zip([3000_u32, 1800, 1200, 0]) {
            assert!(count.abs_diff(expected) < 200, "{one:?}");
        }
        // The first two leave 0 out with 0.3 (0.2 / 0.7) + 0.2 (0.3 / 0.8).
        assert!(left_out[0].abs_diff(964) < 150 && left_out[3] == 6000, "{left_out:?}");
        assert_eq!(weighted(&weights, 9, &mut Seed(1).stream("w")), [0, 1, 2, 3]);
    }
}
