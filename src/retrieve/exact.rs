//! Exact search: every query against every passage, by matrix products of fixed blocks.
//! The oracle of HNSW, and fast enough by itself to about a million passages. A score does not
//! depend on thread count nor on the queries beside it: blocks are cut by row numbers alone, the last
//! block of queries is filled with zeros, and each product runs on one thread.

use super::dense::Similarity;
use super::order::TopK;
use super::{Result, check_rows};
use crate::data::{Hit, IdTable};
use crate::encode::Vectors;
use rayon::prelude::*;
use std::sync::Arc;

/// Queries in one product.
const QUERIES: usize = 32;
/// Passages in one product; with D = 768 they take 3 MB, which stay in the second-level cache or near it.
const PASSAGES: usize = 1024;

/// An index that compares everything.
pub struct Exact {
    ids: Arc<IdTable>,
    vectors: Arc<Vectors>,
    /// 1 / norm of each passage under cosine; empty under dot.
    scales: Vec<f32>,
    similarity: Similarity,
}

impl Exact {
    /// Over `vectors`, whose rows are the passages `ids`. A vector of zeros scores 0 with everything.
    ///
    /// # Errors
    /// [`super::Error::Count`], [`super::Error::NotFinite`].
    pub fn new(ids: Arc<IdTable>, vectors: Arc<Vectors>, similarity: Similarity) -> Result<Self> {
        check_rows(&ids, &vectors)?;
        let scales = match similarity {
            Similarity::Cosine => (0..vectors.len()).map(|row| inverse_norm(vectors.row(row))).collect(),
            Similarity::Dot => Vec::new(),
        };
        Ok(Self { ids, vectors, scales, similarity })
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
        queries.par_chunks(QUERIES).flat_map_iter(|block| self.best_of_block(block, k)).collect()
    }

    fn best_of_block(&self, queries: &[&[f32]], k: usize) -> Vec<Vec<Hit>> {
        let dimension = self.dimension();
        let mut block = vec![0.0_f32; QUERIES * dimension];
        for (row, query) in block.chunks_exact_mut(dimension).zip(queries) {
            let scale = match self.similarity {
                Similarity::Cosine => inverse_norm(query),
                Similarity::Dot => 1.0,
            };
            for (to, from) in row.iter_mut().zip(*query) {
                *to = from * scale;
            }
        }
        let mut tops: Vec<TopK> = queries.iter().map(|_| TopK::new(&self.ids, k)).collect();
        let mut products = vec![0.0_f32; QUERIES * PASSAGES];
        for (number, passages) in self.vectors.values().chunks(PASSAGES * dimension).enumerate() {
            multiply(&block, passages, dimension, &mut products);
            let (first, count) = (number * PASSAGES, passages.len() / dimension);
            for (top, scores) in tops.iter_mut().zip(products.chunks_exact(PASSAGES)) {
                for (row, &score) in (first..).zip(&scores[..count]) {
                    top.push(row, self.scales.get(row).map_or(score, |scale| score * scale));
                }
            }
        }
        tops.into_iter().map(TopK::into_hits).collect()
    }
}

/// 1 / |v|, or 0 for a vector of zeros.
fn inverse_norm(vector: &[f32]) -> f32 {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 0.0 { norm.recip() } else { 0.0 }
}

/// Products of all queries (QUERIES, D) with passages (n, D), n at most PASSAGES, into rows of PASSAGES.
fn multiply(queries: &[f32], passages: &[f32], dimension: usize, products: &mut [f32]) {
    let count = passages.len() / dimension;
    assert!(count <= PASSAGES && queries.len() == QUERIES * dimension && products.len() == QUERIES * PASSAGES);
    let stride = dimension.cast_signed();
    // SAFETY: `products` has QUERIES rows of PASSAGES and takes QUERIES x count; `queries` holds QUERIES rows
    // and `passages` count rows of `dimension` values, read as a transposed matrix: all asserted above.
    #[expect(unsafe_code, reason = "matrix product kernel")]
    unsafe {
        gemm::gemm(
            QUERIES,
            count,
            dimension,
            products.as_mut_ptr(),
            1,
            PASSAGES.cast_signed(),
            false,
            queries.as_ptr(),
            1,
            stride,
            passages.as_ptr(),
            stride,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::Seed;
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
    fn the_best_are_those_of_a_plain_loop() -> Result<()> {
        // More than two blocks of passages and of queries, both with a rest.
        let (passages, queries) = (Arc::new(noise("p", 2 * PASSAGES + 13, 20)), noise("q", 2 * QUERIES + 5, 20));
        for similarity in [Similarity::Cosine, Similarity::Dot] {
            let index = Exact::new(ids(passages.len()), passages.clone(), similarity)?;
            let asked: Vec<&[f32]> = (0..queries.len()).map(|row| queries.row(row)).collect();
            let found = index.best(&asked, 10);
            assert_eq!(found.len(), asked.len());
            for (query, hits) in asked.iter().zip(&found) {
                let dot =
                    |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
                let mut scores: Vec<f64> = (0..passages.len())
                    .map(|row| {
                        let p = passages.row(row);
                        match similarity {
                            Similarity::Cosine => dot(query, p) / (dot(query, query) * dot(p, p)).sqrt(),
                            Similarity::Dot => dot(query, p),
                        }
                    })
                    .collect();
                scores.sort_by(|a, b| b.total_cmp(a));
                for (hit, score) in hits.iter().zip(scores) {
                    assert!((f64::from(hit.score) - score).abs() < 1e-5, "{} for {score}", hit.score);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_query_alone_has_the_bits_it_has_among_others_on_any_number_of_threads() -> Result<()> {
        let (passages, queries) = (Arc::new(noise("p", 1500, 33)), noise("q", 70, 33));
        let index = Exact::new(ids(passages.len()), passages, Similarity::Cosine)?;
        let asked: Vec<&[f32]> = (0..queries.len()).map(|row| queries.row(row)).collect();
        let together = index.best(&asked, 25);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
            assert_eq!(pool.install(|| index.best(&asked, 25)), together);
        }
        for (query, hits) in asked.iter().zip(&together) {
            assert_eq!(&index.best(&[*query], 25)[0], hits);
        }
        Ok(())
    }
}
