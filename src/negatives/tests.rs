//! The table of mined sources over a small collection whose rankings are known.

use super::*;
use crate::data::{Candidate, Collection, DocId, Hit, Passage, QueryId, Quiet};
use crate::encode::Vectors;
use crate::filter::{Bar, FilterSettings, Measure};
use crate::retrieve::{Bm25, Bm25Settings, DenseIndex, DenseRanker, Exact, Similarity, passage_as_query};
use proptest::prelude::*;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Twelve passages about iron in falling density, a copy of the positive (d1) among them (d3), three
/// queries; q2 has two positives, q3 none, q4 one.
struct World {
    collection: Collection,
    tasks: Vec<Task>,
    words: Bm25,
    vectors: DenseRanker,
    run: Run,
    _folder: tempfile::TempDir,
}

/// Finds a text the more relevant the longer it is.
struct Longer;

impl Relevance for Longer {
    fn relevance(&self, pairs: &[(&crate::data::Query, &str)]) -> Result<Vec<f32>, SourceError> {
        Ok(pairs.iter().map(|(_, text)| 1.0 - 1.0 / text.len() as f32).collect())
    }
}

fn collection(folder: &Path) -> Result<Collection, Box<dyn std::error::Error>> {
    let line = |i: usize| {
        let text = match i {
            3 => "IRON iron  iron is a metal".to_owned(),
            1 => "iron iron iron is a metal".to_owned(),
            _ => format!("{} number {i} {}", "iron ".repeat(1 + (i % 4)), "other words ".repeat(i)),
        };
        format!("{}\n", serde_json::json!({"_id": format!("d{i}"), "title": "", "text": text}))
    };
    std::fs::write(folder.join("corpus.jsonl"), (0..12).map(line).collect::<String>())?;
    let queries =
        ["q1", "q2", "q3", "q4"].map(|id| format!("{}\n", serde_json::json!({"_id": id, "text": "iron number"})));
    std::fs::write(folder.join("queries.jsonl"), queries.concat())?;
    std::fs::create_dir(folder.join("qrels"))?;
    let qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td5\t0\nq2\td1\t1\nq2\td2\t2\nq3\td2\t0\nq4\td6\t1\n";
    std::fs::write(folder.join("qrels/train.tsv"), qrels)?;
    Ok(Collection::open(folder)?)
}

impl World {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let collection = collection(folder.path())?;
        let tasks = Task::all(&collection, &collection.qrels("train")?)?;
        assert_eq!(tasks.iter().map(|t| t.positives.len()).collect::<Vec<_>>(), [1, 2, 1], "q3 has no positive");
        let words = Bm25::of_corpus(&collection.corpus, &Bm25Settings::default(), &Quiet)?;
        let vectors = dense(&collection, &tasks)?;
        let mut run = Run::default();
        for task in &tasks {
            let hit = |i: u8| Ok(Hit { doc: DocId::new(&format!("d{i}"))?, score: 12.0 - f32::from(i) });
            run.insert(task.query.id.clone(), (0..12).map(hit).collect::<Result<_, crate::data::ids::InvalidId>>()?);
        }
        Ok(Self { collection, tasks, words, vectors, run, _folder: folder })
    }

    /// Everything a source said, and its report.
    fn mine(&self, name: &str, settings: MiningSettings) -> Result<(Vec<Entry>, Report), SourceError> {
        let filters = Filters::new(&settings.filters());
        let mut source = named(name)?.make(Inputs {
            corpus: &self.collection.corpus,
            tasks: &self.tasks,
            filters: &filters,
            settings,
            seed: Seed(1),
            words: Some(&self.words),
            vectors: Some(&self.vectors),
            run: Some(&self.run),
            judge: Some(&Longer),
        })?;
        let mut entries: Vec<Entry> = Vec::new();
        source.propose(&self.tasks, &mut entries)?;
        Ok((entries, source.report()))
    }

    fn proposed(&self, name: &str, settings: MiningSettings) -> Result<Vec<Candidate>, SourceError> {
        let (entries, _) = self.mine(name, settings)?;
        let proposed = entries.into_iter().filter(|entry| entry.fate == Fate::Proposed);
        Ok(proposed.map(|entry| entry.candidate).collect())
    }

    /// Query, passage and rank of those proposed.
    fn ranks(&self, name: &str, settings: MiningSettings) -> Result<Vec<String>, SourceError> {
        let proposed = self.proposed(name, settings)?;
        Ok(proposed.iter().map(|c| format!("{} {} {}", c.query, c.passage, c.rank)).collect())
    }
}

/// A ranking whose vectors turn away from the queries' passage by passage: d0 scores best, d11 worst.
fn dense(collection: &Collection, tasks: &[Task]) -> Result<DenseRanker, Box<dyn std::error::Error>> {
    let count = collection.corpus.len();
    let vector = |i: usize| [1.0, i as f32 / 10.0];
    let passages = Arc::new(Vectors::new(2, (0..count).flat_map(vector).collect()));
    let table = collection.corpus.ids();
    let index = DenseIndex::Exact(Exact::new(table.clone(), passages.clone(), Similarity::Cosine)?);
    let mut ids: Vec<QueryId> = tasks.iter().map(|task| task.query.id.clone()).collect();
    let mut values: Vec<f32> = ids.iter().flat_map(|_| [1.0, 0.0]).collect();
    for row in 0..count {
        ids.push(passage_as_query(&table.id(row)));
        values.extend(vector(row));
    }
    let queries = (ids.as_slice(), Arc::new(Vectors::new(2, values)));
    Ok(DenseRanker::new(index, Similarity::Cosine, (table.clone(), passages), queries)?)
}

/// What holds for every source whatever its settings.
fn check(world: &World, name: &str, settings: MiningSettings) -> Result<(), Box<dyn std::error::Error>> {
    let (entries, report) = world.mine(name, settings)?;
    let place = |query: &QueryId| world.tasks.iter().position(|task| task.query.id == *query);
    assert!(entries.is_sorted_by_key(|entry| place(&entry.candidate.query)), "{name}: by task");
    for task in &world.tasks {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.candidate.query == task.query.id).collect();
        let passages: HashSet<&Passage> = own.iter().map(|entry| &entry.candidate.passage).collect();
        assert_eq!(passages.len(), own.len(), "{name}: no passage twice");
        assert!(own.is_sorted_by_key(|entry| entry.candidate.rank), "{name}: best first");
        assert!(own.iter().all(|entry| entry.candidate.source == name && entry.candidate.rank >= 1), "{name}");
        assert!(own.iter().all(|entry| entry.verdict.keeps() != (entry.fate == Fate::Dropped)), "{name}");
        let proposed: Vec<&Candidate> =
            own.iter().filter(|entry| entry.fate == Fate::Proposed).map(|entry| &entry.candidate).collect();
        assert!(proposed.len() <= settings.num_negatives as usize, "{name}: at most as many as asked");
        let short = report.short.iter().find(|short| short.query == task.query.id);
        let found = short.map_or(settings.num_negatives, |short| short.found);
        assert_eq!(proposed.len(), found as usize, "{name}: a shortfall is reported");
        for candidate in &proposed {
            let text = world.collection.corpus.get(&candidate.passage.to_string())?.map(|d| d.content());
            let copies = |positive: &crate::data::Document| Some(positive.content()) == text;
            assert!(!task.positives.iter().any(copies), "{name}: no positive");
        }
    }
    let waterfall = &report.waterfall;
    assert_eq!(waterfall.judged, entries.len() as u64);
    assert_eq!(waterfall.judged, waterfall.kept + waterfall.dropped.iter().map(|line| line.count).sum::<u64>());
    assert_eq!(report.proposed, entries.iter().filter(|entry| entry.fate == Fate::Proposed).count() as u64);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        assert_eq!(pool.install(|| world.mine(name, settings))?.0, entries, "{name} on {threads} threads");
    }
    Ok(())
}

fn settings() -> impl Strategy<Value = MiningSettings> {
    let sampling = prop_oneof![Just(Sampling::Top), Just(Sampling::Random), Just(Sampling::Softmax)];
    let compat = prop_oneof![
        3 => Just(Compat::Nearmiss),
        1 => Just(Compat::SentenceTransformers),
        1 => Just(Compat::FlagEmbedding)
    ];
    let margin = || proptest::option::of(0.0_f32..0.2);
    (0_u32..5, 1_u32..14, 1_u32..14, (sampling, compat), (margin(), margin())).prop_map(
        |(range_min, more, num_negatives, (sampling, compat), (absolute_margin, relative_margin))| MiningSettings {
            range_min,
            range_max: range_min + more,
            num_negatives,
            sampling,
            compat,
            absolute_margin,
            relative_margin,
            ..MiningSettings::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_source_keeps_to_its_settings(settings in settings()) {
        let failed = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let world = World::new().map_err(failed)?;
        for row in TABLE {
            check(&world, row.name, settings).map_err(failed)?;
        }
    }
}

#[test]
fn every_source_proposes_and_reports_who_got_too_few() -> Outcome {
    let world = World::new()?;
    for row in TABLE {
        let few = MiningSettings { num_negatives: 1, length_band: 5.0, ..MiningSettings::default() };
        let (entries, report) = world.mine(row.name, few)?;
        assert_eq!((report.queries, report.proposed, report.short.len()), (3, 3, 0), "{}: {entries:?}", row.name);
        let all = world.mine(row.name, MiningSettings { num_negatives: 50, length_band: 5.0, ..few })?.1;
        assert_eq!(all.short.len(), 3, "{}", row.name);
        assert_eq!(all.short.iter().map(|short| u64::from(short.found)).sum::<u64>(), all.proposed);
    }
    Ok(())
}

#[test]
fn ranges_are_raw_ranks_and_scores_are_the_sources_own() -> Outcome {
    // By cosine the passages rank d0, d1 ... d11; d1 is a positive of q1 and q2, d2 of q2, d3 a copy of d1.
    let world = World::new()?;
    let settings = MiningSettings { range_min: 1, range_max: 6, num_negatives: 2, ..MiningSettings::default() };
    let expected = ["q1 d2 3", "q1 d4 5", "q2 d4 5", "q2 d5 6", "q4 d1 2", "q4 d2 3"];
    assert_eq!(world.ranks("dense", settings)?, expected);
    assert_eq!(world.ranks("run", settings)?, expected);
    let dense = world.proposed("dense", settings)?;
    assert!(dense.iter().all(|c| c.scores.cosine.is_some() && c.scores.bm25.is_none()));
    assert_eq!(world.mine("dense", settings)?.1.waterfall.judged, 15);
    let bm25 = world.proposed("bm25", settings)?;
    assert!(bm25.iter().all(|c| c.scores.bm25.is_some_and(|s| s > 0.0) && (2..=6).contains(&c.rank)));
    let fused = world.proposed("fusion", settings)?;
    assert!(
        fused.iter().all(|c| c.scores.bm25.is_some() && c.scores.cosine.is_some() && c.provenance["fused"].is_f64())
    );
    Ok(())
}

#[test]
fn margins_are_measured_from_the_positives_own_score() -> Outcome {
    let world = World::new()?;
    // d6, the positive of q4, has cosine 1 / sqrt(1.36) = 0.857: with a margin of 0.05 what is above 0.807 goes.
    let settings = MiningSettings { absolute_margin: Some(0.05), num_negatives: 9, ..MiningSettings::default() };
    let of = |name: &str, settings| -> Result<Vec<String>, SourceError> {
        Ok(world.ranks(name, settings)?.into_iter().filter(|line| line.starts_with("q4")).collect())
    };
    assert_eq!(of("dense", settings)?, ["q4 d8 9", "q4 d9 10", "q4 d10 11", "q4 d11 12"]);
    // Of q2's positives d1 has 0.995 and d2 0.981.
    let q2 = |bar| -> Result<Vec<String>, SourceError> {
        let settings =
            MiningSettings { bar, relative_margin: Some(0.0), num_negatives: 1, ..MiningSettings::default() };
        Ok(world.ranks("dense", settings)?.into_iter().filter(|line| line.starts_with("q2")).collect())
    };
    assert_eq!((q2(Bar::Lowest)?, q2(Bar::Highest)?), (vec!["q2 d4 5".to_owned()], vec!["q2 d4 5".to_owned()]));
    let random = MiningSettings { relative_margin: Some(0.5), ..MiningSettings::default() };
    assert_eq!(world.proposed("random", random)?.len(), 9, "a source without scores has no margins");
    Ok(())
}

#[test]
fn other_tools_windows_are_theirs() -> Outcome {
    let world = World::new()?;
    let base = MiningSettings { range_min: 1, range_max: 4, num_negatives: 2, ..MiningSettings::default() };
    let theirs = MiningSettings { compat: Compat::SentenceTransformers, ..base };
    // Of q1: d0, d2, d3 (a copy but for case), d4 are left of the first 4 + 2; the window is the second to fourth.
    let expected = ["q1 d2 3", "q1 d3 4", "q2 d3 4", "q2 d4 5", "q4 d1 2", "q4 d2 3"];
    assert_eq!(world.ranks("dense", theirs)?, expected);
    // Raw ranks 2 to 4, filled up with others where fewer are left.
    let flag = world.proposed("dense", MiningSettings { compat: Compat::FlagEmbedding, num_negatives: 4, ..base })?;
    let filled = |c: &&Candidate| c.provenance["filled"] == "random";
    let of = |query: &str| flag.iter().filter(|c| c.query.as_str() == query).collect::<Vec<_>>();
    let window: Vec<String> = of("q1").into_iter().filter(|c| !filled(c)).map(|c| c.passage.to_string()).collect();
    assert_eq!(window, ["d2", "d3"]);
    assert!(flag.len() == 12 && of("q1").into_iter().filter(filled).all(|c| c.rank > 4));
    Ok(())
}

#[test]
fn queries_of_one_text_have_all_positives_there() -> Outcome {
    let world = World::new()?;
    let pooled = compat::pooled(&world.tasks);
    assert!(pooled.iter().all(|task| task.positives.len() == 3), "d1, d2 and d6: all queries have one text");
    let mut others = world.tasks.clone();
    others[0].query.text.push('?');
    assert_eq!(compat::pooled(&others).iter().map(|task| task.positives.len()).collect::<Vec<_>>(), [1, 3, 3]);
    Ok(())
}

#[test]
fn simans_draws_about_the_positive_and_star_halves() -> Outcome {
    let world = World::new()?;
    let sharp = SimAns { a: 1e6, ..SimAns::default() };
    let settings = MiningSettings { num_negatives: 2, simans: sharp, ..MiningSettings::default() };
    let near: Vec<String> =
        world.ranks("simans", settings)?.into_iter().filter(|line| line.starts_with("q4")).collect();
    assert_eq!(near, ["q4 d5 6", "q4 d7 8"], "those beside d6");
    let released = SimAns { formula: SimAnsFormula::Released, ..sharp };
    assert!((released.log_weight(0.5, 0.7) + 0.6).abs() < 1e-6);
    assert!((SimAns { a: 2.0, b: -0.1, ..SimAns::default() }.log_weight(0.5, 0.7) + 0.02).abs() < 1e-6);
    let settings = MiningSettings { num_negatives: 5, range_max: 6, ..MiningSettings::default() };
    let star = world.proposed("star", settings)?;
    for query in ["q1", "q2", "q4"] {
        let parts = star.iter().filter(|c| c.query.as_str() == query).map(|c| c.provenance["part"].as_str());
        assert_eq!(parts.flatten().collect::<Vec<_>>(), ["hard", "hard", "hard", "random", "random"], "{query}");
    }
    Ok(())
}

#[test]
fn a_cross_encoder_orders_its_pool_anew() -> Outcome {
    let world = World::new()?;
    // The dense pool's best six are d0 to d5; of them the longest come first, but d1 and d3, the positive and its copy.
    let settings = MiningSettings { pool: Pool::Dense, pool_depth: 6, num_negatives: 3, ..MiningSettings::default() };
    let own = |line: &String| line.starts_with("q1");
    let found: Vec<String> = world.ranks("cross-encoder", settings)?.into_iter().filter(own).collect();
    assert_eq!(found, ["q1 d5 1", "q1 d4 2", "q1 d2 3"]);
    let dense = world.proposed("cross-encoder", settings)?;
    assert!(dense.iter().all(|c| c.scores.relevance.is_some() && c.scores.cosine.is_some() && c.scores.bm25.is_none()));
    let words = world.proposed("cross-encoder", MiningSettings { pool: Pool::Bm25, ..settings })?;
    assert!(words.iter().all(|c| c.scores.bm25.is_some() && c.scores.cosine.is_none()));
    // A margin is from the positive's own relevance, 1 - 1/25.
    let strict = MiningSettings { absolute_margin: Some(0.0), ..settings };
    let below: Vec<String> = world.ranks("cross-encoder", strict)?.into_iter().filter(own).collect();
    assert_eq!(below, ["q1 d0 6"]);
    Ok(())
}

#[test]
fn drafts_are_what_their_names_say() -> Outcome {
    let world = World::new()?;
    let settings = MiningSettings { num_negatives: 2, ..MiningSettings::default() };
    let others: HashSet<String> = ["d1", "d2", "d6"].map(str::to_owned).into();
    assert!(world.proposed("other-positives", settings)?.iter().all(|c| others.contains(&c.passage.to_string())));
    let long = |id: &str| world.collection.corpus.get(id).map(|d| d.map_or(0, |d| d.content().chars().count()));
    for candidate in world.proposed("random-length", settings)? {
        let task = world.tasks.iter().find(|task| task.query.id == candidate.query).ok_or("a task")?;
        let share = long(&candidate.passage.to_string())? as f64 / crate::filter::mean_length(&task.positives);
        assert!((0.75..=1.25).contains(&share), "{}: {share}", candidate.passage);
    }
    // Beside d6 stand d5 and d7.
    let near: HashSet<String> = world
        .proposed("neighbours-dense", settings)?
        .iter()
        .filter(|c| c.query.as_str() == "q4")
        .map(|c| c.passage.to_string())
        .collect();
    assert_eq!(near, ["d5", "d7"].map(str::to_owned).into());
    Ok(())
}

#[test]
fn candidates_of_all_sources_are_screened_once_alike_on_any_threads_and_add_up() -> Outcome {
    let world = World::new()?;
    let settings = MiningSettings { num_negatives: 12, length_band: 5.0, ..MiningSettings::default() };
    let mined = TABLE.iter().map(|row| world.proposed(row.name, settings)).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<Candidate> = mined.into_iter().flatten().collect();
    let filters = Filters::new(&FilterSettings {
        measure: Measure::Cosine,
        max_score: Some(0.99),
        near_duplicate: Some(0.6),
        range_max: Some(9),
        ..FilterSettings::default()
    });
    let screened = |candidates: &[Candidate], threads: usize| -> Result<screen::Screened, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let corpus = &world.collection.corpus;
        let evidence = screen::Evidence::default();
        Ok(pool.install(|| screen::screen(&world.tasks, candidates.to_vec(), corpus, &filters, &evidence))?)
    };
    let first = screened(&all, 1)?;
    assert_eq!(screened(&all, 3)?.entries, first.entries);
    assert_eq!(first.entries.len(), all.len(), "one verdict each");
    let sources: HashSet<&str> = all.iter().map(|one| one.source.as_str()).collect();
    assert_eq!(first.waterfalls.len(), sources.len());
    for (source, lines) in &first.waterfalls {
        let own = || first.entries.iter().filter(|entry| entry.candidate.source == *source);
        assert_eq!(lines.judged, own().count() as u64);
        assert_eq!(lines.kept, own().filter(|entry| entry.fate == Fate::Proposed).count() as u64);
        assert_eq!(lines.judged - lines.kept, lines.dropped.iter().map(|line| line.count).sum::<u64>(), "{source}");
    }
    let rules: HashSet<&str> = first.entries.iter().map(|entry| entry.verdict.rule()).collect();
    assert!(["rank_window", "max_score", "near_duplicate"].iter().all(|rule| rules.contains(rule)), "{rules:?}");
    let kept = first.entries.into_iter().filter(|entry| entry.fate == Fate::Proposed).map(|entry| entry.candidate);
    let again = screened(&kept.collect::<Vec<_>>(), 2)?;
    assert!(again.entries.iter().all(|entry| entry.verdict.keeps()), "what is kept stays kept");
    Ok(())
}

#[test]
fn random_negatives_of_a_query_do_not_depend_on_the_others() -> Outcome {
    let world = World::new()?;
    let filters = Filters::default();
    let draw = |tasks: &[Task], seed| -> Result<Vec<Candidate>, SourceError> {
        let settings = MiningSettings::default();
        let (corpus, words, vectors, run) = (&world.collection.corpus, None, None, None);
        let inputs = Inputs { corpus, tasks, filters: &filters, settings, seed, words, vectors, run, judge: None };
        let mut candidates: Vec<Candidate> = Vec::new();
        named("random")?.make(inputs)?.propose(tasks, &mut candidates)?;
        Ok(candidates)
    };
    let all = draw(&world.tasks, Seed(1))?;
    assert_eq!(draw(&world.tasks[1..], Seed(1))?, all[3..]);
    assert_ne!(draw(&world.tasks, Seed(2))?, all);
    Ok(())
}

#[test]
fn what_cannot_be_made_says_why() -> Outcome {
    let Err(error) = named("bm52") else { return Err("an error was due".into()) };
    assert!(error.to_string().contains("random, random-length, other-positives, bm25, dense"), "{error}");
    let world = World::new()?;
    let refused = |settings| world.mine("random", settings).err().map(|e| e.to_string()).unwrap_or_default();
    let settings = MiningSettings::default();
    assert!(refused(MiningSettings { num_negatives: 0, ..settings }).contains("`num_negatives`"));
    assert!(refused(MiningSettings { range_min: 100, ..settings }).contains("above range_min = 100"));
    assert!(refused(MiningSettings { relative_margin: Some(2.0), ..settings }).contains("`relative_margin`"));
    assert!(refused(MiningSettings { temperature: 0.0, ..settings }).contains("`temperature`"));
    let filters = Filters::default();
    for row in TABLE {
        let (corpus, tasks, seed) = (&world.collection.corpus, &world.tasks, Seed(1));
        let (words, vectors, run, judge) = (None, None, None, None);
        let inputs = Inputs { corpus, tasks, filters: &filters, settings, seed, words, vectors, run, judge };
        let needy = row.needs.iter().any(|need| *need != Draws);
        assert_eq!(row.make(inputs).is_err(), needy, "{}", row.name);
    }
    assert!(serde_json::from_str::<MiningSettings>(r#"{"range_mix": 1}"#).is_err());
    Ok(())
}

#[test]
fn settings_left_alone_are_written_as_ever() -> Outcome {
    let text = serde_json::to_string(&MiningSettings::default())?;
    assert_eq!(text, r#"{"range_min":0,"range_max":100,"num_negatives":3}"#, "keys of the store hang on it");
    let other = MiningSettings { sampling: Sampling::Softmax, max_score: Some(0.5), ..MiningSettings::default() };
    assert_eq!(serde_json::from_str::<MiningSettings>(&serde_json::to_string(&other)?)?, other);
    Ok(())
}
