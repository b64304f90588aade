//! Every rule of the table on a case of its own, and what holds for all of them on random ones.

use super::*;
use crate::data::{Candidate, DocId, Document, Passage, Query, QueryId, Scores};
use proptest::prelude::*;
use std::collections::HashSet;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The settings that turn every rule on.
fn everything() -> FilterSettings {
    let mut settings = FilterSettings {
        same_id: Switch::On,
        range_min: Some(1),
        range_max: Some(90),
        absolute_margin: Some(0.05),
        relative_margin: Some(0.05),
        max_score: Some(0.9),
        min_score: Some(0.1),
        max_relevance: Some(0.1),
        min_length_ratio: Some(0.2),
        max_length_ratio: Some(5.0),
        language: Switch::On,
        answers: Switch::On,
        near_duplicate: Some(0.8),
        near_cosine: Some(0.95),
        leakage: Some(Leakage::Block),
        ..FilterSettings::default()
    };
    for row in TABLE.iter().filter(|row| (row.make)(&settings).is_none()).map(|row| row.name).collect::<Vec<_>>() {
        settings.bounds.insert(row.to_owned(), 0.5);
    }
    settings
}

/// A passage with what was measured of it.
#[derive(Debug, Clone)]
struct Given {
    id: String,
    text: String,
    rank: u32,
    score: Option<f32>,
    relevance: Option<f32>,
    vector: [f32; 2],
}

/// A passage no rule drops.
fn plain(id: &str, text: &str) -> Given {
    let (id, text) = (id.to_owned(), text.to_owned());
    Given { id, text, rank: 10, score: Some(0.5), relevance: None, vector: [0.0, 1.0] }
}

const POSITIVES: [(&str, &str, &str); 2] = [
    ("p1", "Iron", "The metal is grey, and it melts only when the furnace is very hot."),
    ("p2", "", "Fe is the element with the number 26, and it stands in the fourth row of the table."),
];

/// Verdicts of `filters` for a fixed query.
fn judge(filters: &Filters, passages: &[Given]) -> Result<Vec<Verdict>, Box<dyn std::error::Error>> {
    let query = Query { id: QueryId::new("q")?, text: "What  is\nIron in the table of elements?".to_owned() };
    let document = |(id, title, text): (&str, &str, &str)| {
        Ok(Document { id: DocId::new(id)?, title: title.to_owned(), text: text.to_owned() })
    };
    let positives = POSITIVES.into_iter().map(document).collect::<Result<Vec<_>, crate::data::ids::InvalidId>>()?;
    let candidate = |given: &Given| {
        Ok(Candidate {
            query: query.id.clone(),
            passage: Passage::Corpus(DocId::new(&given.id)?),
            text: None,
            source: "test".to_owned(),
            rank: given.rank,
            scores: Scores { relevance: given.relevance, ..Scores::default() },
            provenance: serde_json::Value::Null,
        })
    };
    let candidates = passages.iter().map(candidate).collect::<Result<Vec<_>, crate::data::ids::InvalidId>>()?;
    let proposed: Vec<Proposed> = candidates
        .iter()
        .zip(passages)
        .map(|(candidate, given)| Proposed {
            score: given.score,
            vector: Some(&given.vector),
            ..Proposed::new(candidate, &given.text)
        })
        .collect();
    let test = TestData::new([("who melted the gold of the temple", vec!["Gold was molten.".to_owned()])]);
    let answers = ["seven tons".to_owned()];
    let case = Case {
        positive_scores: &[0.8, 0.7],
        positive_vectors: &[&[1.0, 0.0]],
        answers: &answers,
        test: Some(&test),
        ..Case::new(&query, &positives, &proposed)
    };
    Ok(filters.judge(&case))
}

fn rules(verdicts: &[Verdict]) -> Vec<&str> {
    verdicts.iter().map(Verdict::rule).collect()
}

#[test]
fn each_rule_of_the_table_keeps_a_plain_negative_and_drops_its_own_case() -> Outcome {
    let filters = Filters::new(&everything());
    let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(filters.names(), names, "every rule can be turned on");
    let copper = "Copper is red, and it is bent by hand when the smith has warmed it a little.";
    for row in TABLE {
        let other = plain("d9", "Zinc is blue and white, and it is put on steel so that the steel does not rust.");
        let dropped = match row.name {
            "judged_positive" => Given { id: "p1".to_owned(), ..other },
            "same_id" => Given { id: "q".to_owned(), ..other },
            "same_text" => plain("d9", "what is iron in the TABLE of elements?"),
            "rank_window" => Given { rank: 1, ..other },
            "absolute_margin" => Given { score: Some(0.66), ..other },
            // With the others on, a margin takes these: here they stand alone.
            "relative_margin" | "max_score" => Given { score: Some(0.95), ..other },
            "near_cosine" => Given { vector: [1.0, 0.01], ..other },
            "min_score" => Given { score: Some(0.05), ..other },
            "relevance" => Given { relevance: Some(0.1), ..other },
            "length_ratio" => plain("d9", "Zinc is blue."),
            "language" => {
                plain("d9", "Zink ist ein bläulich weißes Metall, das man auf Stahl aufträgt, damit er nicht rostet.")
            }
            "answer_match" => {
                plain("d9", "Zinc is blue and white, and the smith had SEVEN tons, of it in his big house.")
            }
            "near_duplicate" => plain("d9", &format!("{copper} Yes.")),
            "leakage" => plain("d9", "Nobody knows who melted the gold of the temple, nor when it was, nor for whom."),
            // Its own file has its cases.
            name if everything().bounds.contains_key(name) => continue,
            name => return Err(format!("add a case for {name} here").into()),
        };
        let mut own = Filters::new(&everything());
        own.rules.retain(|(name, _)| *name == row.name);
        let verdicts = judge(&own, &[plain("d1", copper), dropped])?;
        assert_eq!(rules(&verdicts), ["", row.name]);
    }
    Ok(())
}

#[test]
fn bounds_are_where_they_are_said_to_be() -> Outcome {
    let only = |settings: FilterSettings| Filters::new(&settings);
    let at = |score| Given { score: Some(score), ..plain("d", "text") };
    let base = FilterSettings::default();
    let kept = |settings, score| -> Result<bool, Box<dyn std::error::Error>> {
        Ok(judge(&only(settings), &[at(score)])?[0].keeps())
    };
    let max = FilterSettings { max_score: Some(0.5), ..base.clone() };
    assert!(kept(max.clone(), 0.5)? && !kept(max, 0.500_01)?);
    // The lowest positive has 0.7, the highest 0.8.
    for (bar, bound) in [(Bar::Lowest, 0.7_f32), (Bar::Highest, 0.8), (Bar::Mean, 0.75)] {
        let relative = FilterSettings { relative_margin: Some(0.1), bar, ..base.clone() };
        assert!(kept(relative.clone(), bound * 0.9 - 1e-4)? && !kept(relative, bound * 0.9 + 1e-4)?, "{bar:?}");
        let absolute = FilterSettings { absolute_margin: Some(0.1), bar, ..base.clone() };
        assert!(kept(absolute.clone(), bound - 0.1 - 1e-4)? && !kept(absolute, bound - 0.1 + 1e-4)?, "{bar:?}");
    }
    assert_eq!(Bar::Lowest.of(&[-0.2]), Some(-0.2));
    let unscored = Given { score: None, ..plain("d", "text") };
    assert!(judge(&only(FilterSettings { min_score: Some(0.9), ..base.clone() }), &[unscored])?[0].keeps());
    Ok(())
}

#[test]
fn presets_are_margins_and_wrong_settings_name_their_key() -> Outcome {
    let preset = |name: &str| name.parse().map(|preset| FilterSettings::default().with(preset));
    assert_eq!(preset("topk-percpos-0.95")?.relative_margin, Some(0.05));
    assert_eq!(preset("topk-marginpos-0.05")?.absolute_margin, Some(0.05));
    assert!(preset("topk-percpos-95").is_err() && preset("top").is_err());
    let wrong = |settings: FilterSettings| settings.check().err().map(|(key, ..)| key);
    assert_eq!(wrong(FilterSettings { relative_margin: Some(1.5), ..everything() }), Some("relative_margin"));
    assert_eq!(wrong(FilterSettings { range_max: Some(1), ..everything() }), Some("range_max"));
    assert_eq!(wrong(FilterSettings { near_duplicate: Some(f32::NAN), ..everything() }), Some("near_duplicate"));
    assert_eq!(wrong(everything()), None);
    let bound = |name: &str| FilterSettings { bounds: [(name.to_owned(), 0.5)].into(), ..FilterSettings::default() };
    assert_eq!((wrong(bound("max_score")), wrong(bound("shouting"))), (Some("bounds"), Some("bounds")));
    Ok(())
}

#[test]
fn test_data_answers_yes_or_no_and_marks_unless_told_to_block() -> Outcome {
    let data =
        TestData::new([("Is  gold heavy", vec!["Gold is heavy.".to_owned()]), ("who found iron in the north", vec![])]);
    assert!(
        data.has_query_in("is gold HEAVY") && !data.has_query_in("We ask: is gold heavy?"),
        "three words by chance"
    );
    assert!(data.has_query_in("Then we asked who found iron, in the north.") && !data.has_query_in("who found iron"));
    assert!(data.has_pair("is gold heavy", "gold is  heavy.") && !data.has_pair("is gold heavy", "Gold is light."));
    let text = "Nobody knows who melted the gold of the temple, nor when it was, nor for whom.";
    let mark = Filters::new(&FilterSettings { leakage: Some(Leakage::Mark), ..FilterSettings::default() });
    let verdicts = judge(&mark, &[plain("d", text), plain("e", "other")])?;
    assert!(matches!(&verdicts[0], Verdict::Mark(found) if found.rule == "leakage") && verdicts[0].keeps());
    let mut waterfall = mark.waterfall();
    for verdict in &verdicts {
        waterfall.count(verdict);
    }
    assert_eq!((waterfall.judged, waterfall.kept), (2, 2));
    assert_eq!(waterfall.dropped.iter().map(|line| line.marked).sum::<u64>(), 1);
    Ok(())
}

#[test]
fn the_first_rule_takes_the_drop() -> Outcome {
    let filters = Filters::default();
    assert_eq!(filters.names(), ["judged_positive", "same_text"]);
    let copies = [
        plain("p1", &format!("{} {}", POSITIVES[0].1, POSITIVES[0].2)),
        plain("q", "what is iron in the table of elements?"),
        plain("d3", &POSITIVES[1].2.to_uppercase()),
        plain("d4", "Zinc"),
    ];
    let verdicts = judge(&filters, &copies)?;
    assert_eq!(rules(&verdicts), ["judged_positive", "same_text", "same_text", ""]);
    let mut waterfall = filters.waterfall();
    for verdict in &verdicts {
        waterfall.count(verdict);
    }
    let steps = waterfall.steps();
    assert_eq!(steps.iter().map(|step| (step.1, step.2)).collect::<Vec<_>>(), [(4, 1), (3, 2)]);
    Ok(())
}

/// A random passage; texts from few words, so that copies are many.
fn given() -> impl Strategy<Value = Given> {
    let ids = prop_oneof![Just("p1".to_owned()), Just("q".to_owned()), "d[0-9]{1,2}"];
    let score = proptest::option::of(0.0_f32..1.0);
    (
        ids,
        "((iron|metal|is|grey|seven|tons|of|the) ){1,12}",
        1_u32..100,
        score,
        proptest::option::of(0.0_f32..0.2),
        0.0_f32..1.5,
    )
        .prop_map(|(id, text, rank, score, relevance, angle)| Given {
            id,
            text,
            rank,
            score,
            relevance,
            vector: [angle.cos(), angle.sin()],
        })
}

proptest! {
    #[test]
    fn one_verdict_each_what_is_kept_stays_kept_and_the_waterfall_adds_up(
        passages in proptest::collection::vec(given(), 0..30),
        rule in proptest::option::of(0..TABLE.len()),
    ) {
        let mut filters = Filters::new(&everything());
        if let Some(rule) = rule {
            filters.rules.retain(|(name, _)| *name == TABLE[rule].name);
        }
        let failed = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let verdicts = judge(&filters, &passages).map_err(failed)?;
        prop_assert_eq!(verdicts.len(), passages.len());
        let kept: Vec<Given> = passages.iter().zip(&verdicts).filter(|(_, v)| v.keeps()).map(|(g, _)| g.clone()).collect();
        let again = judge(&filters, &kept).map_err(failed)?;
        prop_assert!(again.iter().all(Verdict::keeps), "{:?}", again);
        let known: HashSet<&str> = filters.names().into_iter().collect();
        prop_assert!(verdicts.iter().all(|v| v.keeps() || known.contains(v.rule())));
        let mut waterfall = filters.waterfall();
        for verdict in &verdicts {
        waterfall.count(verdict);
    }
        prop_assert_eq!(waterfall.dropped.len(), filters.names().len());
        let steps = waterfall.steps();
        let last = steps.last().map_or(waterfall.judged, |step| step.1 - step.2);
        prop_assert_eq!((waterfall.judged, last), (passages.len() as u64, waterfall.kept));
        prop_assert!(steps.windows(2).all(|pair| pair[1].1 == pair[0].1 - pair[0].2));
    }
}

#[test]
fn what_two_sources_propose_is_no_copy_of_itself() -> Outcome {
    let copper = "Copper is red, and it is bent by hand when the smith has warmed it a little.";
    let filters =
        Filters::new(&FilterSettings { near_duplicate: Some(0.9), near_cosine: Some(0.9), ..Default::default() });
    let verdicts = judge(&filters, &[plain("d1", copper), plain("d1", copper), plain("d2", copper)])?;
    assert_eq!(rules(&verdicts), ["", "", "near_duplicate"]);
    Ok(())
}
