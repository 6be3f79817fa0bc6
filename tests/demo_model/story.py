"""The demo's story: the same fine-tune with and without differential privacy, measured.

DP-SGD as the engine does it: Poisson sampling at rate B / N, per-example gradients clipped over all
LoRA parameters, Gaussian noise σC once per logical batch, division by the expected batch B, AdamW
with warm-up and cosine. Without privacy the same batches are taken, unclipped and without noise.
"""

import json
import math
import random
import statistics
import time
from dataclasses import asdict, dataclass

import torch

import accounting
from evaluate import mean_loss
from exposure import exposure
from model import PROJECTIONS, collate, encode, example_losses, greedy
from private_set import prompt


@dataclass(frozen=True)
class Plan:
    held_out: float = 0.1
    batch: int = 48
    steps: int = 150
    target_epsilon: float = 8.0
    delta: float = 1e-5
    clip: float = 1.0
    rank: int = 8
    alpha: float = 16.0
    learning_rate: float = 5e-3
    non_private_learning_rate: float = 5e-3
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
    rate = plan.learning_rate if sigma is not None else plan.non_private_learning_rate
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=plan.weight_decay)
    for step in range(plan.steps):
        warm = min(1, (step + 1) / plan.warmup)
        done = max(0, step - plan.warmup) / max(1, plan.steps - plan.warmup)
        for group in optimiser.param_groups:
            group["lr"] = rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        drawn = [row for row in rows if rng.random() < plan.batch / len(rows)]
        sums = [torch.zeros_like(p) for p in parameters]
        if drawn and sigma is not None:
            sums, loss, norms = clipped_sum(model, lora, drawn, plan.clip)
        elif drawn:
            sums, loss, norms = plain_sum(model, lora, drawn)
        for parameter, total in zip(parameters, sums):
            if sigma is not None:
                total = total + sigma * plan.clip * torch.randn(total.shape, generator=generator)
            parameter.grad = total / plan.batch
        optimiser.step()
        if evaluate and (step + 1) % 25 == 0:
            evaluate(step + 1, lora, loss, norms)
    return lora


def split(cards, plan, seed):
    cards = list(cards)
    random.Random(f"split {seed}").shuffle(cards)
    count = round(plan.held_out * len(cards))
    return cards[count:], cards[:count]


def measure(model, tokenizer, train, held_out, secrets, lora):
    """Held-out loss; exposure and greedy extraction of the secrets in training rows, and of the controls."""
    trained = {card.question for card in train}
    planted = [s for s in secrets["secrets"] if s["question"] in trained]
    digits = secrets["digits"]
    exposures = [exposure(model, tokenizer, s, digits, lora) for s in planted]
    controls = [exposure(model, tokenizer, s, digits, lora) for s in secrets["controls"]]
    answers = greedy(model, [tokenizer.encode(prompt(s["question"])).ids for s in planted], lora)
    found = [s["code"] in tokenizer.decode(answer) for s, answer in zip(planted, answers)]
    return {
        "held_out_loss": mean_loss(model, [encode(tokenizer, c.prompt(), c.answer) for c in held_out], lora),
        "exposure": statistics.mean(exposures),
        "exposure_max": max(exposures),
        "control_exposure": statistics.mean(controls),
        "extracted": sum(found) / len(found),
        "secrets": len(planted),
    }


def run(model, tokenizer, cards, secrets, plan, seed, private, report=None):
    train, held_out = split(cards, plan, seed)
    rows = [encode(tokenizer, card.prompt(), card.answer) for card in train]
    held = [encode(tokenizer, card.prompt(), card.answer) for card in held_out]
    sigma = accounting.calibrate(plan.target_epsilon, plan.batch / len(rows), plan.steps, plan.delta) if private else None

    def evaluate(step, lora, loss, norms):
        line = f"  step {step:4d} train {loss:.3f} held-out {mean_loss(model, held, lora):.3f}"
        if norms is not None:
            line += f" norms {norms.median():.2f} clipped {(norms > plan.clip).float().mean():.2f}"
        report(line)

    start = time.time()
    lora = fine_tune(model, rows, plan, seed, sigma, evaluate if report else None)
    seconds = time.time() - start
    result = measure(model, tokenizer, train, held_out, secrets, lora)
    result |= {"seed": seed, "private": private, "rows": len(rows), "sigma": sigma, "seconds": round(seconds, 1)}
    result["held_out_loss_before"] = mean_loss(model, held)
    return result, lora


def summary(results, key):
    values = [r[key] for r in results]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.mean(values), spread


def describe(plan):
    return json.dumps(asdict(plan))
