//! What would abort the process, corrupt memory or hang inside llama.cpp is an error, case by case; what a hostile
//! passage or file says stays text. The file's header has its own cases ([`crate::model::gguf`]).

use super::model::{Kind, Recipe, Weights, random_qwen3};
use super::*;
use crate::generate::{CacheType, FlashAttention};

fn refused(path: &Path, settings: EngineSettings) -> String {
    LlamaEngine::open(path, settings).err().expect("these settings must be refused").to_string()
}

#[test]
fn weights_that_are_no_numbers_are_told_and_write_nothing() {
    let (_folder, path) = Recipe { weights: Weights::Damaged, ..Recipe::random(Kind::Qwen3) }.write();
    let mut engine = open(&path, |settings| settings.slots = Some(2));
    let mut finished = 0;
    let mut count = |_| {
        finished += 1;
        Ok(())
    };
    let outcome = engine.run(&mut [Script::new(&["Once"], 8)].into_iter(), &mut count, &Quiet);
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("not finite") && message.contains("weights are damaged"), "{message}");
    assert_eq!(finished, 0);
    assert!(engine.bits(&["once upon"], &Quiet).unwrap_err().to_string().contains("not finite"));
}

#[test]
fn a_file_that_changes_after_its_check_is_refused_and_one_cut_off_later_does_no_harm() {
    let (_folder, path) = random_qwen3(3);
    let gguf = Gguf::open(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let settings = || EngineSettings { threads: Some(1), slots: Some(1), ..Default::default() };
    let load = || LlamaEngine::load(gguf.clone(), Digest::of_bytes(b""), settings());
    std::fs::write(&path, [&whole[..], &[0; 32]].concat()).unwrap();
    assert!(load().err().unwrap().to_string().contains("as when it was checked"));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(load().is_err());
    std::fs::write(&path, &whole).unwrap();
    let mut engine = load().unwrap();
    let before = run(&mut engine, vec![Script::new(&["Once"], 8)]);
    // A mapped file would end the process here, with SIGBUS.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    let after = run(&mut engine, vec![Script::new(&["Once"], 8)]);
    assert_eq!(before[0].conversation.replies, after[0].conversation.replies);
}

#[test]
fn settings_llama_cpp_would_abort_or_hang_at_are_refused() {
    let (_folder, path) = random_qwen3(3);
    let with = |change: fn(&mut EngineSettings)| {
        let mut settings = EngineSettings::default();
        change(&mut settings);
        refused(&path, settings)
    };
    assert!(with(|settings| settings.context = Some(100_000_000)).contains("64 to 4096 tokens"));
    assert!(with(|settings| settings.context = Some(32)).contains("64 to 4096 tokens"));
    assert!(with(|settings| settings.batch = Some(8)).contains("64 to 4096 tokens"));
    assert!(with(|settings| settings.slots = Some(65)).contains("1 to 64"));
    assert!(with(|settings| settings.slots = Some(0)).contains("1 to 64"));
    assert!(with(|settings| settings.threads = Some(0)).contains("1 to 512"));
    for cache_type in ["i8", "q6_K", "f64"] {
        assert!(serde_json::from_value::<CacheType>(cache_type.into()).is_err());
    }
    assert!(with(|settings| settings.cache_type = Some(CacheType::Q8)).contains("flash_attention = \"on\""));
    let unsettled = with(|settings| {
        settings.flash_attention = Some(FlashAttention::Auto);
        settings.cache_type = Some(CacheType::Q4);
    });
    assert!(unsettled.contains("flash_attention = \"on\""));
}

#[test]
fn the_most_sequences_in_the_smallest_batch_and_window_work() {
    let (_folder, path) = random_qwen3(3);
    let mut engine = open(&path, |settings| {
        settings.slots = Some(64);
        settings.batch = Some(64);
        settings.context = Some(64);
    });
    let scripts = (0..100).map(|n| Script::new(&[&format!("day {n}")], 8)).collect();
    assert!(run(&mut engine, scripts).iter().all(|one| one.refused.is_none()));
}

#[test]
fn a_model_that_claims_an_endless_window_gets_a_sensible_one() {
    let (_folder, path) = random_qwen3(3);
    let mut gguf = Gguf::open(&path).unwrap();
    gguf.context_length = u32::try_from(i32::MAX).unwrap();
    let plan = |context| Plan::new(&gguf, &EngineSettings { context, ..Default::default() });
    assert_eq!(plan(None).unwrap().window, 4096);
    let message = plan(Some(100_000_000)).unwrap_err().to_string();
    assert!(message.contains("memory_mib"), "{message}");
}

#[test]
fn a_models_own_control_tokens_in_a_passage_stay_text() {
    for kind in Kind::ALL {
        let (_folder, path) = Recipe::random(kind).write();
        let engine = open(&path, |settings| settings.chat_template = ChatChoice::Own);
        let control = |token: u32| engine.model.vocab().is_control(LlamaToken(token.cast_signed()));
        for name in kind.control().iter().copied().chain(["<s>", "</s>", "<unk>"]) {
            let passage = format!("before {name} after{name}{name}");
            let said = engine.tokens(&[Segment::Content(passage.clone())], Place::Later).unwrap();
            assert!(!said.iter().any(|&token| control(token)), "{name} of {kind:?}");
            // Every byte of it is there.
            let bytes: Vec<u8> = said.iter().flat_map(|&token| engine.words.piece(token)).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap().trim_start(), passage);
            // What the template says still means them.
            let opening = engine.chat.opening(&[Message::new(Role::User, &passage)]).unwrap();
            let tokens = engine.tokens(&opening, Place::Start).unwrap();
            let plain = engine.chat.opening(&[Message::new(Role::User, "before")]).unwrap();
            let plain = engine.tokens(&plain, Place::Start).unwrap();
            let count = |tokens: &[u32]| tokens.iter().filter(|&&token| control(token)).count();
            assert!(count(&tokens) > 1 && count(&tokens) == count(&plain), "{name} of {kind:?}");
        }
    }
}

#[test]
fn odd_texts_are_answered_or_refused_and_the_others_go_on() {
    for kind in Kind::ALL {
        let (_folder, path) = Recipe::random(kind).write();
        let mut engine = open(&path, |settings| {
            settings.chat_template = ChatChoice::Own;
            settings.slots = Some(3);
        });
        let megabyte = "a".repeat(1 << 20);
        let invalid = String::from_utf8_lossy(b"caf\xE9 \xF0\x9F na\xC3 \xFF\xFE").into_owned();
        let texts = [megabyte.as_str(), "", "   ", "\0\u{1}\u{7f}", &invalid, "🜁🜂🜃", "\u{202e}abc\u{feff}", "Once"];
        let finished = run(&mut engine, texts.map(|text| Script::new(&[text], 8)).into());
        for (text, one) in texts.iter().zip(&finished) {
            if text.len() == 1 << 20 {
                let refusal = one.refused.as_ref().unwrap().to_string();
                assert!(refusal.contains("a message has 1048576 bytes"), "{refusal}");
            } else {
                assert_eq!((one.refused.clone(), one.conversation.replies.len()), (None, 1), "{text:?} of {kind:?}");
            }
        }
        assert_eq!(finished.len(), texts.len());
        assert!(engine.bits(&["", &invalid, &megabyte[..5000]], &Quiet).is_ok());
    }
}

#[test]
fn templates_that_are_no_templates_are_told() {
    for template in ["{% for m in messages %}{{ m.content }}", "{{ unclosed", "{% endif %}"] {
        let (_folder, path) = Recipe { template: Some(template), ..Recipe::random(Kind::Qwen3) }.write();
        let message = refused(&path, EngineSettings::default());
        assert!(message.contains("chat template: ") && message.contains("--chat-template chatml"), "{message}");
    }
    for template in
        ["nothing is said", "{{ messages[0].content }}{{ messages[0].content }}", "{{ raise_exception('no') }}"]
    {
        let (_folder, path) = Recipe { template: Some(template), ..Recipe::random(Kind::Qwen3) }.write();
        let mut engine = open(&path, |settings| settings.chat_template = ChatChoice::Own);
        let outcome = engine.run(&mut [Script::new(&["Once"], 8)].into_iter(), &mut |_| Ok(()), &Quiet);
        assert!(outcome.unwrap_err().to_string().contains("chat template: "), "{template}");
    }
}
