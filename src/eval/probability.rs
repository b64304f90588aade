//! How well numbers from 0 to 1 tell answers from others: whether they separate them, and whether they mean what they say.

use serde::{Deserialize, Serialize};

/// Classes of a calibration table.
const CLASSES: usize = 10;

/// Probability that an answer has a higher score than another passage, ties counting half: the area under the ROC curve
/// (Hanley and `McNeil` 1982), 0 to 1; 0.5 when either side is empty.
#[must_use]
pub fn auc(answers: &[f32], others: &[f32]) -> f64 {
    if answers.is_empty() || others.is_empty() {
        return 0.5;
    }
    let mut all: Vec<(f32, bool)> = answers.iter().map(|&score| (score, true)).collect();
    all.extend(others.iter().map(|&score| (score, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0usize, 0.0);
    for ties in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let here = ties.iter().filter(|(_, answer)| *answer).count();
        let others_here = ties.len() - here;
        wins += here as f64 * (below as f64 + others_here as f64 / 2.0);
        below += others_here;
    }
    wins / (answers.len() as f64 * others.len() as f64)
}

/// Pairs whose probabilities lie in one tenth of the range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationClass {
    /// Where it begins; it is a tenth wide.
    pub from: f64,
    /// Pairs in it.
    pub pairs: usize,
    /// Their mean probability.
    pub said: f64,
    /// The share of them that are answers.
    pub found: f64,
}

/// The classes that have pairs, lowest first.
#[must_use]
pub fn calibration(answers: &[f32], others: &[f32]) -> Vec<CalibrationClass> {
    let mut classes = [(0usize, 0.0f64, 0usize); CLASSES];
    let both = answers.iter().map(|&p| (p, true)).chain(others.iter().map(|&p| (p, false)));
    for (probability, answer) in both {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        let class = &mut classes[((probability * CLASSES as f32) as usize).min(CLASSES - 1)];
        *class = (class.0 + 1, class.1 + f64::from(probability), class.2 + usize::from(answer));
    }
    let filled = classes.into_iter().enumerate().filter(|(_, (pairs, ..))| *pairs > 0);
    filled
        .map(|(class, (pairs, said, found))| CalibrationClass {
            from: class as f64 / CLASSES as f64,
            pairs,
            said: said / pairs as f64,
            found: found as f64 / pairs as f64,
        })
        .collect()
}

/// Mean distance of what was said and what was found, over all pairs (expected calibration error, Naeini et al. 2015).
#[must_use]
pub fn calibration_error(classes: &[CalibrationClass]) -> f64 {
    let pairs: usize = classes.iter().map(|class| class.pairs).sum();
    let sum: f64 = classes.iter().map(|class| class.pairs as f64 * (class.said - class.found).abs()).sum();
    sum / pairs.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_ordered_pairs() {
        assert!((auc(&[0.9, 0.4], &[0.1, 0.4, 0.5]) - (3.0 + 1.5) / 6.0).abs() < 1e-12);
        assert!((auc(&[1.0], &[0.0]) - 1.0).abs() < 1e-12);
        assert!((auc(&[0.3, 0.3], &[0.3]) - 0.5).abs() < 1e-12);
        assert!((auc(&[], &[0.3]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_is_said_is_held_against_what_is_found() {
        let classes = calibration(&[0.91, 1.0, 0.25], &[0.95, 0.21]);
        assert_eq!(classes.iter().map(|c| c.pairs).collect::<Vec<_>>(), [2, 3]);
        assert!((classes[0].said - 0.23).abs() < 1e-6 && (classes[0].found - 0.5).abs() < 1e-12);
        assert!((classes[1].found - 2.0 / 3.0).abs() < 1e-12);
        let expected = (2.0 * 0.27 + 3.0 * (2.86 / 3.0 - 2.0 / 3.0)) / 5.0;
        assert!((calibration_error(&classes) - expected).abs() < 1e-6);
    }
}
