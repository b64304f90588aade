//! The languages that a stemmer of the Snowball project knows, with their stop lists.

use snowball_stemmers_rs::Algorithm;

/// A language with a stemmer.
pub(super) struct Language {
    /// Its English name in lower case.
    pub name: &'static str,
    /// Its stemmer.
    pub stemmer: Algorithm,
    /// Its stop list by ISO 639-1 code, where there is one.
    pub stop_words: Option<&'static str>,
}

const fn row(name: &'static str, stemmer: Algorithm, code: &'static str) -> Language {
    Language { name, stemmer, stop_words: if code.is_empty() { None } else { Some(code) } }
}

/// Every language, by name.
pub(super) const LANGUAGES: [Language; 34] = [
    row("arabic", Algorithm::Arabic, "ar"),
    row("armenian", Algorithm::Armenian, "hy"),
    row("basque", Algorithm::Basque, "eu"),
    row("catalan", Algorithm::Catalan, "ca"),
    row("czech", Algorithm::Czech, "cs"),
    row("danish", Algorithm::Danish, "da"),
    row("dutch", Algorithm::Dutch, "nl"),
    row("english", Algorithm::English, "en"),
    row("esperanto", Algorithm::Esperanto, "eo"),
    row("estonian", Algorithm::Estonian, "et"),
    row("finnish", Algorithm::Finnish, "fi"),
    row("french", Algorithm::French, "fr"),
    row("german", Algorithm::German, "de"),
    row("greek", Algorithm::Greek, "el"),
    row("hindi", Algorithm::Hindi, "hi"),
    row("hungarian", Algorithm::Hungarian, "hu"),
    row("indonesian", Algorithm::Indonesian, "id"),
    row("irish", Algorithm::Irish, "ga"),
    row("italian", Algorithm::Italian, "it"),
    row("lithuanian", Algorithm::Lithuanian, "lt"),
    row("nepali", Algorithm::Nepali, ""),
    row("norwegian", Algorithm::Norwegian, "no"),
    row("persian", Algorithm::Persian, "fa"),
    row("polish", Algorithm::Polish, "pl"),
    row("portuguese", Algorithm::Portuguese, "pt"),
    row("romanian", Algorithm::Romanian, "ro"),
    row("russian", Algorithm::Russian, "ru"),
    row("serbian", Algorithm::Serbian, ""),
    row("spanish", Algorithm::Spanish, "es"),
    row("swedish", Algorithm::Swedish, "sv"),
    row("tamil", Algorithm::Tamil, ""),
    row("turkish", Algorithm::Turkish, "tr"),
    row("ukrainian", Algorithm::Ukrainian, "uk"),
    row("yiddish", Algorithm::Yiddish, ""),
];
