//! Whether a generator can write at all, asked before an arm is spent on it: the bits it needs for a byte of the
//! corpus against a byte 3-gram model of the rest of the corpus, and the share of a few requests that are accepted.

use crate::data::Seed;
use crate::text::byte_model::ByteModel;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Passages whose bytes are foretold.
pub const PASSAGES: usize = 100;
/// Requests that are made.
pub const REQUESTS: usize = 32;

/// What was measured of a generator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauge {
    /// Passages whose bytes were foretold.
    pub passages: usize,
    /// Bits the generator takes for a byte of them.
    pub bits_per_byte: f64,
    /// Bits the 3-gram model takes.
    pub bar_bits_per_byte: f64,
    /// Requests made; 0 where the bits have spoken already.
    pub requests: u64,
    /// Requests of which enough was accepted.
    pub accepted: u64,
}

impl Gauge {
    /// Why the generator is not worth an arm; None when it is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.bits_per_byte > self.bar_bits_per_byte {
            return Some(format!(
                "this generator cannot write ({:.2} bits per byte against {:.2} of a byte 3-gram model)",
                self.bits_per_byte, self.bar_bits_per_byte
            ));
        }
        let half = self.requests.div_ceil(2);
        (self.accepted < half).then(|| {
            format!(
                "this generator cannot write ({} of {} requests accepted against {half})",
                self.accepted, self.requests
            )
        })
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} bits per byte on {} passages against {:.2} of a byte 3-gram model",
            self.bits_per_byte, self.passages, self.bar_bits_per_byte
        )?;
        if self.requests == 0 {
            return f.write_str(", no request made");
        }
        write!(f, ", {} of {} requests accepted", self.accepted, self.requests)
    }
}

/// The bar for a corpus: passages drawn from it, and the bits for a byte that a 3-gram model of the rest takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The passages drawn, none of them empty.
    pub passages: Vec<String>,
    /// Bits the 3-gram model takes for a byte of them.
    pub bits_per_byte: f64,
}

impl Bar {
    /// The bar for a corpus of `texts`: [`PASSAGES`] are drawn, of a small corpus a fifth at most.
    #[must_use]
    pub fn of(mut texts: Vec<String>, seed: Seed) -> Self {
        texts.retain(|text| !text.trim().is_empty());
        texts.shuffle(&mut seed.stream("gauge"));
        let rest = texts.split_off(PASSAGES.min(texts.len() / 5));
        let model = ByteModel::learn(rest.iter().map(String::as_str));
        let bytes: usize = texts.iter().map(String::len).sum();
        let bits: f64 = texts.iter().map(|text| model.bits(text)).sum();
        Self { passages: texts, bits_per_byte: if bytes == 0 { f64::INFINITY } else { bits / bytes as f64 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_has_the_numbers() {
        let gauge = Gauge { passages: 100, bits_per_byte: 1.5, bar_bits_per_byte: 2.0, requests: 32, accepted: 16 };
        assert_eq!(gauge.failure(), None);
        let noise = Gauge { bits_per_byte: 3.456, ..gauge }.failure().unwrap();
        assert_eq!(noise, "this generator cannot write (3.46 bits per byte against 2.00 of a byte 3-gram model)");
        let refused = Gauge { accepted: 15, ..gauge }.failure().unwrap();
        assert_eq!(refused, "this generator cannot write (15 of 32 requests accepted against 16)");
        assert!(Gauge { bits_per_byte: f64::INFINITY, ..gauge }.failure().is_some());
    }

    #[test]
    fn the_bar_is_learned_from_passages_that_are_not_asked_for() {
        let texts: Vec<String> = (0..50).map(|n| format!("Element {n} melts at {} degrees.", 31 * n)).collect();
        let bar = Bar::of(texts.clone(), Seed(3));
        assert_eq!((bar.passages.len(), &bar), (10, &Bar::of(texts, Seed(3))));
        assert!(bar.bits_per_byte > 0.3 && bar.bits_per_byte < 3.0, "{}", bar.bits_per_byte);
        let none = Bar::of(vec![" ".to_owned()], Seed(1));
        assert!(none.passages.is_empty() && none.bits_per_byte.is_infinite());
    }
}
