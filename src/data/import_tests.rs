//! Importing: what comes in comes out, and what is wrong leaves nothing behind.

use super::*;
use std::fs;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn prepare(folder: &Path) -> std::io::Result<Forms> {
    let file = |name: &str| folder.join(name);
    fs::write(file("collection.tsv"), "1\tThe first.\n2\tThe second, \"quoted\" \\ \u{1f600}\r\n3\tThe third.\n")?;
    fs::write(file("queries.tsv"), "q1\twhich is first?\nq2\twhich is second?\n")?;
    fs::write(file("qrels.dev.tsv"), "q1\t0\t1\t1\nq2\t0\t2\t2\n")?;
    fs::write(file("triples.tsv"), "q1\t1\t2\nq1\t1\t3\nq2 2 3\n")?;
    Ok(Forms::Files {
        collection: file("collection.tsv"),
        queries: vec![file("queries.tsv")],
        qrels: vec![("dev".to_owned(), file("qrels.dev.tsv"))],
        triples: Some(("train".to_owned(), file("triples.tsv"))),
    })
}

#[test]
fn ms_marco_files_become_a_collection() -> Outcome {
    let folder = tempfile::tempdir()?;
    let forms = prepare(folder.path())?;
    let out = folder.path().join("beir");
    let counts = import(&forms, &out, &Reading::strict())?;
    assert_eq!(counts, Imported { passages: 3, queries: 2, judgements: 4, negatives: 3, rejected: 0 });
    let collection = Collection::open(&out)?;
    assert_eq!(collection.corpus.contents()?[1], "The second, \"quoted\" \\ \u{1f600}");
    assert_eq!(collection.queries.get("q2").map(|query| query.text.as_str()), Some("which is second?"));
    assert_eq!(collection.qrels("dev")?.get("q2").and_then(|judged| judged.get("2")), Some(&2));
    assert_eq!(collection.qrels("train")?.relevant("q1").count(), 1);
    let negatives: Vec<Candidate> = jsonl::read(&out.join("triples.jsonl"))?;
    let seen: Vec<_> = negatives.iter().map(|c| (c.query.as_str(), c.passage.to_string(), c.rank)).collect();
    assert_eq!(seen, [("q1", "2".to_owned(), 1), ("q1", "3".to_owned(), 2), ("q2", "3".to_owned(), 1)]);
    assert!(folder.path().join("beir.provenance.json").is_file());
    let again = import(&forms, &out, &Reading::strict()).err().ok_or("an error was due")?.to_string();
    assert!(again.contains("a folder that is not there yet"), "{again}");
    Ok(())
}

#[test]
fn bad_lines_are_named_or_kept_aside_and_an_error_leaves_no_folder() -> Outcome {
    let folder = tempfile::tempdir()?;
    let forms = prepare(folder.path())?;
    let out = folder.path().join("beir");
    let collection = folder.path().join("collection.tsv");
    let mut bytes = fs::read(&collection)?;
    bytes.extend_from_slice(b"only-an-id\n4\tbad \xff byte\n2\ttwice\n a\tid with a blank\n");
    fs::write(&collection, &bytes)?;
    let message = import(&forms, &out, &Reading::strict()).err().ok_or("an error was due")?.to_string();
    assert!(message.contains("collection.tsv:4: expected 2 to 4 columns"), "{message}");
    assert!(!out.exists());
    let counts = import(&forms, &out, &Reading { skip_bad_lines: 4, ..Reading::strict() })?;
    assert_eq!((counts.passages, counts.rejected), (3, 4));
    let aside: Vec<super::super::reading::Rejected> = jsonl::read(&out.join("collection.tsv.rejected.jsonl"))?;
    assert_eq!(aside.iter().map(|bad| bad.line).collect::<Vec<_>>(), [4, 5, 6, 7]);
    Ok(())
}

#[test]
fn a_judgement_of_an_unknown_passage_is_an_error() -> Outcome {
    let folder = tempfile::tempdir()?;
    let forms = prepare(folder.path())?;
    fs::write(folder.path().join("qrels.dev.tsv"), "q1 0 99 1\n")?;
    let out = folder.path().join("beir");
    let message = import(&forms, &out, &Reading::strict()).err().ok_or("an error was due")?.to_string();
    assert!(message.contains("unknown passage 99") && !out.exists(), "{message}");
    Ok(())
}

#[test]
fn text_triples_make_passages_queries_and_judgements_once_each() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("triples.train.small.tsv.zst");
    let text = "who?\tI.\tYou.\nwho?\tI.\tThey.\nwhat?\tYou.\tI.\n";
    atomic::write_file(&path, |out| out.write_all(text.as_bytes()).map_err(Error::io("write", &path)))?;
    let out = folder.path().join("beir");
    let counts = import(&Forms::TextTriples("train".to_owned(), path), &out, &Reading::strict())?;
    assert_eq!(counts, Imported { passages: 3, queries: 2, judgements: 2, negatives: 3, rejected: 0 });
    let collection = Collection::open(&out)?;
    assert_eq!(collection.corpus.contents()?, ["I.", "You.", "They."]);
    Ok(())
}
