//! The vocabulary of a model as bytes, read once: what each token writes, and which ones end a reply.

/// What the tokens of a model stand for.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The bytes token `n` writes; none for control tokens, which no text holds.
    pub pieces: Vec<Vec<u8>>,
    /// The tokens that end a reply.
    pub ends: Vec<u32>,
    /// The tokens of [`super::thought::END`].
    pub thought_end: Vec<u32>,
    /// The tokens of [`super::thought::CLOSE`].
    pub thought_close: Vec<u32>,
}

impl Words {
    /// The bytes of `token`; none for one outside the vocabulary.
    #[must_use]
    pub fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether `token` ends a reply.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}
