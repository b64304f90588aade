//! Exact search: every query against every passage, by products of blocks that are cut back to a short list at once.
//! Where the processor multiplies bf16 the products are bf16: a passage is dropped only when its product is further
//! below the k-th best than rounding can explain, and the rest is scored in f32, so that the outcome is exact all the
//! same. A score does not depend on threads, on the queries beside it, nor on how it was found: it is [`dot::single`]
//! of the stored numbers. Passages may be stored as f32, f16 or int8; they are widened block by block.

use super::dense::Similarity;
use super::order::TopK;
use super::shortlist::Shortlists;
use super::{Result, check_rows, dot};
use crate::data::{Hit, IdTable};
use crate::encode::kernels::{Onto, Packed, ProductScratch, Rows};
use crate::encode::{Instructions, Precision, Vectors};
use rayon::prelude::*;
use std::sync::Arc;

/// Queries that are packed together: with D = 768 they take 786 KB, which stay in the second-level cache.
const QUERIES: usize = 256;
/// Passages in one product.
const PASSAGES: usize = 128;

/// An index that compares everything.
pub struct Exact {
    ids: Arc<IdTable>,
    vectors: Arc<Vectors>,
    /// 1 / norm of each passage under cosine; empty under dot.
    scales: Vec<f32>,
    /// The greatest norm of a passage as it is compared: 1 under cosine.
    longest: f32,
    similarity: Similarity,
}

/// What the products are made of, and how far they may be from the score, as a share of both norms.
#[derive(Debug, Clone, Copy)]
struct Scan {
    precision: Precision,
    margin: f32,
}

impl Scan {
    /// bf16 where this processor multiplies it, else f32.
    fn best(dimension: usize) -> Self {
        // Each sum of D rounded products is off by at most D units in the last place of the norms' product.
        let sums = dimension as f32 * f32::EPSILON;
        if Instructions::best().name() == "avx512-bf16" {
            // Two factors, each off by 2^-9 of itself; a twentieth more for the product of the two.
            Self { precision: Precision::Bf16, margin: 1.05 / 256.0 + sums }
        } else {
            Self { precision: Precision::F32, margin: sums }
        }
    }
}

impl Exact {
    /// Over `vectors`, whose rows are the passages `ids`. A vector of zeros scores 0 with everything.
    ///
    /// # Errors
    /// [`super::Error::Count`], [`super::Error::NotFinite`].
    pub fn new(ids: Arc<IdTable>, vectors: Arc<Vectors>, similarity: Similarity) -> Result<Self> {
        let norms = check_rows(&ids, &vectors)?;
        let (scales, longest) = match similarity {
            Similarity::Cosine => (norms.into_iter().map(inverse).collect(), 1.0),
            Similarity::Dot => (Vec::new(), norms.into_iter().fold(0.0, f32::max)),
        };
        Ok(Self { ids, vectors, scales, longest, similarity })
    }

    /// D, the length of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.vectors.dimension()
    }

    /// The best `k` passages of each query vector.
    ///
    /// # Panics
    /// When a query is not of length D.
    #[must_use]
    pub fn best(&self, queries: &[&[f32]], k: usize) -> Vec<Vec<Hit>> {
        self.best_by(queries, k, Scan::best(self.dimension()))
    }

    fn best_by(&self, queries: &[&[f32]], k: usize, scan: Scan) -> Vec<Vec<Hit>> {
        if k == 0 {
            return vec![Vec::new(); queries.len()];
        }
        queries.chunks(QUERIES).flat_map(|block| self.best_of_block(block, k, scan)).collect()
    }

    fn best_of_block(&self, queries: &[&[f32]], k: usize, scan: Scan) -> Vec<Vec<Hit>> {
        let queries: Vec<Vec<f32>> = queries.iter().map(|query| self.similarity.ready(query)).collect();
        let rows: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let packed = Packed::new(Instructions::best(), scan.precision, self.dimension(), &rows);
        let margins: Vec<f32> =
            queries.iter().map(|query| scan.margin * self.longest * dot::single(query, query).sqrt()).collect();
        // Few parts: each keeps a short list of its own.
        let parts = 2 * rayon::current_num_threads();
        let part = self.vectors.len().div_ceil(parts).next_multiple_of(PASSAGES);
        let starts: Vec<usize> = (0..self.vectors.len()).step_by(part.max(1)).collect();
        let lists: Vec<Shortlists> = starts
            .par_iter()
            .map(|&first| {
                let mut lists = Shortlists::new(k, margins.clone());
                self.scan(&packed, first..(first + part).min(self.vectors.len()), &mut lists);
                lists
            })
            .collect();
        let Some(lists) = lists.into_iter().reduce(Shortlists::joined) else { return vec![Vec::new(); queries.len()] };
        let lists = lists.into_rows();
        queries.par_iter().zip(lists).map(|(query, rows)| self.score(query, rows, k)).collect()
    }

    /// Puts the products of all packed queries with the passages `rows` on the lists.
    fn scan(&self, packed: &Packed, rows: std::ops::Range<usize>, lists: &mut Shortlists) {
        let (dimension, count) = (self.dimension(), packed.outputs());
        let mut products = vec![0.0_f32; PASSAGES * count];
        let (mut room, mut scratch) = (Vec::new(), ProductScratch::default());
        for first in rows.clone().step_by(PASSAGES) {
            let here = first..(first + PASSAGES).min(rows.end);
            let passages = Rows::new(self.vectors.widen(here.clone(), &mut room), (here.len(), dimension), dimension);
            packed.apply(passages, Onto::Nothing, (&mut products, count), &mut scratch);
            for (row, products) in here.zip(products.chunks_exact(count)) {
                lists.push(row, products, self.scales.get(row).copied().unwrap_or(1.0));
            }
        }
    }

    /// The best `k` of `rows`, scored.
    fn score(&self, query: &[f32], rows: Vec<u32>, k: usize) -> Vec<Hit> {
        let mut top = TopK::new(&self.ids, k);
        for row in rows.into_iter().map(|row| row as usize) {
            let score = dot::single(query, &self.vectors.row(row));
            top.push(row, self.scales.get(row).map_or(score, |scale| score * scale));
        }
        top.into_hits()
    }
}

/// 1 / `norm`, or 0 for 0.
pub(super) fn inverse(norm: f32) -> f32 {
    if norm > 0.0 { norm.recip() } else { 0.0 }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::Seed;
    use crate::encode::vectors::Storage;
    use rand::Rng;

    /// (count, dimension) of values between -1 and 1.
    pub(in crate::retrieve) fn noise(name: &str, count: usize, dimension: usize) -> Vectors {
        let mut stream = Seed(7).stream(name);
        let values = (0..count * dimension).map(|_| stream.next_u32() as f32 / 2.0_f32.powi(31) - 1.0).collect();
        Vectors::new(dimension, values)
    }

    pub(in crate::retrieve) fn ids(count: usize) -> Arc<IdTable> {
        Arc::new(IdTable::new((0..count).map(|i| format!("d{i}")).collect::<Vec<_>>().iter().map(String::as_str)))
    }

    #[test]
    fn the_best_are_those_of_a_plain_loop_however_they_are_stored_and_scanned() -> Result<()> {
        // More than two blocks of passages and of queries, both with a rest; some vectors of zeros.
        let (noisy, queries) = (noise("p", 2 * PASSAGES + 13, 40), noise("q", 2 * QUERIES + 5, 40));
        let mut values = noisy.widened(0..noisy.len()).into_owned();
        values[40..120].fill(0.0);
        let asked: Vec<Vec<f32>> = (0..queries.len()).map(|row| queries.row(row).into_owned()).collect();
        let asked: Vec<&[f32]> = asked.iter().map(Vec::as_slice).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        for storage in [Storage::F32, Storage::F16, Storage::Int8] {
            let passages = Arc::new(Vectors::new(40, values.clone()).stored_as(storage));
            for similarity in [Similarity::Cosine, Similarity::Dot] {
                let index = Exact::new(ids(passages.len()), passages.clone(), similarity)?;
                let found = index.best(&asked, 10);
                let plain = Scan { precision: Precision::F32, margin: 40.0 * f32::EPSILON };
                assert_eq!(
                    index.best_by(&asked, 10, plain),
                    found,
                    "what the products are made of changes the outcome"
                );
                let rounded = Scan { precision: Precision::Bf16, margin: 1.05 / 256.0 + 40.0 * f32::EPSILON };
                assert_eq!(index.best_by(&asked, 10, rounded), found, "rounded products lose something");
                for (query, hits) in asked.iter().zip(&found) {
                    let mut scores: Vec<f64> = (0..passages.len())
                        .map(|row| {
                            let p = passages.row(row);
                            match similarity {
                                Similarity::Cosine => {
                                    dot(query, &p) / (dot(query, query) * dot(&p, &p)).sqrt().max(1e-9)
                                }
                                Similarity::Dot => dot(query, &p),
                            }
                        })
                        .collect();
                    scores.sort_by(|a, b| b.total_cmp(a));
                    for (hit, score) in hits.iter().zip(scores) {
                        assert!((f64::from(hit.score) - score).abs() < 1e-5, "{} for {score}", hit.score);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_query_alone_has_the_bits_it_has_among_others_on_any_number_of_threads() -> Result<()> {
        let (passages, queries) = (Arc::new(noise("p", 1500, 33)), noise("q", 70, 33));
        let index = Exact::new(ids(passages.len()), passages, Similarity::Cosine)?;
        let asked: Vec<Vec<f32>> = (0..queries.len()).map(|row| queries.row(row).into_owned()).collect();
        let asked: Vec<&[f32]> = asked.iter().map(Vec::as_slice).collect();
        let together = index.best(&asked, 25);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
            assert_eq!(pool.install(|| index.best(&asked, 25)), together);
        }
        for (query, hits) in asked.iter().zip(&together) {
            assert_eq!(&index.best(&[*query], 25)[0], hits);
        }
        assert!(index.best(&asked, 0).iter().all(Vec::is_empty));
        Ok(())
    }

    #[test]
    fn copies_of_one_passage_tie_and_all_of_the_best_are_found() -> Result<()> {
        let row: Vec<f32> = (0..33).map(|i| (i as f32).sin()).collect();
        let passages = Arc::new(Vectors::new(33, row.repeat(1000)));
        let index = Exact::new(ids(1000), passages, Similarity::Cosine)?;
        let mut due: Vec<String> = (0..1000).map(|i| format!("d{i}")).collect();
        due.sort_by(|a, b| b.cmp(a));
        let found: Vec<String> = index.best(&[&row], 5)[0].iter().map(|hit| hit.doc.to_string()).collect();
        assert_eq!(found, due[..5]);
        Ok(())
    }
}
