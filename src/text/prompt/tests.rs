//! What a prompt file may say, and what is refused.

use super::*;

const SMALL: &str = r#"
name = "small"
version = 1
description = "for the test"
inputs = ["query", "positive"]
user = "Q: {query} P: {positive} {{json}}, {tone}"
reflection = "wrong:\n{defects}"
[attributes.general]
tone = ["dry", "warm"]
"#;

fn parse(text: &str) -> Result<PromptFile> {
    PromptFile::parse(text, Path::new("p.toml"), &["query", "positive", "num_negatives"])
}

#[test]
fn values_are_put_in_once() -> Result<()> {
    let prompt = parse(SMALL)?;
    let mut values = prompt.pool("general")?.draw(Seed(7));
    assert_eq!(values, prompt.pool("general")?.draw(Seed(7)));
    values.insert("query".to_owned(), "{positive} {{".to_owned());
    values.insert("positive".to_owned(), "P".to_owned());
    let tone = values["tone"].clone();
    assert_eq!(prompt.user(&values), format!("Q: {{positive}} {{{{ P: P {{json}}, {tone}"));
    assert_eq!(prompt.reflection(&values, "{query}"), "wrong:\n{query}");
    assert!(prompt.pool("physics").unwrap_err().to_string().contains("its pools: general"));
    Ok(())
}

#[test]
fn what_is_unknown_or_unused_is_an_error() {
    let refused = |from: &str, to: &str| parse(&SMALL.replace(from, to)).unwrap_err().to_string();
    assert!(refused("P: {positive}", "").contains("{positive} nowhere"));
    assert!(refused(", {tone}", "").contains("{tone} nowhere"));
    assert!(refused("Q:", "Q: {num_negatives}").contains("{num_negatives}"));
    assert!(refused("\"query\",", "\"query\", \"title\",").contains("found title"));
    assert!(refused("{defects}", "nothing").contains("{defects}"));
    assert!(refused("Q:", "Q: { query}").contains("`user`"));
    assert!(refused("Q:", "Q: }").contains("`user`"));
    assert!(refused("version", "versions").contains("versions"));
    assert!(refused("[\"dry\", \"warm\"]", "[]").contains("at least one value"));
}

#[test]
fn an_unknown_name_lists_the_prompts() {
    let error = PromptFile::find("plane", &[]).unwrap_err().to_string();
    assert!(error.contains("plain"), "{error}");
}

#[test]
fn blocks_follow_each_other_and_another_file_replaces_them() {
    let base = PromptFile::find("syneg", &["query", "positive", "num_negatives"]).unwrap();
    let values = Values::from([("query".to_owned(), "Q".to_owned()), ("positive".to_owned(), "P".to_owned())]);
    let user = base.user(&values);
    let order = [
        "Assume you are an expert",
        "example: {",
        "[Task Definition]",
        "[Reasoning",
        "[Hard Negatives",
        "[Attributes",
        "[Format",
    ];
    let places: Vec<usize> = order.iter().map(|part| user.find(part).unwrap()).collect();
    assert!(places.is_sorted(), "{user}");
    assert_eq!(base.blocks.iter().filter(|block| block.origin == Origin::Paper).count(), 3);
    assert_eq!(
        base.pools().filter(|(_, origin)| *origin == Origin::Paper).map(|(name, _)| name).collect::<Vec<_>>(),
        ["scifact"]
    );

    let own = "name = \"mine\"\nversion = 1\ndescription = \"d\"\nbased_on = \"syneg\"\nwithout = [\"attributes\"]\n\
        [[block]]\nname = \"task\"\norigin = \"ours\"\ntext = \"Do {num_negatives} for {domain_name}.\"\n";
    let mine = parse(own).unwrap();
    let user = mine.user(&values);
    assert!(
        user.contains("Do  for .") && !user.contains("[Task Definition]") && !user.contains("[Attributes"),
        "{user}"
    );
    assert!(mine.pool("fiqa").unwrap().draw(Seed(1)).keys().eq(["domain_name"]));
    assert_ne!(mine.digest, base.digest);
    let refused = |from: &str, to: &str| parse(&own.replace(from, to)).unwrap_err().to_string();
    assert!(refused("without = [\"attributes\"]", "without = [\"attribute\"]").contains("found attribute"));
    assert!(refused("name = \"task\"", "name = \"tasks\"").contains("blocks among: expert, example"));
    assert!(refused("\"syneg\"", "\"synegg\"").contains("based_on"));
    assert!(refused("{domain_name}", "{field}").contains("{field}"));
}

#[test]
fn switches_have_a_default_and_known_positions() {
    let text = SMALL
        .replace(
            "[attributes",
            "[switches.mood]\ndefault = \"calm\"\ncalm = \"Be calm.\"\nwild = \"Be wild.\"\n[attributes",
        )
        .replace("{tone}", "{tone} {mood}");
    let prompt = parse(&text).unwrap();
    let at = |chosen: &[(&str, &str)]| {
        prompt.switched(&chosen.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    };
    assert_eq!(at(&[]).unwrap()["mood"], "Be calm.");
    assert_eq!(at(&[("mood", "wild")]).unwrap()["mood"], "Be wild.");
    assert!(at(&[("mood", "sad")]).unwrap_err().to_string().contains("mood among: calm, wild"));
    assert!(at(&[("moods", "sad")]).unwrap_err().to_string().contains("switches among: mood"));
    assert!(parse(&text.replace(" {mood}", "")).unwrap_err().to_string().contains("{mood} nowhere"));
    assert!(
        parse(&text.replace("default = \"calm\"", "default = \"c\""))
            .unwrap_err()
            .to_string()
            .contains("switches.mood")
    );
}

#[test]
fn a_first_question_needs_its_answer_in_the_prompt() {
    let text = SMALL.replace("user =", "first = \"What is it?\"\nuser =");
    assert!(parse(&text).unwrap_err().to_string().contains("the question alone"));
}
