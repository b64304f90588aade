//! Training by candle's operations and its backward: for devices and architectures without kernels of our own, and the
//! reference for those.

use super::super::Result;
use super::super::drops::Drops;
use super::super::packing::group_by_length;
use super::super::parameters::Parameters;
use super::super::pooling::{Pooling, pool};
use super::super::trunk::{Architecture, Computing, Dropped, Trunk, absent};
use super::super::workers;
use super::{Gradients, Sequence, packed};
use candle_core::{Device, Tensor};

/// Tokens of a chunk; fixed, because it decides the order of summation.
const TOKENS_PER_CHUNK: usize = 2048;

/// A trunk with gradient tracking.
pub(super) struct GraphLearner<'e> {
    trunk: Box<dyn Trunk>,
    parameters: &'e Parameters,
    device: &'e Device,
}

/// Which rows went through together, and their values with the graph behind them.
type Chunk = (Vec<usize>, Tensor);

impl<'e> GraphLearner<'e> {
    pub(super) fn new(
        (architecture, parameters): (&Architecture, &'e Parameters),
        computing: Computing,
        device: &'e Device,
    ) -> Result<Self> {
        let tracked = |name: &str| Ok(parameters.get(name).ok_or_else(|| absent(name))?.clone());
        Ok(Self { trunk: architecture.build(computing.kernels, &tracked)?, parameters, device })
    }

    /// Pooled rows in the order of the members, and the chunks that they come from.
    pub(super) fn record(
        &self,
        sequences: &[Sequence<'_>],
        members: &[usize],
        drops: &Drops,
        pooling: Pooling,
    ) -> Result<(Tensor, Vec<Chunk>)> {
        let lengths: Vec<usize> = members.iter().map(|&member| sequences[member].ids.len()).collect();
        let chunks = group_by_length(&lengths, TOKENS_PER_CHUNK);
        let rows = workers::map(self.device, &chunks, |rows| {
            let places: Vec<usize> = rows.iter().map(|&row| members[row]).collect();
            let batch = packed(sequences, &places);
            let dropped = Dropped { drops, places: &places };
            pool(&self.trunk.forward(&batch, Some(&dropped))?, &batch, pooling)
        })?;
        let mut found_at = vec![0u32; members.len()];
        for (place, &row) in (0..).zip(chunks.iter().flatten()) {
            found_at[row] = place;
        }
        let detached: Vec<Tensor> = rows.iter().map(Tensor::detach).collect();
        let all = Tensor::cat(&detached, 0)?.index_select(&Tensor::new(found_at, self.device)?, 0)?;
        Ok((all, chunks.into_iter().zip(rows).collect()))
    }

    pub(super) fn carry_back(&self, chunks: &[Chunk], slopes: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let parts = workers::map(self.device, chunks, |(rows, values)| -> Result<Vec<Option<Tensor>>> {
            let rows = rows.iter().map(|&row| u32::try_from(row).unwrap_or(u32::MAX)).collect::<Vec<_>>();
            let slopes = slopes.detach().index_select(&Tensor::new(rows, self.device)?, 0)?;
            let store = (values * slopes)?.sum_all()?.backward()?;
            Ok(self.parameters.iter().map(|(_, variable)| store.get(variable).cloned()).collect())
        })?;
        for part in parts {
            for (index, gradient) in part.iter().enumerate() {
                if let Some(gradient) = gradient {
                    gradients.add(index, gradient)?;
                }
            }
        }
        Ok(())
    }
}
