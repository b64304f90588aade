//! Files and folders that are complete or absent, and journals whose torn tail is dropped.
//! A file is written beside its place, synced and renamed; a folder is filled under a
//! temporary name and renamed. Journals are the one thing that grows in place.

use super::packed::{Form, Packer};
use super::{Error, Result};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `path` through `fill`; at any moment the old content, the new one or none is there.
/// A name that ends in `.gz` or `.zst` is written packed.
///
/// # Errors
/// [`Error::Io`] when the folder or file cannot be written; whatever `fill` returns.
pub fn write_file<E: From<Error>>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<(), E> {
    write_with(path, |partial| {
        let file = File::create(partial).map_err(Error::io("create", partial))?;
        let mut writer = Packer::new(file, Form::of_name(path)).map_err(Error::io("write", partial))?;
        fill(&mut writer)?;
        Ok(writer.finish().map_err(Error::io("write", partial))?)
    })
}

/// As [`write_file`], for writers that make the file themselves: `fill` is given the temporary name.
///
/// # Errors
/// As [`write_file`].
pub fn write_with<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    write_as(path, &partial_name(path), fill)
}

/// As [`write_with`], for a file that other processes may be writing at the same time: each fills one of its own,
/// and the last to end gives its content to the name.
///
/// # Errors
/// As [`write_file`].
pub fn write_shared<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.partial", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let partial = path.with_file_name(name);
    let written = write_as(path, &partial, fill);
    if written.is_err() {
        // Nobody else would ever remove it: its name is only ours.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_as<E: From<Error>>(path: &Path, partial: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    make_parent(path)?;
    fill(partial)?;
    File::open(partial).and_then(|file| file.sync_all()).map_err(Error::io("sync", partial))?;
    fs::rename(partial, path).map_err(Error::io("rename into", path))?;
    sync_parent(path)?;
    Ok(())
}

/// Fills a folder under a temporary name and gives it its own when `fill` has succeeded.
/// What stood at `path` is replaced: it is whole until the new one is, and [`settled`] finds one of the two.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written; whatever `fill` returns.
pub fn write_folder<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    make_parent(path)?;
    let partial = partial_name(path);
    clear(&partial)?;
    fs::create_dir_all(&partial).map_err(Error::io("create", &partial))?;
    fill(&partial)?;
    sync_files(&partial)?;
    let old = settled(path)?.then(|| put_aside(path)).transpose()?;
    fs::rename(&partial, path).map_err(Error::io("rename into", path))?;
    sync_parent(path)?;
    old.map_or(Ok(()), |old| Ok(clear(&old)?))
}

/// Whether a folder that [`write_folder`] replaces stands at `path`, after mending what a replacement cut short left.
///
/// # Errors
/// [`Error::Io`] when the old folder cannot be given its name back.
pub fn settled(path: &Path) -> Result<bool> {
    let old = with_ending(path, ".replaced");
    if !path.exists() && old.exists() {
        fs::rename(&old, path).map_err(Error::io("rename into", path))?;
    }
    Ok(path.exists())
}

/// Removes a folder, which is whole or gone at any moment.
///
/// # Errors
/// [`Error::Io`] when it cannot be removed.
pub fn remove_folder(path: &Path) -> Result<()> {
    let removed = with_ending(path, ".removed");
    clear(&removed)?;
    fs::rename(path, &removed).map_err(Error::io("remove", path))?;
    clear(&removed)
}

/// The new name of what stood at `path`.
fn put_aside(path: &Path) -> Result<PathBuf> {
    let old = with_ending(path, ".replaced");
    clear(&old)?;
    fs::rename(path, &old).map_err(Error::io("replace", path))?;
    Ok(old)
}

fn clear(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path).map_err(Error::io("clear", path))
    } else if path.exists() {
        fs::remove_file(path).map_err(Error::io("clear", path))
    } else {
        Ok(())
    }
}

fn sync_files(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &path))?;
        }
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))
        }
        _ => Ok(()),
    }
}

fn partial_name(path: &Path) -> PathBuf {
    with_ending(path, ".partial")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Windows cannot open folders as files; there the rename alone has to do.
    if cfg!(unix) {
        let folder = File::open(parent).map_err(Error::io("open", parent))?;
        folder.sync_all().map_err(Error::io("sync", parent))?;
    }
    Ok(())
}

/// An append-only file of JSON records, one a line, each flushed as it is added.
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// The journal at `path`, made if absent, with the whole records it already holds.
    /// A last line without its end (the writer was killed) is cut off.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] when a whole line is not a record of type `T`.
    pub fn open<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>)> {
        make_parent(path)?;
        let mut file =
            File::options().read(true).append(true).create(true).open(path).map_err(Error::io("open", path))?;
        let mut records = Vec::new();
        let mut whole: u64 = 0;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let record = serde_json::from_slice(&line).map_err(|error| {
                super::Fault::new(path, "a record of this journal", error.to_string())
                    .line(records.len() as u64 + 1)
                    .hint("the journal was changed by something else; remove it to begin anew")
            })?;
            records.push(record);
            whole += read as u64;
        }
        drop(reader);
        file.set_len(whole).map_err(Error::io("truncate", path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("seek in", path))?;
        let path = path.to_owned();
        Ok((Self { file, path }, records))
    }

    /// Adds one record and hands it to the system before returning.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn append<T: serde::Serialize>(&mut self, record: &T) -> Result<()> {
        let mut line =
            serde_json::to_vec(record).map_err(|error| Error::io("encode a record for", &self.path)(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io("append to", &self.path))?;
        self.file.flush().map_err(Error::io("append to", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_leaves_the_old_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a/b.txt");
        write_file(&path, |w| w.write_all(b"old").map_err(Error::io("write", &path)))?;
        let failed = write_file(&path, |w| {
            w.write_all(b"half").map_err(Error::io("write", &path))?;
            Err::<(), Error>(Error::Stopped)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path)?, "old");
        Ok(())
    }

    #[test]
    fn a_folder_is_replaced_whole_and_found_again_after_a_cut() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a/b");
        let put = |text: &str| write_folder(&path, |to| fs::write(to.join("x"), text).map_err(Error::io("write", to)));
        assert!(!settled(&path)?);
        put("1")?;
        put("2")?;
        let beside = fs::read_dir(folder.path().join("a"))?.count();
        assert_eq!(beside, 1, "something was left beside the folder");
        // Killed between the two renames of a third.
        put_aside(&path)?;
        assert!(!path.exists() && settled(&path)?);
        assert_eq!(fs::read_to_string(path.join("x"))?, "2");
        // Killed while the old one was being cleared away.
        fs::create_dir(with_ending(&path, ".replaced"))?;
        put("3")?;
        assert_eq!(fs::read_to_string(path.join("x"))?, "3");
        remove_folder(&path)?;
        assert_eq!(fs::read_dir(folder.path().join("a"))?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_torn_last_record_is_dropped_and_the_rest_goes_on() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, "1\n2\n3")?;
        let (mut journal, records) = Journal::open::<u32>(&path)?;
        assert_eq!(records, [1, 2]);
        journal.append(&4)?;
        assert_eq!(fs::read_to_string(&path)?, "1\n2\n4\n");
        Ok(())
    }

    #[test]
    fn a_broken_record_in_the_middle_is_an_error() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, "1\nx\n3\n")?;
        let error = Journal::open::<u32>(&path).err().ok_or("an error was due")?.to_string();
        assert!(error.contains("journal.jsonl:2"), "{error}");
        Ok(())
    }
}
