//! Texts to token ids for encoders: special tokens added, cut to a length, cuts counted.
//! Wraps the `tokenizers` library; the length rule is ours alone, whatever the file says.

use crate::data::{Fault, error::excerpt};
use std::path::Path;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Model, TruncationParams};

/// A tokenizer that cuts texts to a stated number of tokens.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
}

/// Token ids of many texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized {
    /// Ids of each text with its special tokens; never empty, at most the maximal length.
    pub ids: Vec<Vec<u32>>,
    /// How many texts were cut.
    pub truncated: usize,
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
            return Err(Fault::new(path, "a maximal length of at least 3 tokens", max_length.to_string()).key("max_seq_length"));
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
        let truncated = encodings.iter().filter(|e| !e.get_overflowing().is_empty()).count();
        Ok(Tokenized { ids: encodings.into_iter().map(|e| e.get_ids().to_vec()).collect(), truncated })
    }
}

/// Writes a lower-casing WordPiece tokenizer learned from `texts` to `folder`, as BERT's files
/// (`tokenizer.json`, `vocab.txt`, `tokenizer_config.json`, `special_tokens_map.json`); gives the vocabulary's size.
///
/// # Errors
/// The library's message; an I/O error as the same.
pub fn train_wordpiece(texts: &[String], vocabulary_size: usize, folder: &Path) -> Result<usize, tokenizers::Error> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let added = special.iter().map(|&token| AddedToken::from(token, true)).collect();
    let mut trainer =
        WordPieceTrainer::builder().vocab_size(vocabulary_size).show_progress(false).special_tokens(added).build();
    let model = WordPiece::builder().unk_token("[UNK]".into()).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, None, true)))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let mut wrapped = tokenizers::models::TrainerWrapper::from(trainer.clone());
    tokenizer.train(&mut wrapped, texts.iter().map(String::as_str))?;
    trainer.set_show_progress(false);
    let id = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| format!("{token} is not in the vocabulary"));
    let processing = BertProcessing::new(("[SEP]".into(), id("[SEP]")?), ("[CLS]".into(), id("[CLS]")?));
    tokenizer.with_post_processor(Some(processing));
    tokenizer.save(folder.join("tokenizer.json"), true)?;
    tokenizer.get_model().save(folder, None)?;
    let config = serde_json::json!({
        "tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 512,
        "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "strip_accents": null, "tokenize_chinese_chars": true,
    });
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string())?;
    let map = serde_json::json!({"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"});
    std::fs::write(folder.join("special_tokens_map.json"), map.to_string())?;
    Ok(tokenizer.get_vocab_size(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_counted_and_special_tokens_kept() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let folder = tempfile::tempdir()?;
        let texts = vec!["iron melts at one thousand degrees".to_owned(), "gold melts".to_owned()];
        let size = train_wordpiece(&texts, 120, folder.path())?;
        let tokenizer = Tokenizer::open(&folder.path().join("tokenizer.json"), 6)?;
        assert_eq!(tokenizer.vocabulary_size(), size);
        let tokenized = tokenizer.encode(&["iron melts at one thousand degrees", "gold", ""])?;
        assert_eq!(tokenized.truncated, 1);
        assert_eq!(tokenized.ids[0].len(), 6);
        assert_eq!(tokenized.ids[2].len(), 2);
        assert_eq!(tokenized.ids[0][0], tokenized.ids[2][0]);
        assert_eq!(tokenized.ids[0].last(), tokenized.ids[2].last());
        Ok(())
    }

    #[test]
    fn the_real_bert_vocabulary_gives_the_known_ids() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let path = Path::new("../shared/models/bert-base-uncased-tokenizer/tokenizer.json");
        if !path.exists() {
            eprintln!("skipped: the real BERT vocabulary (../shared is absent)");
            return Ok(());
        }
        // Ids as transformers' BertTokenizerFast("bert-base-uncased") gives for "Hello, world!".
        assert_eq!(Tokenizer::open(path, 512)?.encode(&["Hello, world!"])?.ids, [[101, 7592, 1010, 2088, 999, 102]]);
        Ok(())
    }
}
