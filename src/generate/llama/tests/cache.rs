//! A sequence that was copied, cut or decoded among others gives what one fresh sequence gives.

use super::*;

/// Largest difference of logits that rounding explains: shapes of batches change the order of sums,
/// and keys and values are kept as f16, so a last digit may turn at 2^-11 of their size.
const TOLERANCE: f32 = 0.03;

fn assert_close(a: &[f32], b: &[f32]) {
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let spread = a.iter().copied().fold(f32::MIN, f32::max) - a.iter().copied().fold(f32::MAX, f32::min);
    assert!(apart < TOLERANCE && spread > 100.0 * TOLERANCE, "{apart} apart of {spread}");
}

const FIRST: &str =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her friends.";
const SECOND: &str = "Once upon a time, there was a little girl named Lily. She had a big red ball and a dog.";

#[test]
fn greedy_text_is_the_published_one() {
    let Some(engine) = stories(|_| ()) else { return };
    let page = std::fs::read_to_string(crate::shared::path("models/stories260K/stories260K.md").unwrap()).unwrap();
    let published = &page[page.find("Once upon a time").unwrap()..];
    let published = published.split("\n```").next().unwrap();
    let mut cache = engine.cache().unwrap();
    let logits = feed(&mut cache, 0, &tokens(&engine, "Once upon a time"));
    let written = greedy(&mut cache, 0, logits, 200);
    let text = format!("Once upon a time{}", text(&engine, &written));
    assert!(text.len() > 400 && published.starts_with(&text), "{text:?}\n{published:?}");
}

#[test]
fn a_copied_and_cut_sequence_goes_on_as_a_fresh_one() {
    for engine in both(|settings| {
        settings.slots = Some(3);
        settings.batch = Some(64);
    }) {
        let (first, second) = (tokens(&engine, FIRST), tokens(&engine, SECOND));
        let shared = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
        assert!(shared > 10 && shared < second.len());
        let mut cache = engine.cache().unwrap();
        let logits = feed(&mut cache, 0, &first);
        greedy(&mut cache, 0, logits, 20);
        cache.copy(0, 2).unwrap();
        cache.keep(2, shared);
        assert_eq!(cache.held(2), &first[..shared]);
        let copied = feed(&mut cache, 2, &second[shared..]);
        let mut fresh = engine.cache().unwrap();
        let alone = feed(&mut fresh, 1, &second);
        assert_close(&copied, &alone);
        assert_eq!(greedy(&mut cache, 2, copied, 40), greedy(&mut fresh, 1, alone, 40));
        // The copy's source is untouched.
        let logits = feed(&mut cache, 0, &second[..4]);
        let whole: Vec<u32> = cache.held(0).to_vec();
        fresh.keep(2, 0);
        assert_close(&logits, &feed(&mut fresh, 2, &whole));
    }
}

#[test]
fn sequences_decoded_together_give_what_each_gives_alone() {
    for engine in both(|settings| settings.slots = Some(4)) {
        let texts = [FIRST, "The dog", SECOND, "One day, a cat saw a bird in a tall tree."];
        let all = texts.map(|text| tokens(&engine, text));
        let mut cache = engine.cache().unwrap();
        let mut rows = [0; 4];
        for (sequence, tokens) in all.iter().enumerate() {
            for (place, &token) in (1..).zip(tokens) {
                let output = if place == tokens.len() { Output::Logits } else { Output::Nothing };
                rows[sequence] = cache.add(sequence, token, output).unwrap();
            }
        }
        cache.decode().unwrap();
        let together = rows.map(|row| cache.logits(row).unwrap().to_vec());
        for (tokens, logits) in all.iter().zip(&together) {
            assert_close(&feed(&mut engine.cache().unwrap(), 0, tokens), logits);
        }
    }
}

#[test]
fn what_would_abort_is_an_error() {
    let Some(engine) = stories(|settings| {
        settings.context = Some(128);
        settings.batch = Some(64);
    }) else {
        return;
    };
    let mut cache = engine.cache().unwrap();
    let mut full = 0;
    while cache.add(0, 5, Output::Nothing).is_ok() {
        full += 1;
    }
    assert_eq!((full, cache.room()), (64, 0));
    cache.decode().unwrap();
    feed(&mut cache, 0, &[5; 64]);
    assert!(cache.add(0, 5, Output::Nothing).unwrap_err().to_string().contains("the window is full"));
    assert!(cache.logits(0).unwrap_err().to_string().contains("row 0 were not asked for"));
    // One sequence: no other can be added to, read or copied.
    for error in
        [cache.add(1, 5, Output::Nothing).unwrap_err(), cache.copy(0, 1).unwrap_err(), cache.copy(7, 0).unwrap_err()]
    {
        assert!(error.to_string().contains("there are 1 sequences"), "{error}");
    }
}
