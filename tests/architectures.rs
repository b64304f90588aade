//! Every architecture of the table, tiny and random: a text's vector does not depend on its batch, the fast path gives
//! what the composed one gives, every variable gets a gradient, and what is saved opens again. That the numbers are
//! those of transformers is checked by tests/peers/architectures.py.

use candle_core::{Device, Tensor};
use nearmiss::data::{Quiet, Seed};
use nearmiss::encode::cross_encoder::Scale;
use nearmiss::encode::dense::{Activation, Dense};
use nearmiss::encode::family::FAMILIES;
use nearmiss::encode::frozen::FROZEN;
use nearmiss::encode::parameters::Parameters;
use nearmiss::encode::pooling::Pooling;
use nearmiss::encode::settings::Length;
use nearmiss::encode::trunk::Architecture;
use nearmiss::encode::{
    BiEncoder, Computing, CrossEncoder, Dropping, Gradients, Kernels, Mode, PackedBatch, Precision, Prompts, Role,
    Sequence,
};
use nearmiss::text::tokenizer::make_wordpiece;
use rand::RngExt;
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;

const TEXTS: [&str; 4] = [
    "iron melts at 1538 degrees",
    "",
    "gold was known in antiquity, and so were silver and copper, which lie above and below it",
    "[PAD] hydrogen [PAD]",
];

/// A `config.json` of two layers, width 32 and `vocabulary` tokens.
fn config(family: &str, vocabulary: usize) -> Value {
    let shared =
        json!({"model_type": family, "vocab_size": vocabulary, "max_position_embeddings": 40, "pad_token_id": 0});
    let sizes = match family {
        "modernbert" => json!({
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
            "norm_eps": 1e-5, "local_attention": 8, "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": {"rope_theta": 1e3}},
        }),
        "deberta-v2" => json!({
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "type_vocab_size": 0,
            "initializer_range": 0.02, "layer_norm_eps": 1e-7, "relative_attention": true, "max_relative_positions": -1,
            "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": true, "position_biased_input": false,
            "pos_att_type": ["p2c", "c2p"],
        }),
        "nomic_bert" => json!({"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 48, "n_positions": 40}),
        "t5" => json!({
            "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "n_positions": 40, "eos_token_id": 1,
            "relative_attention_num_buckets": 8, "dropout_rate": 0.1, "layer_norm_epsilon": 1e-6, "is_encoder_decoder": true,
            "initializer_factor": 1.0, "feed_forward_proj": "gated-gelu",
        }),
        "distilbert" => json!({"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "activation": "gelu"}),
        _ => json!({
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
            "hidden_act": "gelu", "type_vocab_size": 2, "layer_norm_eps": 1e-5, "relative_attention_num_buckets": 32,
        }),
    };
    let objects = [shared, sizes].map(|value| value.as_object().cloned().unwrap_or_default());
    objects.into_iter().flatten().collect::<serde_json::Map<_, _>>().into()
}

/// Values around 0, around 1 for the weights of norms, of the size that trained ones have.
fn random(weights: &[(String, candle_core::Shape)]) -> Result<Parameters, Box<dyn Error>> {
    let mut random = Seed(7).stream("tests/architectures");
    Ok(Parameters::fresh(weights, &Device::Cpu, |name, count| {
        let is_norm = name.to_lowercase().replace('_', "").contains("layernorm") && name.ends_with("weight");
        (0..count).map(|_| f32::from(u8::from(is_norm)) + 0.4 * (random.random::<f32>() - 0.5)).collect()
    })?)
}

/// A folder as sentence-transformers writes it, with a dense layer where `dense` has one.
fn write(folder: &Path, family: &str, pooling: Pooling, dense: Option<&Dense>) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder.join("1_Pooling"))?;
    let texts = TEXTS.map(str::to_owned);
    let vocabulary = make_wordpiece(&texts, 120, folder).map_err(|error| error.to_string())?;
    let put = |name: &str, value: &Value| std::fs::write(folder.join(name), value.to_string());
    put("config.json", &config(family, vocabulary))?;
    let architecture = Architecture::read(&folder.join("config.json"))?;
    random(&architecture.weights())?.write(&folder.join("model.safetensors"))?;
    let name = Pooling::NAMES.iter().find(|(kind, ..)| *kind == pooling).map(|(_, _, name)| name);
    put("1_Pooling/config.json", &json!({"embedding_dimension": 32, "pooling_mode": name, "include_prompt": true}))?;
    let mut modules =
        vec![json!({"path": "", "type": "a.Transformer"}), json!({"path": "1_Pooling", "type": "a.Pooling"})];
    if let Some(dense) = dense {
        std::fs::create_dir_all(folder.join(&dense.folder))?;
        put(&format!("{}/config.json", dense.folder), &dense.config())?;
        random(&dense.weights())?.write(&folder.join(&dense.folder).join("model.safetensors"))?;
        modules.push(json!({"path": dense.folder, "type": "a.Dense"}));
    }
    modules.push(json!({"path": "3_Normalize", "type": "a.Normalize"}));
    put("modules.json", &modules.into())?;
    Ok(())
}

/// What candle-transformers computes: the numbers are held against transformers by tests/peers/architectures.py.
#[test]
fn frozen_rows_embed_whatever_the_batch_and_are_not_trained() -> Result<(), Box<dyn Error>> {
    for row in &FROZEN {
        let folder = tempfile::tempdir()?;
        write(folder.path(), row.name, Pooling::Mean, None)?;
        let encoder = BiEncoder::open(folder.path(), &Device::Cpu).map_err(|error| format!("{}: {error}", row.name))?;
        let together = encoder.encode(&TEXTS, Role::Document, &Quiet)?.vectors;
        for (place, text) in TEXTS.iter().enumerate() {
            let alone = encoder.encode(&[text], Role::Document, &Quiet)?.vectors;
            let apart =
                together.row(place).iter().zip(alone.row(0).iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{}: {apart} for {text:?}", row.name);
        }
        let first = together.row(0).into_owned();
        assert!((1..TEXTS.len()).all(|other| together.row(other)[..] != first[..]), "{}: all texts alike", row.name);
        let refused = encoder.learner(Precision::F32).err().ok_or("trained")?.to_string();
        assert!(refused.contains(row.name) && refused.contains("not trained"), "{refused}");
        // What is computed one way only is refused in any other, by its key.
        let path = folder.path().join("config.json");
        let mut changed: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        changed["vocab_size"] = 7.into();
        std::fs::write(&path, changed.to_string())?;
        let refused = BiEncoder::open(folder.path(), &Device::Cpu).err().ok_or("opened")?.to_string();
        assert!(refused.contains("shape [7, 32]"), "{}: {refused}", row.name);
    }
    Ok(())
}

#[test]
fn weights_in_several_files_are_those_of_one() -> Result<(), Box<dyn Error>> {
    let (one, cut) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for folder in [&one, &cut] {
        write(folder.path(), "bert", Pooling::Mean, None)?;
    }
    let at = |name: &str| cut.path().join(name);
    let all = candle_core::safetensors::load(at("model.safetensors"), &Device::Cpu)?;
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name.contains("layer.0"));
    let mut map = serde_json::Map::new();
    for (file, part) in [("a-00001.safetensors", first), ("a-00002.safetensors", second)] {
        map.extend(part.iter().map(|(name, _)| (name.clone(), file.into())));
        candle_core::safetensors::save(&part.into_iter().collect(), at(file))?;
    }
    std::fs::remove_file(at("model.safetensors"))?;
    let index = at("model.safetensors.index.json");
    std::fs::write(&index, json!({"weight_map": map}).to_string())?;
    let encode = |folder: &Path| -> Result<_, Box<dyn Error>> {
        Ok(BiEncoder::open(folder, &Device::Cpu)?.encode(&TEXTS, Role::Document, &Quiet)?)
    };
    assert_eq!(encode(one.path())?, encode(cut.path())?);
    // Vectors are kept under a digest of all parts.
    let before = BiEncoder::digest(cut.path())?;
    let mut changed = candle_core::safetensors::load(at("a-00002.safetensors"), &Device::Cpu)?;
    let words = changed.get_mut("embeddings.word_embeddings.weight").ok_or("no words")?;
    *words = words.affine(2.0, 0.0)?;
    candle_core::safetensors::save(&changed, at("a-00002.safetensors"))?;
    assert_ne!(before, BiEncoder::digest(cut.path())?);
    for (names, expected) in [
        (json!({"x": "../a-00001.safetensors"}), "names of files beside it"),
        (json!({"x": "a-00003.safetensors"}), "a-00003"),
        (json!({}), "weight_map"),
    ] {
        std::fs::write(&index, json!({"weight_map": names}).to_string())?;
        let refused = encode(cut.path()).err().ok_or("opened")?.to_string();
        assert!(refused.contains("index.json") && refused.contains(expected), "{refused}");
    }
    Ok(())
}

fn dense() -> Dense {
    Dense { folder: "2_Dense".into(), inputs: 32, outputs: 24, bias: true, activation: Activation::Tanh }
}

fn open(folder: &Path, kernels: Kernels) -> Result<BiEncoder, Box<dyn Error>> {
    Ok(BiEncoder::open_with(folder, &Device::Cpu, Computing { kernels, ..Computing::of(&Device::Cpu) })?)
}

fn vectors(encoder: &BiEncoder, sequences: &[&[u32]], mode: Mode) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    Ok(encoder.embed(&PackedBatch::new(sequences), mode)?.to_vec2()?)
}

/// Largest difference of two lists of vectors.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

#[test]
fn all_paths_of_all_architectures_agree() -> Result<(), Box<dyn Error>> {
    for (family, (pooling, ..)) in FAMILIES.iter().flat_map(|family| Pooling::NAMES.map(|kind| (family.name, kind))) {
        let folder = tempfile::tempdir()?;
        write(folder.path(), family, pooling, Some(&dense()))?;
        let (fused, composed) = (open(folder.path(), Kernels::Fused)?, open(folder.path(), Kernels::Composed)?);
        let ids = fused.tokenize(&TEXTS, Role::Document)?.ids;
        let all: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let together = vectors(&fused, &all, Mode::Inference)?;
        assert_eq!(together[0].len(), 24);
        let alone = all.iter().map(|one| Ok(vectors(&fused, &[one], Mode::Inference)?.concat()));
        let alone = alone.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let far = apart(&together, &alone);
        // Without fast kernels a batch is padded, and its products may sum in another order.
        assert!(far < if family == "mpnet" { 1e-6 } else { f32::MIN_POSITIVE }, "{family} {pooling:?}: {far}");
        for (encoder, mode) in [(&fused, Mode::Training), (&composed, Mode::Inference), (&composed, Mode::Training)] {
            let far = apart(&together, &vectors(encoder, &all, mode)?);
            assert!(far < 1e-5, "{family} {pooling:?} {mode:?}: {far}");
        }
        let encoded = fused.encode(&TEXTS, Role::Document, &Quiet)?.vectors;
        let encoded: Vec<Vec<f32>> = (0..encoded.len()).map(|row| encoded.row(row).to_vec()).collect();
        assert!(apart(&together, &encoded) < 1e-6, "{family} {pooling:?}");
    }
    Ok(())
}

#[test]
fn every_variable_of_every_architecture_gets_a_gradient() -> Result<(), Box<dyn Error>> {
    for family in FAMILIES {
        let folder = tempfile::tempdir()?;
        write(folder.path(), family.name, Pooling::Mean, Some(&dense()))?;
        for kernels in [Kernels::Fused, Kernels::Composed] {
            let encoder = open(folder.path(), kernels)?;
            let ids = encoder.tokenize(&TEXTS, Role::Document)?.ids;
            let batch = PackedBatch::new(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let vectors = encoder.embed(&batch, Mode::Training)?;
            let weights: Vec<f32> = (0u8..96).map(|i| f32::from(i).sin()).collect();
            let weights = Tensor::from_vec(weights, vectors.shape(), &Device::Cpu)?;
            let store = (vectors * weights)?.sum_all()?.backward()?;
            for (name, variable) in encoder.parameters().iter() {
                let gradient = store.get(variable).ok_or_else(|| format!("{}: no gradient for {name}", family.name))?;
                let size = gradient.abs()?.sum_all()?.to_scalar::<f32>()?;
                // A shift of all keys changes no softmax: its true gradient is 0.
                let is_key = ["key.bias", "k_lin.bias", "attn.k.bias"].iter().any(|key| name.ends_with(key));
                assert!(is_key || size > 1e-6, "{}: the gradient of {name} is {size}", family.name);
            }
        }
    }
    Ok(())
}

/// Rows and gradients.
type Passed = (Vec<Vec<f32>>, Vec<Vec<f32>>);

/// Rows and gradients of one pass of training in parts of so many bytes; slopes along the rows are waves.
fn pass(encoder: &BiEncoder, ids: &[Vec<u32>], memory: usize, share: Option<f64>) -> Result<Passed, Box<dyn Error>> {
    let mut learner = encoder.learner(Precision::F32)?;
    let mut gradients = Gradients::new(encoder.parameters(), &Device::Cpu);
    let dropping = share.map(|share| Dropping { share: Some(share), key: 5 });
    let sequences: Vec<Sequence<'_>> = ids.iter().map(|ids| Sequence { ids, sides: None }).collect();
    let mut rows = vec![Vec::new(); ids.len()];
    for part in learner.parts(&sequences, memory) {
        let (values, recording) = learner.record(&sequences, &part, dropping)?;
        let wave = |place: usize, column: usize| u8::try_from((place * 32 + column) % 251).map(|x| f32::from(x).sin());
        let waves = part.iter().flat_map(|&place| (0..32).map(move |column| wave(place, column)));
        let waves = waves.collect::<Result<Vec<_>, _>>()?;
        learner.carry_back(recording, &Tensor::from_vec(waves, values.shape(), &Device::Cpu)?, &mut gradients)?;
        for (place, row) in part.into_iter().zip(values.to_vec2()?) {
            rows[place] = row;
        }
    }
    let Gradients::Host(gradients) = gradients else { return Err("gradients on the CPU are values".into()) };
    Ok((rows, gradients))
}

/// Global L2 distance of two lists of gradients, relative to the first's length.
fn relative(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let square = |value: f32| f64::from(value).powi(2);
    let apart: f64 = a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| square(x - y)).sum();
    (apart / a.iter().flatten().map(|&x| square(x)).sum::<f64>()).sqrt()
}

#[test]
fn our_way_back_is_candles_with_and_without_dropout() -> Result<(), Box<dyn Error>> {
    for (family, (pooling, ..)) in FAMILIES.iter().flat_map(|family| Pooling::NAMES.map(|kind| (family.name, kind))) {
        let folder = tempfile::tempdir()?;
        write(folder.path(), family, pooling, None)?;
        let (fused, composed) = (open(folder.path(), Kernels::Fused)?, open(folder.path(), Kernels::Composed)?);
        // The last text has two tokens that are alike where padding has one place: of two largest values candle's
        // slope goes to both, ours to the first.
        let ids = fused.tokenize(&TEXTS[..3], Role::Document)?.ids;
        for share in [None, Some(0.25)] {
            let (our_rows, ours) = pass(&fused, &ids, usize::MAX, share)?;
            let (their_rows, theirs) = pass(&composed, &ids, usize::MAX, share)?;
            let far = apart(&our_rows, &their_rows);
            assert!(far < 1e-5, "{family} {pooling:?} {share:?}: rows apart {far}");
            let far = relative(&theirs, &ours);
            assert!(far < 1e-5, "{family} {pooling:?} {share:?}: gradients apart {far}");
            if share.is_some() {
                let (without, _) = pass(&fused, &ids, usize::MAX, None)?;
                assert_ne!(our_rows, without, "{family} {pooling:?}: nothing was dropped");
            }
        }
    }
    Ok(())
}

#[test]
fn neither_parts_nor_threads_change_a_bit_of_a_gradient() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "bert", Pooling::Mean, None)?;
    let encoder = open(folder.path(), Kernels::Fused)?;
    let ids: Vec<Vec<u32>> =
        (0u32..150).map(|text| (0..3 + text * 7 % 30).map(|i| 4 + (text + 7 * i) % 30).collect()).collect();
    let with = |threads: usize, memory: usize| -> Result<_, Box<dyn Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(|| pass(&encoder, &ids, memory, Some(0.1)).map_err(|error| error.to_string())).map_err(Into::into)
    };
    let whole = with(1, usize::MAX)?;
    assert!(whole == with(3, usize::MAX)?, "threads changed something");
    assert!(whole == with(2, 1 << 21)?, "parts changed something");
    let sequences: Vec<Sequence<'_>> = ids.iter().map(|ids| Sequence { ids, sides: None }).collect();
    assert!(encoder.learner(Precision::F32)?.parts(&sequences, 1 << 21).len() > 2, "there were no parts");
    Ok(())
}

#[test]
fn what_is_saved_opens_with_the_same_vectors() -> Result<(), Box<dyn Error>> {
    for (family, (pooling, ..)) in FAMILIES.iter().zip(Pooling::NAMES) {
        let folder = tempfile::tempdir()?;
        let saved = folder.path().join("saved");
        std::fs::create_dir(&saved)?;
        write(folder.path(), family.name, pooling, Some(&dense()))?;
        let encoder = open(folder.path(), Kernels::Fused)?;
        encoder.save(&saved, "# card\n")?;
        let again = open(&saved, Kernels::Fused)?;
        assert_eq!(again.settings(), encoder.settings());
        assert_eq!(again.encode(&TEXTS, Role::Query, &Quiet)?, encoder.encode(&TEXTS, Role::Query, &Quiet)?);
        let digest = BiEncoder::digest(&saved)?;
        random(&Dense { bias: false, ..dense() }.weights())?.write(&saved.join("2_Dense/model.safetensors"))?;
        assert_ne!(digest, BiEncoder::digest(&saved)?, "the digest does not see the dense layer");
        let message = open(&saved, Kernels::Fused).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("2_Dense/model.safetensors: `linear.bias`: expected this tensor"), "{message}");
    }
    Ok(())
}

#[test]
fn prompts_come_from_the_folder_or_by_hand() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "bert", Pooling::Mean, None)?;
    let own = json!({"prompts": {"query": "gold ", "other": "iron "}, "default_prompt_name": "other"});
    std::fs::write(folder.path().join("config_sentence_transformers.json"), own.to_string())?;
    let encoder = open(folder.path(), Kernels::Fused)?;
    let ids = |encoder: &BiEncoder, text: &str, role| encoder.tokenize(&[text], role).map(|tokens| tokens.ids);
    let plain = Prompts { query: Some(String::new()), document: Some(String::new()) };
    let bare = open(folder.path(), Kernels::Fused)?.prompted(&plain);
    assert_eq!(ids(&encoder, "melts", Role::Query)?, ids(&bare, "gold melts", Role::Query)?);
    assert_eq!(ids(&encoder, "melts", Role::Document)?, ids(&bare, "iron melts", Role::Document)?);
    let by_hand = encoder.prompted(&Prompts { query: Some("silver ".into()), document: None });
    assert_eq!(ids(&by_hand, "melts", Role::Query)?, ids(&bare, "silver melts", Role::Query)?);
    assert_eq!(ids(&by_hand, "melts", Role::Document)?, ids(&bare, "iron melts", Role::Document)?);
    Ok(())
}

#[test]
fn a_pair_scores_the_same_in_any_batch_and_by_any_kernels() -> Result<(), Box<dyn Error>> {
    for family in FAMILIES {
        let folder = tempfile::tempdir()?;
        write(folder.path(), family.name, Pooling::Cls, None)?;
        let path = folder.path().join("config.json");
        let mut weights = Architecture::read(&path)?.weights();
        for (name, outputs) in [(family.head.dense, 32), (family.head.labels, 3)] {
            weights.push((format!("{name}.weight"), (outputs, 32).into()));
            weights.push((format!("{name}.bias"), outputs.into()));
        }
        random(&weights)?.write(&folder.path().join("model.safetensors"))?;
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        config["id2label"] = json!({"0": "no", "1": "perhaps", "2": "yes"});
        std::fs::write(&path, config.to_string())?;
        let open = |kernels| {
            let computing = Computing { kernels, ..Computing::of(&Device::Cpu) };
            CrossEncoder::open(folder.path(), &Device::Cpu, computing)
        };
        let (fused, composed) = (open(Kernels::Fused)?, open(Kernels::Composed)?);
        assert_eq!(fused.labels(), ["no", "perhaps", "yes"]);
        let long = TEXTS[2].repeat(9);
        let pairs = [("gold", TEXTS[2]), ("", ""), ("melts", long.as_str()), (TEXTS[2], "gold")];
        let together = fused.score(&pairs, Scale::Relevance, &Quiet)?;
        assert_eq!(together.truncation.truncated, 1);
        let far = apart(&together.scores, &composed.score(&pairs, Scale::Relevance, &Quiet)?.scores);
        assert!(far < 1e-5, "{}: {far}", family.name);
        for (pair, row) in pairs.iter().zip(&together.scores) {
            let alone = fused.score(&[*pair], Scale::Relevance, &Quiet)?.scores;
            assert!(apart(&alone, std::slice::from_ref(row)) < 1e-6, "{}: {pair:?}", family.name);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "no probabilities: {row:?}");
        }
        assert_ne!(together.scores[0], together.scores[3], "{}: the order of a pair is lost", family.name);
    }
    Ok(())
}

#[test]
fn a_plain_folder_pools_as_its_kind_does_or_as_it_is_told() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let made = |place: &str| -> Result<_, Box<dyn Error>> {
        let folder = root.path().join(place);
        std::fs::create_dir_all(&folder)?;
        write(&folder, "bert", Pooling::Max, None)?;
        std::fs::remove_file(folder.join("modules.json"))?;
        std::fs::remove_dir_all(folder.join("1_Pooling"))?;
        Ok(folder)
    };
    for (place, pooling, length, said) in [
        ("plain", Pooling::Mean, Length::Unit, "mean pooling, vectors brought to length 1, as most encoders have it"),
        (
            "my-BGE-small",
            Pooling::Cls,
            Length::Unit,
            "cls pooling, vectors brought to length 1, as \"bge-\" in its name",
        ),
        ("models--org--contriever/snapshots/abc", Pooling::Mean, Length::Free, "vectors as long as they come"),
        ("contriever-runs/plain", Pooling::Mean, Length::Unit, "as most encoders have it"),
    ] {
        let folder = made(place)?;
        let encoder = open(&folder, Kernels::Fused)?;
        let settings = encoder.settings();
        assert_eq!((settings.pooling, settings.length), (pooling, length), "{place}");
        assert!(settings.assumed.as_deref().is_some_and(|text| text.contains(said)), "{:?}", settings.assumed);
        let last = encoder.pooled(Pooling::LastToken);
        assert_eq!((last.settings().pooling, &last.settings().assumed), (Pooling::LastToken, &None));
    }
    // The name decides vectors here, so it is part of what they are made from.
    let folder = root.path().join("plain");
    let digest = BiEncoder::digest(&folder)?;
    let renamed = root.path().join("bge-plain");
    std::fs::rename(&folder, &renamed)?;
    assert_ne!(BiEncoder::digest(&renamed)?, digest);
    // Weights that only a pickle holds are not read, and the error says how to convert them.
    std::fs::rename(renamed.join("model.safetensors"), renamed.join("pytorch_model.bin"))?;
    let message = refusal(&renamed);
    assert!(message.contains("safe_serialization=True") && message.contains("model.safetensors"), "{message}");
    Ok(())
}

#[test]
fn weights_whose_head_lies_are_refused_before_they_are_read() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "bert", Pooling::Mean, None)?;
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path)?;
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into()?))?;
    let head = String::from_utf8(bytes[8..8 + length].to_vec())?;
    // One digit more in the first shape: the tensor would reach into the next.
    let lying = head.replacen("\"shape\":[", "\"shape\":[9", 1);
    std::fs::write(&path, [&(lying.len() as u64).to_le_bytes()[..], lying.as_bytes(), &bytes[8 + length..]].concat())?;
    let message = refusal(folder.path());
    assert!(message.contains("bytes by dtype and shape, found") && message.contains("hint"), "{message}");
    Ok(())
}

/// The message that opening `folder` must end with.
fn refusal(folder: &Path) -> String {
    open(folder, Kernels::Fused).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn what_an_encoder_folder_cannot_say_is_named() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let put = |name: &str, value: Value| std::fs::write(folder.path().join(name), value.to_string());
    write(folder.path(), "mpnet", Pooling::Mean, None)?;
    let bf16 = Computing { precision: Precision::Bf16, ..Computing::of(&Device::Cpu) };
    let message = BiEncoder::open_with(folder.path(), &Device::Cpu, bf16).err().map(|error| error.to_string());
    assert_eq!(message.as_deref(), Some("bf16 is not computed for mpnet\n  hint: take --precision f32"));
    put("1_Pooling/config.json", json!({"pooling_mode": ["cls", "mean"]}))?;
    let expected = "`pooling_mode`: expected one of: cls, mean, max, mean_sqrt_len_tokens, weightedmean, lasttoken, found [\"cls\", \"mean\"]";
    assert!(refusal(folder.path()).contains(expected), "{}", refusal(folder.path()));
    put("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true, "include_prompt": false}))?;
    assert!(refusal(folder.path()).contains("`include_prompt`: expected true, found false"));
    put("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true}))?;
    let modules = ["Transformer", "Dense", "Pooling"].map(|kind| json!({"path": "", "type": kind}));
    put("modules.json", json!(modules))?;
    assert!(refusal(folder.path()).contains(
        "`type`: expected modules Transformer, Pooling, Dense and Normalize, in this order, found module \"Dense\""
    ));
    put("config.json", json!({"model_type": "distilbert", "dim": 32}))?;
    assert!(refusal(folder.path()).contains("`n_layers`: expected a key of distilbert, found no such key"));
    Ok(())
}
