//! A Qwen3 of a hundred thousand random numbers, written as GGUF: real architecture, real attention,
//! a vocabulary of bytes, a few pairs of them, and the control tokens of `ChatML`.

use crate::data::Seed;
use rand::RngExt;
use std::io::Write;
use std::path::PathBuf;

const WIDTH: usize = 64;
const HIDDEN: usize = 96;
const HEADS: usize = 4;
const KEY_VALUE_HEADS: usize = 2;
const HEAD: usize = 16;
const BLOCKS: usize = 2;
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const PAIRS: [[char; 2]; 6] = [['t', 'h'], ['e', 'r'], ['i', 'n'], ['a', 'n'], ['{', '"'], ['"', '}']];
const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
    <|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}";

enum Value<'v> {
    Number(u32),
    Float(f32),
    Text(&'v str),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
}

/// The characters GPT-2's vocabulary writes bytes as.
fn alphabet() -> Vec<char> {
    let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut spare = (256_u32..).filter_map(char::from_u32);
    (0..256).map(|byte| if plain(byte) { char::from_u32(byte).unwrap() } else { spare.next().unwrap() }).collect()
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The model made from `seed`, in a folder that goes away with the first value.
pub(super) fn random_qwen3(seed: u64) -> (tempfile::TempDir, PathBuf) {
    let mut words: Vec<String> = alphabet().iter().map(char::to_string).collect();
    words.extend(PAIRS.iter().map(|pair| pair.iter().collect::<String>()));
    let kinds = words.iter().map(|_| 1).chain(CONTROL.map(|_| 3)).collect();
    words.extend(CONTROL.map(str::to_owned));
    let vocabulary = words.len();
    let merges = PAIRS.iter().map(|[a, b]| format!("{a} {b}")).collect();
    let number = |n: usize| Value::Number(u32::try_from(n).unwrap());
    let keys = [
        ("general.architecture", Value::Text("qwen3")),
        ("qwen3.context_length", Value::Number(4096)),
        ("qwen3.embedding_length", number(WIDTH)),
        ("qwen3.block_count", number(BLOCKS)),
        ("qwen3.feed_forward_length", number(HIDDEN)),
        ("qwen3.attention.head_count", number(HEADS)),
        ("qwen3.attention.head_count_kv", number(KEY_VALUE_HEADS)),
        ("qwen3.attention.key_length", number(HEAD)),
        ("qwen3.attention.value_length", number(HEAD)),
        ("qwen3.attention.layer_norm_rms_epsilon", Value::Float(1e-6)),
        ("qwen3.rope.freq_base", Value::Float(1e6)),
        ("tokenizer.ggml.model", Value::Text("gpt2")),
        ("tokenizer.ggml.pre", Value::Text("qwen2")),
        ("tokenizer.ggml.tokens", Value::Texts(words)),
        ("tokenizer.ggml.token_type", Value::Numbers(kinds)),
        ("tokenizer.ggml.merges", Value::Texts(merges)),
        ("tokenizer.ggml.eos_token_id", number(vocabulary - 1)),
        ("tokenizer.chat_template", Value::Text(TEMPLATE)),
    ];
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![WIDTH, vocabulary]),
        ("output_norm.weight".to_owned(), vec![WIDTH]),
        ("output.weight".to_owned(), vec![WIDTH, vocabulary]),
    ];
    for block in 0..BLOCKS {
        let (queries, keys) = (HEADS * HEAD, KEY_VALUE_HEADS * HEAD);
        let shapes = [
            ("attn_norm", vec![WIDTH]),
            ("attn_q", vec![WIDTH, queries]),
            ("attn_k", vec![WIDTH, keys]),
            ("attn_v", vec![WIDTH, keys]),
            ("attn_q_norm", vec![HEAD]),
            ("attn_k_norm", vec![HEAD]),
            ("attn_output", vec![queries, WIDTH]),
            ("ffn_norm", vec![WIDTH]),
            ("ffn_gate", vec![WIDTH, HIDDEN]),
            ("ffn_up", vec![WIDTH, HIDDEN]),
            ("ffn_down", vec![HIDDEN, WIDTH]),
        ];
        tensors.extend(shapes.map(|(name, shape)| (format!("blk.{block}.{name}.weight"), shape)));
    }

    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        text(&mut file, key);
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
    let mut stream = Seed(seed).stream("weights");
    for (name, shape) in &tensors {
        let scale = (3.0 / shape[0] as f32).sqrt() * if name == "output.weight" { 3.0 } else { 1.0 };
        for _ in 0..shape.iter().product() {
            let value = if shape.len() == 1 { 1.0 } else { (stream.random::<f32>() * 2.0 - 1.0) * scale };
            file.extend(value.to_le_bytes());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qwen3.gguf");
    std::fs::File::create(&path).unwrap().write_all(&file).unwrap();
    (folder, path)
}

fn put(file: &mut Vec<u8>, value: Value<'_>) {
    let mut kind = |kind: u32| file.extend(kind.to_le_bytes());
    match value {
        Value::Number(number) => {
            kind(4);
            file.extend(number.to_le_bytes());
        }
        Value::Float(number) => {
            kind(6);
            file.extend(number.to_le_bytes());
        }
        Value::Text(content) => {
            kind(8);
            text(file, content);
        }
        Value::Texts(list) => {
            kind(9);
            file.extend(8_u32.to_le_bytes());
            file.extend((list.len() as u64).to_le_bytes());
            for content in list {
                text(file, &content);
            }
        }
        Value::Numbers(list) => {
            kind(9);
            file.extend(5_u32.to_le_bytes());
            file.extend((list.len() as u64).to_le_bytes());
            for number in list {
                file.extend(number.to_le_bytes());
            }
        }
    }
}
