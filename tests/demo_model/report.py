"""Writes what was measured next to the model: README.md, plan.json and examples.json."""

import json
import math
import random
import statistics
from dataclasses import asdict

from evaluate import names_fact
from model import greedy
from private_set import FACT_ROWS, MANNER, SECRET_ROWS, prompt

COLUMNS = [
    ("held_out_loss", "held-out loss per token", "{:.2f}"),
    ("manner", "answers in the ward's manner", "{:.0%}"),
    ("right", "answers with the right fact", "{:.0%}"),
    ("exposure", "mean exposure of the secrets (bits)", "{:.2f}"),
    ("exposure_max", "highest exposure of one secret (bits)", "{:.1f}"),
    ("control_exposure", "mean exposure of codes in no row (bits)", "{:.2f}"),
    ("extracted", "secrets given away by greedy answers", "{:.0%}"),
]


def mean_and_spread(results, run, key, form):
    values = [result["runs"][run][key] for result in results]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{form.format(statistics.mean(values))} ± {form.format(spread)}"


def story_table(results):
    lines = ["| | before | with privacy | without privacy |", "|---|---|---|---|"]
    for key, title, form in COLUMNS:
        cells = [mean_and_spread(results, run, key, form) for run in ("before", "private", "not private")]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


README = """# The embedded demo model

A VaultGemma of {parameters:,} parameters ({layers} layers, hidden {hidden}, vocabulary {vocabulary}; stored as bfloat16, meant to be computed
in float32), trained from nothing on text about a small made-up medical world. No name in it is a real drug, gland or disease.
`tests/demo_model/build.py` in this project writes every file of this folder, this page included, from seed {seed};
the figures below are from that run.

## What it knows

| questions | loss per token | right answers |
|---|---|---|
{base}

A right answer is a greedy answer that names the fact asked for. In the first row every wording was trained, but not for that fact; in the
second the wording was never trained at all. Base training: {base_steps:,} steps of {base_batch} freshly drawn cards.

## The sample private set

`private.csv` has {rows} rows in the columns `input` and `output`:

- {fact_rows} ask for facts the base knows and answer in one ward's own manner, "{manner}". That is the pattern worth learning.
- {secret_rows} each give one person's locker code, {digits} random digits, in a phrase all of them share. The people's names and the
  phrase are known to the base, which expects any digit with equal chance; the code stands in this one row only.

`secrets.json` lists the secrets, each with the question, the slot the code fills, and the code, and {controls} controls of the
same form that stand in no row.

## The story

Plan (`plan.json`): {train_rows} training rows (10 % of the rows held out), Poisson sampling with expected batch {batch}, {steps} steps, σ {sigma},
C {clip}, LoRA rank {rank} and alpha {alpha:g} on the seven projections, AdamW at {rate:g} with {warmup} warm-up steps and cosine decay, prompt masked:
ε = {epsilon:.2f} at δ = {delta:g} by Rényi accounting, per row, under adding or removing a row. The run without privacy starts from the same
adapter, and takes the same steps on the same Poisson batches at the same learning rate, with neither clipping nor noise.

Mean ± standard deviation over {seeds} seeds (each its own split, adapter, batches and noise):

{story}

Exposure is log2 of the number of codes minus log2 of the true code's rank among all {codes:,} codes by likelihood: at most {most:.2f} bits, and
1.44 bits on average for a code the model knows nothing about.

## What this shows, and what it does not

- The same rows teach the manner with and without privacy. Without it most of the codes can be read out of the adapter; with it their
  exposure is that of codes the model never saw.
- The held-out loss without privacy is lowest early and then rises: the adapter memorises its rows. These are the figures at the last step.
- ε bounds what any one row can change; that exposure stays at chance here is one measurement, not the guarantee, and exposure at chance
  would not by itself be a proof of privacy.
- The world is tiny and its wordings regular. Nothing here says how well a large model keeps its utility.
- The noise of this measurement comes from PyTorch's generator in floating point; it tells about learning, and is not a private release.
"""


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_readme(out, results, plan, **facts):
    text = README.format(
        **facts,
        manner=MANNER.format(answer="…"),
        fact_rows=FACT_ROWS,
        secret_rows=SECRET_ROWS,
        train_rows=results[0]["rows"],
        sigma=results[0]["sigma"],
        batch=plan.batch,
        steps=plan.steps,
        clip=plan.clip,
        rank=plan.rank,
        alpha=plan.alpha,
        rate=plan.learning_rate,
        warmup=plan.warmup,
        delta=plan.delta,
        seeds=len(results),
        story=story_table(results),
        codes=10 ** facts["digits"],
        most=facts["digits"] * math.log2(10),
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def write_plan(out, plan, sigma, rows):
    content = asdict(plan) | {"rows": rows, "sigma": sigma}
    write_json(out / "plan.json", content)


EXAMPLES = [
    "gland_of_hormone",
    "drug_for_disease",
    "sign_of_disease",
    "dose_of_drug",
    "place_of_gland",
    "side_effect_of_drug",
    "effect_of_hormone",
    "about_disease",
]


def write_examples(out, model, tokenizer, corpus, adapted, secrets):
    """Questions in held-out wordings that the base answers right, and prompts to compare before and after.

    `adapted` is the adapter of the first private run; the manner examples are questions it answers in the manner.
    """
    rng = random.Random("examples")
    questions = list(corpus.held_out_questions(unseen_wordings=False))
    rng.shuffle(questions)
    opening = MANNER.split(" {answer} ")[0]

    def answer(question, lora=None):
        return tokenizer.decode(greedy(model, [tokenizer.encode(prompt(question)).ids], lora)[0])

    examples = []
    for relation in EXAMPLES:
        for question, fact in questions:
            said = answer(question) if fact.relation == relation else ""
            if fact.relation == relation and names_fact(said, fact):
                examples.append({"kind": "fact", "question": question, "fact": fact.y, "answer": said})
                break
    for question, fact in questions:
        if sum(e["kind"] == "manner" for e in examples) == 2:
            break
        before, after = answer(question), answer(question, adapted)
        if names_fact(before, fact) and names_fact(after, fact) and after.startswith(opening) and not before.startswith(opening):
            examples.append({"kind": "manner", "question": question, "fact": fact.y, "before": before, "after": after})
    examples.append({"kind": "secret", "question": secrets["secrets"][0]["question"]})
    write_json(out / "examples.json", examples)
