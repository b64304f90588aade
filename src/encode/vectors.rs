//! Rows of numbers, as encoders make them and searches read them: f32, or in a half or a quarter of the room.
//! In files they are safetensors, which are mapped and not read, so that opening costs the same at any size and many
//! processes share the memory. What a row is worth does not depend on how it is stored: [`Vectors::row`] gives f32.

use crate::data::arrays::{Array, ArrayFile, Planned, write_in_turn};
use crate::data::{Error as DataError, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// What a file of vectors calls itself.
const FORM: &str = "nearmiss vectors 1";

/// How the numbers of a row are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// As they were computed: 4 bytes a number.
    #[default]
    F32,
    /// 2 bytes a number, 11 bits of them mantissa: values off by at most 1 in 2,048 of themselves.
    F16,
    /// 1 byte a number and 4 a row: steps of 1/127 of the row's greatest value.
    Int8,
}

/// A dense matrix `(N, D)`, row-major.
#[derive(Debug, Clone)]
pub struct Vectors {
    dimension: usize,
    rows: Rows,
}

#[derive(Debug, Clone)]
enum Rows {
    F32(Array<f32>),
    F16(Array<f16>),
    /// A row is its codes times its scale.
    Int8 {
        codes: Array<i8>,
        scales: Array<f32>,
    },
}

impl PartialEq for Vectors {
    /// The same numbers, bit for bit, stored alike.
    fn eq(&self, other: &Self) -> bool {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.dimension == other.dimension
            && match (&self.rows, &other.rows) {
                (Rows::F32(a), Rows::F32(b)) => bits(a) == bits(b),
                (Rows::F16(a), Rows::F16(b)) => a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())),
                (Rows::Int8 { codes, scales }, Rows::Int8 { codes: others, scales: other_scales }) => {
                    codes[..] == others[..] && bits(scales) == bits(other_scales)
                }
                _ => false,
            }
    }
}

impl Vectors {
    /// The matrix over `values`.
    ///
    /// # Panics
    /// When `dimension` is 0 or does not divide the number of values.
    #[must_use]
    pub fn new(dimension: usize, values: Vec<f32>) -> Self {
        assert!(
            dimension > 0 && values.len().is_multiple_of(dimension),
            "{} values in rows of {dimension}",
            values.len()
        );
        Self { dimension, rows: Rows::F32(values.into()) }
    }

    /// The same rows, stored as `storage`; what is stored in less is not made more exact.
    #[must_use]
    pub fn stored_as(&self, storage: Storage) -> Self {
        if storage == self.storage() {
            return self.clone();
        }
        let values = self.widened(0..self.len());
        let rows = match storage {
            Storage::F32 => Rows::F32(values.into_owned().into()),
            Storage::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                Rows::F16(halves.into())
            }
            Storage::Int8 => {
                let (mut codes, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(self.len()));
                for row in values.chunks_exact(self.dimension) {
                    let scale = row.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
                    let steps = if scale > 0.0 { scale.recip() } else { 0.0 };
                    #[expect(clippy::cast_possible_truncation, reason = "-127 to 127")]
                    codes.extend(row.iter().map(|value| (value * steps).round() as i8));
                    scales.push(scale);
                }
                Rows::Int8 { codes: codes.into(), scales: scales.into() }
            }
        };
        Self { dimension: self.dimension, rows }
    }

    /// How its numbers are kept.
    #[must_use]
    pub fn storage(&self) -> Storage {
        match &self.rows {
            Rows::F32(_) => Storage::F32,
            Rows::F16(_) => Storage::F16,
            Rows::Int8 { .. } => Storage::Int8,
        }
    }

    /// D, the length of a row.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// N, the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        let numbers = match &self.rows {
            Rows::F32(values) => values.len(),
            Rows::F16(values) => values.len(),
            Rows::Int8 { codes, .. } => codes.len(),
        };
        numbers / self.dimension
    }

    /// True when there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `row`, D values.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Cow<'_, [f32]> {
        self.widened(row..row + 1)
    }

    /// The values of `rows`, row after row; without a copy where they are stored as f32.
    ///
    /// # Panics
    /// When there are no such rows.
    #[must_use]
    pub fn widened(&self, rows: Range<usize>) -> Cow<'_, [f32]> {
        if let Rows::F32(values) = &self.rows {
            return Cow::Borrowed(&values[rows.start * self.dimension..rows.end * self.dimension]);
        }
        let mut room = Vec::new();
        self.widen(rows, &mut room);
        Cow::Owned(room)
    }

    /// As [`Vectors::widened`]; where they have to be copied, it is into `room`.
    ///
    /// # Panics
    /// When there are no such rows.
    pub fn widen<'v>(&'v self, rows: Range<usize>, room: &'v mut Vec<f32>) -> &'v [f32] {
        let place = rows.start * self.dimension..rows.end * self.dimension;
        match &self.rows {
            Rows::F32(values) => return &values[place],
            Rows::F16(values) => {
                room.resize(place.len(), 0.0);
                values[place].convert_to_f32_slice(room);
            }
            Rows::Int8 { codes, scales } => {
                room.clear();
                for (codes, scale) in codes[place].chunks_exact(self.dimension).zip(&scales[rows]) {
                    room.extend(codes.iter().map(|&code| f32::from(code) * scale));
                }
            }
        }
        room
    }

    /// The Euclidean norm of every row; not finite where a value is not, or too great to be squared.
    #[must_use]
    pub fn norms(&self) -> Vec<f32> {
        const BLOCK: usize = 1024;
        let blocks = (0..self.len()).step_by(BLOCK).collect::<Vec<_>>();
        let norms = blocks.into_par_iter().map(|first| {
            let values = self.widened(first..(first + BLOCK).min(self.len()));
            values.chunks_exact(self.dimension).map(norm).collect::<Vec<_>>()
        });
        norms.collect::<Vec<_>>().concat()
    }

    /// Writes the rows as a safetensors file: `vectors`, and for int8 `scales`.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_with(path, &[])
    }

    /// As [`Vectors::write`], with facts beside the form.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write_with(&self, path: &Path, facts: &[(&str, String)]) -> Result<()> {
        write_below(path, (self.dimension, self.storage(), self.len()), facts, (1, &|_| Ok(self.clone())))
    }

    /// Rows written by [`Vectors::write`], mapped. Whether they are finite is for those to see who compute with them.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Input`] when the file is not of that form.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self::read_with(path)?.0)
    }

    /// As [`Vectors::read`], with the file, to ask it for facts.
    ///
    /// # Errors
    /// As [`Vectors::read`].
    pub fn read_with(path: &Path) -> Result<(Self, ArrayFile)> {
        let file = ArrayFile::open(path, FORM)?;
        let dimension: usize = file.fact("dimension")?.parse().unwrap_or(0);
        let rows = match file.fact("storage")? {
            "f32" => Rows::F32(file.array("vectors")?),
            "f16" => Rows::F16(file.array("vectors")?),
            "int8" => Rows::Int8 { codes: file.array("vectors")?, scales: file.array("scales")? },
            other => return Err(file.fault("storage f32, f16 or int8", other)),
        };
        let numbers = match &rows {
            Rows::F32(values) => values.len(),
            Rows::F16(values) => values.len(),
            Rows::Int8 { codes, .. } => codes.len(),
        };
        if dimension == 0 || !numbers.is_multiple_of(dimension) {
            return Err(file.fault("whole rows", &format!("{numbers} numbers in rows of {dimension}")));
        }
        if let Rows::Int8 { scales, .. } = &rows
            && scales.len() != numbers / dimension
        {
            return Err(file.fault("a scale a row", &format!("{} scales", scales.len())));
        }
        Ok((Self { dimension, rows }, file))
    }
}

/// The Euclidean norm of `row`.
#[must_use]
pub fn norm(row: &[f32]) -> f32 {
    row.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// D, how numbers are kept, N.
pub type Shape = (usize, Storage, usize);

/// Writes a file as [`Vectors::write_with`] does, of matrices one below the other that need not be in memory together:
/// `part` gives each of `count` by its number, when it is asked for it, which may be twice.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Input`] when the parts are not of that shape; what `part` returns.
pub fn write_below(
    path: &Path,
    (dimension, storage, rows): Shape,
    facts: &[(&str, String)],
    (count, part): (usize, &dyn Fn(usize) -> Result<Vectors>),
) -> Result<()> {
    let shape = vec![rows, dimension];
    let planned: Vec<Planned<'_>> = match storage {
        Storage::F32 => vec![("vectors", Dtype::F32, shape)],
        Storage::F16 => vec![("vectors", Dtype::F16, shape)],
        // Wider numbers first, so that all begin where they may.
        Storage::Int8 => vec![("scales", Dtype::F32, vec![rows]), ("vectors", Dtype::I8, shape)],
    };
    let own = [("dimension", dimension.to_string()), ("storage", name(storage).to_owned())];
    let facts: Vec<_> = own.into_iter().chain(facts.iter().cloned()).collect();
    write_in_turn(path, (FORM, &facts), &planned, |out| {
        for (array, ..) in &planned {
            for number in 0..count {
                let part = part(number)?;
                let bytes = match (&part.rows, *array) {
                    (Rows::F32(values), _) => bytemuck::cast_slice(values),
                    (Rows::F16(values), _) => bytemuck::cast_slice(values),
                    (Rows::Int8 { scales, .. }, "scales") => bytemuck::cast_slice(scales),
                    (Rows::Int8 { codes, .. }, _) => bytemuck::cast_slice(codes),
                };
                out.write_all(bytes).map_err(DataError::io("write", path))?;
            }
        }
        Ok(())
    })
}

/// "f32", "f16" or "int8".
fn name(storage: Storage) -> &'static str {
    match storage {
        Storage::F32 => "f32",
        Storage::F16 => "f16",
        Storage::Int8 => "int8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn vectors_read_back_bit_for_bit_and_a_cut_file_is_refused() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("v.safetensors");
        let vectors = Vectors::new(3, vec![0.1, -2.5, f32::MIN_POSITIVE, 1e3, 0.0, -0.0]);
        for storage in [Storage::F32, Storage::F16, Storage::Int8] {
            let stored = vectors.stored_as(storage);
            stored.write_with(&path, &[("truncated", "7".to_owned())])?;
            let (read, file) = Vectors::read_with(&path)?;
            assert_eq!(read, stored);
            assert_eq!((read.len(), read.storage(), file.fact("truncated")?), (2, storage, "7"));
            let joined = folder.path().join("j.safetensors");
            write_below(&joined, (3, storage, 4), &[], (2, &|_| Vectors::read(&path)))?;
            let joined = Vectors::read(&joined)?;
            assert_eq!(joined.widened(2..4), stored.widened(0..2));
            assert!(
                write_below(&path.with_extension("x"), (3, storage, 3), &[], (2, &|_| Vectors::read(&path))).is_err()
            );
            let bytes = std::fs::read(&path)?;
            std::fs::write(&path, &bytes[..bytes.len() - 1])?;
            assert!(Vectors::read(&path).is_err());
        }
        // Five numbers are no rows of three.
        let head = serde_json::json!({"__metadata__": {"nearmiss": r#"{"dimension":"3","form":"nearmiss vectors 1","storage":"int8"}"#},
            "scales": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "vectors": {"dtype": "I8", "shape": [5], "data_offsets": [4, 9]}});
        let mut head = head.to_string().into_bytes();
        head.resize(head.len().next_multiple_of(8), b' ');
        let bytes = [&(head.len() as u64).to_le_bytes()[..], &head, &[0; 9]].concat();
        std::fs::write(&path, bytes)?;
        let message = Vectors::read(&path).err().ok_or("an error was due")?.to_string();
        assert!(message.contains("5 numbers in rows of 3"), "{message}");
        Ok(())
    }

    proptest! {
        #[test]
        fn what_takes_less_room_is_off_by_no_more_than_it_says(values in proptest::collection::vec(-9.0f32..9.0, 24)) {
            let vectors = Vectors::new(8, values);
            let (halves, codes) = (vectors.stored_as(Storage::F16), vectors.stored_as(Storage::Int8));
            for row in 0..3 {
                let exact = vectors.row(row);
                let step = exact.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
                for ((value, half), code) in exact.iter().zip(halves.row(row).iter()).zip(codes.row(row).iter()) {
                    prop_assert!((value - half).abs() <= value.abs() / 2048.0 + 1e-7, "{value} as f16: {half}");
                    prop_assert!((value - code).abs() <= step * 0.5001, "{value} as int8: {code}");
                }
            }
            for (row, norm) in vectors.norms().into_iter().enumerate() {
                let due = vectors.row(row).iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                prop_assert!((f64::from(norm) - due).abs() < 1e-5);
            }
            let again = codes.stored_as(Storage::F32).stored_as(Storage::Int8);
            for (a, b) in codes.widened(0..3).iter().zip(again.widened(0..3).iter()) {
                prop_assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} stored again: {b}");
            }
        }
    }
}
