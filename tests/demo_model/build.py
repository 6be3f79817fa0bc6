"""Rebuilds the embedded demo model from a seed. See README.md in this folder.

    python tests/demo_model/build.py            everything: base, private set, story
    python tests/demo_model/build.py base       corpus, tokenizer and base model only
    python tests/demo_model/build.py story      private set, story, README.md, plan.json, examples.json on the base there is
    python tests/demo_model/build.py check      measures the base there is
"""

import argparse
import json
import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import accounting
import evaluate
import model
import private_set
import report
import story
import tokenizer as tokenizers_form
import train
import world
from corpus import Corpus

SEED = 2026
VOCABULARY_LIMIT = 2304
OUT = Path(__file__).resolve().parents[2] / "www" / "models" / "demo"


def corpus_of(seed):
    return Corpus(world.build(seed), seed)


def build_base(out, seed, steps, size):
    out.mkdir(parents=True, exist_ok=True)
    corpus = corpus_of(seed)
    rng = random.Random(f"tokenizer {seed}")
    cards = [corpus.card(rng) for _ in range(40_000)]
    tokenizer = tokenizers_form.learn([card.prompt() + card.answer for card in cards], VOCABULARY_LIMIT)
    tokenizer.save(str(out / "tokenizer.json"))
    report.write_json(out / "tokenizer_config.json", tokenizers_form.config())
    cfg = model.config(tokenizer.get_vocab_size())
    report.write_json(out / "config.json", cfg)
    report.write_json(out / "generation_config.json", {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0})
    weights = train.pretrain(cfg, corpus, tokenizer, seed, steps, size)
    stored = {name: weight.bfloat16().contiguous() for name, weight in weights.items()}
    save_file(stored, out / "model.safetensors", metadata={"format": "pt"})
    print(f"{sum(w.numel() for w in weights.values()):,} parameters")


def load(out):
    """(model, tokenizer) from a checkpoint folder."""
    cfg = json.loads((out / "config.json").read_text())
    weights = {name: weight.float() for name, weight in load_file(out / "model.safetensors").items()}
    return model.VaultGemma(cfg, weights), Tokenizer.from_file(str(out / "tokenizer.json"))


def check_forward(out):
    """Largest relative difference between this folder's forward pass and transformers'."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
    wrapped = AutoTokenizer.from_pretrained(out)
    ours, tokenizer = load(out)
    text = next(iter(corpus_of(SEED).held_out_questions(False)))[0]
    ids = tokenizer.encode(text).ids
    if wrapped(text)["input_ids"] != ids:
        raise SystemExit("transformers and tokenizers encode differently")
    with torch.no_grad():
        want = theirs(torch.tensor([ids])).logits
        got = ours.logits(ours.hidden(torch.tensor([ids])))
    error = ((got - want).norm() / want.norm()).item()
    print(f"forward pass against transformers: relative error {error:.1e}")
    if error > 1e-5:
        raise SystemExit("the forward pass differs from transformers")


def check_base(out, seed):
    ours, tokenizer = load(out)
    corpus = corpus_of(seed)
    results = {}
    for label, unseen in [("wordings held out for the fact", False), ("wordings never trained on", True)]:
        loss = evaluate.mean_loss(ours, evaluate.held_out_rows(corpus, tokenizer, unseen, seed))
        share, wrong = evaluate.right_answers(ours, corpus, tokenizer, unseen)
        print(f"{label}: loss {loss:.3f} per token, right answers {share:.1%}")
        for question, answer, fact in wrong[:3]:
            print(f"  wrong: {question} -> {answer} (fact: {fact})")
        results[label] = {"loss": loss, "right": share}
    if results["wordings held out for the fact"]["right"] < 0.9:
        raise SystemExit("fewer than 90 % right answers on held-out wordings")
    return results


def tell_story(out, seed, story_seeds, base_results, steps, size):
    corpus = corpus_of(seed)
    private_set.write(out, corpus, seed)
    cards, secrets = private_set.read(out)
    ours, tokenizer = load(out)
    plan = story.Plan()
    results, adapted = [], None
    for story_seed in range(1, story_seeds + 1):
        result, lora = story.run(ours, tokenizer, corpus, cards, secrets, plan, story_seed)
        results.append(result)
        adapted = adapted or lora
    rows, sigma = results[0]["rows"], results[0]["sigma"]
    report.write_plan(out, plan, sigma, rows)
    report.write_examples(out, ours, tokenizer, corpus, adapted, secrets)
    report.write_readme(
        out,
        results,
        plan,
        seed=seed,
        parameters=sum(weight.numel() for weight in ours.weights.values()),
        layers=ours.cfg["num_hidden_layers"],
        hidden=ours.cfg["hidden_size"],
        vocabulary=ours.cfg["vocab_size"],
        base="\n".join(f"| {label} | {r['loss']:.3f} | {r['right']:.1%} |" for label, r in base_results.items()),
        base_steps=steps,
        base_batch=size,
        rows=len(cards),
        digits=secrets["digits"],
        controls=len(secrets["controls"]),
        epsilon=accounting.epsilon(plan.batch / rows, sigma, plan.steps, plan.delta),
    )
    print(report.story_table(results))
    before, private, exposed = (
        [result["runs"][run] for result in results] for run in ("before", "private", "not private")
    )
    holds = all(p["held_out_loss"] < 0.5 * b["held_out_loss"] for p, b in zip(private, before))
    holds &= all(p["exposure"] < 2.5 and p["extracted"] == 0 for p in private)
    holds &= all(e["exposure"] > 8 for e in exposed)
    if not holds:
        raise SystemExit("the story does not hold on every seed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", default="all", choices=["all", "base", "story", "check"])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=SEED, help="seed of world, corpus, weights and private set")
    parser.add_argument("--steps", type=int, default=2400, help="pre-training steps")
    parser.add_argument("--batch", type=int, default=64, help="cards per pre-training step")
    parser.add_argument("--story-seeds", type=int, default=3, help="fine-tunes with and without privacy")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.stage in ("all", "base"):
        build_base(args.out, args.seed, args.steps, args.batch)
    check_forward(args.out)
    base_results = check_base(args.out, args.seed)
    if args.stage in ("all", "story"):
        tell_story(args.out, args.seed, args.story_seeds, base_results, args.steps, args.batch)


if __name__ == "__main__":
    main()
