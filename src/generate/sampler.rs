//! Draws a token from logits: repetition penalty, temperature, then top-k, top-p and min-p, from a
//! seeded stream. The order is that of Hugging Face and vLLM. A draw is a function of logits, mask,
//! stream and the tokens taken before. Simple on purpose: without top-k the whole vocabulary is sorted.

use crate::data::Seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use toktrie::SimpleVob;

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Sampling(Fields);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    /// 0 to 5, default 0.8. 0 always takes the likeliest token; higher is more varied and less exact.
    temperature: f32,
    /// Only the k likeliest tokens, default 40; 0 is all.
    top_k: u32,
    /// Only the likeliest tokens that together have this probability, above 0 to 1, default 0.95.
    top_p: f32,
    /// Only tokens at least this probable in proportion to the likeliest, 0 to 1, default 0.
    min_p: f32,
    /// Logits of tokens the reply has already are divided by this when above 0, else multiplied (CTRL,
    /// arXiv 1909.05858, section 4.1), 1 to 2, default 1, which does nothing. Higher: fewer loops, and
    /// names and figures that belong there twice get lost.
    repetition_penalty: f32,
}

impl Default for Fields {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

/// A value out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} must be {expected}, found {found}")]
pub struct InvalidSampling {
    name: &'static str,
    expected: &'static str,
    found: f32,
}

impl TryFrom<Fields> for Sampling {
    type Error = InvalidSampling;

    fn try_from(fields: Fields) -> Result<Self, InvalidSampling> {
        let check = |name, found: f32, sound: bool, expected| {
            if sound { Ok(()) } else { Err(InvalidSampling { name, expected, found }) }
        };
        let Fields { temperature, top_p, min_p, repetition_penalty, .. } = fields;
        check("temperature", temperature, (0.0..=5.0).contains(&temperature), "from 0 to 5")?;
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0, at most 1")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1")?;
        check("repetition_penalty", repetition_penalty, (1.0..=2.0).contains(&repetition_penalty), "from 1 to 2")?;
        Ok(Self(fields))
    }
}

impl From<Sampling> for Fields {
    fn from(sampling: Sampling) -> Self {
        sampling.0
    }
}

impl Sampling {
    /// The likeliest token, always.
    pub const GREEDY: Self =
        Self(Fields { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 });

    /// The default with another temperature.
    ///
    /// # Errors
    /// [`InvalidSampling`] when it is not from 0 to 5.
    pub fn with_temperature(temperature: f32) -> Result<Self, InvalidSampling> {
        Fields { temperature, ..Fields::default() }.try_into()
    }
}

/// The logits are NaN, infinite, or leave nothing to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

/// Draws the tokens of one conversation.
pub struct Sampler {
    sampling: Fields,
    stream: ChaCha8Rng,
    chosen: Vec<(u32, f32)>,
    /// Whether the reply has the token already; empty while nothing is penalised.
    taken: Vec<bool>,
}

impl Sampler {
    /// A sampler whose draws come from `seed`.
    #[must_use]
    pub fn new(sampling: Sampling, seed: Seed) -> Self {
        Self { sampling: sampling.0, stream: seed.stream("tokens"), chosen: Vec::new(), taken: Vec::new() }
    }

    /// Takes note that the reply goes on with `tokens`.
    pub fn take(&mut self, tokens: &[u32]) {
        if self.sampling.repetition_penalty <= 1.0 {
            return;
        }
        for &token in tokens {
            let place = token as usize;
            if place >= self.taken.len() {
                self.taken.resize(place + 1, false);
            }
            self.taken[place] = true;
        }
    }

    /// A new reply begins.
    pub fn forget(&mut self) {
        self.taken.clear();
    }

    /// A token of those in `allowed` (all when None); `logits` has one for each token.
    ///
    /// # Errors
    /// [`NotFinite`] when a logit is NaN or plus infinity, or no allowed one is finite.
    pub fn pick(&mut self, logits: &[f32], allowed: Option<&SimpleVob>) -> Result<u32, NotFinite> {
        let is_allowed = |token: u32| allowed.is_none_or(|mask| mask.is_allowed(token));
        let k = match self.sampling {
            Fields { temperature: 0.0, .. } => 1,
            Fields { top_k: 0, .. } => logits.len(),
            Fields { top_k, .. } => top_k as usize,
        };
        self.chosen.clear();
        // Below the k-th best seen so far nothing is worth keeping; the buffer is cut when it is twice full.
        let mut least = f32::NEG_INFINITY;
        for (token, &logit) in (0..).zip(logits) {
            if logit.is_nan() || logit == f32::INFINITY {
                return Err(NotFinite);
            }
            let logit = match self.taken.get(token as usize) {
                Some(true) if logit > 0.0 => logit / self.sampling.repetition_penalty,
                Some(true) => logit * self.sampling.repetition_penalty,
                _ => logit,
            };
            if logit > least && is_allowed(token) {
                self.chosen.push((token, logit));
                if self.chosen.len() >= 2 * k {
                    self.keep_best(k);
                    least = self.chosen[k - 1].1;
                }
            }
        }
        self.keep_best(k);
        self.chosen.sort_unstable_by(likelier);
        match self.chosen[..] {
            [] => Err(NotFinite),
            [(only, _)] => Ok(only),
            [(_, most), ..] => Ok(self.draw(most)),
        }
    }

    /// Leaves the k best, the k-th of them at its place.
    fn keep_best(&mut self, k: usize) {
        if k < self.chosen.len() {
            self.chosen.select_nth_unstable_by(k - 1, likelier);
            self.chosen.truncate(k);
        }
    }

    fn draw(&mut self, most: f32) -> u32 {
        let Fields { temperature, top_p, min_p, .. } = self.sampling;
        let weight = |logit: f32| (f64::from(logit - most) / f64::from(temperature)).exp();
        let total: f64 = self.chosen.iter().map(|&(_, logit)| weight(logit)).sum();
        let mut kept = 0;
        let mut mass = 0.0;
        for &(_, logit) in &self.chosen {
            // The likeliest has weight 1, so it is always kept.
            if weight(logit) < f64::from(min_p) || mass >= f64::from(top_p) * total {
                break;
            }
            mass += weight(logit);
            kept += 1;
        }
        let mut left = self.stream.random::<f64>() * mass;
        for &(token, logit) in &self.chosen[..kept] {
            left -= weight(logit);
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a crumb after the last one.
        self.chosen[kept - 1].0
    }
}

/// Likelier tokens first, equal ones by number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape sorting wants")]
fn likelier(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_k: u32, top_p: f32, min_p: f32) -> Sampler {
        let sampling =
            Sampling::try_from(Fields { temperature, top_k, top_p, min_p, repetition_penalty: 1.0 }).unwrap();
        Sampler::new(sampling, Seed(1))
    }

    fn shares(mut sampler: Sampler, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.pick(logits, None).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_best_and_heeds_the_mask() {
        let logits = [0.0, 3.0, 3.0, 1.0];
        let mut greedy = Sampler::new(Sampling::GREEDY, Seed(1));
        assert_eq!(greedy.pick(&logits, None), Ok(1));
        let mut mask = SimpleVob::alloc(4);
        mask.allow_token(3);
        mask.allow_token(0);
        assert_eq!(greedy.pick(&logits, Some(&mask)), Ok(3));
    }

    #[test]
    fn shares_follow_the_softmax() {
        let logits = [1.0_f32, 0.0, -1.0];
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (share, logit) in shares(sampler(1.0, 0, 1.0, 0.0), &logits).iter().zip(logits) {
            assert!((share - f64::from(logit).exp() / total).abs() < 0.02, "{share}");
        }
    }

    #[test]
    fn each_cut_leaves_what_it_should() {
        let logits = [2.0, 1.0, 0.0, -1.0]; // 0.644, 0.237, 0.087, 0.032
        let kept = |sampler| shares(sampler, &logits).iter().filter(|&&share| share > 0.0).count();
        assert_eq!(kept(sampler(1.0, 0, 1.0, 0.0)), 4);
        assert_eq!(kept(sampler(1.0, 3, 1.0, 0.0)), 3);
        assert_eq!(kept(sampler(1.0, 0, 0.8, 0.0)), 2);
        assert_eq!(kept(sampler(1.0, 0, 0.5, 0.0)), 1);
        assert_eq!(kept(sampler(1.0, 0, 1.0, 0.3)), 2);
    }

    #[test]
    fn the_top_k_of_many_are_the_best() {
        // 4000 distinct logits in no order; the best three are known.
        let logits: Vec<f32> = (0..4000_u16).map(|n| f32::from(n.wrapping_mul(40_503) % 4001)).collect();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let mut few = sampler(5.0, 3, 1.0, 0.0);
        let drawn: std::collections::BTreeSet<usize> =
            (0..400).map(|_| few.pick(&logits, None).unwrap() as usize).collect();
        assert_eq!(drawn, order[..3].iter().copied().collect());
        assert_eq!(Sampler::new(Sampling::GREEDY, Seed(1)).pick(&logits, None), Ok(u32::try_from(order[0]).unwrap()));
    }

    #[test]
    fn what_was_taken_is_less_likely_until_the_next_reply() {
        let fields = Fields { temperature: 0.0, repetition_penalty: 2.0, ..Fields::default() };
        let mut greedy = Sampler::new(Sampling::try_from(fields).unwrap(), Seed(1));
        let logits = [3.0, 2.0, -1.0];
        assert_eq!(greedy.pick(&logits, None), Ok(0));
        greedy.take(&[0]);
        assert_eq!(greedy.pick(&logits, None), Ok(1));
        greedy.take(&[1]);
        assert_eq!(greedy.pick(&logits, None), Ok(0));
        // Below 0 the penalty pushes further down.
        greedy.take(&[2]);
        assert_eq!(greedy.pick(&[-1.5, -0.9, -0.8], None), Ok(2));
        greedy.forget();
        greedy.take(&[2]);
        assert_eq!(greedy.pick(&[-1.5, -0.9, -0.8], None), Ok(1));
        assert!(serde_json::from_str::<Sampling>(r#"{"repetition_penalty": 0.9}"#).is_err());
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let mut any = sampler(1.0, 0, 1.0, 0.0);
        assert_eq!(any.pick(&[0.0, f32::NAN], None), Err(NotFinite));
        assert_eq!(any.pick(&[0.0, f32::INFINITY], None), Err(NotFinite));
        assert_eq!(any.pick(&[f32::NEG_INFINITY; 2], None), Err(NotFinite));
        assert_eq!(any.pick(&[f32::NEG_INFINITY, 0.0], None), Ok(1));
    }

    #[test]
    fn settings_are_checked_at_the_door() {
        let parse = |text: &str| serde_json::from_str::<Sampling>(text);
        assert_eq!(parse("{}").unwrap(), Sampling::default());
        assert!(parse(r#"{"temperature": -1}"#).unwrap_err().to_string().contains("temperature must be from 0 to 5"));
        assert!(parse(r#"{"top_p": 0}"#).is_err());
        assert!(parse(r#"{"temprature": 1}"#).is_err());
    }
}
