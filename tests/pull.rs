//! `nearmiss pull` against a stand-in for a hub on this machine: the loopback is the only network there is.
#![cfg(feature = "pull")]

use nearmiss::data::{Digest, Quiet};
use nearmiss::model::ModelPlaces;
use nearmiss::model::pull::{Hub, Listing, Lock, is_wanted};
use serde_json::json;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

type Outcome = Result<(), Box<dyn Error>>;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the stand-in answers, and what it was asked.
#[derive(Default)]
struct Script {
    files: Vec<(String, Vec<u8>)>,
    /// Paths that the list has in place of the files'.
    list: Option<serde_json::Value>,
    /// Bytes of an answer after which the connection is cut, used up one by one.
    cuts: Vec<usize>,
    asked: Vec<String>,
}

struct Stand {
    address: String,
    script: Arc<Mutex<Script>>,
}

fn stand(files: &[(&str, &[u8])]) -> Result<Stand, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
    let script = Arc::new(Mutex::new(Script { files, ..Script::default() }));
    let own = script.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own affair.
            let _ = answer(stream, &own);
        }
    });
    Ok(Stand { address, script })
}

fn answer(mut stream: TcpStream, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut from = 0;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap_or(0);
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut script = script.lock().expect("no thread panics with it");
    script.asked.push(format!("{path} from {from}"));
    if path.starts_with("/api/models/org/tiny/revision/") {
        let large = |bytes: &[u8]| json!({"sha256": Digest::of_bytes(bytes), "size": bytes.len(), "pointerSize": 1});
        let entry = |(path, bytes): &(String, Vec<u8>)| {
            let large = if path.ends_with(".safetensors") { large(bytes) } else { serde_json::Value::Null };
            json!({"rfilename": path, "size": bytes.len(), "blobId": Digest::of_bytes(bytes).short(40), "lfs": large})
        };
        let files = script.list.clone().unwrap_or_else(|| script.files.iter().map(entry).collect());
        let body = json!({"sha": COMMIT, "siblings": files}).to_string();
        return write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    }
    let name = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")).unwrap_or_default();
    let Some(bytes) = script.files.iter().find(|(path, _)| path == name).map(|(_, bytes)| bytes.clone()) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let body = &bytes[from.min(bytes.len())..];
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    let cut = if script.cuts.is_empty() { body.len() } else { script.cuts.remove(0).min(body.len()) };
    stream.write_all(&body[..cut])
}

fn list(stand: &Stand) -> nearmiss::data::Result<Listing> {
    Hub::new(&stand.address, None).list("org/tiny", "main", &is_wanted)
}

fn asked(stand: &Stand) -> Vec<String> {
    std::mem::take(&mut stand.script.lock().expect("no thread panics with it").asked)
}

#[test]
fn what_is_pulled_is_found_by_its_name_and_a_broken_connection_is_taken_up_again() -> Outcome {
    let weights: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let stand = stand(&[
        ("config.json", b"{}"),
        ("1_Pooling/config.json", b"{\"pooling_mode_cls_token\": true}"),
        ("model.safetensors", &weights),
        ("pytorch_model.bin", b"a pickle"),
        ("onnx/model.json", b"not wanted"),
    ])?;
    let cache = tempfile::tempdir()?;
    let listing = list(&stand)?;
    let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["1_Pooling/config.json", "config.json", "model.safetensors"]);
    // The weights come in three pieces: every cut is taken up where it was.
    stand.script.lock().expect("no panic").cuts = vec![usize::MAX, usize::MAX, 300_000, 0, 1_000];
    asked(&stand);
    let mut lock = Lock::default();
    let snapshot = Hub::new(&stand.address, None).fetch(&listing, cache.path(), &mut lock, &Quiet)?;
    let ranges: Vec<String> = asked(&stand).into_iter().filter(|line| line.contains("safetensors")).collect();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert!(ranges[0].ends_with("from 0") && ranges[3].ends_with("from 301000"), "{ranges:?}");
    assert_eq!(std::fs::read(snapshot.join("model.safetensors"))?, weights);
    assert!(std::fs::read_to_string(snapshot.join("1_Pooling/config.json"))?.contains("cls_token"));
    let places = ModelPlaces { bundled: None, hub_cache: Some(cache.path().to_owned()) };
    assert_eq!(places.encoder(Path::new("org/tiny"))?, snapshot);
    // Again: everything is there, nothing is fetched.
    Hub::new(&stand.address, None).fetch(&listing, cache.path(), &mut lock, &Quiet)?;
    assert!(asked(&stand).is_empty());
    let locked = lock.get("org/tiny", "main").ok_or("nothing in the lock")?;
    assert_eq!((locked.commit.as_str(), locked.files.len()), (COMMIT, 3));
    assert_eq!(locked.files["model.safetensors"], Digest::of_bytes(&weights));
    Ok(())
}

#[test]
fn other_bytes_than_were_meant_are_refused_and_removed() -> Outcome {
    let stand = stand(&[("config.json", b"{}"), ("model.safetensors", b"weights")])?;
    let cache = tempfile::tempdir()?;
    let hub = Hub::new(&stand.address, None);
    let fetch = |listing: &Listing, lock: &mut Lock| {
        hub.fetch(listing, cache.path(), lock, &Quiet).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let listing = list(&stand)?;
    // The hub's own digest: the bytes change between list and download.
    stand.script.lock().expect("no panic").files[1].1 = b"weightz".to_vec();
    let message = fetch(&listing, &mut Lock::default());
    assert!(message.contains("as the hub has it") && message.contains("hint"), "{message}");
    assert!(std::fs::read_dir(cache.path().join("models--org--tiny/blobs"))?.count() == 1, "the wrong bytes stay");
    // Of small files only the lock knows the bytes.
    stand.script.lock().expect("no panic").files[1].1 = b"weights".to_vec();
    let mut lock = Lock::default();
    assert_eq!(fetch(&listing, &mut lock), "");
    let other = tempfile::tempdir()?;
    stand.script.lock().expect("no panic").files[0].1 = b"[]".to_vec();
    let message = hub.fetch(&listing, other.path(), &mut lock, &Quiet).err().ok_or("taken")?.to_string();
    assert!(message.contains("as the lock file has it"), "{message}");
    // Shorter and longer than said.
    for bytes in [&b"{"[..], b"{ }"] {
        let place = tempfile::tempdir()?;
        stand.script.lock().expect("no panic").files[0].1 = bytes.to_vec();
        let message = hub.fetch(&listing, place.path(), &mut Lock::default(), &Quiet).err().ok_or("taken")?.to_string();
        assert!(message.contains("expected 2 bytes, found"), "{message}");
    }
    Ok(())
}

#[test]
fn names_that_lead_elsewhere_are_refused() -> Outcome {
    let stand = stand(&[])?;
    for (path, blob) in [
        ("../../evil.json", "ab"),
        ("/etc/evil.json", "ab"),
        ("a/../b.json", "ab"),
        ("a.json", "../../x"),
        ("a\\b.json", "ab"),
    ] {
        stand.script.lock().expect("no panic").list = Some(json!([{"rfilename": path, "size": 1, "blobId": blob}]));
        let message = list(&stand).err().ok_or(path)?.to_string();
        assert!(message.contains("plain paths"), "{message}");
    }
    let hub = Hub::new(&stand.address, None);
    for (model, revision) in [("../org", "main"), ("org/tiny/more", "main"), ("org/tiny", "../x"), ("org/tiny", "a b")]
    {
        assert!(hub.list(model, revision, &is_wanted).is_err(), "{model} {revision}");
    }
    let message = hub.list("org/unknown", "main", &is_wanted).err().ok_or("found")?.to_string();
    assert!(message.contains("status 404") && message.contains("HF_TOKEN"), "{message}");
    Ok(())
}

#[test]
fn the_command_fetches_lists_and_keeps_to_the_lock_and_to_offline() -> Outcome {
    let stand = stand(&[("config.json", b"{}"), ("model.safetensors", b"weights"), ("tiny.gguf", b"gguf")])?;
    let folder = tempfile::tempdir()?;
    let pull = |more: &[&str], offline: &str| -> Result<_, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearmiss"));
        command.args(["pull", "org/tiny"]).args(more).current_dir(&folder).env("HF_ENDPOINT", &stand.address);
        let output =
            command.env("HF_HUB_CACHE", folder.path().join("cache")).env("HF_HUB_OFFLINE", offline).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes);
        Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
    };
    let (code, _, told) = pull(&[], "1")?;
    assert!(code == Some(2) && told.contains("HF_HUB_OFFLINE is set"), "{told}");
    assert!(asked(&stand).is_empty(), "asked though offline");
    let (code, printed, _) = pull(&["--list"], "")?;
    let due = format!(
        "7\t{}\tmodel.safetensors\t{}/org/tiny/resolve/{COMMIT}/model.safetensors\n",
        Digest::of_bytes(b"weights"),
        stand.address
    );
    assert!(code == Some(0) && printed.contains(&due), "{printed}");
    assert!(!folder.path().join("cache").exists(), "listing fetches nothing");
    let (code, _, told) = pull(&[], "0")?;
    assert!(code == Some(0) && told.contains("2 files in "), "{told}");
    let lock = std::fs::read_to_string(folder.path().join("models/lock.json"))?;
    assert!(lock.contains(COMMIT) && lock.contains("org/tiny@main"), "{lock}");
    asked(&stand);
    // The lock's commit is asked for, not the branch; --update asks for the branch.
    pull(&["--file", "tiny.gguf"], "")?;
    assert!(asked(&stand)[0].contains(&format!("revision/{COMMIT}")));
    assert!(folder.path().join(format!("cache/models--org--tiny/snapshots/{COMMIT}/tiny.gguf")).is_file());
    pull(&["--update"], "")?;
    assert!(asked(&stand)[0].contains("revision/main"));
    let (code, _, told) = pull(&["--file", "absent.gguf"], "")?;
    assert!(code == Some(2) && told.contains("none"), "{told}");
    Ok(())
}
