//! The intake check on small files made here: what must pass, what must be refused, and that nothing panics.

use super::*;
use proptest::prelude::*;

/// Writes a header entry by entry, as a converter would, without judging it.
#[derive(Clone)]
struct Draft {
    keys: Vec<(&'static str, Vec<u8>)>,
    tensors: Vec<(&'static str, Vec<u64>, u32, u64)>,
    data: usize,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn typed(kind: u32, value: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], value].concat()
}

fn number(n: u32) -> Vec<u8> {
    typed(4, &n.to_le_bytes())
}

fn float(x: f32) -> Vec<u8> {
    typed(6, &x.to_le_bytes())
}

fn strings(count: u64) -> Vec<u8> {
    let mut bytes = [&9_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &count.to_le_bytes()].concat();
    for n in 0..count {
        bytes.extend(text(&format!("t{n}")));
    }
    bytes
}

/// Two blocks of width 8, 16 tokens.
fn sound() -> Draft {
    Draft {
        keys: vec![
            ("general.architecture", typed(8, &text("llama"))),
            ("llama.context_length", number(128)),
            ("llama.block_count", number(2)),
            ("llama.embedding_length", number(8)),
            ("llama.attention.head_count", number(4)),
            ("llama.attention.head_count_kv", number(2)),
            ("llama.attention.layer_norm_rms_epsilon", float(1e-5)),
            ("tokenizer.ggml.tokens", strings(16)),
            ("tokenizer.ggml.bos_token_id", number(1)),
        ],
        tensors: vec![
            ("token_embd.weight", vec![8, 16], 0, 0),
            ("blk.0.attn_norm.weight", vec![8], 0, 512),
            ("blk.1.attn_norm.weight", vec![8], 0, 544),
        ],
        data: 576,
    }
}

impl Draft {
    fn with(mut self, key: &'static str, value: Vec<u8>) -> Self {
        self.keys.retain(|(name, _)| *name != key);
        self.keys.push((key, value));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        for (name, dimensions, kind, offset) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((u32::try_from(dimensions.len()).unwrap()).to_le_bytes());
            bytes.extend(dimensions.iter().flat_map(|d| d.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }
}

fn check(bytes: &[u8]) -> Result<Gguf> {
    Gguf::check(bytes, Path::new("m.gguf"))
}

fn refusal(file: &Draft) -> String {
    check(&file.bytes()).expect_err("this file must be refused").to_string()
}

#[test]
fn a_sound_header_says_what_the_model_is() {
    let model = check(&sound().bytes()).unwrap();
    assert_eq!((model.architecture.as_str(), model.context_length, model.block_count), ("llama", 128, 2));
    assert_eq!((model.vocabulary, model.bos, model.eos, model.chat_template.as_deref()), (16, Some(1), None, None));
    assert_eq!((model.key_value_heads.as_slice(), model.key_length, model.value_length), (&[2, 2][..], 2, 2));
    assert_eq!(model.key_value_numbers(), 2 * 2 * 4);
}

#[test]
fn each_defect_is_named() {
    let cases: Vec<(Draft, &str)> = vec![
        (sound().with("llama.block_count", number(0)), "`llama.block_count`: expected a whole number from 1 to 512"),
        (sound().with("llama.block_count", number(100_000)), "`llama.block_count`"),
        (sound().with("llama.block_count", number(3)), "no tensor of block 2"),
        (sound().with("llama.block_count", number(1)), "`blk.1.attn_norm.weight`: expected blocks 0 to 0"),
        (sound().with("llama.context_length", number(0)), "`llama.context_length`"),
        (sound().with("llama.attention.layer_norm_rms_epsilon", float(f32::NAN)), "layer_norm_rms_epsilon`"),
        (sound().with("llama.attention.layer_norm_rms_epsilon", float(-1.0)), "layer_norm_rms_epsilon`"),
        (sound().with("tokenizer.ggml.tokens", strings(15)), "a row for each of 15 tokens"),
        (sound().with("tokenizer.ggml.bos_token_id", number(16)), "`tokenizer.ggml.bos_token_id`"),
        (sound().with("tokenizer.ggml.scores", strings(3)), "16 entries, one a token, found 3"),
        (sound().with("general.alignment", number(33)), "a power of two"),
        (sound().with("split.count", number(2)), "a model in one file"),
        (sound().with("llama.attention.causal", typed(7, &[0])), "a model that writes texts, found llama, not causal"),
        (sound().with("general.name", typed(8, &[&1_u64.to_le_bytes()[..], &[0xFF]].concat())), "UTF-8"),
        (sound().with("general.name", typed(77, &[])), "a value type from 0 to 12"),
        (sound().with("x", [&9_u32.to_le_bytes()[..], &6_u32.to_le_bytes(), &u64::MAX.to_le_bytes()].concat()), "`x`"),
        (Draft { data: 575, ..sound() }, "inside the file"),
    ];
    for (file, expected) in cases {
        let message = refusal(&file);
        assert!(message.contains(expected) && message.starts_with("m.gguf"), "{expected:?} is not in {message:?}");
    }
}

#[test]
fn models_that_do_not_write_are_refused_by_name() {
    for (name, kind) in [
        ("bert", "an encoder of texts"),
        ("gemma-embedding", "an encoder of texts"),
        ("t5encoder", "an encoder of texts"),
        ("t5", "an encoder and a decoder"),
        ("clip", "an encoder of images or sounds"),
        ("wavtokenizer-dec", "a maker of sounds"),
        ("llada", "a diffusion model"),
    ] {
        let message = refusal(&sound().with("general.architecture", typed(8, &text(name))));
        assert!(message.contains(&format!("a model that writes texts, found {name}, {kind}")), "{message}");
    }
}

#[test]
fn tensors_do_not_overlap_repeat_or_overflow() {
    let with = |tensor: (&'static str, Vec<u64>, u32, u64)| {
        let mut file = sound();
        file.tensors[2] = tensor;
        refusal(&file)
    };
    assert!(with(("blk.1.w", vec![8], 0, 512)).contains("bytes shared with blk.0.attn_norm.weight"));
    assert!(with(("blk.0.attn_norm.weight", vec![8], 0, 544)).contains("names that occur once"));
    assert!(with(("blk.1.w", vec![1 << 40, 1 << 40], 0, 544)).contains("dimensions"));
    assert!(with(("blk.1.w", vec![0], 0, 544)).contains("dimensions above 0"));
    assert!(with(("blk.1.w", vec![8], 2, 544)).contains("a multiple of 32 (Q4_0)"));
    assert!(with(("blk.1.w", vec![8], 4, 544)).contains("a tensor type this program knows"));
    assert!(with(("blk.1.w", vec![8], 0, 545)).contains("offset 545"));
    assert!(with(("blk.1.w", vec![8], 0, u64::MAX - 31)).contains("offset"));
    assert!(with(("blk.1.w", vec![1; 5], 0, 544)).contains("1 to 4 dimensions"));
}

#[test]
fn other_files_and_impossible_counts_are_refused() {
    let mut bytes = sound().bytes();
    assert!(check(b"PK\x03\x04....").is_err());
    bytes[4] = 9;
    assert!(check(&bytes).unwrap_err().to_string().contains("version 9"));
    bytes[4] = 3;
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(check(&bytes).unwrap_err().to_string().contains("tensors, found 18446744073709551615"));
}

#[test]
fn every_prefix_is_refused_without_panic() {
    let bytes = sound().bytes();
    for end in 0..bytes.len() {
        assert!(check(&bytes[..end]).is_err(), "the first {end} bytes passed");
    }
}

proptest! {
    #[test]
    fn no_mutation_panics(changes in prop::collection::vec((0_usize..1300, any::<u8>()), 1..8)) {
        let mut bytes = sound().bytes();
        for (place, value) in changes {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let _ = check(&bytes);
    }
}

#[test]
fn stories260k_passes() {
    let Some(path) = crate::shared::path("models/stories260K/stories260K-f32.gguf") else { return };
    let model = Gguf::open(&path).unwrap();
    assert_eq!((model.architecture.as_str(), model.context_length, model.block_count), ("llama", 512, 5));
    assert_eq!((model.vocabulary, model.chat_template), (512, None));
}
