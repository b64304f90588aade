//! The terms of an index: packed text, and an open-addressed hash table from term to number, both mapped from the
//! file as they are.

use crate::data::arrays::{Array, ArrayFile, Arrays};
use crate::data::{Result, Strings};

/// Numbers terms from 0.
pub(super) struct Lexicon {
    terms: Strings,
    /// Number of a term + 1, or 0; a power of two of them, at most half of them taken.
    slots: Array<u32>,
}

impl Lexicon {
    /// The lexicon of different `terms`, numbered as they stand.
    pub fn new<'t>(terms: impl ExactSizeIterator<Item = &'t str> + Clone) -> Self {
        let count = (terms.len() * 2).next_power_of_two();
        let mut slots = vec![0_u32; count];
        for (number, term) in (1..).zip(terms.clone()) {
            let free = probe(term, count).find(|&slot| slots[slot] == 0).expect("half of the slots are free");
            slots[free] = number;
        }
        Self { terms: Strings::new(terms), slots: slots.into() }
    }

    /// How many terms there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// The number of `term`.
    pub fn find(&self, term: &str) -> Option<usize> {
        let slots: &[u32] = &self.slots;
        probe(term, slots.len())
            .take(slots.len())
            .map(|slot| slots[slot])
            .take_while(|&number| number != 0)
            .map(|number| number as usize - 1)
            .find(|&number| self.terms.bytes(number) == term.as_bytes())
    }

    pub fn add_to<'a>(&'a self, arrays: &mut Arrays<'a>) {
        self.terms.add_to("terms", arrays);
        arrays.add("terms.slots", &self.slots);
    }

    pub fn of_file(file: &ArrayFile) -> Result<Self> {
        let lexicon = Self { terms: Strings::of_file("terms", file)?, slots: file.array("terms.slots")? };
        if lexicon.slots.len().is_power_of_two() {
            Ok(lexicon)
        } else {
            Err(file.fault("a whole lexicon", "a hash table of another size"))
        }
    }
}

/// Slots of `term` among `count`, a power of two, in the order in which they are tried.
fn probe(term: &str, count: usize) -> impl Iterator<Item = usize> {
    // FNV-1a, 64 bits: part of the file's form, so not left to a library's default. The high half is the better mixed.
    let hash = term
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let first = usize::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).expect("32 bits fit");
    (0..count).map(move |step| first.wrapping_add(step) & (count - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_has_its_number_and_others_none() {
        let terms: Vec<String> = (0..3000).map(|i| format!("t{}", i * 7)).collect();
        for count in [0, 1, 2, 3, 1000, 3000] {
            let lexicon = Lexicon::new(terms[..count].iter().map(String::as_str));
            assert_eq!(lexicon.len(), count);
            for (number, term) in terms.iter().enumerate() {
                assert_eq!(lexicon.find(term), (number < count).then_some(number));
            }
            assert_eq!(lexicon.find(""), None);
        }
    }
}
