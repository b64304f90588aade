//! What an experiment's written arms need before they run: mined neighbours where the prompt shows them, and the gauge's
//! word on whether the generator can write at all.

use super::chain::{GaugeChoice, Places};
use super::indexes::DenseSettings;
use super::mining::{self, MineStage, Models};
use super::recipe::Recipe;
use super::stages::{OpenEncoder, Workplace};
use super::{Result, generate};
use crate::data::{Collection, Passage};
use crate::encode::{BiEncoder, Computing, CrossEncoder};
use crate::negatives::Task;
use crate::negatives::written::conversation::INPUTS;
use crate::negatives::written::settings::BandChoice;
use crate::negatives::written::{Band, Brief, Meter, Target};
use crate::text::prompt::PromptFile;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Source of the neighbours that prompts show.
const NEIGHBOURS: &str = "bm25";

/// What `source` finds for `tasks` under the recipe's settings.
///
/// # Errors
/// As [`mining::mine`].
pub(super) fn mine(
    work: &Workplace<'_>,
    recipe: &Recipe,
    collection: &Collection,
    models: Models<'_>,
    (tasks, source): (&[Task], &str),
) -> Result<mining::Mined> {
    let how = MineStage {
        source: source.to_owned(),
        mine: recipe.mine,
        bm25: recipe.bm25,
        dense: DenseSettings {
            index: recipe.dense,
            #[cfg(feature = "hnsw")]
            hnsw: recipe.hnsw,
        },
        // The seeds of an arm share its negatives; random ones are drawn from the first seed.
        seed: recipe.seeds[0],
        run: None,
    };
    mining::mine(work, collection, tasks, models, &how)
}

/// The recipe's settings of writing, with neighbours where its prompt shows them, and the band where it names one.
///
/// # Errors
/// [`super::ExperimentError::Data`] when the prompt is not usable; [`super::ExperimentError::Band`]; as [`mine`].
pub(super) fn brief<'r>(
    work: &Workplace<'_>,
    recipe: &'r Recipe,
    places: &Places<'_>,
    (collection, encoder): (&Collection, &OpenEncoder),
    tasks: &[Task],
) -> Result<Brief<'r>> {
    let mut brief = Brief::new(&recipe.written);
    if recipe.generator.is_none() || !recipe.arms.iter().any(super::recipe::ArmRecipe::is_written) {
        return Ok(brief);
    }
    let prompt = PromptFile::find(&recipe.written.prompt, INPUTS)?;
    let shown = prompt.inputs.iter().any(|input| input == "neighbours");
    if !shown && recipe.written.band.is_none() {
        return Ok(brief);
    }
    let mut neighbours: HashMap<_, Vec<String>> = HashMap::new();
    let models = Models { encoder: Some(encoder), judge: None, choice: GaugeChoice::Obey };
    for candidate in mine(work, recipe, collection, models, (tasks, NEIGHBOURS))?.candidates()? {
        let Passage::Corpus(id) = &candidate.passage else { continue };
        if let Some(document) = collection.corpus.get(id.as_str())? {
            neighbours.entry(candidate.query).or_default().push(document.content());
        }
    }
    let mined =
        tasks.iter().filter_map(|task| Some((task.query.text.as_str(), neighbours.get(&task.query.id)?.as_slice())));
    if let Some((meter, model)) = meter(work, recipe.written.band, places)? {
        let target = Target::learn(meter, model, mined)?;
        let (measure, Band { least, most }) = (target.meter.measure(), target.band);
        work.watch.note(&format!("{measure} of mined negatives: {least:.3} to {most:.3}"));
        brief.targets = Arc::new([target]);
    }
    if shown {
        brief.neighbours = neighbours;
    }
    Ok(brief)
}

/// The model that measures what is written, and what stands for it in keys.
fn meter(work: &Workplace<'_>, choice: BandChoice, places: &Places<'_>) -> Result<Option<(Arc<dyn Meter>, Value)>> {
    let computing = Computing { precision: work.precision, ..Computing::of(&work.device) };
    Ok(match (choice, places.teacher) {
        (BandChoice::Encoder, _) => {
            let encoder = BiEncoder::open_with(places.encoder, &work.device, computing)?;
            Some((Arc::new(encoder), json!(BiEncoder::digest(places.encoder)?)))
        }
        (BandChoice::Teacher, Some(teacher)) => {
            let encoder = CrossEncoder::open(teacher, &work.device, computing)?;
            Some((Arc::new(encoder), json!(CrossEncoder::digest(teacher)?)))
        }
        (BandChoice::Teacher | BandChoice::None, _) => None,
    })
}

/// `brief` when the written arms can run, stamped where they run against the gauge; else why they do not.
///
/// # Errors
/// As [`generate::gauge`].
pub(super) fn judge<'r>(
    work: &Workplace<'_>,
    (recipe, choice): (&Recipe, GaugeChoice),
    collection: &Collection,
    (tasks, mut brief): (&[Task], Brief<'r>),
    remarks: &mut Vec<String>,
) -> Result<Result<Brief<'r>, String>> {
    let no = |reason: &str| Ok(Err(reason.to_owned()));
    let Some(generator) = &recipe.generator else {
        return no("no generator was given; give a GGUF file with --generator");
    };
    if !generate::available() {
        return no("this build has no llama.cpp; build with the feature llm");
    }
    if !recipe.arms.iter().any(super::recipe::ArmRecipe::is_written) {
        return Ok(Ok(brief));
    }
    let gauge = generate::gauge(work, (generator, collection), tasks, &brief, &recipe.engine)?;
    let line = format!("gauge of the generator: {gauge}");
    work.watch.note(&line);
    remarks.push(line);
    match (gauge.failure(), choice) {
        (Some(reason), GaugeChoice::Obey) => no(&format!("not run: {reason}; --force runs it all the same")),
        (reason, _) => {
            brief.forced = reason;
            Ok(Ok(brief))
        }
    }
}

/// What a reader must know of written arms: that they were forced, then what the recipe says.
pub(super) fn note(recipe: &Recipe, forced: Option<&str>) -> String {
    match (forced, recipe.generator_note.as_str()) {
        (None, note) => note.to_owned(),
        (Some(reason), "") => format!("forced: {reason}"),
        (Some(reason), note) => format!("forced: {reason}; {note}"),
    }
}
