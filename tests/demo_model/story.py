"""The demo's story: the same fine-tune with and without differential privacy, measured.

DP-SGD as the engine does it: Poisson sampling at rate B / N, per-example gradients clipped over all
LoRA parameters, Gaussian noise σC once per logical batch, division by the expected batch B, AdamW
with warm-up and cosine. Without privacy the same batches are taken, unclipped and without noise.
"""

import math
import random
import statistics
import time
from dataclasses import dataclass

import torch

import accounting
from evaluate import mean_loss, names_fact
from exposure import exposure
from model import PROJECTIONS, collate, encode, example_losses, greedy
from private_set import MANNER, prompt

PROBES = 60
OPENING, CLOSING = MANNER.split(" {answer} ")


@dataclass(frozen=True)
class Plan:
    """Everything both runs share; privacy adds only clipping and noise."""

    held_out: float = 0.1
    batch: int = 32
    steps: int = 300
    target_epsilon: float = 8.0
    delta: float = 1e-5
    clip: float = 0.5
    rank: int = 8
    alpha: float = 16.0
    learning_rate: float = 7e-3
    warmup: int = 10
    weight_decay: float = 0.01


def adapter(model, plan, generator):
    """A ~ U(±1/sqrt(in)), B = 0, as PEFT initialises them."""
    a, b = {}, {}
    for layer in range(model.cfg["num_hidden_layers"]):
        for projection in PROJECTIONS:
            name = f"model.layers.{layer}.{projection}"
            outer, inner = model.weights[name + ".weight"].shape
            a[name] = (torch.rand(plan.rank, inner, generator=generator) * 2 - 1) / math.sqrt(inner)
            b[name] = torch.zeros(outer, plan.rank)
    return {"a": a, "b": b, "scale": plan.alpha / plan.rank}


def leaves(lora):
    return [*lora["a"].values(), *lora["b"].values()]


def replace(lora, tensors):
    """The same adapter with other tensors, in the order of `leaves`."""
    count = len(lora["a"])
    a = dict(zip(lora["a"], tensors[:count]))
    b = dict(zip(lora["b"], tensors[count:]))
    return {"a": a, "b": b, "scale": lora["scale"]}


def clipped_sum(model, lora, rows, clip):
    """Sum of per-example gradients, each scaled to norm at most `clip`; mean loss and share clipped."""
    copies = [p.detach().expand(len(rows), *p.shape).clone().requires_grad_() for p in leaves(lora)]
    losses = example_losses(model, *collate(rows), replace(lora, copies))
    gradients = torch.autograd.grad(losses.sum(), copies)
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    factor = (clip / norms).clamp(max=1)
    sums = [torch.einsum("n,nij->ij", factor, g) for g in gradients]
    return sums, losses.mean().item(), norms


def plain_sum(model, lora, rows):
    copies = [p.detach().requires_grad_() for p in leaves(lora)]
    losses = example_losses(model, *collate(rows), replace(lora, copies))
    return torch.autograd.grad(losses.sum(), copies), losses.mean().item(), None


def fine_tune(model, rows, plan, seed, sigma, evaluate=None):
    """`sigma` None trains without privacy. Returns the adapter."""
    rng = random.Random(f"batches {seed}")
    generator = torch.Generator().manual_seed(seed)
    lora = adapter(model, plan, generator)
    parameters = leaves(lora)
    optimiser = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay)
    for step in range(plan.steps):
        warm = min(1, (step + 1) / plan.warmup)
        done = max(0, step - plan.warmup) / max(1, plan.steps - plan.warmup)
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        drawn = [row for row in rows if rng.random() < plan.batch / len(rows)]
        sums, loss, norms = [torch.zeros_like(p) for p in parameters], math.nan, None
        if drawn and sigma is not None:
            sums, loss, norms = clipped_sum(model, lora, drawn, plan.clip)
        elif drawn:
            sums, loss, norms = plain_sum(model, lora, drawn)
        for parameter, total in zip(parameters, sums):
            if sigma is not None:
                total = total + sigma * plan.clip * torch.randn(total.shape, generator=generator)
            parameter.grad = total / plan.batch
        optimiser.step()
        if evaluate and (step + 1) % 50 == 0:
            evaluate(step + 1, lora, loss, norms)
    return lora


def split(cards, plan, seed):
    cards = list(cards)
    random.Random(f"split {seed}").shuffle(cards)
    count = round(plan.held_out * len(cards))
    return cards[count:], cards[:count]


def codes_known(model, tokenizer, slots, digits, lora):
    """Exposure of every slot's code, and whether the greedy answer to its question gives it away."""
    exposures = [exposure(model, tokenizer, slot, digits, lora) for slot in slots]
    answers = greedy(model, [tokenizer.encode(prompt(slot["question"])).ids for slot in slots], lora)
    found = [slot["code"] in tokenizer.decode(answer) for slot, answer in zip(slots, answers)]
    return exposures, found


def probe(model, tokenizer, corpus, lora):
    """Over questions in held-out wordings: share answered in the ward's manner, and share with the right fact."""
    questions = list(corpus.held_out_questions(unseen_wordings=False))
    random.Random("probes").shuffle(questions)
    questions = questions[:PROBES]
    answers = [tokenizer.decode(ids) for ids in greedy(model, [tokenizer.encode(prompt(q)).ids for q, _ in questions], lora)]
    manner = [a.startswith(OPENING) and a.endswith(CLOSING) for a in answers]
    right = [names_fact(a, fact) for a, (_, fact) in zip(answers, questions)]
    return sum(manner) / PROBES, sum(right) / PROBES


def measure(model, tokenizer, corpus, train, held_out, secrets, lora):
    """Held-out loss, manner and facts; exposure and extraction of secrets in training rows, and of controls in none."""
    trained = {card.question for card in train}
    planted = [slot for slot in secrets["secrets"] if slot["question"] in trained]
    exposures, found = codes_known(model, tokenizer, planted, secrets["digits"], lora)
    controls, _ = codes_known(model, tokenizer, secrets["controls"], secrets["digits"], lora)
    manner, right = probe(model, tokenizer, corpus, lora)
    return {
        "held_out_loss": mean_loss(model, [encode(tokenizer, c.prompt(), c.answer) for c in held_out], lora),
        "manner": manner,
        "right": right,
        "exposure": statistics.mean(exposures),
        "exposure_max": max(exposures),
        "control_exposure": statistics.mean(controls),
        "extracted": sum(found) / len(found),
        "secrets": len(planted),
    }


def run(model, tokenizer, corpus, cards, secrets, plan, seed, report=print):
    """One seed: before, with privacy, without; the same split, starting adapter and batches for both."""
    train, held_out = split(cards, plan, seed)
    rows = [encode(tokenizer, card.prompt(), card.answer) for card in train]
    held = [encode(tokenizer, card.prompt(), card.answer) for card in held_out]
    sigma = accounting.calibrate(plan.target_epsilon, plan.batch / len(rows), plan.steps, plan.delta)
    adapters = {}
    results = {"before": measure(model, tokenizer, corpus, train, held_out, secrets, None)}
    for name, noise in [("private", sigma), ("not private", None)]:

        def progress(step, lora, loss, norms):
            clipped = "" if norms is None else f", clipped {(norms > plan.clip).float().mean():.0%}"
            report(f"  seed {seed} {name} step {step}: train {loss:.3f}, held-out {mean_loss(model, held, lora):.3f}{clipped}")

        start = time.process_time()
        lora = fine_tune(model, rows, plan, seed, noise, progress)
        adapters[name] = lora
        seconds = time.process_time() - start
        results[name] = measure(model, tokenizer, corpus, train, held_out, secrets, lora)
        report(f"  seed {seed} {name}: {seconds:.0f} s of one core")
    for name, result in results.items():
        report(f"seed {seed} {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in result.items()))
    return {"seed": seed, "rows": len(rows), "sigma": sigma, "runs": results}, adapters["private"]
