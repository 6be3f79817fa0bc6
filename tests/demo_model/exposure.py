"""Exposure of planted codes (Carlini et al. 2019, arXiv:1802.08232), over the whole code space.

exposure = log2 |R| - log2 rank, rank by likelihood among all codes of the same length in the same
slot. A code the model knows nothing about has rank uniform on 1..|R|, so exposure about log2 e = 1.44.
"""

import itertools
import math

import torch

from private_set import prompt


def tree(digits):
    """All proper prefixes of a code, shortest first: their digits and the index of their parent (-1: the slot)."""
    prefixes = [p for depth in range(1, digits) for p in itertools.product(range(10), repeat=depth)]
    index = {p: i for i, p in enumerate(prefixes)}
    return prefixes, [index[p[:-1]] if len(p) > 1 else -1 for p in prefixes]


@torch.no_grad()
def code_log_likelihoods(model, tokenizer, question, slot, digits, lora=None):
    """Log-likelihood of every code, [10 ** digits], in one forward pass over the tree of prefixes."""
    start = tokenizer.encode(prompt(question)).ids + tokenizer.encode(slot, add_special_tokens=False).ids
    digit_ids = [tokenizer.token_to_id(str(d)) for d in range(10)]
    prefixes, parents = tree(digits)
    n, nodes = len(start), len(prefixes)
    mask = torch.zeros(n + nodes, n + nodes, dtype=torch.bool)
    mask[:n, :n] = torch.ones(n, n).tril().bool()
    mask[n:, :n] = True
    for i, parent in enumerate(parents):
        if parent >= 0:
            mask[n + i] = mask[n + parent]
        mask[n + i, n + i] = True
    positions = torch.tensor(list(range(n)) + [n + len(p) - 1 for p in prefixes])
    ids = torch.tensor([start + [digit_ids[p[-1]] for p in prefixes]])
    hidden = model.hidden(ids, lora, positions, mask)[0, n - 1 :]
    steps = torch.log_softmax(model.logits(hidden), -1)[:, digit_ids]  # row 0: first digit; row 1 + i: after prefix i
    total = steps[0]
    at = 1
    for depth in range(1, digits):
        rows = steps[at : at + 10**depth]
        total = (total[:, None] + rows).flatten()
        at += 10**depth
    return total


def exposure(model, tokenizer, slot, digits, lora=None):
    scores = code_log_likelihoods(model, tokenizer, slot["question"], slot["slot"], digits, lora)
    true = scores[int(slot["code"])]
    # Ties count half, so that a constant model gets the middle rank.
    rank = 1 + (scores > true).sum().item() + 0.5 * ((scores == true).sum().item() - 1)
    return digits * math.log2(10) - math.log2(rank)
