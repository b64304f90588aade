//! Whether a passage states an answer: keys looked up as whole words.
//!
//! The border: no grading policy here, only the look-up. `grading.rs` decides
//! what a match means.

/// Conditions that must all hold; each is met by any one of its keys.
pub type Needs = Vec<Vec<String>>;

/// A text made ready for look-ups.
pub struct Page {
    exact: String,
    lower: String,
}

impl Page {
    pub fn new(title: &str, text: &str) -> Self {
        let exact = format!("{title}\n{text}");
        Self { lower: exact.to_lowercase(), exact }
    }

    /// True where every condition is met by the page.
    pub fn meets(&self, needs: &Needs) -> bool {
        needs.iter().all(|keys| keys.iter().any(|key| self.holds(key)))
    }

    /// True where the key stands in the page as whole words. A key that
    /// begins with `=` is looked up with regard to upper and lower case.
    fn holds(&self, key: &str) -> bool {
        key.strip_prefix('=').map_or_else(|| whole(&self.lower, &key.to_lowercase()), |key| whole(&self.exact, key))
    }
}

fn whole(text: &str, key: &str) -> bool {
    text.match_indices(key).any(|(start, _)| {
        let mut before = text[..start].chars().rev();
        let mut after = text[start + key.len()..].chars();
        let open = match before.next() {
            Some(c) if c.is_alphanumeric() => false,
            Some('.') => !before.next().is_some_and(|c| c.is_ascii_digit()),
            _ => true,
        };
        let closed = match after.next() {
            Some(c) if c.is_alphanumeric() => false,
            Some('.') => !after.next().is_some_and(|c| c.is_ascii_digit()),
            _ => true,
        };
        open && closed
    })
}
