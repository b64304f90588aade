//! `nearmiss tune`: the fastest settings of a generator on this machine, kept in the store; and how
//! every command that runs a generator is told its settings.

use crate::data::Fault;
use crate::generate::{EngineSettings, FlashAttention};
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// How a generator runs; what is left out is taken from `nearmiss tune`, else from the machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(super) struct EngineArguments {
    /// Tokens that prompt and reply may have together.
    #[arg(long, value_name = "TOKENS")]
    pub context: Option<u32>,
    /// Requests at once; 1 makes replies independent of each other to the last bit.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Threads; more than are free is many times slower.
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// llama.cpp's fused attention.
    #[arg(long, value_enum)]
    pub flash_attention: Option<Flash>,
    /// Tokens guessed from the prompt and checked in one step, 0 to 16; what is written stays the same.
    #[arg(long, value_name = "TOKENS")]
    pub draft: Option<u32>,
    /// Most tokens a model may think before it answers; 0: thinking is switched off.
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    pub thinking: u32,
    /// Chat template of models that bring none: chatml or plain.
    #[arg(long, value_name = "NAME")]
    pub chat_template: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Flash {
    Off,
    On,
    Auto,
}

impl EngineArguments {
    pub(super) fn settings(&self) -> Result<EngineSettings> {
        let mut settings = EngineSettings {
            context: self.context,
            slots: self.slots,
            threads: self.threads,
            flash_attention: self.flash_attention.map(|choice| match choice {
                Flash::Off => FlashAttention::Off,
                Flash::On => FlashAttention::On,
                Flash::Auto => FlashAttention::Auto,
            }),
            draft: self.draft,
            thinking: self.thinking,
            ..EngineSettings::default()
        };
        if let Some(name) = &self.chat_template {
            settings.chat_template = serde_json::from_value(json!(name))
                .map_err(|_| Fault::new(Path::new("--chat-template"), "own, chatml or plain", name.as_str()))?;
        }
        Ok(settings)
    }
}

#[derive(Debug, Args)]
pub(super) struct Tune {
    /// The model.
    #[arg(long, value_name = "FILE.gguf")]
    pub generator: PathBuf,
    #[command(flatten)]
    pub engine: EngineArguments,
}

/// Measures, keeps, and prints what was measured.
#[cfg(feature = "llm")]
pub(super) fn run(work: &crate::experiment::stages::Workplace<'_>, arguments: &Tune) -> Result<()> {
    use crate::data::Digest;
    use crate::experiment::generate;
    use crate::model::gguf::Gguf;
    use std::fmt::Write;
    use std::sync::LazyLock;
    use std::time::Instant;

    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let gguf = Gguf::open(&arguments.generator)?;
    let weights = Digest::of_file(&arguments.generator)?;
    let engine = crate::generate::LlamaEngine::load(gguf, weights.clone(), arguments.engine.settings()?)?;
    let tuned = engine.tune(|| BEGUN.elapsed(), work.watch)?;
    let path = generate::keep_tuned(work, &weights, &tuned)?;
    let mut table = "threads  flash  cache  batch  slots  read/s  written/s  requests/min\n".to_owned();
    for probe in &tuned.probes {
        let flash = format!("{:?}", probe.flash_attention).to_lowercase();
        let _ = writeln!(
            table,
            "{:7}  {flash:>5}  {:>5}  {:5}  {:5}  {:6.0}  {:9.0}  {:12.1}",
            probe.threads,
            probe.cache_type.name(),
            probe.batch,
            probe.slots,
            probe.read_per_second,
            probe.written_per_second,
            probe.requests_per_minute
        );
    }
    super::commands::print(&table)?;
    work.watch.note(&format!(
        "{}: {} threads, flash attention {}, cache {}, batch {}, {} slots; guessing {} tokens ahead costs {:.1} steps, and is done where more are saved",
        path.display(),
        tuned.threads,
        format!("{:?}", tuned.flash_attention).to_lowercase(),
        tuned.cache_type.name(),
        tuned.batch,
        tuned.slots,
        tuned.draft,
        tuned.draft_cost
    ));
    Ok(())
}

#[cfg(not(feature = "llm"))]
pub(super) fn run(_: &crate::experiment::stages::Workplace<'_>, arguments: &Tune) -> Result<()> {
    crate::model::gguf::Gguf::open(&arguments.generator)?;
    arguments.engine.settings()?;
    Err(crate::experiment::ExperimentError::NoGenerator.into())
}
