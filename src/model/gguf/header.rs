//! The syntax of a GGUF header: keys, values and tensor places, read with bounds on everything.
//! Format: ggml/docs/gguf.md, versions 2 and 3, little-endian. What the keys mean for a language
//! model is judged one level up. Nothing here trusts a number in the file: lengths are compared
//! with what is left, sums and products are checked, and nothing is allocated from a claimed size.

use crate::data::{Fault, error::excerpt};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Keys of real files stay below 200, tensors below 10,000.
const MOST_KEYS: u64 = 1 << 16;
const MOST_TENSORS: u64 = 1 << 17;
/// ggml's `GGML_MAX_NAME`, with its closing zero.
const LONGEST_NAME: usize = 63;
const MOST_DIMENSIONS: u32 = 4;

type Result<T> = std::result::Result<T, Box<Fault>>;

/// A metadata value; the elements of arrays other than strings are only counted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// Elements and their number, with the values where they are whole numbers.
    Numbers(Vec<i64>),
    Array {
        kind: &'static str,
        len: u64,
    },
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dimensions: Vec<u64>,
    /// Bytes within the data part.
    pub(super) bytes: Range<u64>,
}

/// Keys and tensors of a file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) values: HashMap<String, Value>,
    pub(super) tensors: Vec<Tensor>,
}

/// Name, values a block, bytes a block of the ggml types that files may hold, by type number.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
    (42, "Q2_0", 64, 18),
];

/// The header of the file at `path` whose bytes are `bytes`.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<Header> {
    let mut cursor = Cursor { bytes, at: 0, path };
    if cursor.take(4, "the magic number")? != b"GGUF" {
        return Err(cursor
            .fault("the letters GGUF at the start", excerpt(&String::from_utf8_lossy(&bytes[..4]), 4))
            .hint("a safetensors or PyTorch model has to be converted first (llama.cpp's convert_hf_to_gguf.py)")
            .into());
    }
    let version = cursor.u32("the version")?;
    if !matches!(version, 2 | 3) {
        let expected = "GGUF version 2 or 3, little-endian";
        return Err(cursor.fault(expected, format!("version {version}")).into());
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let key_count = cursor.u64("the number of keys")?;
    // A key is at least 8 + 4 + 1 bytes, a tensor's entry at least 8 + 4 + 8 + 4 + 8.
    cursor.plausible("keys", key_count, MOST_KEYS, 13)?;
    cursor.plausible("tensors", tensor_count, MOST_TENSORS, 32)?;

    let mut values = HashMap::new();
    for _ in 0..key_count {
        let key = cursor.text("a key")?;
        let value = cursor.value(&key)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(cursor.fault("keys that occur once", "this key again").key(key).into());
        }
    }
    let alignment = alignment(&values, &cursor)?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(cursor.tensor(alignment)?);
    }
    let data = (cursor.at as u64)
        .checked_next_multiple_of(alignment)
        .filter(|&start| tensors.is_empty() || start <= bytes.len() as u64)
        .ok_or_else(|| Box::new(cursor.fault("tensor data after the header", "the end of the file")))?;
    check_places(&tensors, bytes.len() as u64 - data.min(bytes.len() as u64), path)?;
    Ok(Header { values, tensors })
}

fn alignment(values: &HashMap<String, Value>, cursor: &Cursor<'_>) -> Result<u64> {
    match values.get("general.alignment") {
        None => Ok(32),
        Some(&Value::Unsigned(n)) if n.is_power_of_two() && (8..=1 << 16).contains(&n) => Ok(n),
        Some(other) => {
            Err(cursor.fault("a power of two from 8 to 65536", format!("{other:?}")).key("general.alignment").into())
        }
    }
}

/// Every tensor ends inside the data part, and no two share a byte or a name.
fn check_places(tensors: &[Tensor], data_len: u64, path: &Path) -> Result<()> {
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
    for pair in order.windows(2) {
        if pair[1].bytes.start < pair[0].bytes.end {
            let found = format!("bytes shared with {}", pair[0].name);
            return Err(Fault::new(path, "tensors that do not overlap", found).key(&pair[1].name).into());
        }
    }
    if let Some(last) = order.iter().find(|tensor| tensor.bytes.end > data_len) {
        let found = format!("an end at byte {} of {data_len} bytes of tensor data", last.bytes.end);
        return Err(Fault::new(path, "every tensor inside the file", found)
            .key(&last.name)
            .hint("the file is cut off: download or copy it again")
            .into());
    }
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::new(path, "tensor names that occur once", "this name again").key(pair[0]).into()),
        None => Ok(()),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    fn fault(&self, expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault::new(self.path, expected, found)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        if count > self.left() {
            let found = format!("{} at byte {}", self.left(), self.at);
            return Err(self
                .fault(format!("{count} more bytes for {what}"), found)
                .hint("the file is cut off: download or copy it again")
                .into());
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// `count` entries of at least `least` bytes fit in what is left.
    fn plausible(&self, what: &str, count: u64, most: u64, least: u64) -> Result<()> {
        let room = self.left() as u64 / least;
        if count > most || count > room {
            let expected = format!("at most {} {what}", most.min(room));
            return Err(self.fault(expected, format!("{count}")).hint("the header is damaged").into());
        }
        Ok(())
    }

    fn text(&mut self, what: &str) -> Result<String> {
        let len = self.u64(what)?;
        let start = self.at;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX), what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self
                .fault(format!("UTF-8 in {what}"), format!("an invalid byte at {}", start + error.valid_up_to()))
                .into()),
        }
    }

    fn value(&mut self, key: &str) -> Result<Value> {
        let kind = self.u32("a value's type")?;
        self.value_of(kind, key)
    }

    #[expect(clippy::cast_lossless, reason = "the width is what the format says, not what Rust infers")]
    fn value_of(&mut self, kind: u32, key: &str) -> Result<Value> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?) as u64),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?) as i64),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?) as u64),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?) as i64),
            4 => Value::Unsigned(self.u32(key)? as u64),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?) as i64),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?) as f64),
            7 => match self.array::<1>(key)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(self.fault("0 or 1 for a truth value", other.to_string()).key(key).into()),
            },
            8 => Value::Text(self.text(key)?),
            9 => self.elements(key)?,
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            _ => return Err(self.fault("a value type from 0 to 12", kind.to_string()).key(key).into()),
        })
    }

    fn elements(&mut self, key: &str) -> Result<Value> {
        let kind = self.u32("an array's type")?;
        let len = self.u64("an array's length")?;
        let (name, width): (&'static str, u64) = match kind {
            0 | 1 | 7 => ("bytes", 1),
            2 | 3 => ("16-bit numbers", 2),
            4 | 5 => ("32-bit numbers", 4),
            6 => ("32-bit floats", 4),
            8 => ("strings", 8),
            10 | 11 => ("64-bit numbers", 8),
            12 => ("64-bit floats", 8),
            _ => return Err(self.fault("an array of numbers or strings", format!("type {kind}")).key(key).into()),
        };
        self.plausible(&format!("{name} in `{key}`"), len, u64::MAX, width)?;
        // Per-layer numbers (head counts) are kept; everything longer is only counted.
        if matches!(kind, 4 | 5) && len <= 1024 {
            let mut numbers = Vec::new();
            for _ in 0..len {
                let bits = self.u32(key)?;
                numbers.push(if kind == 4 { i64::from(bits) } else { i64::from(bits.cast_signed()) });
            }
            return Ok(Value::Numbers(numbers));
        }
        if kind == 8 {
            for _ in 0..len {
                self.text(key)?;
            }
        } else {
            self.take(usize::try_from(len.saturating_mul(width)).unwrap_or(usize::MAX), key)?;
        }
        Ok(Value::Array { kind: name, len })
    }

    fn tensor(&mut self, alignment: u64) -> Result<Tensor> {
        let name = self.text("a tensor's name")?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(self.fault("tensor names of 1 to 63 bytes", excerpt(&name, 80)).into());
        }
        let count = self.u32("a tensor's number of dimensions")?;
        if !(1..=MOST_DIMENSIONS).contains(&count) {
            return Err(self.fault("1 to 4 dimensions", count.to_string()).key(name).into());
        }
        let mut dimensions = Vec::new();
        for _ in 0..count {
            dimensions.push(self.u64("a tensor's dimension")?);
        }
        let kind = self.u32("a tensor's type")?;
        let offset = self.u64("a tensor's offset")?;
        let Some(&(_, kind_name, block, block_bytes)) = TYPES.iter().find(|row| row.0 == kind) else {
            return Err(self.fault("a tensor type this program knows", format!("type {kind}")).key(name).into());
        };
        let size = dimensions
            .iter()
            .try_fold(1_u64, |size, &d| if d == 0 { None } else { size.checked_mul(d) })
            .filter(|&size| i64::try_from(size).is_ok() && dimensions[0].is_multiple_of(block))
            .and_then(|size| (size / block).checked_mul(block_bytes));
        let Some(size) = size else {
            let expected = format!("dimensions above 0, the first a multiple of {block} ({kind_name})");
            return Err(self.fault(expected, format!("{dimensions:?}")).key(name).into());
        };
        match offset.checked_add(size) {
            Some(end) if offset.is_multiple_of(alignment) => Ok(Tensor { name, dimensions, bytes: offset..end }),
            _ => {
                let expected = format!("a place at a multiple of {alignment} bytes");
                Err(self.fault(expected, format!("offset {offset}")).key(name).into())
            }
        }
    }
}
