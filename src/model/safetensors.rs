//! The check of a safetensors file's head before anything believes it: sizes, places and types of all tensors.
//! Whoever maps or allocates by these numbers may trust them afterwards: nothing lies outside the file, nothing overlaps,
//! no product overflows. The numbers themselves are not looked at.

use crate::data::{Error, Fault, Result, arrays, error::excerpt};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A longer head is damage, not a model; the library has the same bound.
const LONGEST_HEAD: u64 = 100_000_000;

/// Bits of each type that the format knows.
const TYPES: [(&str, u64); 18] = [
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("F4", 4),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// Checks the head of the file at `path`; gives the number of its tensors.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] naming the tensor that is not as it must be.
pub fn check_file(path: &Path) -> Result<usize> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size < 8 {
        return Err(fault(path, "a safetensors file", format!("{size} bytes")).into());
    }
    Ok(check(&arrays::map(path)?, path)?)
}

/// Checks the head in `bytes`, those of a whole file; `path` is only for messages. Gives the number of tensors.
///
/// # Errors
/// [`Fault`] naming the tensor that is not as it must be.
pub fn check(bytes: &[u8], path: &Path) -> Result<usize, Fault> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(fault(path, "a safetensors file", format!("{} bytes", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    let head = usize::try_from(length).ok().filter(|_| length <= LONGEST_HEAD).and_then(|length| rest.get(..length));
    let Some(head) = head else {
        let most = LONGEST_HEAD.min(rest.len() as u64);
        return Err(fault(path, format!("a head of at most {most} bytes"), format!("{length} bytes")));
    };
    let Entries(entries) = serde_json::from_slice(head)
        .map_err(|error| fault(path, "a head in JSON, each name once", excerpt(&error.to_string(), 120)))?;
    let data = (rest.len() - head.len()) as u64;
    let mut names = BTreeSet::new();
    let mut places = Vec::new();
    for (name, entry) in entries {
        if name == "__metadata__" {
            continue;
        }
        let (begin, end) = place(&entry, data).map_err(|(expected, found)| fault(path, expected, found).key(&name))?;
        places.push((begin, end, name.clone()));
        if !names.insert(name.clone()) {
            return Err(fault(path, "each name once", "this name twice").key(&name));
        }
    }
    places.sort();
    let mut free = 0;
    for (begin, end, name) in &places {
        if *begin != free {
            let what =
                if *begin < free { "an overlap with the tensor before it" } else { "bytes of no tensor before it" };
            return Err(fault(path, format!("numbers from byte {free}"), format!("{what}, from {begin}")).key(name));
        }
        free = *end;
    }
    if free != data {
        return Err(fault(path, format!("{free} bytes of numbers by the head"), format!("{data} bytes")));
    }
    Ok(places.len())
}

fn fault(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Fault {
    Fault::new(path, expected, found)
        .hint("the file is cut off, damaged or no safetensors: copy it again and compare its size or sha256")
}

/// Where the numbers of a tensor begin and end in the `data` bytes after the head; or what was expected and found.
fn place(entry: &Value, data: u64) -> Result<(u64, u64), (String, String)> {
    let wrong =
        |expected: &str, found: &Value| Err((expected.to_owned(), found.to_string().chars().take(80).collect()));
    let Tensor { dtype, shape, data_offsets: [begin, end] } = match Tensor::deserialize(entry) {
        Ok(tensor) => tensor,
        Err(error) => return Err(("dtype, shape and data_offsets".to_owned(), excerpt(&error.to_string(), 80))),
    };
    let Some((_, bits)) = TYPES.iter().find(|(name, _)| *name == dtype) else {
        return wrong("a type of the format", &entry["dtype"]);
    };
    if begin > end || end > data {
        return wrong(&format!("a place within {data} bytes"), &entry["data_offsets"]);
    }
    let size = shape.iter().try_fold(*bits, |size, &count| size.checked_mul(count));
    match size {
        Some(size) if size.is_multiple_of(8) && size / 8 == end - begin => Ok((begin, end)),
        Some(size) => Err((format!("{} bytes by dtype and shape", size / 8), format!("{} bytes", end - begin))),
        None => wrong("a shape whose size is a number", &entry["shape"]),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The entries of a JSON object in their order, repeated names and all: a map would keep the last of them.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    fn file(head: &str, data: usize) -> Vec<u8> {
        [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &vec![0; data]].concat()
    }

    fn refusal(bytes: &[u8]) -> String {
        check(bytes, Path::new("model.safetensors")).err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_head_that_lies_is_refused_by_the_tensors_name() {
        let good = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}"#;
        assert_eq!(check(&file(good, 16), Path::new("x")).ok(), Some(2));
        for (head, data, expected) in [
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}"#,
                9,
                "`a`: expected 8 bytes by dtype and shape, found 9 bytes",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
                4,
                "`a`: expected a place within 4 bytes, found [0,8]",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
                8,
                "`a`: expected a place within 8 bytes, found [8,0]",
            ),
            (
                r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#,
                8,
                "`a`: expected a type of the format, found \"F33\"",
            ),
            // 2^62 numbers of 4 bytes: 2^64, which is 0 where nobody looks.
            (
                r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#,
                0,
                "`a`: expected a shape whose size is a number",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}"#,
                0,
                "`a`: expected dtype, shape and data_offsets",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "`a`: expected dtype, shape and data_offsets"),
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
                6,
                "`b`: expected numbers from byte 4, found an overlap",
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}"#,
                6,
                "`b`: expected numbers from byte 4, found bytes of no tensor",
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}"#,
                5,
                "`a`: expected each name once",
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                5,
                "expected 4 bytes of numbers by the head, found 5",
            ),
            (r#"{"a":1}"#, 0, "`a`: expected dtype, shape and data_offsets"),
            ("[]", 0, "expected a head in JSON"),
        ] {
            let message = refusal(&file(head, data));
            assert!(message.contains(expected) && message.contains("hint"), "{message}\nfor {head}");
        }
        assert!(refusal(b"1234").contains("found 4 bytes"));
        assert!(refusal(&u64::MAX.to_le_bytes()).contains("expected a head of at most 0 bytes"));
        assert!(refusal(&[9, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']).contains("expected a head of at most 2 bytes, found 9"));
        assert!(refusal(&file(&"[".repeat(5000), 0)).contains("expected a head in JSON"));
    }

    proptest! {
        #[test]
        fn what_passes_the_library_can_read(place in 0usize..200, byte: u8, cut in 0usize..40) {
            let head = r#"{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"I16","shape":[4],"data_offsets":[8,16]}}"#;
            let mut bytes = file(head, 16);
            if let Some(one) = bytes.get_mut(place) {
                *one = byte;
            }
            bytes.truncate(bytes.len() - cut);
            if check(&bytes, Path::new("x")).is_ok() {
                prop_assert!(SafeTensors::deserialize(&bytes).is_ok());
            }
        }
    }
}
