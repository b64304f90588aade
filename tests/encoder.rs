//! The encoder against candle-transformers' BERT, against itself in other batches, and through a save and a load.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use nearmiss::data::{Quiet, Seed, Watch};
use nearmiss::encode::blocks::Keeping;
use nearmiss::encode::{
    BiEncoder, Computing, FreshEncoder, Instructions, Kernels, Mode, PackedBatch, Precision, Role, Storage, Vectors,
};
use proptest::prelude::*;
use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const TEXTS: [&str; 5] = [
    "Iron melts at 1538 degrees.",
    "",
    "Gold was known in antiquity, and so were silver and copper, which lie above and below it.",
    "Hydrogen",
    "The density of osmium is the highest of all elements that are stable: 22.59 grams per cubic centimetre.",
];

fn fresh(folder: &Path) -> Result<BiEncoder, Box<dyn Error>> {
    let texts: Vec<String> = TEXTS.iter().map(|t| (*t).to_owned()).collect();
    FreshEncoder { vocabulary: 300, width: 64, layers: 2, max_length: 64, seed: Seed(1) }.write(&texts, folder)?;
    Ok(BiEncoder::open(folder, &Device::Cpu)?)
}

fn with(kernels: Kernels) -> Computing {
    Computing { kernels, ..Computing::of(&Device::Cpu) }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn the_trunk_is_the_bert_of_candle_transformers() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("encoder");
    fresh(&path)?;
    let config: Config = serde_json::from_slice(&std::fs::read(path.join("config.json"))?)?;
    let weights = candle_core::safetensors::load(path.join("model.safetensors"), &Device::Cpu)?;
    let oracle = BertModel::load(VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu), &config)?;
    let encoders =
        [Kernels::Fused, Kernels::Composed].map(|kernels| BiEncoder::open_with(&path, &Device::Cpu, with(kernels)));
    let [fused, composed] = encoders;
    let (fused, composed) = (fused?, composed?);
    for ids in fused.tokenize(&TEXTS, Role::Document)?.ids {
        let input = Tensor::new(ids.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
        let tokens = oracle.forward(&input, &input.zeros_like()?, None)?;
        let mean = tokens.mean(1)?;
        let expected = mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?.flatten_all()?.to_vec1::<f32>()?;
        for (encoder, mode) in [
            (&fused, Mode::Inference),
            (&fused, Mode::Training),
            (&composed, Mode::Inference),
            (&composed, Mode::Training),
        ] {
            let ours = encoder.embed(&PackedBatch::new(&[&ids]), mode)?.flatten_all()?.to_vec1::<f32>()?;
            let apart = distance(&ours, &expected);
            assert!(apart < 1e-5, "{mode:?}: {apart}");
        }
    }
    Ok(())
}

#[test]
fn a_text_has_the_same_vector_alone_in_a_batch_and_in_blocks() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = fresh(&folder.path().join("encoder"))?;
    let together = encoder.encode(&TEXTS, Role::Document, &Quiet)?;
    let sequences = encoder.tokenize(&TEXTS, Role::Document)?.ids;
    let packed = PackedBatch::new(&sequences.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mixed = encoder.embed(&packed, Mode::Inference)?.to_vec2::<f32>()?;
    let blocks = folder.path().join("blocks");
    std::fs::create_dir_all(&blocks)?;
    let file = folder.path().join("vectors");
    let keeping = Keeping { file: &file, storage: Storage::F32, blocks: &blocks, block: 2 };
    let texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    encoder.encode_to_file(&texts, Role::Document, &keeping, &Quiet)?;
    let first = Vectors::read(&file)?;
    encoder.encode_to_file(&texts, Role::Document, &keeping, &Quiet)?;
    assert_eq!(first, Vectors::read(&file)?);
    for (row, text) in TEXTS.iter().enumerate() {
        let alone = encoder.encode(&[text], Role::Document, &Quiet)?;
        let alone = alone.vectors.row(0);
        assert_eq!(alone, together.vectors.row(row), "its batch changed text {row}");
        assert_eq!(alone, mixed[row]);
        assert_eq!(alone, first.row(row));
        let norm: f32 = alone.iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }
    Ok(())
}

/// Token sequences of the given lengths.
fn sequences(lengths: &[usize], vocabulary: usize) -> Vec<Vec<u32>> {
    let id = |place: usize| u32::try_from((place * 7919 + 13) % vocabulary).unwrap_or(0);
    lengths.iter().enumerate().map(|(row, &length)| (0..length).map(|place| id(row * 101 + place)).collect()).collect()
}

/// Vectors of the sequences in one batch, and of each alone.
fn together_and_alone(encoder: &BiEncoder, sequences: &[Vec<u32>]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let embed = |batch: &[&[u32]]| {
        let vectors = encoder.embed(&PackedBatch::new(batch), Mode::Inference).and_then(|v| Ok(v.to_vec2::<f32>()?));
        vectors.expect("vectors of valid sequences")
    };
    let all: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    (embed(&all), all.iter().flat_map(|one| embed(&[one])).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Sizes that fit no register, lengths from 1 to the longest, one text or many, in every instruction set.
    #[test]
    fn the_fast_kernels_agree_with_the_composed_ones(
        width in 1usize..5, layers in 1usize..3, seed: u64,
        lengths in proptest::collection::vec(prop_oneof![Just(1usize), Just(2), 3usize..64, Just(64)], 1..14),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let texts: Vec<String> = TEXTS.iter().map(|t| (*t).to_owned()).collect();
        let fresh = FreshEncoder { vocabulary: 200, width: width * 32, layers, max_length: 64, seed: Seed(seed) };
        fresh.write(&texts, folder.path().join("encoder").as_path()).expect("an encoder");
        let open = |computing| BiEncoder::open_with(&folder.path().join("encoder"), &Device::Cpu, computing).expect("it opens");
        // Weights of the size that trained ones have: fresh ones are so small that softmax and GELU are nearly linear.
        let widen = |encoder: &BiEncoder| {
            for (name, value) in encoder.parameters().iter() {
                if name.ends_with("weight") && !name.contains("LayerNorm") {
                    encoder.parameters().set(name, &(value.detach() * 5.0).expect("a product")).expect("it is set");
                }
            }
        };
        let composed = open(with(Kernels::Composed));
        widen(&composed);
        let sequences = sequences(&lengths, 50);
        let (reference, _) = together_and_alone(&composed, &sequences);
        for instructions in Instructions::here() {
            for precision in [Precision::F32, Precision::Bf16] {
                let fast = open(Computing { kernels: Kernels::Fused, precision, instructions });
                widen(&fast);
                let (together, alone) = together_and_alone(&fast, &sequences);
                prop_assert_eq!(&together, &alone, "{}: a batch changed a text", instructions.name());
                for (ours, theirs) in together.iter().zip(&reference) {
                    let apart = distance(ours, theirs);
                    let bound = if precision == Precision::F32 { 1e-5 } else { 0.05 };
                    prop_assert!(apart < bound, "{} {precision:?}: {apart}", instructions.name());
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit_and_new_weights_are_seen() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = fresh(&folder.path().join("encoder"))?;
    let texts: Vec<String> = (0..300).map(|i| format!("{} {}", TEXTS[i % 5].repeat(i % 4), TEXTS[i % 3])).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encode = |threads| -> Result<_, Box<dyn Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(pool.install(|| encoder.encode(&texts, Role::Document, &Quiet))?)
    };
    let (one, three) = (encode(1)?, encode(3)?);
    assert_eq!(one, three);
    let name = "encoder.layer.0.intermediate.dense.weight";
    let value = encoder.parameters().get(name).ok_or("no such weight")?;
    encoder.parameters().set(name, &(value.detach() * 3.0)?)?;
    assert_ne!(one.vectors, encode(1)?.vectors, "packed weights are out of date");
    Ok(())
}

/// Stops after so many texts.
struct StopAfter(AtomicU64);

impl Watch for StopAfter {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, count: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(count)));
    }
    fn end(&self) {}
    fn note(&self, _: &str) {}
    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn embedding_stopped_at_any_place_goes_on_to_the_same_bits() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = fresh(&folder.path().join("encoder"))?;
    let texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).cycle().take(60).collect();
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let whole = encoder.encode(&borrowed, Role::Document, &Quiet)?;
    for (stop, storage) in
        [0, 1, 5, 17, 30, 44, 54].into_iter().zip([Storage::F32, Storage::F16, Storage::Int8].into_iter().cycle())
    {
        let blocks = folder.path().join(format!("blocks-{stop}"));
        let file = folder.path().join(format!("vectors-{stop}"));
        std::fs::create_dir_all(&blocks)?;
        let keeping = Keeping { file: &file, storage, blocks: &blocks, block: 5 };
        let encode = |watch: &dyn Watch| encoder.encode_to_file(&texts, Role::Document, &keeping, watch);
        assert!(encode(&StopAfter(AtomicU64::new(stop))).is_err(), "{stop}: not stopped");
        assert!(!file.exists(), "{stop}: a file without all its rows");
        let kept = std::fs::read_dir(&blocks)?.count();
        assert!(kept <= usize::try_from(stop)?.div_ceil(5), "{kept} blocks kept after {stop} texts");
        // A block that is not whole, as a failing disk leaves it, is made anew.
        if kept > 0 {
            let block = blocks.join("000000.vectors");
            let bytes = std::fs::read(&block)?;
            std::fs::write(&block, &bytes[..bytes.len() / 2])?;
        }
        assert_eq!(encode(&Quiet)?, whole.truncation, "stopped after {stop}");
        assert_eq!(Vectors::read(&file)?, whole.vectors.stored_as(storage), "stopped after {stop}");
        // Blocks of another storage are no use.
        let exact = Keeping { storage: Storage::F32, ..keeping };
        encoder.encode_to_file(&texts, Role::Document, &exact, &Quiet)?;
        assert_eq!(Vectors::read(&file)?, whole.vectors);
    }
    Ok(())
}

#[test]
fn bf16_is_refused_where_it_is_not_computed() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("encoder");
    fresh(&path)?;
    let computing = Computing { precision: Precision::Bf16, ..with(Kernels::Composed) };
    let message = BiEncoder::open_with(&path, &Device::Cpu, computing).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(
        message,
        "bf16 is computed by the CPU's own kernels alone\n  hint: take --precision f32, or --device cpu"
    );
    Ok(())
}

/// Gradients by variable.
type Gradients = Vec<(String, Vec<f32>)>;

#[test]
fn both_kernels_give_every_variable_the_same_gradient() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("encoder");
    fresh(&path)?;
    let gradients = |kernels| -> Result<Gradients, Box<dyn Error>> {
        let encoder = BiEncoder::open_with(&path, &Device::Cpu, with(kernels))?;
        let sequences = encoder.tokenize(&TEXTS, Role::Document)?.ids;
        let packed = PackedBatch::new(&sequences.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let vectors = encoder.embed(&packed, Mode::Training)?;
        let weights: Vec<f32> = (0..vectors.elem_count()).map(|i| ((i * 37 % 101) as f32).sin()).collect();
        let store = (&vectors * Tensor::from_vec(weights, vectors.shape(), &Device::Cpu)?)?.sum_all()?.backward()?;
        encoder
            .parameters()
            .iter()
            .map(|(name, variable)| {
                let gradient = store.get(variable).ok_or_else(|| format!("no gradient for {name}"))?;
                Ok((name.to_owned(), gradient.flatten_all()?.to_vec1()?))
            })
            .collect()
    };
    let (fused, composed) = (gradients(Kernels::Fused)?, gradients(Kernels::Composed)?);
    assert_eq!(fused.len(), 5 + 2 * 16);
    let norm = |rows: &Gradients| rows.iter().flat_map(|(_, g)| g).map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let apart: Gradients = fused
        .iter()
        .zip(&composed)
        .map(|((name, a), (_, b))| (name.clone(), a.iter().zip(b).map(|(x, y)| x - y).collect()))
        .collect();
    let relative = norm(&apart) / norm(&composed);
    assert!(relative < 1e-5, "global relative error {relative}");
    Ok(())
}

#[test]
fn a_saved_encoder_opens_and_gives_the_same_vectors() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let encoder = fresh(&folder.path().join("encoder"))?;
    let saved = folder.path().join("saved");
    std::fs::create_dir(&saved)?;
    encoder.save(&saved, "# card\n")?;
    let opened = BiEncoder::open(&saved, &Device::Cpu)?;
    assert_eq!(opened.settings(), encoder.settings());
    assert_eq!(opened.encode(&TEXTS, Role::Query, &Quiet)?, encoder.encode(&TEXTS, Role::Query, &Quiet)?);
    Ok(())
}

/// Opens `folder` and gives the message that must come.
fn refusal(folder: &Path) -> String {
    BiEncoder::open(folder, &Device::Cpu).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_is_missing_or_wrong_is_named() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("encoder");
    fresh(&path)?;
    let weights = path.join("model.safetensors");
    let whole = std::fs::read(&weights)?;
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu)?;
    let taken = tensors.remove("encoder.layer.1.output.dense.bias").ok_or("no such tensor")?;
    candle_core::safetensors::save(&tensors, &weights)?;
    let message = refusal(&path);
    let expected = format!(
        "{}: `encoder.layer.1.output.dense.bias`: expected this tensor, found no such tensor\n  hint: the nearest name in the file is encoder.layer.1.output.LayerNorm.bias; do config.json and the weights belong together?",
        weights.display()
    );
    assert_eq!(message, expected);
    tensors.insert("encoder.layer.1.output.dense.bias".into(), taken.narrow(0, 0, 3)?);
    candle_core::safetensors::save(&tensors, &weights)?;
    assert!(refusal(&path).contains("expected shape [64] by config.json, found [3]"), "{}", refusal(&path));
    tensors.insert("encoder.layer.1.output.dense.bias".into(), (&taken * f64::NAN)?);
    candle_core::safetensors::save(&tensors, &weights)?;
    assert!(refusal(&path).contains("not finite"), "{}", refusal(&path));
    tensors.insert("encoder.layer.1.output.dense.bias".into(), taken.clone());
    tensors.insert("encoder.layer.2.output.dense.bias".into(), taken);
    candle_core::safetensors::save(&tensors, &weights)?;
    assert!(refusal(&path).contains("`encoder.layer.2.output.dense.bias`: expected only tensors of this architecture"));
    std::fs::write(&weights, &whole[..whole.len() / 2])?;
    assert!(refusal(&path).contains("expected a place within"), "{}", refusal(&path));
    std::fs::remove_file(&weights)?;
    std::fs::write(path.join("pytorch_model.bin"), "")?;
    assert!(refusal(&path).contains("only safetensors are read"), "{}", refusal(&path));
    std::fs::remove_file(path.join("1_Pooling/config.json"))?;
    assert!(refusal(&path).contains("the pooling of this encoder"), "{}", refusal(&path));
    let config = std::fs::read_to_string(path.join("config.json"))?;
    std::fs::write(path.join("config.json"), config.replace("\"bert\"", "\"gpt2\""))?;
    assert!(
        refusal(&path)
            .contains("`model_type`: expected one of: bert, distilbert, roberta, xlm-roberta, mpnet, modernbert, deberta-v2, nomic_bert, t5, found \"gpt2\""),
        "{}",
        refusal(&path)
    );
    Ok(())
}
