//! Fetching a model from a Hugging Face hub into the cache where all of the field's tools find it. The only code that
//! opens a network connection, and only when `nearmiss pull` is called. What a hub says is not believed: names of files
//! and commits are checked before they become paths, sizes and SHA-256 after the last byte. A download goes on where it
//! stopped. What came is written down in a lock file; from then on the same commit and the same bytes are expected.

use super::locate::{is_hub_name, repository};
use crate::data::{Digest, Error, Fault, Result, Watch, atomic, error::excerpt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Times a file is asked for again after its connection broke, without a byte in between.
const TRIES: usize = 4;

/// A hub and what it is asked with.
pub struct Hub {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<String>,
}

/// A model at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `org/name`.
    pub model: String,
    /// Branch, tag or commit that was asked for.
    pub revision: String,
    /// What it stands for: 40 hexadecimal digits.
    pub commit: String,
    /// The files asked for, by path.
    pub files: Vec<RemoteFile>,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the model.
    pub path: String,
    /// Its size in bytes, where the hub says it.
    pub size: Option<u64>,
    /// SHA-256 of its bytes, where the hub says it: of large files.
    pub sha256: Option<String>,
    /// Its name among the cache's blobs.
    blob: String,
    /// Where it can be had.
    pub address: String,
}

/// What was fetched, by `org/name@revision`: the lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock(BTreeMap<String, Locked>);

/// A model as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Its commit.
    pub commit: String,
    /// SHA-256 of each file by path.
    pub files: BTreeMap<String, Digest>,
}

impl Lock {
    /// The lock file at `path`; an empty one when there is none.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] when it is no lock file.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Ok(serde_json::from_str(&text).map_err(|error| Fault::new(path, "a lock file of pull", error.to_string()))?)
    }

    /// Writes it to `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::json!(self);
        atomic::write_file(path, |out| writeln!(out, "{text:#}").map_err(Error::io("write", path)))
    }

    /// What is known of `model` at `revision`.
    #[must_use]
    pub fn get(&self, model: &str, revision: &str) -> Option<&Locked> {
        self.0.get(&format!("{model}@{revision}"))
    }

    fn put(&mut self, listing: &Listing, files: BTreeMap<String, Digest>) {
        let key = format!("{}@{}", listing.model, listing.revision);
        let locked = self.0.entry(key).or_insert_with(|| Locked { commit: String::new(), files: BTreeMap::new() });
        if locked.commit != listing.commit {
            *locked = Locked { commit: listing.commit.clone(), files: BTreeMap::new() };
        }
        locked.files.extend(files);
    }
}

/// True for files that an encoder or cross-encoder is read from: settings, vocabulary and safetensors, in its own and its
/// modules' folders.
#[must_use]
pub fn is_wanted(path: &str) -> bool {
    let other = ["onnx/", "openvino/", "coreml/", "runs/", "gguf/"].iter().any(|folder| path.starts_with(folder));
    !other && [".json", ".txt", ".model", ".safetensors"].iter().any(|end| path.ends_with(end))
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default, rename = "blobId")]
    blob: Option<String>,
    #[serde(default)]
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
}

impl Hub {
    /// The hub at `endpoint` (`https://...`), asked with `token` where there is one.
    #[must_use]
    pub fn new(endpoint: &str, token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .user_agent(concat!("nearmiss/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), endpoint: endpoint.trim_end_matches('/').to_owned(), token }
    }

    /// The files of `model` at `revision` for which `wanted` holds.
    ///
    /// # Errors
    /// [`Error::Input`] when the hub cannot be reached, has no such model or file, or names what cannot be a path.
    pub fn list(&self, model: &str, revision: &str, wanted: &dyn Fn(&str) -> bool) -> Result<Listing> {
        if !is_hub_name(model) || !is_reference(revision) {
            let fault = Fault::new(Path::new(model), "a name such as org/model, and a branch, tag or commit", revision);
            return Err(fault.into());
        }
        let address =
            format!("{}/api/models/{model}/revision/{}?blobs=true", self.endpoint, revision.replace('/', "%2F"));
        let mut response = self.ask(&address, None)?;
        let wrong = |expected: &str, found: String| Error::from(Fault::new(Path::new(&address), expected, found));
        match response.status().as_u16() {
            200 => {}
            401 | 403 | 404 => {
                let fault =
                    Fault::new(Path::new(&address), "a model", format!("status {}", response.status().as_u16()));
                let hint = "check the name and the revision; a gated or private model needs HF_TOKEN";
                return Err(fault.hint(hint).into());
            }
            status => return Err(wrong("an answer", format!("status {status}"))),
        }
        let mut text = String::new();
        let read = response.body_mut().as_reader().take(64 << 20).read_to_string(&mut text);
        read.map_err(|error| wrong("an answer", error.to_string()))?;
        let answer: Answer =
            serde_json::from_str(&text).map_err(|error| wrong("a list of files", error.to_string()))?;
        if answer.sha.len() != 40 || !is_hexadecimal(&answer.sha) {
            return Err(wrong("a commit of 40 hexadecimal digits", excerpt(&answer.sha, 60)));
        }
        let mut files = Vec::new();
        for sibling in answer.siblings.into_iter().filter(|sibling| wanted(&sibling.rfilename)) {
            let sha256 = sibling.lfs.map(|large| large.sha256);
            let path = sibling.rfilename;
            let blob = sha256
                .clone()
                .or(sibling.blob)
                .unwrap_or_else(|| Digest::of_bytes(path.as_bytes()).short(40).to_owned());
            let whole = sha256.as_ref().is_none_or(|sha256| sha256.len() == 64);
            if !is_path(&path) || !is_hexadecimal(&blob) || !whole {
                return Err(wrong(
                    "files with plain paths and hexadecimal digests",
                    excerpt(&format!("{path} {blob}"), 120),
                ));
            }
            let address = format!(
                "{}/{model}/resolve/{}/{}",
                self.endpoint,
                answer.sha,
                path.replace('%', "%25").replace(' ', "%20")
            );
            files.push(RemoteFile { path, size: sibling.size, sha256, blob, address });
        }
        if files.is_empty() {
            return Err(wrong("files of the names asked for", "none".to_owned()));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Listing { model: model.to_owned(), revision: revision.to_owned(), commit: answer.sha, files })
    }

    /// Fetches all files of `listing` into `cache`, compares them with `lock` and adds them to it. Gives the snapshot's
    /// folder, in which a file stands only when it is whole.
    ///
    /// # Errors
    /// [`Error::Input`] when a connection breaks and cannot be taken up again, or a file has another size or SHA-256 than
    /// the hub or the lock says; [`Error::Io`]; or a stop, after which the same call goes on.
    pub fn fetch(&self, listing: &Listing, cache: &Path, lock: &mut Lock, watch: &dyn Watch) -> Result<PathBuf> {
        let repository = repository(cache, &listing.model);
        let snapshot = repository.join("snapshots").join(&listing.commit);
        let known =
            lock.get(&listing.model, &listing.revision).filter(|locked| locked.commit == listing.commit).cloned();
        let mut files = BTreeMap::new();
        for file in &listing.files {
            let blob = repository.join("blobs").join(&file.blob);
            if !blob.is_file() {
                self.fetch_file(file, &blob, watch)?;
            }
            let digest = Digest::of_file(&blob)?;
            let due = known.as_ref().and_then(|locked| locked.files.get(&file.path)).map(Digest::to_string);
            for (due, says) in [(&file.sha256, "the hub"), (&due, "the lock file")] {
                if let Some(due) = due.as_ref().filter(|due| **due != digest.to_string()) {
                    std::fs::remove_file(&blob).map_err(Error::io("remove", &blob))?;
                    let expected = format!("SHA-256 {due} as {says} has it");
                    let fault = Fault::new(Path::new(&file.address), expected, digest.to_string());
                    return Err(fault
                        .hint("the bytes are not those that were meant: pull again, and compare with the source")
                        .into());
                }
            }
            link(&blob, &snapshot.join(&file.path), file.path.matches('/').count())?;
            files.insert(file.path.clone(), digest);
        }
        let reference = repository.join("refs").join(&listing.revision);
        atomic::write_file(&reference, |out| {
            out.write_all(listing.commit.as_bytes()).map_err(Error::io("write", &reference))
        })?;
        lock.put(listing, files);
        Ok(snapshot)
    }

    /// Fetches one file to `blob`, after what an earlier attempt left beside it.
    fn fetch_file(&self, file: &RemoteFile, blob: &Path, watch: &dyn Watch) -> Result<()> {
        let folder = blob.parent().unwrap_or(blob);
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let partial = blob.with_extension("incomplete");
        let mut out = File::options().create(true).append(true).open(&partial).map_err(Error::io("open", &partial))?;
        let mut have = out.seek(SeekFrom::End(0)).map_err(Error::io("seek in", &partial))?;
        watch.begin(&format!("pull {}", file.path), file.size.unwrap_or(0), "bytes");
        watch.advance(have);
        let mut tries = 0;
        while file.size.is_none_or(|size| have < size) {
            let before = have;
            match self.fetch_rest(file, (&mut out, &partial), &mut have, watch) {
                Ok(()) if file.size.is_none_or(|size| have == size) => break,
                Ok(()) | Err(Error::Input(_)) if have > before => tries = 0,
                Ok(()) | Err(Error::Input(_)) if tries + 1 < TRIES => tries += 1,
                Ok(()) => {
                    let expected = format!("{} bytes", file.size.unwrap_or(0));
                    return Err(Fault::new(Path::new(&file.address), expected, format!("{have}")).into());
                }
                Err(error) => return Err(error),
            }
        }
        watch.end();
        out.sync_all().map_err(Error::io("sync", &partial))?;
        if let Some(size) = file.size.filter(|size| *size != have) {
            std::fs::remove_file(&partial).map_err(Error::io("remove", &partial))?;
            return Err(Fault::new(Path::new(&file.address), format!("{size} bytes"), have.to_string()).into());
        }
        std::fs::rename(&partial, blob).map_err(Error::io("rename into", blob))
    }

    /// Appends what is still to come of `file` to `out`, which has `have` bytes of it.
    fn fetch_rest(
        &self,
        file: &RemoteFile,
        (out, partial): (&mut File, &Path),
        have: &mut u64,
        watch: &dyn Watch,
    ) -> Result<()> {
        let broken = |found: String| Error::from(Fault::new(Path::new(&file.address), "the file", found));
        let mut response = self.ask(&file.address, Some(*have).filter(|have| *have > 0))?;
        match response.status().as_u16() {
            206 => {}
            // The whole file, or no such range: what there is is of no use.
            200 | 416 => {
                out.set_len(0).map_err(Error::io("truncate", partial))?;
                *have = 0;
                if response.status().as_u16() == 416 {
                    return Err(broken("status 416".to_owned()));
                }
            }
            status => return Err(broken(format!("status {status}"))),
        }
        let mut body = response.body_mut().as_reader();
        let mut block = vec![0; 1 << 16];
        loop {
            watch.check()?;
            let read = body.read(&mut block).map_err(|error| broken(error.to_string()))?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&block[..read]).map_err(Error::io("write", partial))?;
            *have += read as u64;
            watch.advance(read as u64);
        }
    }

    fn ask(&self, address: &str, from: Option<u64>) -> Result<ureq::http::Response<ureq::Body>> {
        let mut request = self.agent.get(address);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| {
            Fault::new(Path::new(address), "an answer", excerpt(&error.to_string(), 160))
                .hint("is there a network? --list prints what to carry by hand to a machine without one")
                .into()
        })
    }
}

/// Makes `place`, `depth` folders inside a snapshot, stand for `blob`: as a link, or a copy where there are none.
fn link(blob: &Path, place: &Path, depth: usize) -> Result<()> {
    let folder = place.parent().unwrap_or(place);
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    if place.is_file() {
        return Ok(());
    }
    #[cfg(unix)]
    {
        let mut target = PathBuf::from("../".repeat(depth + 2)).join("blobs");
        target.push(blob.file_name().unwrap_or_default());
        // A link to nowhere is not replaced otherwise.
        let _ = std::fs::remove_file(place);
        std::os::unix::fs::symlink(target, place).map_err(Error::io("link", place))
    }
    #[cfg(not(unix))]
    {
        let _ = depth;
        std::fs::copy(blob, place).map(drop).map_err(Error::io("copy", place))
    }
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// True for a path that stays inside a folder.
fn is_path(path: &str) -> bool {
    !path.contains(['\\', ':', '\0', '?', '#'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// True for what can be a branch, tag or commit.
fn is_reference(text: &str) -> bool {
    is_path(text) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}
