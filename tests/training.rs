//! Training on a tiny encoder: it learns, it can be interrupted, and threads do not change it.

use candle_core::{Device, Tensor};
use nearmiss::data::{DocId, Instance, Passage, QueryId, Quiet, Seed, TrainingPassage, Watch};
use nearmiss::encode::{BiEncoder, FreshEncoder, Role};
use nearmiss::train::loss::{GuideMargin, Needs, TABLE};
use nearmiss::train::validation::{self, Better, split};
use nearmiss::train::{
    Alongside, InBatch, LossSettings, Renewal, TrainError, TrainSettings, Trained, Trainer, Validation,
};
use std::cell::Cell;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

const METALS: [&str; 6] = ["iron", "gold", "copper", "silver", "lead", "tin"];

fn passage(id: &str, text: String) -> Result<TrainingPassage, Box<dyn Error>> {
    Ok(TrainingPassage { passage: Passage::Corpus(DocId::new(id)?), source: "bm25".into(), text, teacher: None })
}

fn instances() -> Result<Vec<Instance>, Box<dyn Error>> {
    let about = |metal: &str, fact: &str| format!("The {fact} of {metal} is well known to those who work with metals.");
    METALS
        .iter()
        .enumerate()
        .map(|(i, metal)| {
            let other = METALS[(i + 1) % METALS.len()];
            Ok(Instance {
                query_id: QueryId::new(&format!("q{i}"))?,
                query: format!("melting point of {metal}"),
                positive: passage(&format!("{metal}-melting"), about(metal, "melting point"))?,
                negatives: vec![
                    passage(&format!("{other}-melting"), about(other, "melting point"))?,
                    passage(&format!("{metal}-price"), about(metal, "price"))?,
                ],
            })
        })
        .collect()
}

fn encoder(folder: &Path) -> Result<BiEncoder, Box<dyn Error>> {
    let path = folder.join("encoder");
    if !path.exists() {
        let texts: Vec<String> = instances()?
            .iter()
            .flat_map(|i| [i.query.clone(), i.positive.text.clone(), i.negatives[1].text.clone()])
            .collect();
        FreshEncoder { vocabulary: 200, width: 32, layers: 2, max_length: 32, seed: Seed(3) }.write(&texts, &path)?;
    }
    Ok(BiEncoder::open(&path, &Device::Cpu)?)
}

fn settings() -> TrainSettings {
    TrainSettings { epochs: 6, batch_size: 4, learning_rate: 3e-3, checkpoint_every: 3, ..TrainSettings::default() }
}

/// The values of every variable, in name order.
type Weights = Vec<Vec<f32>>;

fn train(folder: &Path, settings: &TrainSettings, watch: &dyn Watch) -> Result<(Trained, Weights), Box<dyn Error>> {
    let encoder = encoder(folder)?;
    let trainer = Trainer { settings, seed: Seed(5), checkpoint: folder.join("checkpoint") };
    let trained = trainer.train(&encoder, &instances()?, watch)?;
    let weights = encoder.parameters().iter().map(|(_, v)| v.flatten_all()?.to_vec1()).collect::<Result<_, _>>()?;
    Ok((trained, weights))
}

#[test]
fn the_loss_falls_for_every_kind_of_negatives() -> Result<(), Box<dyn Error>> {
    for in_batch in [InBatch::None, InBatch::Positives, InBatch::All] {
        let folder = tempfile::tempdir()?;
        let (trained, _) = train(folder.path(), &TrainSettings { in_batch, ..settings() }, &Quiet)?;
        assert_eq!(trained.steps.len(), 12);
        let mean =
            |steps: &[nearmiss::train::StepRecord]| steps.iter().map(|s| s.loss).sum::<f32>() / steps.len() as f32;
        let (first, last) = (mean(&trained.steps[..2]), mean(&trained.steps[10..]));
        assert!(last < 0.8 * first, "{in_batch:?}: {first} to {last}");
        assert!(trained.steps.iter().all(|s| s.gradient_norm > 0.0 && s.learning_rate > 0.0));
    }
    Ok(())
}

/// Stops the run after a number of steps.
struct StopAfter(AtomicU64);

impl Watch for StopAfter {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, count: u64) {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(count), Ordering::SeqCst);
    }
    fn end(&self) {}
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn an_interrupted_run_ends_with_the_same_weights_bit_for_bit() -> Result<(), Box<dyn Error>> {
    let (whole, parts) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (trained, weights) = train(whole.path(), &settings(), &Quiet)?;
    let stopped = train(parts.path(), &settings(), &StopAfter(AtomicU64::new(5)));
    let message = stopped.err().ok_or("not stopped")?.to_string();
    assert!(message.contains("stopped"), "{message}");
    let (resumed, same_weights) = train(parts.path(), &settings(), &Quiet)?;
    assert_eq!(resumed, trained);
    assert_eq!(same_weights, weights);
    Ok(())
}

#[test]
fn the_number_of_threads_does_not_change_the_weights() -> Result<(), Box<dyn Error>> {
    let run = |threads: usize| -> Result<Vec<Vec<f32>>, String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
        pool.install(|| {
            let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
            Ok(train(folder.path(), &settings(), &Quiet).map_err(|e| e.to_string())?.1)
        })
    };
    assert_eq!(run(1)?, run(3)?);
    Ok(())
}

#[test]
fn instances_of_different_widths_are_refused_by_name() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = encoder(folder.path())?;
    let mut uneven = instances()?;
    uneven[2].negatives.pop();
    let settings = settings();
    let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join("c") };
    let error = trainer.train(&encoder, &uneven, &Quiet).err().ok_or("accepted")?;
    assert!(matches!(&error, TrainError::Uneven { query, expected: 2, found: 1 } if query == "q2"), "{error}");
    assert!(matches!(trainer.train(&encoder, &[], &Quiet), Err(TrainError::NoInstances)));
    Ok(())
}

/// Every loss with a teacher that likes long texts, every schedule, accumulation and frozen layers: each learns.
#[test]
fn every_loss_trains() -> Result<(), Box<dyn Error>> {
    for row in &TABLE {
        let folder = tempfile::tempdir()?;
        let encoder = encoder(folder.path())?;
        let mut taught = instances()?;
        for instance in &mut taught {
            instance.positive.teacher = Some(4.0);
            instance.negatives.iter_mut().zip([1.0, -3.0]).for_each(|(negative, score)| negative.teacher = Some(score));
        }
        let settings = TrainSettings { loss: LossSettings::named(row.name), dropout: Some(0.0), ..settings() };
        let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join("c") };
        let trained = trainer.train(&encoder, &taught, &Quiet)?;
        let (first, last) = (trained.steps[0].loss, trained.steps[11].loss);
        assert!(last < first, "{}: {first} to {last}", row.name);
        let sources = &trained.steps[0].sources;
        let shares: f64 = sources.values().map(|weight| weight.share).sum();
        assert!((shares - 1.0).abs() < 1e-6 && sources.contains_key("bm25"), "{sources:?}");
        if row.needs == Needs::Teacher {
            let lacking = trainer.train(&encoder, &instances()?, &Quiet).err().ok_or("accepted")?.to_string();
            assert!(lacking.contains(row.name) && lacking.contains("q0") && lacking.contains("hint"), "{lacking}");
        }
    }
    Ok(())
}

#[test]
fn accumulated_batches_are_one_step_with_their_mean_gradient() -> Result<(), Box<dyn Error>> {
    let folders = (tempfile::tempdir()?, tempfile::tempdir()?);
    // Without in-batch negatives and dropout, three batches of two are one of six.
    let one = TrainSettings { batch_size: 6, in_batch: InBatch::None, dropout: Some(0.0), ..settings() };
    let three = TrainSettings { batch_size: 2, accumulate: 3, ..one.clone() };
    let (whole, _) = train(folders.0.path(), &one, &Quiet)?;
    let (parts, _) = train(folders.1.path(), &three, &Quiet)?;
    assert_eq!((whole.steps.len(), parts.steps.len()), (6, 6));
    let (a, b) = (&whole.steps[0], &parts.steps[0]);
    assert!((a.loss - b.loss).abs() < 1e-5, "{a:?} {b:?}");
    assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-4 * a.gradient_norm, "{a:?} {b:?}");
    let (a, b) = (&whole.steps[5], &parts.steps[5]);
    assert!((a.loss - b.loss).abs() < 1e-2 * a.loss, "{a:?} {b:?}");
    Ok(())
}

#[test]
fn frozen_layers_stay_as_they_are_and_the_others_move() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let before = encoder(folder.path())?;
    let values = |encoder: &BiEncoder| -> Result<Vec<(String, Vec<f32>)>, candle_core::Error> {
        encoder.parameters().iter().map(|(name, v)| Ok((name.to_owned(), v.flatten_all()?.to_vec1()?))).collect()
    };
    let after = encoder(folder.path())?;
    let settings = TrainSettings { freeze_layers: Some(1), weight_decay: 0.1, ..settings() };
    let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join("c") };
    trainer.train(&after, &instances()?, &Quiet)?;
    for ((name, old), (_, new)) in values(&before)?.into_iter().zip(values(&after)?) {
        let frozen = name.starts_with("embeddings.") || name.contains("layer.0.");
        // The bias of the keys has no gradient.
        assert!((old == new) == frozen || name.ends_with("key.bias"), "{name}: frozen {frozen}, same {}", old == new);
    }
    // The way back ends above what is frozen, and gives the rest what it would have been given.
    let one = TrainSettings { epochs: 1, batch_size: 6, max_gradient_norm: 1e9, ..settings.clone() };
    let mut taken = Vec::new();
    for (name, freeze_layers) in [("e", Some(1)), ("f", None)] {
        let (settings, encoder) = (TrainSettings { freeze_layers, ..one.clone() }, encoder(folder.path())?);
        let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join(name) };
        trainer.train(&encoder, &instances()?, &Quiet)?;
        let kept = values(&encoder)?.into_iter().filter(|(name, _)| name.contains("layer.1."));
        taken.push(kept.collect::<Vec<_>>());
    }
    assert!(taken[0].len() == 16 && taken[0] == taken[1], "what is trained depends on what is not");
    let all = TrainSettings { freeze_layers: Some(2), ..settings.clone() };
    let trainer = Trainer { settings: &all, seed: Seed(5), checkpoint: folder.path().join("d") };
    let message = trainer.train(&after, &instances()?, &Quiet).err().ok_or("accepted")?.to_string();
    assert!(message.contains("freeze_layers"), "{message}");
    Ok(())
}

/// A look that gives the numbers of a list, one after the other.
fn looks(values: &[f64]) -> impl Fn() -> nearmiss::train::Result<f64> {
    let (values, taken) = (values.to_vec(), Cell::new(0));
    move || {
        taken.set(taken.get() + 1);
        Ok(values[taken.get() - 1])
    }
}

#[test]
fn the_best_state_is_kept_and_training_ends_without_gain() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let settings = TrainSettings { validate_every: 2, patience: 2, ..settings() };
    let run = |name: &str, settings: &TrainSettings, values: &[f64]| -> Result<(Trained, Weights), Box<dyn Error>> {
        let encoder = encoder(folder.path())?;
        let trainer = Trainer { settings, seed: Seed(5), checkpoint: folder.path().join(name) };
        let value = looks(values);
        let validation = Validation { measure: "m".into(), better: Better::Higher, value: &value };
        let trained = trainer.train_with(
            &encoder,
            &instances()?,
            Alongside { validation: Some(&validation), ..Alongside::default() },
            &Quiet,
        )?;
        let weights = encoder.parameters().iter().map(|(_, v)| v.flatten_all()?.to_vec1()).collect::<Result<_, _>>()?;
        Ok((trained, weights))
    };
    // Un-tuned, then after steps 2, 4 (the best), 6 and 8: two looks without gain.
    let (trained, weights) = run("a", &settings, &[0.1, 0.2, 0.5, 0.5, 0.4])?;
    assert_eq!((trained.steps.len(), trained.planned), (8, 12));
    let curve = trained.curve.ok_or("no curve")?;
    assert_eq!(curve.checks.iter().map(|check| check.step).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
    assert_eq!(curve.best().map(|best| best.step), Some(4));
    // The weights are those of a run that sees the same four steps last: patience 1, no gain after the fourth.
    let short = TrainSettings { patience: 1, ..settings.clone() };
    let (again, same) = run("b", &short, &[0.1, 0.2, 0.5, 0.4])?;
    assert_eq!(again.steps.len(), 6);
    assert_eq!(weights, same);
    // Nothing better than the base is said, never silent.
    let (worse, _) = run("c", &settings, &[0.9, 0.2, 0.1, 0.1])?;
    assert!(worse.curve.ok_or("no curve")?.summary().contains("NOT"));
    Ok(())
}

#[test]
fn a_validated_run_that_was_interrupted_ends_the_same() -> Result<(), Box<dyn Error>> {
    let settings = TrainSettings { validate_every: 2, patience: 0, ..settings() };
    let values = [0.1, 0.2, 0.5, 0.3, 0.4, 0.2, 0.1];
    let run = |folder: &Path, skip: usize, watch: &dyn Watch| -> Result<(Trained, Weights), Box<dyn Error>> {
        let encoder = encoder(folder)?;
        let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.join("c") };
        let value = looks(&values[skip..]);
        let validation = Validation { measure: "m".into(), better: Better::Higher, value: &value };
        let trained = trainer.train_with(
            &encoder,
            &instances()?,
            Alongside { validation: Some(&validation), ..Alongside::default() },
            watch,
        )?;
        let weights = encoder.parameters().iter().map(|(_, v)| v.flatten_all()?.to_vec1()).collect::<Result<_, _>>()?;
        Ok((trained, weights))
    };
    let (whole, parts) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let expected = run(whole.path(), 0, &Quiet)?;
    assert!(run(parts.path(), 0, &StopAfter(AtomicU64::new(7))).is_err());
    // Looks before the stop: un-tuned, 2, 4, 6.
    let resumed = run(parts.path(), 4, &Quiet)?;
    assert_eq!(resumed, expected);
    Ok(())
}

#[test]
fn a_run_with_new_negatives_that_was_interrupted_ends_the_same() -> Result<(), Box<dyn Error>> {
    let run = |folder: &Path, watch: &dyn Watch| -> Result<(Trained, Weights), Box<dyn Error>> {
        let (encoder, settings) = (encoder(folder)?, settings());
        let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.join("c") };
        let renew = |step: usize| {
            let mut all = instances().map_err(|error| TrainError::Validation(error.to_string().into()))?;
            for instance in &mut all {
                instance.negatives.iter_mut().for_each(|negative| negative.text += &format!(" Step {step} of them."));
            }
            Ok(all)
        };
        let renewal = Renewal { every: 5, renew: &renew };
        let alongside = Alongside { renewal: Some(&renewal), ..Alongside::default() };
        let trained = trainer.train_with(&encoder, &instances()?, alongside, watch)?;
        let weights = encoder.parameters().iter().map(|(_, v)| v.flatten_all()?.to_vec1()).collect::<Result<_, _>>()?;
        Ok((trained, weights))
    };
    let whole = tempfile::tempdir()?;
    let expected = run(whole.path(), &Quiet)?;
    let plain = tempfile::tempdir()?;
    assert_ne!(train(plain.path(), &settings(), &Quiet)?.1, expected.1);
    // Before, at and after a renewal.
    for stop in [4, 5, 6, 10, 11] {
        let parts = tempfile::tempdir()?;
        assert!(run(parts.path(), &StopAfter(AtomicU64::new(stop))).is_err());
        assert_eq!(run(parts.path(), &Quiet)?, expected, "stopped after {stop}");
    }
    Ok(())
}

#[test]
fn what_a_guide_takes_for_an_answer_is_no_negative() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let guide = encoder(folder.path())?;
    let first = |name: &str, guide: Option<&BiEncoder>, margin: f32| -> Result<f32, Box<dyn Error>> {
        let settings = TrainSettings {
            guide_margin: Some(GuideMargin::Absolute(margin)),
            epochs: 1,
            batch_size: 6,
            dropout: Some(0.0),
            ..settings()
        };
        let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join(name) };
        let alongside = Alongside { guide, ..Alongside::default() };
        Ok(trainer.train_with(&encoder(folder.path())?, &instances()?, alongside, &Quiet)?.steps[0].loss)
    };
    let without = first("a", None, 0.0)?;
    let (near, nearer) = (first("b", Some(&guide), 0.0)?, first("c", Some(&guide), 0.01)?);
    assert!(nearer < near && near < without, "{nearer} {near} {without}");
    // By hand: the same encoder's cosines decide what is left, and the loss is that of what is left.
    let all = instances()?;
    let vectors = |texts: Vec<&str>, role| -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
        let vectors = guide.encode(&texts, role, &Quiet)?.vectors;
        Ok((0..vectors.len()).map(|row| vectors.row(row).into_owned()).collect())
    };
    let queries = vectors(all.iter().map(|one| one.query.as_str()).collect(), Role::Query)?;
    let positives = all.iter().map(|one| &one.positive);
    let passages: Vec<&TrainingPassage> = positives.chain(all.iter().flat_map(|one| &one.negatives)).collect();
    let columns = vectors(passages.iter().map(|passage| passage.text.as_str()).collect(), Role::Document)?;
    let mut sum = 0.0;
    for (number, query) in queries.iter().enumerate() {
        let cosines: Vec<f32> = columns.iter().map(|row| query.iter().zip(row).map(|(a, b)| a * b).sum()).collect();
        let answers = |c: usize| passages[c].passage == passages[number].passage;
        let kept = (0..cosines.len()).filter(|&c| c == number || (!answers(c) && cosines[c] <= cosines[number]));
        sum += kept.map(|c| ((cosines[c] - cosines[number]) / 0.05).exp()).sum::<f32>().ln();
    }
    assert!((sum / 6.0 - near).abs() < 1e-4, "{} by hand, {near}", sum / 6.0);
    Ok(())
}

#[test]
fn queries_are_held_out_whole_and_by_seed() -> Result<(), Box<dyn Error>> {
    let mut all = instances()?;
    let mut second = all[1].clone();
    second.positive = all[2].negatives[1].clone();
    all.push(second);
    let ids =
        |part: &[Instance]| part.iter().map(|i| i.query_id.to_string()).collect::<std::collections::BTreeSet<_>>();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let (used, held) = split(&all, 0.3, Seed(seed));
        assert_eq!(used.len() + held.len(), all.len());
        assert_eq!(ids(&held).len(), 2, "0.3 of 6 queries");
        assert!(ids(&used).is_disjoint(&ids(&held)));
        let mut turned = all.clone();
        turned.reverse();
        assert_eq!(ids(&split(&turned, 0.3, Seed(seed)).1), ids(&held));
        seen.extend(ids(&held));
    }
    assert!(seen.len() > 2, "seeds hold out different queries");
    Ok(())
}

#[test]
fn the_loss_on_held_out_queries_falls() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = encoder(folder.path())?;
    let settings = settings();
    let before = validation::loss(&encoder, &instances()?, &settings, &Quiet)?;
    let trainer = Trainer { settings: &settings, seed: Seed(5), checkpoint: folder.path().join("c") };
    trainer.train(&encoder, &instances()?, &Quiet)?;
    let after = validation::loss(&encoder, &instances()?, &settings, &Quiet)?;
    assert!(after < before, "{before} to {after}");
    Ok(())
}

/// A cross-encoder over the trunk of the tiny encoder, with a head of our own.
fn cross_encoder(encoder: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(encoder)? {
        let path = entry?.path();
        if path.is_file() {
            std::fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))?;
        }
    }
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    config["id2label"] = serde_json::json!({"0": "LABEL_0"});
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let mut weights = candle_core::safetensors::load(encoder.join("model.safetensors"), &Device::Cpu)?;
    let values = |count: usize| (0..count).map(|i| ((i * 7919 % 13) as f32 - 6.0) / 10.0).collect::<Vec<_>>();
    for (name, rows) in [("pooler.dense", 32), ("classifier", 1)] {
        let weight = Tensor::from_vec(values(rows * 32), (rows, 32), &Device::Cpu)?;
        weights.insert(format!("{name}.weight"), weight);
        weights.insert(format!("{name}.bias"), Tensor::from_vec(values(rows), rows, &Device::Cpu)?);
    }
    candle_core::safetensors::save(&weights, folder.join("model.safetensors"))?;
    Ok(())
}

/// The program's exit code and what it said on stderr.
fn program(folder: &Path, more: &[&str]) -> Result<(Option<i32>, String), Box<dyn Error>> {
    let train = ["train", "--instances", "t.jsonl", "--encoder", "encoder", "--out", "trained"];
    let output = Command::new(env!("CARGO_BIN_EXE_nearmiss")).current_dir(folder).args(train).args(more).output()?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

const SETTINGS: &str = "batch_size = 2\nlearning_rate = 1e-3\nvalidation_share = 0.3\ntemperature_end = 0.02\n\
schedule = \"cosine\"\n[loss]\nname = \"debiased\"\nbeta = 0.5\nmatryoshka_dims = [32, 8]\n";

#[test]
fn the_command_reads_all_settings_and_says_what_came_of_them() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    drop(encoder(at)?);
    nearmiss::data::jsonl::write(&at.join("t.jsonl"), &instances()?)?;
    std::fs::write(at.join("settings.toml"), SETTINGS)?;
    let (code, said) = program(at, &["--settings", "settings.toml", "--epochs", "2"])?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nDCG@10 of 2 held-out queries over 12 passages") && said.contains("un-tuned"), "{said}");
    assert!(said.contains("negatives from bm25: ") && said.contains("coefficient of variation"), "{said}");
    let card = std::fs::read_to_string(at.join("trained/README.md"))?;
    for part in
        ["| bm25 | 8 |", "| after step | nDCG@10", "\"name\": \"debiased\"", "## Provenance", "Made from `encoder`"]
    {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let file =
        nearmiss::data::arrays::ArrayFile::open(&at.join("trained.statistics.safetensors"), "nearmiss training 1")?;
    assert_eq!(file.array::<f32>("temperature")?.len(), 4);
    assert!((file.array::<f32>("temperature")?[3] - 0.02).abs() < 1e-7);

    // What cannot be taken further is written out.
    let (code, said) =
        program(at, &["--learning-rate", "1e30", "--batch-size", "3", "--seed", "7", "--warmup-share", "0"])?;
    assert_eq!(code, Some(2), "{said}");
    let place = said.split("are in ").nth(1).and_then(|rest| rest.lines().next()).ok_or(said.clone())?;
    let batch: Vec<Instance> = nearmiss::data::jsonl::read(&at.join(place))?;
    assert!(batch.len() == 3 && batch.iter().all(|one| instances().is_ok_and(|all| all.contains(one))), "{said}");

    // A guide says what it was asked.
    let (code, said) = program(at, &["--guide", "encoder", "--batch-size", "3", "--seed", "9"])?;
    assert!(
        code == Some(0) && std::fs::read_to_string(at.join("trained.provenance.json"))?.contains("\"guide\""),
        "{said}"
    );

    // A teacher is asked once and learned from.
    cross_encoder(&at.join("encoder"), &at.join("judge"))?;
    let (code, said) = program(at, &["--loss", "margin-mse", "--teacher", "judge", "--batch-size", "3"])?;
    assert_eq!(code, Some(0), "{said}");

    for (settings, expected) in [
        (
            "validation_shre = 0.1",
            "settings.toml:1: `validation_shre`: expected a known key, found no such key\n  hint: did you mean `validation_share`?",
        ),
        (
            "[loss]\nname = \"decoupled\"\nbeta = 1.0",
            "`loss.beta`: expected what decoupled reads (no such number), found a number of debiased",
        ),
        ("[loss]\nname = \"dcl\"", "`loss.name`: expected one of info-nce, decoupled"),
        ("accumulate = 0", "settings.toml: `accumulate`: expected 1 or more, found 0"),
        ("[loss]\nname = \"margin-mse\"", "query q0: expected a teacher's score for each passage"),
        ("[loss]\nmatryoshka_dims = [64]", "`loss.matryoshka_dims`: expected numbers up to 32"),
    ] {
        std::fs::write(at.join("settings.toml"), settings)?;
        let (code, said) = program(at, &["--settings", "settings.toml"])?;
        assert_eq!(code, Some(2), "{settings}: {said}");
        assert!(said.contains(expected), "{settings}: {said}");
    }
    Ok(())
}
