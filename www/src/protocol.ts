// The messages between page and engine. Generated from crate/protocol by `npm run protocol`; edits here are lost.

/** An adapter held beside the base model. */
export type AdapterReport = {
  /** Name it is selected by. */
  name: string,
  /** Rank, alpha and targets. */
  lora: LoraSettings,
  /** Trainable parameters. */
  parameters: number,
  /** What its training guarantees, if it was trained here. */
  privacy: PrivacySummary | null,
  /** True for a run without privacy; shown wherever the adapter is named. */
  withoutPrivacy: boolean,
};

/** One piece of plain-language advice on a plan. */
export type Advice = {
  /** How much it matters. */
  severity: AdviceSeverity,
  /** Stable code, e.g. "deltaEmpty". */
  code: string,
  /** One to three sentences. */
  message: string,
};

/** How much a piece of advice matters. */
export type AdviceSeverity = "note" | "warning" | "problem";

/** A finished answer. */
export type Answer = {
  /** The whole answer, without the prompt and stop string. */
  text: string,
  /** New token ids. */
  tokens: Array<number>,
  /** Number of prompt tokens. */
  promptTokens: number,
  /** Why it ended. */
  finish: FinishReason,
  /** Milliseconds from request to first token. */
  firstTokenMs: number,
  /** New tokens per second after the first. */
  tokensPerSecond: number,
};

/** What an audit found. */
export type AuditReport = {
  /** The adapter that was attacked. */
  adapter: string,
  /** Steps it was trained for. */
  steps: number,
  /** Training rows, included canaries and planted secrets among them. */
  rows: number,
  /** Canaries m. */
  canaries: number,
  /** Canaries that the coins put into the training rows. */
  included: number,
  /** Guesses r. */
  guesses: number,
  /** Right guesses v. */
  correct: number,
  /** δ of both bounds. */
  delta: number,
  /** Confidence of the lower bound, 0.95. */
  confidence: number,
  /** ε of this run is at least this. */
  epsilonLower: number,
  /** ε of this run is at most this, by the accountant; `None` without privacy. */
  epsilonUpper: number | null,
  /** The lower bound, had every guess been right: more an audit of this size cannot show. */
  mostItCanShow: number,
  /** True if the lower bound passes the upper: then the guarantee does not hold, and something is broken. */
  refuted: boolean,
  /** The finding in words, with what it does not say. */
  statement: string,
  /** Each canary's score and coin, for a picture. */
  scores: Array<CanaryScore>,
  /** Exposure of the secrets, in the order given. */
  exposures: Array<ExposureReport>,
  /** Milliseconds for scoring and exposure, without training. */
  attackMs: number,
};

/**
 * An audit of one training run: made-up rows join the data by fair coins, and an attack on the finished
 * adapter guesses the coins.
 */
export type AuditSettings = {
  /** Canaries m; each is in the training rows with probability one half. */
  canaries: number,
  /** Guesses r, at most m, fixed beforehand: half for the highest scores, half for the lowest. */
  guesses: number,
  /** What the canaries look like. */
  kind: CanaryKind,
  /** δ that both bounds on ε are stated at. Keep 2·m·δ far below 0.05, or guesses prove nothing. */
  delta: number,
  /** Secrets whose exposure is measured on the same adapter. */
  secrets: Array<SecretSettings>,
};

/** A limit on the rows of a batch; a larger Poisson draw keeps `cap` of its rows, chosen at random. */
export type BatchTruncation = {
  /** Rows N that the draw is made from. */
  rows: number,
  /** Largest batch. */
  cap: number,
};

/** What canaries look like. All have the prompt template around them. */
export type CanaryKind =
| { "type": "randomTokens",
  /** Tokens in the prompt. */
  promptTokens: number,
  /** Tokens in the response. */
  responseTokens: number,
}
| { "type": "phrase",
  /** Prompt, e.g. "What is the code of @@@@@@?". */
  prompt: string,
  /** Response, e.g. "The code of @@@@@@ is ######." */
  response: string,
};

/** One canary. */
export type CanaryScore = {
  /** Loss with the adapter off less the loss with it on, summed over the response's tokens. */
  score: number,
  /** The coin. */
  included: boolean,
};

/** Which columns feed prompt and response. */
export type ColumnMapping = {
  /** Column put in the prompt template. */
  prompt: string | null,
  /** Column the model learns to answer with. */
  response: string,
};

/**
 * What a front end asks of the engine. One job (load, generate, train, evaluate) runs at a time;
 * `Pause`, `Stop` and `Cancel` act on the running one.
 */
export type Command =
| { "type": "openDevice",
  /** The visitor's choice. */
  choice: DeviceChoice,
}
| { "type": "loadModel",
  /** Name shown on the page. */
  name: string,
  /** Device representation of the frozen matrices. */
  weights: WeightFormat,
}
| { "type": "generate",
  /** The question; put in `template` when given, else used as it is. */
  prompt: string,
  /** Template around the prompt. */
  template: PromptTemplate | null,
  /** Adapter by name; `None` is the base model. */
  adapter: string | null,
  /** Sampling settings. */
  sampling: Sampling,
}
| { "type": "readTable",
  /** File name; its extension is a hint. */
  fileName: string,
}
| { "type": "prepareRows",
  /** Mapping, template, length, split. */
  settings: DataSettings,
}
| { "type": "readLedger",
  /** δ to state ε at. */
  delta: number,
}
| { "type": "train",
  /** The run. */
  run: RunSettings,
}
| { "type": "audit",
  /** The run. */
  run: RunSettings,
  /** The canaries and secrets. */
  audit: AuditSettings,
}
| { "type": "resumeTraining" }
| { "type": "pause" }
| { "type": "stop" }
| { "type": "cancel" }
| { "type": "evaluate",
  /** Adapter by name; `None` is the base model. */
  adapter: string | null,
}
| { "type": "exportAdapter",
  /** Adapter by name. */
  adapter: string,
}
| { "type": "importAdapter",
  /** Name to hold it under. */
  name: string,
}
| { "type": "removeAdapter",
  /** Adapter by name. */
  adapter: string,
};

/** How rows become token sequences. */
export type DataSettings = {
  /** Columns in use. */
  mapping: ColumnMapping,
  /** Text around them. */
  template: PromptTemplate,
  /** Longest sequence in tokens; longer rows are cut. */
  maxTokens: number,
  /** Share of rows held out for evaluation, 0 to 0.5. */
  heldOut: number,
};

/** Which device the visitor asks for. */
export type DeviceChoice = "auto" | "gpu" | "cpu";

/** Which of the two devices is running. */
export type DeviceKind = "gpu" | "cpu";

/** What was picked, and why. */
export type DeviceReport = {
  /** The device in use. */
  kind: DeviceKind,
  /** Adapter name as the driver gives it, or "CPU (SIMD)". */
  name: string,
  /** True when the adapter is a software rasteriser (SwiftShader, llvmpipe). */
  software: boolean,
  /** One sentence: why this device. */
  reason: string,
  /** Largest storage binding in bytes; 0 on the CPU. */
  maxBindingBytes: number,
  /** Largest buffer in bytes; 0 on the CPU. */
  maxBufferBytes: number,
};

/** Stable error codes; the page maps them to help texts. */
export type ErrorCode = "noGpu" | "deviceLost" | "outOfMemory" | "badModel" | "badTokenizer" | "badAdapter" | "badData" | "badSettings" | "budgetSpent" | "storage" | "badCheckpoint" | "network" | "notReady" | "internal";

/** An error as the page shows it. */
export type ErrorReport = {
  /** Stable code. */
  code: ErrorCode,
  /** What happened. */
  message: string,
  /** What was kept (rows, adapter, checkpoint). */
  kept: string,
  /** What the visitor can do. */
  advice: string,
};

/** Held-out evaluation. Not covered by ε when the rows are private. */
export type EvaluationReport = {
  /** Steps done when it was taken. */
  step: number,
  /** Mean loss per target token over the held-out rows. */
  loss: number,
  /** Rows evaluated. */
  rows: number,
};

/** What the engine reports. */
export type Event =
| { "type": "device" } & DeviceReport
| { "type": "progress",
  /** What is being done, e.g. "Reading weights". */
  stage: string,
  /** Bytes or items done. */
  done: number,
  /** Bytes or items in all; 0 if unknown. */
  total: number,
  /** Unit of both: "bytes", "rows" or "tokens". */
  unit: string,
  /** Expected seconds to the end, if known. */
  etaSeconds: number | null,
}
| { "type": "model" } & ModelReport
| { "type": "token",
  /** Text to append. */
  text: string,
}
| { "type": "answer" } & Answer
| { "type": "table" } & TableReport
| { "type": "rows" } & RowsReport
| { "type": "ledger" } & LedgerReport
| { "type": "step" } & StepReport
| { "type": "evaluation" } & EvaluationReport
| { "type": "trainEnded",
  /** Why. */
  end: TrainEnd,
  /** Steps done. */
  step: number,
  /** The adapter, selectable at once. */
  adapter: AdapterReport,
}
| { "type": "audit" } & AuditReport
| { "type": "checkpointSaved",
  /** Steps done. */
  step: number,
}
| { "type": "adapter" } & AdapterReport
| { "type": "adapterFiles",
  /** Adapter by name. */
  adapter: string,
  /** File names in the order of the bytes. */
  files: Array<string>,
}
| { "type": "warning",
  /** One or two sentences. */
  message: string,
}
| { "type": "failed" } & ErrorReport
| { "type": "done" };

/** Exposure of a secret. */
export type ExposureReport = {
  /**
   * True if the secret's row is among the training rows, planted or the visitor's own; false for a control,
   * or a row that was held out.
   */
  trained: boolean,
  /** With the adapter, in bits: log2 of the candidates less log2 of the secret's rank by likelihood. */
  bits: number,
  /** The same with the adapter off: what the base model gives away by itself. */
  bitsBefore: number,
  /** Rank among the candidates computed, from 1; ties count before the secret. */
  rank: number,
  /** Candidates computed, the secret among them. */
  candidates: number,
  /** True if they are a sample of the space; `bits` is an estimate then. */
  sampled: boolean,
  /** For a sample: exposure is at least this with 95 % confidence. */
  atLeastBits: number | null,
};

/** Why an answer ended. */
export type FinishReason = "eos" | "stop" | "length" | "context" | "cancelled";

/** Another data set that shares rows with the prepared one. */
export type LedgerOverlap = {
  /** Its fingerprint. */
  fingerprint: string,
  /** Rows that both have. */
  sharedRows: number,
  /** Rows it has. */
  rows: number,
  /** Steps charged to it. */
  steps: number,
  /** Runs charged to it. */
  runs: number,
};

/** What the ledger holds for a data set. */
export type LedgerReport = {
  /** The data set's fingerprint. */
  fingerprint: string,
  /** ε spent so far at `delta`, by the row that most was charged to. */
  epsilon: number,
  /** δ it is stated at. */
  delta: number,
  /** Steps charged to that row over all runs. */
  steps: number,
  /** Runs charged to that row. */
  runs: number,
  /** The charges behind `epsilon`, for a planner to add a run to. */
  phases: Array<PlanPhase>,
  /** Other data sets in this ledger that share rows with this one. */
  overlaps: Array<LedgerOverlap>,
  /**
   * Charged data sets whose rows an earlier version did not record; whether they share rows is unknown, and they
   * are not counted.
   */
  incomparable: number,
};

/** A line that could not be used. */
export type LineProblem = {
  /** Line in the file, from 1. */
  line: number,
  /** What is wrong, without quoting the private text. */
  message: string,
};

/** LoRA settings. */
export type LoraSettings = {
  /** Rank r. */
  rank: number,
  /** Scale numerator; the update is scaled by alpha / r. */
  alpha: number,
  /** Dropout on the input of A during training. */
  dropout: number,
  /** Projections, e.g. `q_proj`. */
  targets: Array<string>,
};

/** Device memory as the allocator reports it, in bytes. */
export type MemoryReport = {
  /** Bytes in live tensors now. */
  inUse: number,
  /** Bytes held from the device, live or pooled. */
  reserved: number,
  /** Highest `in_use` seen at the sampling points of the job so far. */
  peak: number,
};

/** A loaded model. */
export type ModelReport = {
  /** Name the page gave it. */
  name: string,
  /** `model_type` of config.json. */
  modelType: string,
  /** Parameters in the checkpoint. */
  parameters: number,
  /** Transformer layers. */
  layers: number,
  /** Residual width. */
  hidden: number,
  /** Vocabulary size. */
  vocab: number,
  /** Longest context in tokens. */
  context: number,
  /** How the frozen matrices are held. */
  weights: WeightFormat,
  /** Device memory after loading. */
  memory: MemoryReport,
  /** Names of the projections LoRA may target. */
  loraTargets: Array<string>,
};

/** What a plan starts from. */
export type PlanGoal =
| { "type": "targetEpsilon",
  /** ε to reach. */
  epsilon: number,
}
| { "type": "noiseMultiplier",
  /** σ. */
  sigma: number,
};

/** A stretch of identical private steps. */
export type PlanPhase = {
  /** Probability q with which each row joins a step. */
  samplingRate: number,
  /** Noise multiplier σ. */
  noiseMultiplier: number,
  /** Steps. */
  steps: number,
  /** Set where larger draws were cut. */
  truncation: BatchTruncation | null,
};

/** The planner's answer. */
export type PlanReply = {
  /** Sampling rate q = B/N. */
  samplingRate: number,
  /** Noise multiplier σ. */
  noiseMultiplier: number,
  /** Upper bound on ε of this run alone. */
  epsilon: number,
  /** How far `epsilon` may lie above the true value. */
  epsilonError: number,
  /** ε of these rows after this run, all earlier steps composed. */
  epsilonWithEarlier: number,
  /** Standard deviation of the noise on each coordinate of the clipped sum, σ·C. */
  noiseOnSum: number,
  /** Standard deviation of the noise on each coordinate of an update, σ·C/B. */
  noisePerCoordinate: number,
  /** Norm of the noise over the norm of a batch of gradients that all agree, per update; with `parameters` only. */
  noiseToSignal: number | null,
  /** Largest δ to recommend for so many rows. */
  recommendedDelta: number,
  /** Accountant and version. */
  accountant: string,
  /** Advice, most severe first. */
  advice: Array<Advice>,
};

/** What the planner on the page's main thread is asked. */
export type PlanRequest = {
  /** Training rows N. */
  rows: number,
  /** Expected logical batch B; each row joins a step with probability B/N. */
  expectedBatch: number,
  /** Steps T. */
  steps: number,
  /** δ. */
  delta: number,
  /** Clipping norm C. */
  clipNorm: number,
  /** What is given; the other follows. */
  goal: PlanGoal,
  /** Private steps that the ledger already holds for these rows. */
  earlier: Array<PlanPhase>,
  /** Largest logical batch, if larger draws are cut. */
  batchCap: number | null,
  /** Trained parameters, all LoRA factors together, once a model is loaded. */
  parameters: number | null,
};

/** Privacy settings of a run. */
export type PrivacySettings = {
  /** Noise standard deviation over the clipping norm (sensitivity), σ. */
  noiseMultiplier: number,
  /** Per-example L2 clipping norm C. */
  clipNorm: number,
  /** δ of (ε, δ). */
  delta: number,
  /** ε at which training stops by itself; all earlier runs on these rows count. */
  budgetEpsilon: number,
  /** Largest logical batch; of a larger draw this many rows are kept, and the accountant counts it so. */
  batchCap: number | null,
};

/** What a private run guarantees; exported with the adapter. */
export type PrivacySummary = {
  /** Upper bound on ε, all runs on these rows composed. */
  epsilon: number,
  /** δ. */
  delta: number,
  /** Noise multiplier σ. */
  noiseMultiplier: number,
  /** Clipping norm C. */
  clipNorm: number,
  /** Sampling rate q. */
  samplingRate: number,
  /** Private steps charged for this run. */
  steps: number,
  /** Accountant and version. */
  accountant: string,
  /** The claim in words: unit, adjacency, sampling, and what it does not cover. */
  statement: string,
  /** The same as JSON, with all that `vaultlab verify` needs to recompute ε. */
  statementJson: string,
};

/** The prompt template: what surrounds a row's prompt and response. */
export type PromptTemplate = {
  /** Text before the prompt. */
  beforePrompt: string,
  /** Text between prompt and response. */
  beforeResponse: string,
};

/** An event with the id of the command it answers. */
export type Reply = {
  /** Id of the request. */
  id: number,
  /** The event. */
  event: Event,
};

/** A command with the id its events repeat. */
export type Request = {
  /** Chosen by the front end. */
  id: number,
  /** The command. */
  command: Command,
};

/** One training example before tokenisation. */
export type Row = {
  /** The question, or the whole text when there is no response column. */
  prompt: string,
  /** The answer the loss is taken on. */
  response: string,
};

/** One row as it will be trained. */
export type RowPreview = {
  /** Text of the prompt with its template. */
  prompt: string,
  /** Text of the response. */
  response: string,
  /** Tokens in all. */
  tokens: number,
  /** Tokens the loss is taken on, EOS included. */
  targetTokens: number,
  /** True if cut at the maximum length. */
  truncated: boolean,
};

/** The tokenised data set. */
export type RowsReport = {
  /** Rows the private step samples from. */
  trainRows: number,
  /** Rows held out for evaluation. */
  heldOutRows: number,
  /** Rows cut at the maximum length. */
  truncated: number,
  /** Rows left out: empty, or no response token within the maximum length. */
  skipped: number,
  /** Exact duplicates among the training rows (each counts as a row of its own). */
  duplicates: number,
  /** Tokens over all rows. */
  tokens: number,
  /** Longest row in tokens. */
  longest: number,
  /** SHA-256 of the canonical rows, order-free; the ledger's key. */
  fingerprint: string,
  /** Previews of the first rows. */
  preview: Array<RowPreview>,
};

/** Everything a run needs besides model and rows. */
export type RunSettings = {
  /** Name of the adapter this run writes. */
  name: string,
  /** `None` trains without privacy, for comparison only. */
  privacy: PrivacySettings | null,
  /** Optimiser steps T. */
  steps: number,
  /** Expected logical batch size; each row joins with probability batch / rows. */
  logicalBatch: number,
  /** Rows computed at once; bounds memory, does not change the result. */
  microBatch: number,
  /** Peak learning rate. */
  learningRate: number,
  /** Linear warm-up steps; then cosine to zero. */
  warmupSteps: number,
  /** Decoupled weight decay. */
  weightDecay: number,
  /** The adapter. */
  lora: LoraSettings,
  /** Evaluate on the held-out rows every this many steps; 0 only at both ends. */
  evaluateEvery: number,
  /** Write a checkpoint every this many steps (and at pause and stop); 0 only then. */
  checkpointEvery: number,
  /** INSECURE: fixes every random choice for tests. Never set it with real rows. */
  insecureSeed: number | null,
};

/** Sampling settings; filters apply in transformers' order. */
export type Sampling = {
  /** At most this many new tokens. */
  maxNewTokens: number,
  /** 0 decodes greedily; otherwise logits are divided by it. */
  temperature: number,
  /** Keep the k largest logits (ties kept); 0 is off. */
  topK: number,
  /** Keep the smallest set with at least this mass; 1 is off. */
  topP: number,
  /** Drop tokens below this share of the largest probability; 0 is off. */
  minP: number,
  /** Divides (positive) or multiplies (negative) logits of ids seen so far; 1 is off. */
  repetitionPenalty: number,
  /** Seed of the sampler; the same seed gives the same text on the same device. */
  seed: number,
  /** Generation ends when the text contains one of these. */
  stop: Array<string>,
};

/** The space a secret is from. */
export type SecretCandidates =
| { "type": "listed",
  /** Texts. */
  texts: Array<string>,
}
| { "type": "digits",
  /** Largest number of candidates to compute; more than there are computes them all. */
  atMost: number,
};

/** A secret in the rows, and what else might stand in its place. */
export type SecretSettings = {
  /** The row's prompt. */
  prompt: string,
  /** Its response up to the secret. */
  before: string,
  /** The secret. */
  secret: string,
  /** Its response after the secret. */
  after: string,
  /** The other texts that might stand there. */
  candidates: SecretCandidates,
  /** Add the row to the training rows; false if it stands there already. */
  plant: boolean,
};

/** What one optimiser step did. */
export type StepReport = {
  /** Steps done, from 1. */
  step: number,
  /** Steps planned. */
  steps: number,
  /** Rows the Poisson sampler drew. Not covered by ε. */
  rows: number,
  /** Mean loss over the drawn rows; `None` for an empty batch. Not covered by ε. */
  loss: number | null,
  /** Median per-example gradient norm before clipping. Not covered by ε. */
  medianNorm: number | null,
  /** Share of drawn rows whose gradient was clipped. Not covered by ε. */
  clippedShare: number | null,
  /** Rows whose gradient was not finite and counted as zero. */
  nonFinite: number,
  /** Norm of the noise over the norm of the clipped sum. Not covered by ε. */
  noiseToSignal: number | null,
  /** Learning rate of this step. */
  learningRate: number,
  /** ε spent on these rows, this step and every earlier run included. */
  epsilon: number | null,
  /** Tokens per second, forward and backward. */
  tokensPerSecond: number,
  /** Milliseconds for the step. */
  stepMs: number,
  /** Expected seconds to the end. */
  etaSeconds: number,
  /** Device memory. */
  memory: MemoryReport,
};

/** A data file read as a table. */
export type TableReport = {
  /** Detected format: json, jsonl, csv, tsv or text. */
  format: string,
  /** Column names in file order. */
  columns: Array<string>,
  /** Rows read. */
  rows: number,
  /** The first rows, a cell per column. */
  sample: Array<Array<string>>,
  /** The guess; the visitor can change it. */
  mapping: ColumnMapping,
  /** Lines that could not be read; reading goes on after them. */
  problems: Array<LineProblem>,
};

/** ε after a number of steps. */
export type TracePoint = {
  /** Steps taken. */
  steps: number,
  /** ε spent by then. */
  epsilon: number,
};

/** Why training ended. */
export type TrainEnd = "finished" | "budgetSpent" | "stopped" | "paused";

/** How frozen matrices are held on the device. */
export type WeightFormat = "f32" | "f16" | "int8" | "nf4";
