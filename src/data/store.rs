//! Outputs of stages by content key: a stage whose inputs and settings were seen before is not run again.
//! `<root>/<stage>-<key>/` is a folder that is complete or absent; journals live beside as
//! `<stage>-<key>.jsonl` while they grow.

use super::{Error, Fault, Provenance, Result, atomic};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The right to work in a store; ends when it is dropped, or with the process.
#[must_use]
pub struct StoreLock {
    _file: File,
}

/// A folder of stage outputs.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in `root`; the folder is made when something is put.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Keeps other processes out of the store for as long as the guard lives.
    ///
    /// # Errors
    /// [`Error::Input`] when another process is using the store; [`Error::Io`].
    pub fn lock(&self) -> Result<StoreLock> {
        std::fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(StoreLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Fault::new(&self.root, "a store that is free", "another nearmiss at work in it")
                    .hint("wait for it to end, or give this one another folder with --store")
                    .into())
            }
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    /// The folder that holds, or will hold, the output of `stage`.
    #[must_use]
    pub fn place(&self, stage: &Provenance) -> PathBuf {
        self.root.join(format!("{}-{}", stage.stage, stage.key().short(16)))
    }

    /// A file that lies in the store under its own name.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The journal of a stage that is still running.
    #[must_use]
    pub fn journal(&self, stage: &Provenance) -> PathBuf {
        let mut name = self.place(stage).into_os_string();
        name.push(".jsonl");
        name.into()
    }

    /// The output folder of `stage`: as found, or filled by `make`, which may add counts to the provenance.
    ///
    /// # Errors
    /// What `make` returns; [`Error::Io`].
    pub fn get_or_make<E: From<Error>>(
        &self,
        stage: Provenance,
        make: impl FnOnce(&Path, &mut Provenance) -> Result<(), E>,
    ) -> Result<Stored, E> {
        let place = self.place(&stage);
        if place.is_dir() {
            return Ok(Stored { place, fresh: false });
        }
        atomic::write_folder(&place, |partial| {
            let mut stage = stage;
            make(partial, &mut stage)?;
            stage.write(&partial.join("provenance.json"))?;
            Ok::<(), E>(())
        })?;
        Ok(Stored { place, fresh: true })
    }
}

/// An output in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its folder.
    pub place: PathBuf,
    /// True when it was made just now, false when it was there already.
    pub fresh: bool,
}

impl Stored {
    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }
}
