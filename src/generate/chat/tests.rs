//! Templates of every habit: roles they refuse, texts they drop, thoughts they open.

use super::*;

fn messages() -> Vec<Message> {
    let say = Message::new;
    vec![say(Role::System, "be short"), say(Role::User, "hi <|im_end|>")]
}

fn text(segments: &[Segment]) -> String {
    let texts = segments.iter().map(|segment| match segment {
        Segment::Template(text) | Segment::Content(text) => text.as_str(),
    });
    texts.collect()
}

fn own(template: &str) -> Chat {
    Chat::new(ChatChoice::Own, Some(template), ["<s>", "</s>"]).unwrap()
}

#[test]
fn contents_and_template_stay_apart() {
    let chat = Chat::new(ChatChoice::Chatml, None, ["", ""]).unwrap();
    let segments = chat.opening(&messages()).unwrap();
    assert_eq!(segments[3], Segment::Content("hi <|im_end|>".to_owned()));
    assert_eq!(
        text(&segments),
        "<|im_start|>system\nbe short<|im_end|>\n<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    );
    let Segment::Template(last) = &segments[4] else { panic!("the template ends the prompt") };
    assert_eq!(last, "<|im_end|>\n<|im_start|>assistant\n");
}

#[test]
fn a_follow_up_begins_where_the_reply_ends() {
    let chat = Chat::new(ChatChoice::Chatml, None, ["", ""]).unwrap();
    let mut all = messages();
    all.extend([Message::new(Role::Assistant, "hello"), Message::new(Role::User, "again")]);
    let expected = "<|im_end|>\n<|im_start|>user\nagain<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(text(&chat.follow_up(&all).unwrap()), expected);
    assert!(chat.follow_up(&messages()).is_err());
}

#[test]
fn a_template_without_a_place_for_the_system_message_gets_it_before_the_users() {
    let refusing = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}\
            {% for m in messages %}[{{ m['content'] | trim }}]{% endfor %}";
    let dropping =
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}";
    for template in [refusing, dropping] {
        let segments = own(template).opening(&messages()).unwrap();
        assert_eq!(text(&segments), "<s>[be short\n\nhi <|im_end|>]");
    }
    let error = own("{{ raise_exception('never') }}").opening(&messages()).unwrap_err().to_string();
    assert!(error.contains("never") && error.contains("hint"), "{error}");
}

#[test]
fn templates_that_repeat_or_lose_a_message_are_refused() {
    let twice = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}";
    assert!(own(twice).opening(&messages()).unwrap_err().to_string().contains("repeats"));
    assert!(own("nothing").opening(&messages()).unwrap_err().to_string().contains("drops"));
    assert!(Chat::new(ChatChoice::Own, Some("{% for %}"), ["", ""]).is_err());
    let none = Chat::new(ChatChoice::Own, None, ["", ""]).err().unwrap().to_string();
    assert!(none.contains("chatml"), "{none}");
}

#[test]
fn a_thought_is_opened_or_closed_as_asked() {
    let switched = "{% for m in messages %}[{{ m.content }}]{% endfor %}\
            {% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}";
    let always = "{% for m in messages %}[{{ m.content }}]{% endfor %}<think>{{ '\n' }}";
    let ends =
        |template: &str, thinking| text(&own(template).thinking(thinking).unwrap().opening(&messages()[1..]).unwrap());
    assert!(ends(switched, Thinking::Off).ends_with("]<think>\n\n</think>\n\n"));
    assert!(ends(switched, Thinking::On).ends_with("]<think>\n"));
    assert!(ends(always, Thinking::On).ends_with("]<think>\n"));
    assert!(ends(always, Thinking::Off).ends_with("]<think>\n\n</think>\n\n"));
    let thoughtless = own("{% for m in messages %}{{ m.content }}{% endfor %}").thinking(Thinking::On);
    assert!(thoughtless.err().unwrap().to_string().contains("no thoughts"));
}

#[test]
fn python_idioms_work() {
    let idioms = r#"{%- set ns = namespace(n=0) -%}
{%- for m in messages[::-1] -%}{%- set ns.n = ns.n + loop.index0 -%}{%- endfor -%}
{{- ns.n }} {{ strftime_now("%d %b %Y") }} {{ {"a": "<b> & \\ 'c'"} | tojson }}
{%- for m in messages %}{% if not m.content.startswith('<tool>') %}{{ m.content.strip() }}{% endif %}{% break %}{% endfor %}"#;
    let rendered = text(&own(idioms).opening(&messages()[1..]).unwrap());
    assert_eq!(rendered, r#"0 26 Jul 2024 {"a": "<b> & \\ 'c'"}hi <|im_end|>"#);
}

/// Golden texts by tests/peers/templates.py, which sets the variable.
#[test]
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a skipped test says so; refusals are listed")]
fn templates_are_rendered_as_jinja2_does() {
    let Some(golden) = std::env::var_os("NEARMISS_TEMPLATES") else {
        eprintln!("skipped: chat templates beside jinja2 (run tests/peers/templates.py)");
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let (mut same, mut refused, mut lenient, mut other) = (0, 0, 0, Vec::new());
    for case in &cases {
        let talk: Vec<(String, String)> = serde_json::from_value(case["talk"].clone()).unwrap();
        let role = |name: &str| match name {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        let messages: Vec<Message> = talk.iter().map(|(name, content)| Message::new(role(name), content)).collect();
        let chat = Chat::new(ChatChoice::Own, case["template"].as_str(), ["<s>", "</s>"]);
        match chat.and_then(|chat| chat.opening(&messages)) {
            Err(error) => {
                refused += 1;
                println!("{}, {} messages: {error}", case["name"], talk.len());
            }
            // Templates that go through tools that are not there: an error to jinja2, nothing to minijinja.
            Ok(_) if case["expected"].is_null() => lenient += 1,
            Ok(segments) => {
                let (ours, theirs) = (text(&segments), case["expected"].as_str().unwrap_or_default());
                if ours == theirs || ours.strip_suffix(thought::CLOSE) == Some(theirs) {
                    same += 1;
                } else {
                    other.push(format!(
                        "{}, {} messages\n ours  {ours:?}\n theirs {theirs:?}",
                        case["name"],
                        talk.len()
                    ));
                }
            }
        }
    }
    let all = cases.len();
    println!("{same} of {all} equal, {refused} refused, {lenient} that only jinja2 refuses, {} different", other.len());
    assert!(same > 0 && other.is_empty(), "{}", other.join("\n"));
}
