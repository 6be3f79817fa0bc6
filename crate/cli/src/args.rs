//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use vaultlab_privacy::accountant::{Adjacency, Phase};
use vaultlab_protocol::{DeviceChoice, WeightFormat};

/// Runs and privately fine-tunes Gemma-family models.
#[derive(Parser)]
#[command(name = "vaultlab", version, about, max_term_width = 100)]
pub struct Arguments {
    /// Where to compute: auto takes a hardware GPU if there is one, the CPU otherwise.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub device: Device,
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommand,
}

/// A device on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum Device {
    /// Hardware GPU, else CPU.
    Auto,
    /// Vulkan, Metal or DirectX through wgpu, a software adapter included.
    Gpu,
    /// The SIMD CPU backend.
    Cpu,
}

impl From<Device> for DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Auto => Self::Auto,
            Device::Gpu => Self::Gpu,
            Device::Cpu => Self::Cpu,
        }
    }
}

/// Representation of the frozen matrices on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum Weights {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Signed bytes with a scale per 64 weights.
    Int8,
    /// 4-bit NormalFloat with double quantisation.
    Nf4,
}

impl From<Weights> for WeightFormat {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::F32 => Self::F32,
            Weights::F16 => Self::F16,
            Weights::Int8 => Self::Int8,
            Weights::Nf4 => Self::Nf4,
        }
    }
}

/// The commands.
#[derive(clap::Subcommand)]
pub enum Subcommand {
    /// Logits at every position of a sequence of ids, as a safetensors file.
    Logits(Logits),
    /// Answer a prompt.
    Generate(Generate),
    /// The likeliest continuations of a sequence of ids that a beam search finds.
    Beam(Beam),
    /// Fine-tune a LoRA adapter, privately unless told otherwise.
    Finetune(Finetune),
    /// Attack a run of one's own: train once with canaries among the rows, and bound ε from below.
    Audit(Box<Audit>),
    /// The lower bound on ε that right guesses about canaries prove.
    AuditBound(AuditBound),
    /// Per-example gradient norms and the clipped sum of one batch, as a safetensors file.
    Grads(Grads),
    /// ε of a Poisson-subsampled Gaussian mechanism.
    Epsilon(Epsilon),
    /// The noise multiplier for a target ε.
    Calibrate(Calibrate),
    /// Check a privacy statement: its ε is computed again from its own charges.
    Verify(Verify),
}

/// A model and how to hold it.
#[derive(Args)]
pub struct Model {
    /// Folder with config.json, tokenizer.json and the safetensors.
    #[arg(long)]
    pub model: PathBuf,
    /// How to hold the frozen matrices.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Folder of a PEFT adapter.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
}

/// A sequence of ids, for a decoder alone or for an encoder and its decoder.
#[derive(Args)]
pub struct Ids {
    /// Token ids, comma-separated.
    #[arg(long, value_delimiter = ',', required_unless_present = "encoder_ids")]
    pub ids: Vec<u32>,
    /// T5Gemma: what the encoder reads.
    #[arg(long, value_delimiter = ',', conflicts_with = "ids")]
    pub encoder_ids: Vec<u32>,
    /// T5Gemma: what the decoder has so far, its start token included; that alone if not given.
    #[arg(long, value_delimiter = ',', conflicts_with = "ids")]
    pub decoder_ids: Vec<u32>,
}

/// Arguments of `beam`.
#[derive(Args)]
pub struct Beam {
    /// Model.
    #[command(flatten)]
    pub model: Model,
    /// The prompt's ids.
    #[command(flatten)]
    pub ids: Ids,
    /// Sequences kept at every step, and printed.
    #[arg(long, default_value_t = 4)]
    pub beams: usize,
    /// New tokens at most.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
    /// Scores are log-probabilities over the number of new tokens to this power.
    #[arg(long, default_value_t = 1.0)]
    pub length_penalty: f64,
    /// Penalty on ids seen before; 1 for none.
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f32,
    /// Ids that end a sequence, instead of the model's own.
    #[arg(long, value_delimiter = ',')]
    pub eos: Vec<u32>,
}

/// Arguments of `logits`.
#[derive(Args)]
pub struct Logits {
    /// Model.
    #[command(flatten)]
    pub model: Model,
    /// Token ids.
    #[command(flatten)]
    pub ids: Ids,
    /// File to write: tensor `logits`, [tokens, vocabulary], f32.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `generate`.
#[derive(Args)]
pub struct Generate {
    /// Model.
    #[command(flatten)]
    pub model: Model,
    /// The prompt.
    #[arg(long)]
    pub prompt: String,
    /// Put the prompt in the instruction template.
    #[arg(long)]
    pub instruction: bool,
    /// New tokens at most.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: u32,
    /// 0 for greedy decoding.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f32,
    /// Keep the k likeliest; 0 for all.
    #[arg(long, default_value_t = 0)]
    pub top_k: u32,
    /// Keep the smallest set with this mass; 1 for all.
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f32,
    /// Drop tokens below this share of the likeliest; 0 for none.
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f32,
    /// Penalty on ids seen before; 1 for none.
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f32,
    /// Seed of the sampler.
    #[arg(long, default_value_t = 0)]
    pub seed: u32,
    /// Stop before this text; may be given several times.
    #[arg(long)]
    pub stop: Vec<String>,
}

/// Arguments of `finetune`.
#[derive(Args)]
pub struct Finetune {
    /// The run.
    #[command(flatten)]
    pub training: Training,
    /// Folder to write the PEFT adapter to; checkpoint.safetensors in it is for resuming only, keep it to yourself.
    #[arg(long)]
    pub out: PathBuf,
    /// Go on from OUT/checkpoint.safetensors.
    #[arg(long)]
    pub resume: bool,
}

/// A training run: model, rows, plan.
#[derive(Args)]
pub struct Training {
    /// Folder with config.json, tokenizer.json and the safetensors.
    #[arg(long)]
    pub model: PathBuf,
    /// How to hold the frozen matrices.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Rows: JSON, JSONL, CSV, TSV or text.
    #[arg(long)]
    pub data: PathBuf,
    /// ε this run may cost; the noise multiplier is calibrated for it.
    #[arg(long, required_unless_present = "no_privacy")]
    pub target_epsilon: Option<f64>,
    /// δ; must be well below 1 / rows.
    #[arg(long, default_value_t = 1e-5)]
    pub delta: f64,
    /// WITHOUT PRIVACY: no clipping, no noise, for comparison only.
    #[arg(long, alias = "without-privacy")]
    pub no_privacy: bool,
    /// Refuse steps that would bring the ε of all runs on these rows past this; the noise is fitted to what is left.
    #[arg(long)]
    pub budget: Option<f64>,
    /// Largest batch: of a larger draw so many rows are kept, and the accountant counts it so.
    #[arg(long)]
    pub batch_cap: Option<u32>,
    /// Clipping norm C.
    #[arg(long, default_value_t = 0.5)]
    pub clip: f64,
    /// Optimiser steps.
    #[arg(long, default_value_t = 300)]
    pub steps: u32,
    /// Expected logical batch; 32, or all rows if there are fewer, unless given.
    #[arg(long)]
    pub batch: Option<u32>,
    /// Rows computed at once.
    #[arg(long, default_value_t = 8)]
    pub micro_batch: u32,
    /// Peak learning rate.
    #[arg(long, default_value_t = 7e-3)]
    pub learning_rate: f64,
    /// Warm-up steps.
    #[arg(long, default_value_t = 10)]
    pub warmup: u32,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 0.01)]
    pub weight_decay: f64,
    /// LoRA rank.
    #[arg(long, default_value_t = 8)]
    pub rank: u32,
    /// LoRA alpha.
    #[arg(long, default_value_t = 16.0)]
    pub alpha: f32,
    /// Dropout on LoRA's input.
    #[arg(long, default_value_t = 0.0)]
    pub dropout: f32,
    /// Projections to adapt, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub targets: Option<Vec<String>>,
    /// Longest row in tokens.
    #[arg(long, default_value_t = 128)]
    pub max_tokens: u32,
    /// Share of the rows held out for evaluation.
    #[arg(long, default_value_t = 0.1)]
    pub held_out: f64,
    /// Column with the prompt; guessed unless given.
    #[arg(long)]
    pub prompt_column: Option<String>,
    /// Column with the response; guessed unless given.
    #[arg(long)]
    pub response_column: Option<String>,
    /// Evaluate every this many steps; 0 for the ends only.
    #[arg(long, default_value_t = 0)]
    pub evaluate_every: u32,
    /// Folder of the privacy ledgers; in the user's data folder unless given.
    #[arg(long)]
    pub ledger: Option<PathBuf>,
    /// INSECURE: fixes every random choice, for tests. Gives no privacy.
    #[arg(long)]
    pub insecure_seed: Option<u32>,
}

/// Arguments of `audit`.
#[derive(Args)]
pub struct Audit {
    /// The run.
    #[command(flatten)]
    pub training: Training,
    /// Canaries m: made-up rows, each of which joins the rows by a fair coin.
    #[arg(long, default_value_t = 200)]
    pub canaries: u32,
    /// Guesses r, fixed beforehand: half for the highest scores, half for the lowest; all canaries unless given.
    #[arg(long)]
    pub guesses: Option<u32>,
    /// Random tokens in a canary's prompt.
    #[arg(long, default_value_t = 6)]
    pub prompt_tokens: u32,
    /// Random tokens in a canary's response.
    #[arg(long, default_value_t = 6)]
    pub response_tokens: u32,
    /// Canaries in words instead: the prompt, each # a random digit and each @ a random letter.
    #[arg(long, requires = "canary_response")]
    pub canary_prompt: Option<String>,
    /// Canaries in words: the response, with at least one #.
    #[arg(long, requires = "canary_prompt")]
    pub canary_response: Option<String>,
    /// A secret in the rows as PROMPT|BEFORE|SECRET|AFTER, the last three making up the response; its exposure is
    /// measured. May be given several times.
    #[arg(long, value_parser = secret)]
    pub secret: Vec<SecretText>,
    /// File with one candidate for the secrets' place a line; every number of a secret's length unless given.
    #[arg(long, requires = "secret")]
    pub candidates: Option<PathBuf>,
    /// Numbers to compute at most for each secret; of a larger space a random sample is taken.
    #[arg(long, default_value_t = 1000)]
    pub candidates_at_most: u32,
    /// Add the secrets' rows to the training rows; without it they are in the data file already.
    #[arg(long, requires = "secret")]
    pub plant: bool,
    /// Folder to write the audited adapter to.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A secret on the command line.
#[derive(Clone)]
pub struct SecretText {
    /// Prompt of its row.
    pub prompt: String,
    /// Response before it.
    pub before: String,
    /// The secret.
    pub secret: String,
    /// Response after it.
    pub after: String,
}

fn secret(text: &str) -> Result<SecretText, String> {
    match text.split('|').collect::<Vec<_>>()[..] {
        [prompt, before, secret, after] if !secret.is_empty() => Ok(SecretText {
            prompt: prompt.into(),
            before: before.into(),
            secret: secret.into(),
            after: after.into(),
        }),
        _ => Err("expected PROMPT|BEFORE|SECRET|AFTER".into()),
    }
}

/// Arguments of `audit-bound`.
#[derive(Args)]
pub struct AuditBound {
    /// Canaries m, each included by a fair coin.
    #[arg(long)]
    pub canaries: u64,
    /// Guesses r.
    #[arg(long)]
    pub guesses: u64,
    /// Right guesses v.
    #[arg(long)]
    pub correct: u64,
    /// δ.
    #[arg(long)]
    pub delta: f64,
    /// Probability that the bound may fail with.
    #[arg(long, default_value_t = 0.05)]
    pub significance: f64,
}

/// Arguments of `grads`.
#[derive(Args)]
pub struct Grads {
    /// Folder with config.json, tokenizer.json and the safetensors.
    #[arg(long)]
    pub model: PathBuf,
    /// How to hold the frozen matrices.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Folder of a PEFT adapter.
    #[arg(long)]
    pub adapter: PathBuf,
    /// JSON: {"input_ids": [[…]], "labels": [[…]]}, -100 masked.
    #[arg(long)]
    pub batch: PathBuf,
    /// Clipping norm C.
    #[arg(long)]
    pub clip: f64,
    /// Rows computed at once.
    #[arg(long, default_value_t = 8)]
    pub micro_batch: usize,
    /// File to write: `norms` and the clipped sum by PEFT parameter name.
    #[arg(long)]
    pub out: PathBuf,
}

/// Arguments of `verify`.
#[derive(Args)]
pub struct Verify {
    /// The statement as JSON (privacy_statement.json of an adapter).
    pub statement: PathBuf,
    /// Folder of the PEFT adapter that the statement should belong to.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
}

/// How to account.
#[derive(Args)]
pub struct Accountant {
    /// Privacy loss distributions (nearly exact), or Rényi DP (looser, an independent check).
    #[arg(long, value_enum, default_value = "pld")]
    pub accountant: AccountantChoice,
    /// Which data sets count as neighbours.
    #[arg(long, value_enum, default_value = "add-remove")]
    pub adjacency: AdjacencyChoice,
    /// Batches larger than this are cut to it.
    #[arg(long, requires = "rows", value_parser = clap::value_parser!(u64).range(1..))]
    pub cap: Option<u64>,
    /// Rows that batches are drawn from.
    #[arg(long, requires = "cap", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
}

/// An accountant on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum AccountantChoice {
    /// Privacy loss distributions.
    Pld,
    /// Rényi DP.
    Rdp,
}

/// An adjacency on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum AdjacencyChoice {
    /// One row more or less.
    AddRemove,
    /// One row exchanged for another.
    ReplaceOne,
}

impl From<AdjacencyChoice> for Adjacency {
    fn from(adjacency: AdjacencyChoice) -> Self {
        match adjacency {
            AdjacencyChoice::AddRemove => Self::AddRemove,
            AdjacencyChoice::ReplaceOne => Self::ReplaceOne,
        }
    }
}

/// Arguments of `epsilon`.
#[derive(Args)]
pub struct Epsilon {
    /// Sampling rate q.
    #[arg(long, required_unless_present = "phases", requires_all = ["noise_multiplier", "steps"])]
    pub sampling_rate: Option<f64>,
    /// Noise multiplier σ.
    #[arg(long, requires = "sampling_rate")]
    pub noise_multiplier: Option<f64>,
    /// Steps T.
    #[arg(long, requires = "sampling_rate")]
    pub steps: Option<u64>,
    /// δ.
    #[arg(long)]
    pub delta: f64,
    /// Steps of one kind as q,σ,steps; may be given several times, and with the three options above.
    #[arg(long = "phase", value_name = "Q,SIGMA,STEPS", value_parser = phase)]
    pub phases: Vec<Phase>,
    /// How to account.
    #[command(flatten)]
    pub accountant: Accountant,
}

/// Arguments of `calibrate`.
#[derive(Args)]
pub struct Calibrate {
    /// Target ε of everything: these steps and the phases before them.
    #[arg(long)]
    pub target_epsilon: f64,
    /// Sampling rate q.
    #[arg(long)]
    pub sampling_rate: f64,
    /// Steps T.
    #[arg(long)]
    pub steps: u64,
    /// δ.
    #[arg(long)]
    pub delta: f64,
    /// Steps taken on the same rows before, as q,σ,steps; may be given several times.
    #[arg(long = "phase", value_name = "Q,SIGMA,STEPS", value_parser = phase)]
    pub earlier: Vec<Phase>,
    /// How to account.
    #[command(flatten)]
    pub accountant: Accountant,
}

/// Reads q,σ,steps.
fn phase(text: &str) -> Result<Phase, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let [q, sigma, steps] = parts.as_slice() else {
        return Err("three numbers are needed: q,sigma,steps".into());
    };
    let phase = Phase {
        sampling_rate: q.parse().map_err(|_| format!("{q} is not a number"))?,
        noise_multiplier: sigma
            .parse()
            .map_err(|_| format!("{sigma} is not a number"))?,
        steps: steps
            .parse()
            .map_err(|_| format!("{steps} is not a whole number"))?,
        truncation: None,
    };
    phase.validate().map_err(|error| error.to_string())?;
    Ok(phase)
}
