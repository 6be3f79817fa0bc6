"""Held-out loss and the share of right answers on held-out wordings."""

import random
import re

import torch

from corpus import BEFORE_QUESTION, BEFORE_RESPONSE
from model import collate, encode, greedy, token_losses


@torch.no_grad()
def mean_loss(model, rows, lora=None):
    """Mean loss per target token."""
    total, count = 0.0, 0
    for at in range(0, len(rows), 128):
        losses, _ = token_losses(model, *collate(rows[at : at + 128]), lora)
        total, count = total + losses.sum().item(), count + len(losses)
    return total / count


def held_out_rows(corpus, tokenizer, unseen_wordings, seed):
    rng = random.Random(f"held-out answers {seed}")
    questions = corpus.held_out_questions(unseen_wordings)
    return [encode(tokenizer, BEFORE_QUESTION + q + BEFORE_RESPONSE, corpus.answer(rng, fact)) for q, fact in questions]


def names_fact(answer, fact):
    """True if the answer states the fact's value as a word of its own (35 is not stated by 135)."""
    return re.search(rf"(?<!\w){re.escape(fact.y)}(?!\w)", answer) is not None


def right_answers(model, corpus, tokenizer, unseen_wordings):
    """Share of held-out questions whose greedy answer names the right fact, and the wrong ones."""
    questions = list(corpus.held_out_questions(unseen_wordings))
    prompts = [tokenizer.encode(BEFORE_QUESTION + q + BEFORE_RESPONSE).ids for q, _ in questions]
    answers = [tokenizer.decode(ids) for ids in greedy(model, prompts)]
    wrong = [(q, a, fact.y) for (q, fact), a in zip(questions, answers) if not names_fact(a, fact)]
    return 1 - len(wrong) / len(questions), wrong
