//! Models of a hundred thousand numbers, written as GGUF: the real architectures of Qwen3, Llama 3 and Phi 3, with
//! attention, their kinds of tokenizer and their control tokens, over a vocabulary of bytes and a few longer words.
//! Weights are random, or those of a chain: attention and forward layers add nothing, and the output says after
//! each token of [`DOCUMENT`] the next one.

use crate::data::Seed;
use rand::RngExt;
use std::path::PathBuf;

const WIDTH: usize = 64;
const HIDDEN: usize = 96;
const HEADS: usize = 4;
const KEY_VALUE_HEADS: usize = 2;
const HEAD: usize = 16;
const BLOCKS: usize = 2;
const PAIRS: [[char; 2]; 6] = [['t', 'h'], ['e', 'r'], ['i', 'n'], ['a', 'n'], ['{', '"'], ['"', '}']];
/// The words of what a chain model writes into a string, each a token that no other text has.
pub(super) const DOCUMENT: [&str; 12] = [
    "Kestrels", " hover", " above", " wet", " meadows", " while", " seven", " old", " ferries", " leave", " Lisbon",
    " slowly",
];

/// An architecture with its kind of vocabulary and the control tokens its template writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Qwen3,
    Llama3,
    Phi3,
}

/// What a model is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    pub(super) weights: Weights,
    /// Its chat template; None: that of its kind.
    pub(super) template: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weights {
    Random,
    Chain,
    /// Random, but for one that is no number.
    Damaged,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Qwen3, Self::Llama3, Self::Phi3];

    fn architecture(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::Llama3 => "llama",
            Self::Phi3 => "phi3",
        }
    }

    /// Control tokens; the last one ends a reply.
    pub(super) fn control(self) -> &'static [&'static str] {
        match self {
            Self::Qwen3 => &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            Self::Llama3 => &["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
            Self::Phi3 => &["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::Qwen3 => {
                "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                <|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
            }
            Self::Llama3 => {
                "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ '\n\n' }}\
                {{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>{{ '\n\n' }}"
            }
            Self::Phi3 => {
                "{% for m in messages %}<|{{ m.role }}|>{{ '\n' }}{{ m.content }}<|end|>{{ '\n' }}{% endfor %}\
                <|assistant|>{{ '\n' }}"
            }
        }
    }

    /// The written form of each token with its type by llama.cpp's numbers (1 text, 2 unknown, 3 control, 6 a byte).
    fn words(self) -> Vec<(String, i32)> {
        let mut words: Vec<(String, i32)> = Vec::new();
        if self == Self::Phi3 {
            words.extend([("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(word, kind)| (word.to_owned(), kind)));
            words.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 6)));
            words.push(("▁".to_owned(), 1));
            words.extend(('a'..='z').map(|letter| (letter.to_string(), 1)));
        } else {
            words.extend(alphabet().iter().map(|letter| (letter.to_string(), 1)));
        }
        words.extend(PAIRS.iter().map(|pair| (pair.iter().collect(), 1)));
        let blank = if self == Self::Phi3 { "▁" } else { "Ġ" };
        words.extend(DOCUMENT.iter().map(|word| (word.replace(' ', blank), 1)));
        words.extend(self.control().iter().map(|&word| (word.to_owned(), 3)));
        words
    }
}

enum Value<'v> {
    Number(u32),
    Float(f32),
    Text(&'v str),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
    Floats(Vec<f32>),
}

/// The characters GPT-2's vocabulary writes bytes as.
fn alphabet() -> Vec<char> {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut spare = (256_u32..).filter_map(char::from_u32);
    (0..256).map(|byte| if plain(byte) { char::from_u32(byte).unwrap() } else { spare.next().unwrap() }).collect()
}

/// The random Qwen3 made from `seed`, in a folder that goes away with the first value.
pub(super) fn random_qwen3(seed: u64) -> (tempfile::TempDir, PathBuf) {
    Recipe { seed, ..Recipe::random(Kind::Qwen3) }.write()
}

impl Recipe {
    pub(super) fn random(kind: Kind) -> Self {
        Self { kind, seed: 3, weights: Weights::Random, template: None }
    }

    /// The model as a file, in a folder that goes away with the first value.
    pub(super) fn write(self) -> (tempfile::TempDir, PathBuf) {
        let words = self.kind.words();
        let (keys, tensors) = (self.keys(&words), shapes(self.kind, words.len()));
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend((tensors.len() as u64).to_le_bytes());
        file.extend((keys.len() as u64).to_le_bytes());
        for (key, value) in keys {
            text(&mut file, &key);
            put(&mut file, value);
        }
        let mut offset = 0_u64;
        for (name, shape) in &tensors {
            text(&mut file, name);
            file.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
            for &side in shape {
                file.extend((side as u64).to_le_bytes());
            }
            file.extend(0_u32.to_le_bytes());
            file.extend(offset.to_le_bytes());
            offset += 4 * shape.iter().product::<usize>() as u64;
        }
        file.resize(file.len().next_multiple_of(32), 0);
        for value in self.numbers(&tensors, &words).into_iter().flatten() {
            file.extend(value.to_le_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, &file).unwrap();
        (folder, path)
    }

    fn keys<'v>(&self, words: &[(String, i32)]) -> Vec<(String, Value<'v>)> {
        let number = |n: usize| Value::Number(u32::try_from(n).unwrap());
        let name = self.kind.architecture();
        let place = |word: &str| number(words.iter().position(|(other, _)| other == word).unwrap());
        let mut keys = vec![
            ("general.architecture".to_owned(), Value::Text(name)),
            // For the oracle, which else computes in 16 bits.
            ("general.dtype".to_owned(), Value::Number(0)),
        ];
        let of_model = [
            ("context_length", Value::Number(4096)),
            ("embedding_length", number(WIDTH)),
            ("block_count", number(BLOCKS)),
            ("feed_forward_length", number(HIDDEN)),
            ("attention.head_count", number(HEADS)),
            ("attention.head_count_kv", number(KEY_VALUE_HEADS)),
            ("attention.key_length", number(HEAD)),
            ("attention.value_length", number(HEAD)),
            ("attention.layer_norm_rms_epsilon", Value::Float(1e-6)),
            ("rope.dimension_count", number(HEAD)),
            ("rope.freq_base", Value::Float(if self.kind == Kind::Phi3 { 1e4 } else { 1e6 })),
        ];
        keys.extend(of_model.map(|(key, value)| (format!("{name}.{key}"), value)));
        let (model, pre) = match self.kind {
            Kind::Qwen3 => ("gpt2", "qwen2"),
            Kind::Llama3 => ("gpt2", "llama-bpe"),
            Kind::Phi3 => ("llama", "default"),
        };
        let last = self.kind.control().last().unwrap();
        let merges = PAIRS.iter().map(|[a, b]| format!("{a} {b}")).collect();
        let of_tokenizer = [
            ("ggml.model", Value::Text(model)),
            ("ggml.pre", Value::Text(pre)),
            ("ggml.tokens", Value::Texts(words.iter().map(|(word, _)| word.clone()).collect())),
            ("ggml.token_type", Value::Numbers(words.iter().map(|&(_, kind)| kind).collect())),
            ("ggml.merges", Value::Texts(merges)),
            // Earlier words are likelier, as far as SentencePiece asks.
            ("ggml.scores", Value::Floats((0..words.len()).map(|place| -(place as f32)).collect())),
            ("ggml.eos_token_id", place(last)),
            ("chat_template", Value::Text(self.template.unwrap_or(self.kind.template()))),
        ];
        keys.extend(of_tokenizer.map(|(key, value)| (format!("tokenizer.{key}"), value)));
        let start = match self.kind {
            Kind::Qwen3 => None,
            Kind::Llama3 => Some("<|begin_of_text|>"),
            Kind::Phi3 => Some("<s>"),
        };
        keys.extend(start.map(|word| ("tokenizer.ggml.bos_token_id".to_owned(), place(word))));
        keys
    }

    fn numbers(&self, tensors: &[(String, Vec<usize>)], words: &[(String, i32)]) -> Vec<Vec<f32>> {
        let mut stream = Seed(self.seed).stream("weights");
        let mut all: Vec<Vec<f32>> = Vec::new();
        for (name, shape) in tensors {
            let adds = name.contains("attn_output") || name.contains("ffn_down");
            let scale = match name.as_str() {
                _ if adds && self.weights == Weights::Chain => 0.0,
                "output.weight" => 3.0,
                _ => 1.0,
            } * (3.0 / shape[0] as f32).sqrt();
            let mut value = || if shape.len() == 1 { 1.0 } else { (stream.random::<f32>() * 2.0 - 1.0) * scale };
            all.push((0..shape.iter().product()).map(|_| value()).collect());
        }
        if self.weights == Weights::Damaged {
            all[0][WIDTH * 7] = f32::NAN;
            all[2].fill(f32::NAN);
        }
        if self.weights == Weights::Chain {
            let blank = if self.kind == Kind::Phi3 { "▁" } else { "Ġ" };
            let written = DOCUMENT.map(|word| word.replace(' ', blank));
            let [quote, end] = ["\"", "\"}"].map(str::to_owned);
            // The blank before the quote is the last token that the schema alone gives.
            let chain = [blank.to_owned(), quote]
                .into_iter()
                .chain(written)
                .chain([end, (*self.kind.control().last().unwrap()).into()]);
            let chain: Vec<usize> =
                chain.map(|word| words.iter().position(|(other, _)| *other == word).unwrap()).collect();
            let row = |token: usize| token * WIDTH..(token + 1) * WIDTH;
            for pair in chain.windows(2) {
                let said: Vec<f32> = all[0][row(pair[0])].iter().map(|value| 3.0 * value).collect();
                all[2][row(pair[1])].copy_from_slice(&said);
            }
        }
        all
    }
}

/// Names and shapes: the embedding first, the output third.
fn shapes(kind: Kind, vocabulary: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![WIDTH, vocabulary]),
        ("output_norm.weight".to_owned(), vec![WIDTH]),
        ("output.weight".to_owned(), vec![WIDTH, vocabulary]),
    ];
    let (queries, keys) = (HEADS * HEAD, KEY_VALUE_HEADS * HEAD);
    let mut of_block = vec![
        ("attn_norm", vec![WIDTH]),
        ("attn_output", vec![queries, WIDTH]),
        ("ffn_norm", vec![WIDTH]),
        ("ffn_down", vec![HIDDEN, WIDTH]),
    ];
    if kind == Kind::Phi3 {
        of_block.extend([("attn_qkv", vec![WIDTH, queries + 2 * keys]), ("ffn_up", vec![WIDTH, 2 * HIDDEN])]);
    } else {
        of_block
            .extend([("attn_q", queries), ("attn_k", keys), ("attn_v", keys)].map(|(n, rows)| (n, vec![WIDTH, rows])));
        of_block.extend([("ffn_gate", vec![WIDTH, HIDDEN]), ("ffn_up", vec![WIDTH, HIDDEN])]);
    }
    if kind == Kind::Qwen3 {
        of_block.extend([("attn_q_norm", vec![HEAD]), ("attn_k_norm", vec![HEAD])]);
    }
    for block in 0..BLOCKS {
        tensors.extend(of_block.iter().map(|(name, shape)| (format!("blk.{block}.{name}.weight"), shape.clone())));
    }
    tensors
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A list of type `kind`, whose elements `bytes` holds.
fn list(file: &mut Vec<u8>, kind: u32, (len, bytes): (usize, Vec<u8>)) {
    file.extend(9_u32.to_le_bytes());
    file.extend(kind.to_le_bytes());
    file.extend((len as u64).to_le_bytes());
    file.extend(bytes);
}

fn put(file: &mut Vec<u8>, value: Value<'_>) {
    let mut one = |kind: u32, bytes: &[u8]| {
        file.extend(kind.to_le_bytes());
        file.extend(bytes);
    };
    match value {
        Value::Number(number) => one(4, &number.to_le_bytes()),
        Value::Float(number) => one(6, &number.to_le_bytes()),
        Value::Text(content) => {
            one(8, &[]);
            text(file, content);
        }
        Value::Texts(texts) => {
            let mut bytes = Vec::new();
            for content in &texts {
                text(&mut bytes, content);
            }
            list(file, 8, (texts.len(), bytes));
        }
        Value::Numbers(numbers) => {
            list(file, 5, (numbers.len(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect()));
        }
        Value::Floats(numbers) => {
            list(file, 6, (numbers.len(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect()));
        }
    }
}
