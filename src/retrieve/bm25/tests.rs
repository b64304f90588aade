//! The index against the formula, against a search that skips nothing, and against itself on disk.

use super::*;
use crate::data::{DocId, Document, QueryId, Quiet, Seed};
use crate::retrieve::exact::tests::ids;
use proptest::prelude::*;
use rand::Rng;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

fn index(texts: &[&str], settings: &Bm25Settings) -> Result<Bm25> {
    Bm25::of_texts(ids(texts.len()), &texts.iter().map(ToString::to_string).collect::<Vec<_>>(), settings)
}

fn query(text: &str) -> std::result::Result<Query, Box<dyn std::error::Error>> {
    Ok(Query { id: QueryId::new("q")?, text: text.to_owned() })
}

/// `count` texts of words whose frequencies fall as Zipf's law has it, lengths 1 to 40.
fn zipf(count: usize) -> Vec<String> {
    let mut stream = Seed(3).stream("zipf");
    let mut draw = move || f64::from(stream.next_u32()) / f64::from(u32::MAX);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks")]
    let mut word = move |most: f64| (most.powf(draw()) as usize).saturating_sub(1);
    (0..count).map(|_| (0..=word(40.0)).map(|_| format!("w{}", word(3000.0))).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_score_is_lucenes_formula() -> Outcome {
    let index = index(&["red fish", "red red red bird flies", "", "green"], &Bm25Settings::default())?;
    let run = index.search(&[query("red fish red")?], 10)?;
    // Three passages have terms; their average length is 8 / 3; "red" is in two, "fish" in one.
    let part = |df: f64, tf: f64, length: f64| {
        (1.0 + (3.0 - df + 0.5) / (df + 0.5)).ln() * tf / (tf + 0.9 * (0.6 + 0.4 * length / (8.0 / 3.0)))
    };
    let expected = [("d0", 2.0 * part(2.0, 1.0, 2.0) + part(1.0, 1.0, 2.0)), ("d1", 2.0 * part(2.0, 3.0, 5.0))];
    let hits = run.get("q");
    assert_eq!(hits.len(), 2, "passages without a shared term are no hits");
    for (hit, (doc, score)) in hits.iter().zip(expected) {
        assert_eq!(hit.doc.as_str(), doc);
        assert!((f64::from(hit.score) - score).abs() < 1e-6, "{doc}: {} for {score}", hit.score);
    }
    Ok(())
}

#[test]
fn nothing_shared_is_an_empty_list_and_bad_settings_are_refused() -> Outcome {
    let run = index(&["a b"], &Bm25Settings::default())?.search(&[query("zebra")?, query("")?], 5)?;
    assert_eq!((run.len(), run.get("q").len()), (1, 0));
    assert_eq!(index(&["a b"], &Bm25Settings::default())?.search(&[query("b")?], 0)?.get("q").len(), 0);
    let wrong = Bm25Settings { b: 1.5, ..Bm25Settings::default() };
    assert!(index(&["x"], &wrong).err().ok_or("an error was due")?.to_string().contains("`b`"));
    Ok(())
}

/// Over several windows, with terms of both kinds.
fn large() -> Result<Bm25> {
    let texts = zipf(3 * WINDOW + 77);
    Bm25::of_texts(ids(texts.len()), &texts, &Bm25Settings::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn pruned_search_equals_exhaustive_search_bit_for_bit(seed in 0_u64..1000) {
        static INDEX: std::sync::OnceLock<Bm25> = std::sync::OnceLock::new();
        let index = INDEX.get_or_init(|| large().expect("the settings are the default"));
        let frequent = index.postings.block_starts.len() - 1;
        prop_assert!(frequent > 5 && frequent + 100 < index.vocabulary(), "both kinds of terms");
        let mut stream = Seed(seed).stream("queries");
        let mut room = Room::new();
        for k in [1, 10, 100, 5000] {
            // Frequent words, rare ones and repeats, 1 to 12 of them.
            let words: Vec<String> = (0..=seed % 12).map(|i| match i % 3 {
                0 => format!("w{}", stream.next_u32() % 20),
                1 => format!("w{}", stream.next_u32() % 3000),
                _ => "w1".to_owned(),
            }).collect();
            let words = words.join(" ");
            let pruned = index.best(&words, k, Pruning::On, &mut room);
            let exhaustive = index.best(&words, k, Pruning::Off, &mut room);
            prop_assert_eq!(pruned, exhaustive, "{} at {}", words, k);
            prop_assert!(room.is_clean());
        }
    }
}

#[test]
fn the_best_are_those_of_a_plain_loop_over_the_formula() -> Outcome {
    let texts = zipf(WINDOW + 500);
    for settings in [
        Bm25Settings::default(),
        Bm25Settings { length: LengthRule::Lucene, k1: 1.2, b: 0.75, ..Bm25Settings::default() },
    ] {
        let index = Bm25::of_texts(ids(texts.len()), &texts, &settings)?;
        let documents: Vec<Document> = ids(texts.len())
            .iter()
            .zip(&texts)
            .map(|(id, text)| Ok(Document { id: DocId::new(id)?, title: String::new(), text: text.clone() }))
            .collect::<Result<_, data::ids::InvalidId>>()?;
        for words in ["w0 w1 w2", "w0 w700 w700", "w3 w40 w500 w1000 w2000"] {
            let mut expected: Vec<f64> =
                documents.iter().map(|document| index.explain(words, document).score).filter(|&s| s > 0.0).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            let run = index.search(&[query(words)?], 50)?;
            let found = run.get("q");
            assert_eq!(found.len(), expected.len().min(50));
            for (hit, expected) in found.iter().zip(&expected) {
                assert!((f64::from(hit.score) - expected).abs() < 1e-5, "{words}: {hit:?} for {expected:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn titles_of_their_own_add_their_weighted_score() -> Outcome {
    let lines = ["red\tblue sky", "blue\tred red sky", "\tgreen", "sky\t"];
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.jsonl");
    let line = |(i, line): (usize, &&str)| {
        let (title, text) = line.split_once('\t').unwrap_or_default();
        format!("{}\n", serde_json::json!({"_id": format!("d{i}"), "title": title, "text": text}))
    };
    std::fs::write(&path, lines.iter().enumerate().map(line).collect::<String>())?;
    let corpus = Corpus::open(&path)?;
    let settings = Bm25Settings { title: TitleRule::Field, title_weight: 2.0, ..Bm25Settings::default() };
    let index = Bm25::of_corpus(&corpus, &settings, &Quiet)?;
    let run = index.search(&[query("red sky")?], 10)?;
    // Titles: 3 filled, mean length 1. Bodies: 3 filled, mean length 2.
    let part = |df: f64, tf: f64, relative: f64| {
        (1.0 + (3.0 - df + 0.5) / (df + 0.5)).ln() * tf / (tf + 0.9 * (0.6 + 0.4 * relative))
    };
    let expected = [
        ("d0", 2.0 * part(1.0, 1.0, 1.0) + part(2.0, 1.0, 1.0)),
        ("d1", part(1.0, 2.0, 1.5) + part(2.0, 1.0, 1.5)),
        ("d3", 2.0 * part(1.0, 1.0, 1.0)),
    ];
    assert_eq!(run.get("q").len(), 3);
    for (doc, score) in expected {
        let hit = run.get("q").iter().find(|hit| hit.doc.as_str() == doc).ok_or(doc)?;
        assert!((f64::from(hit.score) - score).abs() < 1e-6, "{doc}: {} for {score}", hit.score);
        let explained = index.explain("red sky", &corpus.get(doc)?.ok_or(doc)?);
        assert!((explained.score - score).abs() < 1e-9, "{explained:?}");
    }
    Ok(())
}

#[test]
fn an_index_on_disk_is_the_index_in_memory_whatever_the_thread_count() -> Outcome {
    let folder = tempfile::tempdir()?;
    let texts = zipf(2 * WINDOW + 5);
    let mut files = Vec::new();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let index = pool.install(|| Bm25::of_texts(ids(texts.len()), &texts, &Bm25Settings::default()))?;
        let path = folder.path().join(format!("{threads}.safetensors"));
        index.write(&path)?;
        let opened = Bm25::open(&path)?;
        let queries = [query("w1 w5 w900 w2")?];
        assert_eq!(opened.search(&queries, 100)?, index.search(&queries, 100)?);
        assert_eq!(opened.settings(), index.settings());
        let document = Document { id: DocId::new("d7")?, title: String::new(), text: texts[7].clone() };
        assert_eq!(opened.explain("w1 w5", &document), index.explain("w1 w5", &document));
        let file = ArrayFile::open(&path, FORM)?;
        files.push((file.array::<f32>("postings.scores")?.to_vec(), file.array::<u8>("terms.text")?.to_vec()));
        let bytes = std::fs::read(&path)?;
        std::fs::write(&path, &bytes[..bytes.len() / 2])?;
        assert!(Bm25::open(&path).is_err());
    }
    assert!(files[0] == files[1], "the same bits on 1 and 3 threads");
    Ok(())
}
