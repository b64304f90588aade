//! Texts to token ids for encoders: special tokens added, cut to a length, cuts counted.
//! Wraps the `tokenizers` library; the length rule is ours alone, whatever the file says.

use crate::data::{Fault, error::excerpt};
use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, TruncationParams,
};

/// A tokenizer that cuts texts to a stated number of tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
}

/// What did not fit into the maximal length; of pairs as of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// Texts in all.
    pub texts: u64,
    /// Texts that were cut.
    pub truncated: u64,
    /// Tokens in all, before anything was cut; special tokens are not counted.
    pub tokens: u64,
    /// Tokens that were cut off.
    pub lost: u64,
}

impl Truncation {
    /// Of this and another part.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            texts: self.texts + other.texts,
            truncated: self.truncated + other.truncated,
            tokens: self.tokens + other.tokens,
            lost: self.lost + other.lost,
        }
    }

    /// Share of the texts that were cut, 0 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        self.truncated as f64 / self.texts.max(1) as f64
    }

    fn of(encodings: &[tokenizers::Encoding]) -> Self {
        let own =
            |one: &tokenizers::Encoding| one.get_special_tokens_mask().iter().filter(|&&mask| mask == 0).count() as u64;
        encodings.iter().fold(Self::default(), |sum, one| {
            let lost = one.get_overflowing().iter().map(own).sum();
            let truncated = u64::from(!one.get_overflowing().is_empty());
            sum.and(Self { texts: 1, truncated, tokens: own(one) + lost, lost })
        })
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { texts, truncated, tokens, lost } = self;
        let part = *lost as f64 / (*tokens).max(1) as f64;
        write!(
            f,
            "{truncated} of {texts} cut ({:.2} %), {lost} of {tokens} tokens lost ({:.2} %)",
            100.0 * self.share(),
            100.0 * part
        )
    }
}

/// Token ids of many texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized {
    /// Ids of each text with its special tokens; never empty, at most the maximal length.
    pub ids: Vec<Vec<u32>>,
    /// How many texts were cut.
    pub truncated: usize,
    /// What was cut off.
    pub truncation: Truncation,
}

/// Token ids of many pairs of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedPairs {
    /// Ids of each pair with its special tokens; never empty, at most the maximal length.
    pub ids: Vec<Vec<u32>>,
    /// For each of the ids the token type, by which encoders know which text it is of.
    pub sides: Vec<Vec<u32>>,
    /// What was cut off, of pairs.
    pub truncation: Truncation,
    /// The same of each pair.
    pub each: Vec<Truncation>,
}

impl Tokenizer {
    /// The tokenizer in `path` (a `tokenizer.json`), cutting texts to `max_length` tokens, special tokens included.
    ///
    /// # Errors
    /// [`Fault`] when the file is no tokenizer or `max_length` leaves no room for text.
    pub fn open(path: &Path, max_length: usize) -> Result<Self, Fault> {
        let inner = tokenizers::Tokenizer::from_file(path).map_err(|error| {
            Fault::new(path, "a tokenizer in the `tokenizers` JSON form", excerpt(&error.to_string(), 120))
                .hint("save it with tokenizer.save_pretrained(...) of transformers, which writes tokenizer.json")
        })?;
        Self::with(inner, path, max_length)
    }

    fn with(mut inner: tokenizers::Tokenizer, path: &Path, max_length: usize) -> Result<Self, Fault> {
        inner.with_padding(None);
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(|error| {
            Fault::new(path, "a length that leaves room for text", error.to_string()).key("max_seq_length")
        })?;
        if max_length < 3 {
            return Err(
                Fault::new(path, "a maximal length of at least 3 tokens", max_length.to_string()).key("max_seq_length")
            );
        }
        Ok(Self { inner, max_length })
    }

    /// The largest number of tokens a text is given, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The same tokenizer with another maximal length.
    ///
    /// # Errors
    /// As [`Tokenizer::open`]; `path` names the file in the message.
    pub fn shortened(&self, path: &Path, max_length: usize) -> Result<Self, Fault> {
        Self::with(self.inner.clone(), path, max_length)
    }

    /// Number of different tokens, added ones included.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Ids of each text, in parallel.
    ///
    /// # Errors
    /// The library's message when it cannot tokenize a text.
    pub fn encode(&self, texts: &[&str]) -> Result<Tokenized, tokenizers::Error> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), true)?;
        let truncation = Truncation::of(&encodings);
        let truncated = usize::try_from(truncation.truncated).unwrap_or(usize::MAX);
        Ok(Tokenized { ids: encodings.into_iter().map(|e| e.get_ids().to_vec()).collect(), truncated, truncation })
    }

    /// Ids of each pair of texts, in parallel; what is too long loses tokens of the longer text first.
    ///
    /// # Errors
    /// The library's message when it cannot tokenize a pair.
    pub fn encode_pairs(&self, pairs: &[(&str, &str)]) -> Result<TokenizedPairs, tokenizers::Error> {
        let encodings = self.inner.encode_batch_fast(pairs.to_vec(), true)?;
        let each: Vec<Truncation> = encodings.iter().map(|one| Truncation::of(std::slice::from_ref(one))).collect();
        let truncation = each.iter().fold(Truncation::default(), |sum, &one| sum.and(one));
        let (ids, sides) = encodings.iter().map(|e| (e.get_ids().to_vec(), e.get_type_ids().to_vec())).unzip();
        Ok(TokenizedPairs { ids, sides, truncation, each })
    }
}

/// Writes a lower-casing WordPiece tokenizer made from `texts` to `folder`, as BERT's files (`tokenizer.json`,
/// `vocab.txt`, `tokenizer_config.json`, `special_tokens_map.json`); gives the vocabulary's size.
///
/// The vocabulary holds every character (alone and as a continuation), then whole words by descending count, ties
/// by bytes, up to `vocabulary_size`. Simple on purpose: the library's own trainer numbers tokens by hash order and
/// gives another vocabulary at every start; this one is the same for the same texts.
///
/// # Errors
/// The library's message; an I/O error as the same.
pub fn make_wordpiece(texts: &[String], vocabulary_size: usize, folder: &Path) -> Result<usize, tokenizers::Error> {
    let normalizer = BertNormalizer::new(true, true, None, true);
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        let mut pieces = PreTokenizedString::from(text.as_str());
        pieces.normalize(|piece| normalizer.normalize(piece))?;
        BertPreTokenizer.pre_tokenize(&mut pieces)?;
        for (word, ..) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    }
    let characters: BTreeSet<char> = words.keys().flat_map(|word| word.chars()).collect();
    let mut vocabulary: Vec<String> = SPECIAL.iter().map(|&token| token.to_owned()).collect();
    vocabulary.extend(characters.iter().map(char::to_string));
    vocabulary.extend(characters.iter().map(|c| format!("##{c}")));
    let mut by_count: Vec<(&String, &u64)> = words.iter().filter(|(word, _)| word.chars().count() > 1).collect();
    by_count.sort_by_key(|&(word, &count)| (Reverse(count), word));
    let room = vocabulary_size.saturating_sub(vocabulary.len());
    vocabulary.extend(by_count.into_iter().take(room).map(|(word, _)| word.clone()));
    let size = vocabulary.len();

    let ids = vocabulary.iter().cloned().zip(0u32..).collect::<AHashMap<String, u32>>();
    let model = WordPiece::builder().vocab(ids).unk_token("[UNK]".into()).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(("[SEP]".into(), 3), ("[CLS]".into(), 2))));
    tokenizer.add_special_tokens(SPECIAL.iter().map(|&token| AddedToken::from(token, true)))?;
    tokenizer.save(folder.join("tokenizer.json"), true)?;
    std::fs::write(folder.join("vocab.txt"), vocabulary.join("\n") + "\n")?;
    let names = serde_json::json!({"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"});
    std::fs::write(folder.join("special_tokens_map.json"), names.to_string())?;
    let mut config = names;
    config["tokenizer_class"] = "BertTokenizer".into();
    config["do_lower_case"] = true.into();
    config["model_max_length"] = 512.into();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string())?;
    Ok(size)
}

/// BERT's special tokens, in the order of their ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_counted_and_special_tokens_kept() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let folder = tempfile::tempdir()?;
        let texts = vec!["iron melts at one thousand degrees".to_owned(), "gold melts".to_owned()];
        let size = make_wordpiece(&texts, 120, folder.path())?;
        let first = std::fs::read(folder.path().join("tokenizer.json"))?;
        make_wordpiece(&texts, 120, folder.path())?;
        assert_eq!(
            std::fs::read(folder.path().join("tokenizer.json"))?,
            first,
            "the same texts give the same vocabulary"
        );
        let tokenizer = Tokenizer::open(&folder.path().join("tokenizer.json"), 6)?;
        assert_eq!(tokenizer.vocabulary_size(), size);
        let tokenized = tokenizer.encode(&["iron melts at one thousand degrees", "gold", ""])?;
        assert_eq!(tokenized.truncated, 1);
        // Six words and a word, of which four fit beside the special tokens.
        assert_eq!(tokenized.truncation, Truncation { texts: 3, truncated: 1, tokens: 7, lost: 2 });
        assert_eq!(tokenized.truncation.to_string(), "1 of 3 cut (33.33 %), 2 of 7 tokens lost (28.57 %)");
        assert_eq!(tokenized.ids[0].len(), 6);
        assert_eq!(tokenized.ids[2].len(), 2);
        assert_eq!(tokenized.ids[0][0], tokenized.ids[2][0]);
        assert_eq!(tokenized.ids[0].last(), tokenized.ids[2].last());
        Ok(())
    }

    #[test]
    fn the_real_bert_vocabulary_gives_the_known_ids() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(path) = crate::shared::path("models/bert-base-uncased-tokenizer/tokenizer.json") else {
            return Ok(());
        };
        // Ids as transformers' BertTokenizerFast("bert-base-uncased") gives for "Hello, world!".
        assert_eq!(Tokenizer::open(&path, 512)?.encode(&["Hello, world!"])?.ids, [[101, 7592, 1010, 2088, 999, 102]]);
        Ok(())
    }
}
