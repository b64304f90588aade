//! Arrays of numbers in files: named, typed, memory-mapped when read.
//! The form is safetensors, so any tool that reads models also reads our indexes: arrays of one dimension, and
//! under `__metadata__.nearmiss` a JSON object with a `form` that says what the file is, and facts as text. The same
//! arrays and facts give the same bytes. Nothing is parsed but the head, so that opening costs the same at any size;
//! what the numbers mean is checked by who asks for them.

use super::{Error, Fault, Result, atomic, error::excerpt};
use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("index files are little-endian and mapped as they are");

/// The bytes of `path`, memory-mapped; none for an empty file.
///
/// # Errors
/// [`Error::Io`].
pub fn map(path: &Path) -> Result<Arc<Mmap>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    // SAFETY: the map is read-only; a file changed under us by another program gives other bytes, which
    // readers treat as untrusted input.
    #[expect(unsafe_code, reason = "memory map")]
    let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
    Ok(Arc::new(map))
}

/// The entry of `__metadata__` that holds form and facts, as a JSON object of strings.
const FACTS: &str = "nearmiss";

/// Gives the memory that reading `bytes` of `map` took back to the system; they are read from the file again when
/// they are needed. For passes over files that are larger than what they are made into.
pub fn release(map: &Mmap, bytes: Range<usize>) {
    // SAFETY: the map is of a file and never written to, so that pages dropped come back as they were.
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "memory map")]
    let released = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
    // Only memory is at stake: a system that refuses keeps it.
    #[cfg(unix)]
    drop(released);
    #[cfg(not(unix))]
    let _ = (map, bytes);
}

/// A number that files hold.
pub trait Number: Pod {
    /// Its name in the file's head.
    const DTYPE: Dtype;
}

macro_rules! number {
    ($($type:ty = $dtype:ident),*) => { $(impl Number for $type { const DTYPE: Dtype = Dtype::$dtype; })* };
}
number!(u8 = U8, i8 = I8, u16 = U16, u32 = U32, u64 = U64, f32 = F32, half::f16 = F16);

/// Numbers in memory or in a mapped file; reads as a slice, costs nothing to clone when mapped.
#[derive(Debug, Clone)]
pub struct Array<T> {
    place: Place<T>,
}

#[derive(Debug, Clone)]
enum Place<T> {
    Memory(Arc<Vec<T>>),
    File { map: Arc<Mmap>, bytes: Range<usize>, element: PhantomData<T> },
}

impl<T> From<Vec<T>> for Array<T> {
    fn from(values: Vec<T>) -> Self {
        Self { place: Place::Memory(Arc::new(values)) }
    }
}

impl<T: Number> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.place {
            Place::Memory(values) => values,
            Place::File { map, bytes, .. } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}

/// Arrays by name, to be written.
#[derive(Default)]
pub struct Arrays<'a> {
    views: Vec<(String, Dtype, &'a [u8])>,
}

impl<'a> Arrays<'a> {
    /// Adds `values` under `name`.
    pub fn add<T: Number>(&mut self, name: impl Into<String>, values: &'a [T]) {
        self.views.push((name.into(), T::DTYPE, bytemuck::cast_slice(values)));
    }

    /// Writes all to `path`, atomically, as a file of `form` with `facts`.
    ///
    /// # Errors
    /// [`Error::Io`].
    ///
    /// # Panics
    /// When two arrays have one name.
    pub fn write(&self, path: &Path, form: &str, facts: &[(&str, String)]) -> Result<()> {
        atomic::write_with(path, |partial| self.write_at(partial, form, facts))
    }

    /// As [`Arrays::write`], for a file that other processes may be writing at the same time.
    ///
    /// # Errors
    /// [`Error::Io`].
    ///
    /// # Panics
    /// When two arrays have one name.
    pub fn write_shared(&self, path: &Path, form: &str, facts: &[(&str, String)]) -> Result<()> {
        atomic::write_shared(path, |partial| self.write_at(partial, form, facts))
    }

    fn write_at(&self, path: &Path, form: &str, facts: &[(&str, String)]) -> Result<()> {
        let views = self.views.iter().map(|(name, dtype, bytes)| {
            let length = bytes.len() * 8 / dtype.bitsize();
            (name.clone(), TensorView::new(*dtype, vec![length], bytes).expect("length and bytes agree"))
        });
        let views: Vec<_> = views.collect();
        let metadata = metadata(form, facts);
        // The library writes files that only their owner reads; a file made the plain way tells who should.
        let made = File::create(path).and_then(|file| file.metadata());
        let readers = made.map_err(Error::io("create", path))?.permissions();
        safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(cause) => Error::io("write", path)(cause),
            other => Error::io("write", path)(std::io::Error::other(other)),
        })?;
        std::fs::set_permissions(path, readers).map_err(Error::io("write", path))
    }
}

/// Form and facts as one entry: safetensors writes several in the order of a hash map, another one in each process.
fn metadata(form: &str, facts: &[(&str, String)]) -> HashMap<String, String> {
    let mut sorted: BTreeMap<&str, &str> = facts.iter().map(|(key, value)| (*key, value.as_str())).collect();
    sorted.insert("form", form);
    HashMap::from([(FACTS.to_owned(), serde_json::json!(sorted).to_string())])
}

/// An array whose numbers come later: name, type and shape.
pub type Planned<'p> = (&'p str, Dtype, Vec<usize>);

/// Writes a file as [`Arrays::write`] does, whose arrays need not be in memory: `fill` gives their bytes, one array
/// after the other in the order of `planned`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] when `fill` gives another number of bytes; what `fill` returns.
pub fn write_in_turn(
    path: &Path,
    (form, facts): (&str, &[(&str, String)]),
    planned: &[Planned<'_>],
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut end = 0;
    let infos = planned.iter().map(|(name, dtype, shape)| {
        let begin = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        ((*name).to_owned(), TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (begin, end) })
    });
    let infos: Vec<_> = infos.collect();
    let failed = |error: String| Error::io("write", path)(std::io::Error::other(error));
    let head = Metadata::new(Some(metadata(form, facts)), infos).map_err(|error| failed(error.to_string()))?;
    let mut head = serde_json::to_vec(&head).map_err(|error| failed(error.to_string()))?;
    // Numbers begin where any of them may: that the file can be mapped.
    head.resize(head.len().next_multiple_of(8), b' ');
    atomic::write_with(path, |partial| {
        let file = File::create(partial).map_err(Error::io("create", partial))?;
        let mut out = BufWriter::new(file);
        let written = out.write_all(&(head.len() as u64).to_le_bytes()).and_then(|()| out.write_all(&head));
        written.map_err(Error::io("write", partial))?;
        fill(&mut out)?;
        out.flush().map_err(Error::io("write", partial))?;
        let bytes = out.get_ref().metadata().map_err(Error::io("read", partial))?.len();
        let due = (8 + head.len() + end) as u64;
        if bytes == due { Ok(()) } else { Err(Fault::new(path, format!("{due} bytes"), bytes.to_string()).into()) }
    })
}

/// A file of arrays, open.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    map: Arc<Mmap>,
    arrays: HashMap<String, (Dtype, Range<usize>)>,
    facts: HashMap<String, String>,
}

impl ArrayFile {
    /// The file at `path`, which must be of `form`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] when it is cut off or another kind of file.
    pub fn open(path: &Path, form: &str) -> Result<Self> {
        let map = map(path)?;
        let wrong = |found: &str| {
            Fault::new(path, format!("a file of form `{form}`"), excerpt(found, 80))
                .hint("remove it to have it made anew")
        };
        let (_, head) = SafeTensors::read_metadata(&map).map_err(|error| wrong(&error.to_string()))?;
        let facts = head.metadata().as_ref().and_then(|metadata| metadata.get(FACTS));
        let facts: HashMap<String, String> =
            facts.and_then(|facts| serde_json::from_str(facts).ok()).unwrap_or_default();
        match facts.get("form") {
            Some(found) if found == form => {}
            Some(other) => return Err(wrong(&format!("form `{other}`")).into()),
            None => return Err(wrong("a safetensors file without a form").into()),
        }
        let tensors = SafeTensors::deserialize(&map).map_err(|error| wrong(&error.to_string()))?;
        let first = map.as_ptr().addr();
        let arrays = tensors
            .iter()
            .map(|(name, view)| {
                let start = view.data().as_ptr().addr() - first;
                (name.to_owned(), (view.dtype(), start..start + view.data().len()))
            })
            .collect();
        Ok(Self { path: path.to_owned(), map: map.clone(), arrays, facts })
    }

    /// The array called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none, or of another type.
    pub fn array<T: Number>(&self, name: &str) -> Result<Array<T>> {
        let wrong = |found: String| {
            let fault = Fault::new(&self.path, format!("numbers of type {:?}", T::DTYPE), found);
            Error::from(fault.key(name).hint("remove the file to have it made anew"))
        };
        let (dtype, bytes) = self.arrays.get(name).ok_or_else(|| wrong("no such array".to_owned()))?;
        if *dtype != T::DTYPE || bytemuck::try_cast_slice::<u8, T>(&self.map[bytes.clone()]).is_err() {
            return Err(wrong(format!("{dtype:?}, {} bytes from byte {}", bytes.len(), bytes.start)));
        }
        let place = Place::File { map: self.map.clone(), bytes: bytes.clone(), element: PhantomData };
        Ok(Array { place })
    }

    /// The fact under `key`.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none.
    pub fn fact(&self, key: &str) -> Result<&str> {
        let missing = || Fault::new(&self.path, "this fact", "no such key").key(key).into();
        self.facts.get(key).map(String::as_str).ok_or_else(missing)
    }

    /// A defect of this file.
    #[must_use]
    pub fn fault(&self, expected: &str, found: &str) -> Error {
        Fault::new(&self.path, expected, found).hint("remove the file to have it made anew").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn arrays_read_back_by_name_and_type() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.safetensors");
        let mut arrays = Arrays::default();
        // Odd lengths of small types before large ones: alignment must hold all the same.
        arrays.add("bytes", &[1_u8, 2, 3]);
        arrays.add("short", &[7_u16]);
        arrays.add("long", &[u64::MAX, 0]);
        arrays.add("real", &[0.1_f32, -0.0]);
        arrays.add::<u32>("none", &[]);
        arrays.write(&path, "test", &[("answer", "42".to_owned())])?;
        let file = ArrayFile::open(&path, "test")?;
        assert_eq!(*file.array::<u8>("bytes")?, [1, 2, 3]);
        assert_eq!(*file.array::<u16>("short")?, [7]);
        assert_eq!(*file.array::<u64>("long")?, [u64::MAX, 0]);
        assert_eq!(file.array::<f32>("real")?.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [0x3dcc_cccd, 1 << 31]);
        assert!(file.array::<u32>("none")?.is_empty());
        assert_eq!(file.fact("answer")?, "42");
        let again = folder.path().join("b.safetensors");
        let planned = [("long", Dtype::U64, vec![1, 2]), ("bytes", Dtype::U8, vec![3])];
        let fill = |bytes: &'static [u8]| {
            move |out: &mut dyn Write| out.write_all(bytes).map_err(Error::io("write", Path::new("b")))
        };
        write_in_turn(
            &again,
            ("test", &[]),
            &planned,
            fill(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9]),
        )?;
        let second = ArrayFile::open(&again, "test")?;
        assert_eq!((&*second.array::<u64>("long")?, &*second.array::<u8>("bytes")?), (&[1, 2][..], &[7, 8, 9][..]));
        assert!(write_in_turn(&again, ("test", &[]), &planned, fill(&[1])).is_err());
        assert!(file.array::<u32>("real").is_err() && file.array::<f32>("other").is_err() && file.fact("x").is_err());
        Ok(())
    }

    #[test]
    fn other_forms_and_cut_files_are_refused_with_the_path() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.safetensors");
        let mut arrays = Arrays::default();
        arrays.add("numbers", &[1_u32, 2, 3]);
        arrays.write(&path, "one", &[])?;
        let message = ArrayFile::open(&path, "two").err().ok_or("an error was due")?.to_string();
        assert!(
            message.contains("a.safetensors") && message.contains("`one`") && message.contains("hint"),
            "{message}"
        );
        let whole = std::fs::read(&path)?;
        for length in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length])?;
            assert!(ArrayFile::open(&path, "one").is_err(), "{length} bytes");
        }
        Ok(())
    }
}
