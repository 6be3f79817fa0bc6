// A scripted engine behind the real engine's interface. It computes nothing: it answers every command
// with events of the right shape, so that the page can be tested in seconds and made to meet every
// error. The product build never contains it; only the page's tests name it to Vite.

export default async function init() {}

const TICK = 5;
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const MEMORY = { inUse: 12_000_000, reserved: 16_000_000, peak: 14_000_000 };
const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.report = { code, message, kept: 'What was there before is still there.', advice: 'Choose another file or setting.' };
  }
}

export class Engine {
  #host;
  #model = null;
  #table = null;
  #rows = null;
  #adapters = new Map();
  #asked = null;

  constructor(host) {
    this.#host = host;
  }

  async handle(request, files) {
    const emit = (event, bytes = null) => this.#host.emit({ id: request.id, event }, bytes);
    try {
      await this[request.command.type](request.command, emit, files ?? []);
      emit({ type: 'done' });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      emit({ type: 'failed', ...error.report });
    }
  }

  async openDevice({ choice }, emit) {
    const gpu = choice === 'gpu';
    emit({
      type: 'device',
      kind: gpu ? 'gpu' : 'cpu',
      name: gpu ? 'Scripted adapter' : 'CPU (SIMD)',
      software: gpu,
      reason: choice === 'auto' ? 'This browser offers no hardware WebGPU adapter.' : 'You chose it.',
      maxBindingBytes: gpu ? 134_217_728 : 0,
      maxBufferBytes: gpu ? 268_435_456 : 0,
    });
  }

  async loadModel({ name, weights }, emit, files) {
    const config = files.find((file) => file.name === 'config.json');
    if (!config) throw new Failure('badModel', 'config.json is missing.');
    let read = 0;
    const total = files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files) {
      read += (await file.read(0, file.size)).byteLength;
      emit({ type: 'progress', stage: 'Reading weights', done: read, total, unit: 'bytes', etaSeconds: 0 });
    }
    const parsed = JSON.parse(new TextDecoder().decode(await config.read(0, config.size)));
    this.#model = { name };
    emit({
      type: 'model',
      name,
      modelType: parsed.model_type,
      parameters: 1_300_000,
      layers: parsed.num_hidden_layers,
      hidden: parsed.hidden_size,
      vocab: parsed.vocab_size,
      context: parsed.max_position_embeddings,
      weights,
      memory: MEMORY,
      loraTargets: TARGETS,
    });
  }

  async generate({ prompt, adapter, sampling }, emit) {
    this.#asked = null;
    // A connection that the policy must refuse: the engine's worker is bound like the page.
    if (prompt === 'call out') await fetch('https://example.com/').catch(() => {});
    // A trap in a wasm module is an uncaught error, and its promise never settles.
    if (prompt === 'trap') {
      setTimeout(() => {
        throw new Error('unreachable');
      });
      await new Promise(() => {});
    }
    if (prompt === 'lose the device') throw new Failure('deviceLost', 'The GPU device was lost.');
    const words = `${adapter ? `As ${adapter} learnt` : 'As the base model knows'}, the answer to “${prompt}” is forty-two. `.split(/(?<= )/);
    const tokens = [];
    let finish = 'eos';
    while (true) {
      if (this.#asked === 'cancel') finish = 'cancelled';
      else if (tokens.length === sampling.maxNewTokens) finish = 'length';
      // "never end" goes on until it is cancelled.
      else if (tokens.length < words.length || prompt === 'never end') {
        emit({ type: 'token', text: words[tokens.length % words.length] });
        tokens.push(tokens.length);
        await wait(TICK);
        continue;
      }
      break;
    }
    const text = tokens.map((_, index) => words[index % words.length]).join('').trimEnd();
    emit({ type: 'answer', text, tokens, promptTokens: 9, finish, firstTokenMs: TICK, tokensPerSecond: 1000 / TICK });
  }

  async readTable({ fileName }, emit, [file]) {
    const text = new TextDecoder().decode(await file.read(0, file.size));
    if (text.includes('\0')) throw new Failure('badData', 'The file is not text: it cannot be read as a table of rows.');
    const all = text.split('\n').filter((line) => line.trim() !== '');
    const format = /\.(jsonl|tsv)$/.exec(fileName)?.[1] ?? 'csv';
    // JSON lines have no header: the first one's keys are the columns.
    const [header, ...lines] = format === 'jsonl' ? [null, ...all] : all;
    const cellsOf = { csv: splitLine, tsv: (line) => line.split('\t'), jsonl: (line) => Object.values(JSON.parse(line)) }[format];
    const columns = format === 'jsonl' ? Object.keys(JSON.parse(all[0])) : cellsOf(header ?? '');
    const sample = [];
    const problems = [];
    lines.forEach((line, index) => {
      const cells = cellsOf(line);
      if (cells.length === columns.length) sample.push(cells);
      else problems.push({ line: index + 2, message: `has ${cells.length} cells where the header has ${columns.length}` });
    });
    if (sample.length === 0) throw new Failure('badData', `${fileName} holds no rows.`);
    this.#table = { columns, rows: sample, fileName };
    emit({
      type: 'table',
      format,
      columns,
      rows: sample.length,
      sample: sample.slice(0, 5),
      mapping: { prompt: columns.length > 1 ? columns[0] : null, response: columns.at(-1) },
      problems,
    });
  }

  async prepareRows({ settings }, emit) {
    const { columns, rows } = this.#table;
    const at = (name) => columns.indexOf(name);
    const all = rows.map((cells) => {
      const prompt = settings.mapping.prompt === null ? '' : cells[at(settings.mapping.prompt)];
      const response = cells[at(settings.mapping.response)];
      const tokens = prompt.split(/\s+/).length + response.split(/\s+/).length + 8;
      return { prompt, response, tokens: Math.min(tokens, settings.maxTokens), targetTokens: 4, truncated: tokens > settings.maxTokens };
    });
    const held = Math.round(all.length * settings.heldOut);
    this.#rows = {
      trainRows: all.length - held,
      heldOutRows: held,
      truncated: all.filter((row) => row.truncated).length,
      skipped: 0,
      duplicates: 0,
      tokens: all.reduce((sum, row) => sum + row.tokens, 0),
      longest: Math.max(...all.map((row) => row.tokens)),
      fingerprint: `rows-${all.length}`,
      preview: all.slice(0, 5),
    };
    emit({ type: 'rows', ...this.#rows });
  }

  async readLedger({ delta }, emit) {
    const { fingerprint } = this.#rows;
    const own = await this.#recorded();
    const overlaps = this.#overlaps();
    const steps = await this.#spent();
    // So much noise that the real accountant finds less than a tenth a step: it must not refuse what this engine allows.
    const phases = steps > 0 ? [{ samplingRate: 0.1, noiseMultiplier: 3, steps, truncation: null }] : [];
    const runs = (own > 0 ? 1 : 0) + overlaps.reduce((sum, overlap) => sum + overlap.runs, 0);
    emit({ type: 'ledger', fingerprint, epsilon: steps * 0.1, delta, steps, runs, phases, overlaps, incomparable: overlaps.length });
  }

  /** A file of this name shares rows with another one that was trained on. */
  #overlaps() {
    if (this.#table.fileName !== 'overlapping.csv') return [];
    return [{ fingerprint: 'another', sharedRows: 17, rows: 300, steps: 12, runs: 2 }];
  }

  /** Steps charged to these rows. */
  async #spent() {
    return (await this.#recorded()) + this.#overlaps().reduce((sum, overlap) => sum + overlap.steps, 0);
  }

  async #recorded() {
    const records = await this.#host.loadLedger(this.#rows.fingerprint);
    return records.reduce((steps, bytes) => steps + JSON.parse(new TextDecoder().decode(bytes)).steps, 0);
  }

  async train({ run }, emit) {
    await this.#run(run, 0, emit);
  }

  async resumeTraining(_command, emit, [checkpoint]) {
    const { run, step } = JSON.parse(new TextDecoder().decode(await checkpoint.read(0, checkpoint.size)));
    if (!this.#rows) throw new Failure('notReady', 'No rows are loaded.');
    await this.#run(run, step, emit);
  }

  /** ε grows by a tenth a step, so that a budget is met after ten times as many. */
  async #run(run, from, emit) {
    this.#asked = null;
    let step = from;
    let end = 'finished';
    emit({ type: 'evaluation', step, loss: 3, rows: this.#rows.heldOutRows });
    while (step < run.steps) {
      const spent = run.privacy ? await this.#spent() : 0;
      if (run.privacy && (spent + 1) * 0.1 > run.privacy.budgetEpsilon + 1e-9) {
        end = 'budgetSpent';
        break;
      }
      if (this.#asked === 'pause' || this.#asked === 'stop') {
        end = this.#asked === 'pause' ? 'paused' : 'stopped';
        break;
      }
      if (run.privacy) await this.#host.saveLedger(this.#rows.fingerprint, 'only-session', encode({ steps: (await this.#recorded()) + 1 }));
      await wait(TICK * 4);
      step += 1;
      emit({
        type: 'step',
        step,
        steps: run.steps,
        rows: run.logicalBatch,
        loss: 1 + 2 / (1 + step / 5),
        medianNorm: 1.4,
        clippedShare: run.privacy ? 0.8 : 0,
        nonFinite: 0,
        noiseToSignal: run.privacy ? 0.7 : 0,
        learningRate: run.learningRate,
        epsilon: run.privacy ? (spent + 1) * 0.1 : null,
        tokensPerSecond: 900,
        stepMs: TICK * 4,
        etaSeconds: ((run.steps - step) * TICK * 4) / 1000,
        memory: MEMORY,
      });
      if (run.evaluateEvery > 0 && step % run.evaluateEvery === 0) {
        emit({ type: 'evaluation', step, loss: 1.2 + 2 / (1 + step / 5), rows: this.#rows.heldOutRows });
      }
      if (run.checkpointEvery > 0 && step % run.checkpointEvery === 0) await this.#checkpoint(run, step, emit);
    }
    if (end === 'paused' || end === 'stopped') await this.#checkpoint(run, step, emit);
    const adapter = {
      name: run.name,
      lora: run.lora,
      parameters: 41_000,
      privacy: run.privacy && {
        epsilon: (await this.#spent()) * 0.1,
        delta: run.privacy.delta,
        noiseMultiplier: run.privacy.noiseMultiplier,
        clipNorm: run.privacy.clipNorm,
        samplingRate: 0.1,
        steps: step,
        accountant: 'scripted',
        statement: 'A scripted statement.',
        statementJson: JSON.stringify({ scripted: true, steps: step, plan: run.privacy }),
      },
      withoutPrivacy: run.privacy === null,
    };
    this.#adapters.set(run.name, adapter);
    emit({ type: 'trainEnded', end, step, adapter });
  }

  async #checkpoint(run, step, emit) {
    await this.#host.saveCheckpoint(encode({ run, step }));
    emit({ type: 'checkpointSaved', step });
  }

  async pause() {
    this.#asked = 'pause';
  }

  async stop() {
    this.#asked = 'stop';
  }

  async cancel() {
    this.#asked = 'cancel';
  }

  async exportAdapter({ adapter }, emit) {
    const { lora, withoutPrivacy, privacy } = this.#adapters.get(adapter);
    const statement = withoutPrivacy ? 'Trained WITHOUT PRIVACY, for comparison only.' : 'A scripted statement.';
    const files = {
      'adapter_config.json': encode({ peft_type: 'LORA', r: lora.rank, lora_alpha: lora.alpha, target_modules: lora.targets }),
      'adapter_model.safetensors': new Uint8Array([0, 0, 0, 0]),
      'privacy_statement.txt': new TextEncoder().encode(statement),
    };
    if (privacy) files['privacy_statement.json'] = new TextEncoder().encode(privacy.statementJson);
    emit({ type: 'adapterFiles', adapter, files: Object.keys(files) }, Object.values(files));
  }

  async importAdapter({ name }, emit, files) {
    const file = files.find((file) => file.name === 'adapter_config.json');
    const config = JSON.parse(new TextDecoder().decode(await file.read(0, file.size)));
    if (config.peft_type !== 'LORA') throw new Failure('badAdapter', 'This is not a LoRA adapter.');
    const lora = { rank: config.r, alpha: config.lora_alpha, dropout: 0, targets: config.target_modules };
    const adapter = { name, lora, parameters: 41_000, privacy: null, withoutPrivacy: false };
    this.#adapters.set(name, adapter);
    emit({ type: 'adapter', ...adapter });
  }

  async removeAdapter({ adapter }) {
    this.#adapters.delete(adapter);
  }
}

function encode(value) {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Cells of a CSV line; quotes may hold commas. */
function splitLine(line) {
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].slice(0, -1).map(([, cell]) => cell.replace(/^"|"$/g, '').replaceAll('""', '"'));
}
