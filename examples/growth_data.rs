//! How opening a corpus grows with it: made corpora of Zipfian text, each opened in a process of its own.
//! `cargo run --release --example growth_data -- FOLDER 5000 50000 500000` prints a Markdown table: the first opening
//! (which makes the index), the later ones (median of 5), memory, and random access. The made files are removed.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use nearmiss::data::Corpus;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Words of a passage.
const WORDS: u64 = 40;
/// Different words; the r-th is drawn with probability in proportion to 1 / r.
const VOCABULARY: f64 = 100_000.0;
/// Passages fetched at random.
const FETCHES: usize = 20_000;
/// Later openings, of which the median is given.
const OPENINGS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, path] if mode == "open" => open(Path::new(path)),
        [folder, sizes @ ..] if !sizes.is_empty() => drive(Path::new(folder), sizes),
        _ => Err("usage: growth_data FOLDER COUNT [COUNT ...]".into()),
    }
}

fn drive(folder: &Path, sizes: &[String]) -> Result<(), Box<dyn Error>> {
    println!(
        "| passages | corpus | index | first opening | its peak (of it anonymous, at the end) | later opening | its peak \
         (anonymous) | per passage at random |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    fs::create_dir_all(folder)?;
    let path = folder.join("corpus.jsonl");
    let index = folder.join("corpus.jsonl.index");
    for size in sizes {
        make(&path, size.parse()?)?;
        // The index trusts a corpus that is older than itself by more than its clock's doubt.
        std::thread::sleep(std::time::Duration::from_secs(3));
        let first = measure(&path)?;
        let mut later = (0..OPENINGS).map(|_| measure(&path)).collect::<Result<Vec<_>, _>>()?;
        later.sort_by(|a, b| a.opening.total_cmp(&b.opening));
        let (low, median, high) = (&later[0], &later[OPENINGS / 2], &later[OPENINGS - 1]);
        println!(
            "| {size} | {} MB | {} MB | {:.0} ms | {} MB ({} MB) | {:.2} ms ({:.2} to {:.2}) | {} MB ({} MB) | {:.1} µs |",
            fs::metadata(&path)?.len() >> 20,
            fs::metadata(&index)?.len() >> 20,
            first.opening,
            first.peak,
            first.anonymous,
            median.opening,
            low.opening,
            high.opening,
            median.peak,
            median.anonymous,
            median.fetch,
        );
        fs::remove_file(&path)?;
        fs::remove_file(&index)?;
    }
    Ok(())
}

/// Milliseconds to open, megabytes afterwards, microseconds to fetch a passage.
struct Measured {
    opening: f64,
    peak: u64,
    anonymous: u64,
    fetch: f64,
}

fn measure(path: &Path) -> Result<Measured, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).arg("open").arg(path).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let line = String::from_utf8(output.stdout)?;
    let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [opening, peak, anonymous, fetch] = numbers[..] else { return Err(line.into()) };
    let whole = |number: f64| format!("{number:.0}").parse();
    Ok(Measured { opening, peak: whole(peak)?, anonymous: whole(anonymous)?, fetch })
}

fn open(path: &Path) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let corpus = Corpus::open(path)?;
    let opening = begun.elapsed().as_secs_f64() * 1e3;
    let (peak, anonymous) = (status("VmHWM:")?, status("RssAnon:")?);
    let mut state = 7;
    let begun = Instant::now();
    let mut length = 0;
    for _ in 0..FETCHES {
        let row = usize::try_from(next(&mut state) % corpus.len() as u64)?;
        let id = corpus.ids().get(row).to_owned();
        length += corpus.get(&id)?.ok_or("a passage is gone")?.text.len();
    }
    if length == 0 {
        return Err("no text".into());
    }
    let fetch = begun.elapsed().as_secs_f64() * 1e6 / FETCHES as f64;
    println!("{opening} {peak} {anonymous} {fetch}");
    Ok(())
}

/// A value of this process's `/proc/self/status`, in MB (Linux only).
fn status(key: &str) -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(key)).ok_or("no such line in /proc/self/status")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes >> 10)
}

fn make(path: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut state = 1;
    for number in 0..count {
        write!(out, "{{\"_id\": \"{}\", \"title\": \"\", \"text\": \"", number * 7919 % 1_000_000_007)?;
        for place in 0..WORDS {
            let blank = if place == 0 { "" } else { " " };
            write!(out, "{blank}{}", word(rank(next(&mut state))))?;
        }
        writeln!(out, "\", \"metadata\": {{\"number\": {number}}}}}")?;
    }
    Ok(out.flush()?)
}

/// A rank of Zipf's law with exponent 1, from 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is whole and positive")]
fn rank(random: u64) -> u64 {
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    VOCABULARY.powf(share) as u64
}

/// The word of a rank: letters, the longer the rarer.
fn word(mut rank: u64) -> String {
    let mut word = String::from("t");
    while rank > 0 {
        word.push(char::from(b'a' + u8::try_from(rank % 20).unwrap_or(0)));
        rank /= 20;
    }
    word
}

/// `splitmix64`: numbers that look random and are the same everywhere.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
