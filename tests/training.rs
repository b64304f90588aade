//! Training on a tiny encoder: it learns, it can be interrupted, and threads do not change it.

use candle_core::Device;
use nearmiss::data::{DocId, Instance, Passage, QueryId, Quiet, Seed, TrainingPassage, Watch};
use nearmiss::encode::{BiEncoder, FreshEncoder};
use nearmiss::train::{InBatch, TrainError, TrainSettings, Trained, Trainer};
use std::error::Error;
use std::path::Path;
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
