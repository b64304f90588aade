//! Damaged GGUF files end in errors, never in the end of the process: headers of the bundled generator are changed at
//! random, checked, and what passes the check is loaded and asked by llama.cpp in a process of its own.
//! `NEARMISS_INTAKE_SECONDS=600 cargo test --test intake -- --show-output` runs as long as told; else a few seconds.
#![cfg(feature = "llm")]

use nearmiss::data::{Quiet, Seed};
use nearmiss::generate::{
    ChatChoice, Conversation, Engine, EngineSettings, LlamaEngine, Message, Prompt, Reply, Role, Sampling, Turn,
};
use nearmiss::model::gguf::Gguf;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Where a child finds the file it is to load.
const CHILD: &str = "NEARMISS_INTAKE_FILE";
/// Changed headers that are only checked, for each that is loaded.
const CHECKED: u32 = 200;
/// Numbers that break what trusts them.
const NUMBERS: [u64; 12] = [0, 1, 2, 7, 31, 255, 65_535, 1 << 31, u32::MAX as u64, 0x7FC0_0000, 0xFF80_0000, u64::MAX];

/// Numbers that follow from the ones before, the same at each start of the test.
struct Stream(u64);

impl Stream {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % end.max(1)
    }
}

/// Byte places of the header that are not the vocabulary's: keys, numbers and tensor places.
fn places(bytes: &[u8]) -> Vec<usize> {
    let find = |name: &[u8], from: usize| {
        bytes[from..].windows(name.len()).position(|window| window == name).map_or(bytes.len(), |at| from + at)
    };
    let tokens = find(b"tokenizer.ggml.tokens", 0);
    let tensors = find(b"token_embd.weight", tokens);
    (4..tokens).chain(tensors..(tensors + 4096).min(bytes.len())).collect()
}

fn change(bytes: &mut [u8], places: &[usize], stream: &mut Stream) {
    for _ in 0..=stream.below(3) {
        let at = places[stream.below(places.len())];
        match stream.below(3) {
            0 => bytes[at] ^= 1 << stream.below(8),
            1 => bytes[at] = u8::try_from(stream.below(256)).unwrap_or(0),
            _ => {
                let number = NUMBERS[stream.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 4, 8][stream.below(3)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
        }
    }
}

struct Once;

impl Conversation for Once {
    fn opening(&self) -> Prompt {
        let schema = serde_json::json!({
            "type": "object", "properties": { "text": { "type": "string", "maxLength": 20 } }, "required": ["text"],
            "additionalProperties": false,
        });
        Prompt {
            messages: vec![Message::new(Role::User, "Where does iron melt?")],
            schema: Some(schema),
            max_tokens: 24,
            sampling: Sampling::GREEDY,
            seed: Seed(1),
        }
    }

    fn reply(&mut self, _: &Reply) -> Turn {
        Turn::Done
    }
}

/// Loads the file and asks once; what it says does not matter, that it comes back does.
fn ask(path: &Path) {
    let settings = EngineSettings {
        context: Some(256),
        threads: Some(1),
        slots: Some(2),
        chat_template: ChatChoice::Plain,
        ..EngineSettings::default()
    };
    let outcome = LlamaEngine::open(path, settings)
        .and_then(|mut engine| engine.run(&mut std::iter::once(Once), &mut |_| Ok(()), &Quiet));
    let _ = writeln!(std::io::stdout(), "{}", outcome.err().map_or("written".to_owned(), |error| error.to_string()));
}

/// How a process that loads `path` ends; None when it does not within a minute.
fn child(path: &Path) -> Outcome<Option<ExitStatus>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "damaged_files_end_in_errors", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[test]
fn damaged_files_end_in_errors() -> Outcome {
    if let Some(path) = std::env::var_os(CHILD) {
        ask(&PathBuf::from(path));
        return Ok(());
    }
    let seconds = std::env::var("NEARMISS_INTAKE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let seed = std::env::var("NEARMISS_INTAKE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/elements-writer.gguf");
    let whole = std::fs::read(&source)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("damaged.gguf");
    let places = places(&whole);
    let mut stream = Stream(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut checked, mut passed, mut loaded) = (0_u64, 0_u64, 0_u64);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) || loaded == 0 {
        let mut file = None;
        for _ in 0..CHECKED {
            let mut bytes = whole.clone();
            change(&mut bytes, &places, &mut stream);
            checked += 1;
            if bytes != whole && Gguf::check(&bytes, &path).is_ok() {
                passed += 1;
                file = Some(bytes);
            }
        }
        let Some(bytes) = file else { continue };
        std::fs::write(&path, &bytes)?;
        loaded += 1;
        let status = child(&path)?;
        if !status.is_some_and(|status| status.success()) {
            let kept = std::env::temp_dir().join(format!("nearmiss-damaged-{seed}-{loaded}.gguf"));
            std::fs::write(&kept, &bytes)?;
            return Err(format!("{}: the process ended with {status:?}", kept.display()).into());
        }
    }
    writeln!(std::io::stdout(), "{checked} headers checked, {passed} passed, {loaded} of them loaded and asked")?;
    Ok(())
}
