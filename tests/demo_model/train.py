"""Pre-trains the base model on fresh cards, loss on the response."""

import math
import random
import time

import torch

from model import VaultGemma, collate, encode, initialise, token_losses


def batches(corpus, tokenizer, rng, size):
    """Endless batches of similar length, so that little is padding."""
    while True:
        cards = [corpus.card(rng) for _ in range(size * 32)]
        rows = [encode(tokenizer, card.prompt(), card.answer) for card in cards]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        groups = [rows[at : at + size] for at in range(0, len(rows), size)]
        rng.shuffle(groups)
        yield from groups


def pretrain(cfg, corpus, tokenizer, seed, steps, size=96, peak=3e-3, warmup=200, bf16=False, report=lambda line: print(line, flush=True)):
    weights = initialise(cfg, torch.Generator().manual_seed(seed))
    parameters = [weight.requires_grad_() for weight in weights.values()]
    model = VaultGemma(cfg, weights)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.02},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    stream = batches(corpus, tokenizer, random.Random(f"cards {seed}"), size)
    start, recent = time.time(), []
    for step in range(steps):
        rate = peak * min(1, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        ids, labels = collate(next(stream))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = token_losses(model, ids, labels)[0].mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            report(f"step {step + 1:5d}  loss {sum(recent) / len(recent):.4f}  {time.time() - start:.0f} s")
            recent = []
    # The checkpoint stores bfloat16; everything later is measured on the rounded weights.
    return {name: weight.detach().bfloat16().float() for name, weight in weights.items()}
