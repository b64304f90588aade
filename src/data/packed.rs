//! Compressed files, read and written like plain ones.
//! Reading goes by the first bytes of a file (no text begins with those of gzip or Zstandard), writing by the
//! ending of its name: `.gz`, `.zst`. Several members or frames in a row read as one text.

use super::{Error, Result};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// How the bytes of a file are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Form {
    /// The form a file with these first bytes has.
    #[must_use]
    pub fn of_bytes(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// The form of an open file that was not read from yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(file: File) -> io::Result<Self> {
        let mut head = Vec::new();
        file.take(4).read_to_end(&mut head)?;
        Ok(Self::of_bytes(&head))
    }

    /// The form a file of this name is written in.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// The first of `name`, `name.gz` and `name.zst` that lies in `folder`; `name` itself when none does.
#[must_use]
pub fn find(folder: &Path, name: &str) -> PathBuf {
    let places = ["", ".gz", ".zst"].map(|ending| folder.join(format!("{name}{ending}")));
    places.iter().find(|place| place.is_file()).unwrap_or(&places[0]).clone()
}

/// The text of `path`, unpacked as it is read, and the form it was found in.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened.
pub fn open(path: &Path) -> Result<(Box<dyn BufRead>, Form)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = BufReader::with_capacity(1 << 17, file);
    let form = Form::of_bytes(bytes.fill_buf().map_err(Error::io("read", path))?);
    let text: Box<dyn BufRead> = match form {
        Form::Plain => Box::new(bytes),
        Form::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(bytes))),
        Form::Zstd => {
            let decoder = zstd::Decoder::with_buffer(bytes).map_err(Error::io("unpack", path))?;
            Box::new(BufReader::new(decoder))
        }
    };
    Ok((text, form))
}

/// The whole text of `path`, unpacked.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let (mut reader, form) = open(path)?;
    if form == Form::Plain {
        return std::fs::read(path).map_err(Error::io("read", path));
    }
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(Error::io("read", path))?;
    Ok(text)
}

/// Packs what is written to it; [`Packer::finish`] must be called at the end.
pub enum Packer {
    /// Writes bytes as they are.
    Plain(BufWriter<File>),
    /// Writes gzip.
    Gzip(GzEncoder<BufWriter<File>>),
    /// Writes Zstandard.
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Packer {
    /// A writer of `form` into `file`, at the usual level of each.
    ///
    /// # Errors
    /// When no memory is left for the encoder.
    pub fn new(file: File, form: Form) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 17, file);
        Ok(match form {
            Form::Plain => Self::Plain(file),
            Form::Gzip => Self::Gzip(GzEncoder::new(file, Compression::default())),
            Form::Zstd => Self::Zstd(zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?),
        })
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .flush()
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::atomic::write_file;
    use super::*;

    type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn what_is_written_packed_reads_back() -> Outcome {
        let folder = tempfile::tempdir()?;
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
        let size = |name: &str| std::fs::metadata(folder.path().join(name)).map(|file| file.len());
        for (name, form) in [("a.txt", Form::Plain), ("a.txt.gz", Form::Gzip), ("a.txt.zst", Form::Zstd)] {
            let path = folder.path().join(name);
            write_file(&path, |out| out.write_all(&text).map_err(Error::io("write", &path)))?;
            assert_eq!(open(&path)?.1, form);
            assert_eq!(read(&path)?, text, "{name}");
        }
        assert!(size("a.txt.gz")? * 2 < size("a.txt")? && size("a.txt.zst")? * 2 < size("a.txt")?);
        Ok(())
    }

    #[test]
    fn members_in_a_row_are_one_text_and_a_cut_one_is_an_error() -> Outcome {
        let folder = tempfile::tempdir()?;
        for ending in ["gz", "zst"] {
            let path = folder.path().join(format!("a.{ending}"));
            write_file(&path, |out| out.write_all(b"one\n").map_err(Error::io("write", &path)))?;
            let once = std::fs::read(&path)?;
            std::fs::write(&path, [once.clone(), once.clone()].concat())?;
            assert_eq!(read(&path)?, b"one\none\n", "{ending}");
            std::fs::write(&path, &once[..once.len() - 3])?;
            let message = read(&path).err().ok_or("an error was due")?.to_string();
            assert!(message.contains(&format!("a.{ending}")), "{message}");
        }
        Ok(())
    }
}
