//! What a corpus promises: the same passages with and without its index, packed or plain, and no stale index.

use super::super::{Corpus, Document, Watch};
use super::*;
use proptest::prelude::*;
use std::fs::File;
use std::sync::Mutex;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

const LINES: [&str; 3] =
    [r#"{"_id":"a","title":"T","text":"one"}"#, r#"{"_id":"b","text":"two"}"#, r#"{"_id":"c","title":null,"text":""}"#];

/// Keeps what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Watch for Notes {
    fn begin(&self, _task: &str, _total: u64, _unit: &str) {}
    fn advance(&self, _count: u64) {}
    fn end(&self) {}
    fn note(&self, line: &str) {
        self.0.lock().expect("no test panics while noting").push(line.to_owned());
    }
    fn stopped(&self) -> bool {
        false
    }
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Outcome {
    atomic::write_file(path, |out| out.write_all(text.as_ref()).map_err(Error::io("write", path)))?;
    Ok(())
}

/// As if `path` had been written long before now.
fn age(path: &Path) -> std::io::Result<()> {
    File::options().write(true).open(path)?.set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000))
}

fn documents(corpus: &Corpus) -> Result<Vec<Document>> {
    (0..corpus.len()).map(|row| corpus.document(row)).collect()
}

fn ids(corpus: &Corpus) -> Vec<&str> {
    corpus.ids().iter().collect()
}

fn message<T>(result: Result<T>) -> std::result::Result<String, &'static str> {
    Ok(result.err().ok_or("an error was due")?.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_way_of_opening_gives_the_same_passages(
        texts in proptest::collection::vec(("\\PC{0,12}", any::<String>()), 1..12),
        line_end in prop_oneof!["\n", "\r\n", "\n\n", "  \n"],
    ) {
        let outcome = (|| -> Outcome {
            let folder = tempfile::tempdir()?;
            let mut text = String::new();
            let mut due = Vec::new();
            for (row, (title, body)) in texts.iter().enumerate() {
                let id = format!("d{row}é");
                text += &serde_json::json!({"metadata": {"x": [1]}, "text": body, "_id": id, "title": title}).to_string();
                text += &line_end;
                due.push(Document { id: super::super::DocId::new(&id)?, title: title.clone(), text: body.clone() });
            }
            let plain = folder.path().join("corpus.jsonl");
            let memory = {
                write(&plain, &text)?;
                Index::build(&plain, text.as_bytes(), &Reading::strict())?
            };
            for name in ["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"] {
                let path = folder.path().join(name);
                write(&path, &text)?;
                age(&path)?;
                for _ in 0..2 {
                    let corpus = Corpus::open(&path)?;
                    assert!(beside(&path, ".index").is_file());
                    assert_eq!(documents(&corpus)?, due);
                    assert_eq!(ids(&corpus), memory.ids.iter().collect::<Vec<_>>());
                    assert_eq!(*corpus.digest(), Digest::of_bytes(text.as_bytes()));
                    for document in &due {
                        assert_eq!(corpus.get(document.id.as_str())?.as_ref(), Some(document));
                    }
                    assert_eq!(corpus.get("d")?, None);
                    let contents: Vec<String> = due.iter().map(Document::content).collect();
                    assert_eq!(corpus.contents()?, contents);
                    assert_eq!(corpus.contents_of(1..due.len())?, contents[1..]);
                }
            }
            Ok(())
        })();
        outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

#[test]
fn an_index_is_trusted_by_size_and_time_and_else_by_digest() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let place = beside(&path, ".index");
    write(&path, LINES.join("\n"))?;
    age(&path)?;
    assert_eq!(ids(&Corpus::open(&path)?), ["a", "b", "c"]);
    let first = fs::read(&place)?;

    // Another text of the same size and time: not read, as the index is trusted.
    let time = fs::metadata(&path)?.modified()?;
    write(&path, LINES.join("\n").replace(r#""_id":"b""#, r#""_id":"x""#))?;
    File::options().write(true).open(&path)?.set_modified(time)?;
    assert_eq!(ids(&Corpus::open(&path)?), ["a", "b", "c"]);

    // With another time it is read, and differs.
    File::options().write(true).open(&path)?.set_modified(time + Duration::from_secs(5))?;
    assert_eq!(ids(&Corpus::open(&path)?), ["a", "x", "c"]);

    // The same text with another time: the index holds, with the new stamp.
    write(&path, LINES.join("\n"))?;
    File::options().write(true).open(&path)?.set_modified(time)?;
    assert_eq!(ids(&Corpus::open(&path)?), ["a", "b", "c"]);
    assert_eq!(fs::read(&place)?, first, "the same corpus has the same index");
    File::options().write(true).open(&path)?.set_modified(time + Duration::from_secs(9))?;
    Corpus::open(&path)?;
    assert_ne!(fs::read(&place)?, first, "the stamp was renewed");

    // A text as young as its index is looked at again: it may have been written after.
    write(&path, LINES.join("\n"))?;
    Corpus::open(&path)?;
    let time = fs::metadata(&path)?.modified()?;
    write(&path, LINES.join("\n").replace(r#""_id":"b""#, r#""_id":"y""#))?;
    File::options().write(true).open(&path)?.set_modified(time)?;
    assert_eq!(ids(&Corpus::open(&path)?), ["a", "y", "c"]);
    Ok(())
}

#[test]
fn a_damaged_index_is_made_anew() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let place = beside(&path, ".index");
    write(&path, LINES.join("\n"))?;
    age(&path)?;
    Corpus::open(&path)?;
    let whole = fs::read(&place)?;
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        fs::write(&place, &whole[..length])?;
        assert_eq!(ids(&Corpus::open(&path)?), ["a", "b", "c"], "{length} bytes");
        assert_eq!(fs::read(&place)?, whole);
    }
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_written_is_read_all_the_same_and_it_is_told() -> Outcome {
    for name in ["corpus.jsonl", "corpus.jsonl.zst"] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(name);
        write(&path, LINES.join("\n"))?;
        let mut rights = fs::metadata(folder.path())?.permissions();
        rights.set_readonly(true);
        fs::set_permissions(folder.path(), rights)?;
        let notes = Notes::default();
        let corpus = Corpus::open_with(&path, &Reading { watch: &notes, skip_bad_lines: 0 })?;
        assert_eq!(ids(&corpus), ["a", "b", "c"]);
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        let notes = notes.0.lock().expect("nothing panicked").join("\n");
        assert!(notes.contains("the corpus is read whole at each start"), "{notes}");
    }
    Ok(())
}

#[test]
fn many_at_once_leave_one_whole_index() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let lines: Vec<String> = (0..5000).map(|n| format!("{{\"_id\":\"d{n}\",\"text\":\"passage {n}\"}}\n")).collect();
    let text = lines.concat();
    write(&path, &text)?;
    age(&path)?;
    let lengths: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Corpus::open(&path).map(|corpus| corpus.len()))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<_>>()
    })?;
    assert_eq!(lengths, [5000; 8]);
    let mut names: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["corpus.jsonl", "corpus.jsonl.index"]);
    Ok(())
}

#[test]
fn bad_lines_are_named_or_passed_over() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let mut text = format!("{}\n\n{{\"_id\":\"x\"}}\n{}\n", LINES[0], LINES[1]).into_bytes();
    text.extend_from_slice(b"{\"_id\":\"u\",\"text\":\"\xff\"}\n[]\n{\"_id\":\"a\",\"text\":\"again\"}\n{\"_id\":\"a\",\"text\":\"again\"}\n");
    text.extend_from_slice(LINES[2].as_bytes());
    fs::write(&path, &text)?;
    age(&path)?;
    let with = |limit| Corpus::open_with(&path, &Reading { skip_bad_lines: limit, ..Reading::strict() });

    let strict = message(Corpus::open(&path))?;
    assert!(strict.contains("corpus.jsonl:3: `text`: expected this key"), "{strict}");
    assert!(message(with(4))?.contains("at most 4 bad lines, found more: line 3: `text`"));
    // Twice: when the index is made, and from it.
    for _ in 0..2 {
        let corpus = with(5)?;
        assert_eq!(ids(&corpus), ["a", "b", "c"]);
        assert_eq!(corpus.get("a")?.map(|document| document.text), Some("one".to_owned()));
        let rejected = corpus.rejected().lines;
        assert_eq!(rejected.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3, 5, 6, 7, 8]);
        assert!(rejected[1].reason.contains("UTF-8") && rejected[4].reason.contains("a again"), "{rejected:?}");
        assert_eq!(rejected[2].text, "[]");
    }
    assert_eq!(message(Corpus::open(&path))?, strict, "an index with rejected lines does not hide them");
    assert!(message(with(4))?.contains("at most 4 bad lines"));
    Ok(())
}

#[test]
fn an_empty_file_and_one_of_blanks_are_errors() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (name, text) in [("corpus.jsonl", ""), ("corpus.jsonl", "\n \n"), ("corpus.jsonl.gz", "")] {
        let path = folder.path().join(name);
        write(&path, text)?;
        let found = message(Corpus::open(&path))?;
        assert!(found.contains(name) && found.contains("at least one passage"), "{found}");
    }
    Ok(())
}

#[test]
fn blocks_cover_the_text_and_end_where_lines_end() {
    let line = "x".repeat(BLOCK / 3);
    let text = format!("{line}\n{line}\n{line}\n{line}\n\n{line}");
    let spans = blocks_of(text.as_bytes());
    assert_eq!((spans.len(), spans[0].start, spans[1].end), (2, 0, text.len()));
    assert_eq!(spans[0].end, spans[1].start);
    assert_eq!(text.as_bytes()[spans[0].end - 1], b'\n');
    assert!(blocks_of(b"").is_empty());
}
