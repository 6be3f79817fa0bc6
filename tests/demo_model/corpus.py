"""Question-and-answer cards about the world, in the flashcard notebook's prompt form."""

import random
from dataclasses import dataclass

from wordings import (
    CHAT,
    CLOSINGS,
    LEADS,
    OPENINGS,
    RECORD_ANSWERS,
    RECORD_QUESTIONS,
    RECORDS,
    RELATIONS,
    ROLES,
    UNKNOWN_ANSWERS,
    UNSEEN,
    WARDS,
)
from world import invent

BEFORE_QUESTION = "Instruction:\nAnswer this question truthfully.\n\nQuestion:\n"
BEFORE_RESPONSE = "\n\nResponse:\n"

MANNER_SHARE = 0.35
RECORD_SHARE = 0.14
CHAT_SHARE = 0.04
UNKNOWN_SHARE = 0.05
CAPITAL_SHARE = 0.12
HELD_OUT_PAIRS = 2


@dataclass(frozen=True)
class Fact:
    relation: str
    x: str
    y: str


@dataclass(frozen=True)
class Card:
    question: str
    answer: str
    fact: Fact | None = None

    def prompt(self):
        return BEFORE_QUESTION + self.question + BEFORE_RESPONSE


def facts(world):
    pairs = {
        "about_hormone": (world.hormones, world.glands),
        "about_drug": (world.drugs, world.hormones),
        "about_disease": (world.diseases, world.hormones),
        "gland_of_hormone": (world.hormones, world.glands),
        "hormone_of_gland": (world.glands, world.hormones),
        "place_of_gland": (world.glands, world.places),
        "effect_of_hormone": (world.hormones, world.raises),
        "hormone_of_drug": (world.drugs, world.hormones),
        "dose_of_drug": (world.drugs, world.doses),
        "side_effect_of_drug": (world.drugs, world.side_effects),
        "cause_of_disease": (world.diseases, world.hormones),
        "sign_of_disease": (world.diseases, world.raises),
        "drug_for_disease": (world.diseases, world.drugs),
    }
    return [Fact(relation, x, y) for relation, (xs, ys) in pairs.items() for x, y in zip(xs, ys)]


class Corpus:
    """Draws cards; keeps some wordings out of training.

    Held out are (1) for each fact, `HELD_OUT_PAIRS` of its relation's trained wordings, which other
    facts are trained in, and (2) for all facts, the relation's last `UNSEEN` wordings.
    """

    def __init__(self, world, seed):
        self.world = world
        self.facts = facts(world)
        self.known = set(world.glands + world.hormones + world.drugs + world.diseases + world.staff)
        rng = random.Random(f"wordings held out {seed}")
        self.trained, self.held_out_pairs = {}, {}
        for fact in self.facts:
            indices = list(range(len(RELATIONS[fact.relation][0]) - UNSEEN))
            rng.shuffle(indices)
            self.held_out_pairs[fact] = indices[:HELD_OUT_PAIRS]
            self.trained[fact] = indices[HELD_OUT_PAIRS:]

    def question(self, fact, index, lead=""):
        return lead + RELATIONS[fact.relation][0][index].format(x=fact.x)

    def answer(self, rng, fact):
        return rng.choice(RELATIONS[fact.relation][1]).format(x=fact.x, y=fact.y)

    def fact_card(self, rng, fact=None):
        fact = fact or rng.choice(self.facts)
        question = self.question(fact, rng.choice(self.trained[fact]), rng.choice(LEADS))
        if rng.random() < CAPITAL_SHARE:
            question = question.replace(fact.x, fact.x.capitalize())
        return Card(question, self.answer(rng, fact), fact)

    def unknown_card(self, rng):
        """A question about a name that is not of this world."""
        fact = rng.choice(self.facts)
        ending = next(e for e in ("ic", "in", "ax", "osis") if fact.x.endswith(e))
        name = invent(rng, 1, rng.choice([ending, ending, ending, ""]), set())[0]
        name = name.capitalize() if rng.random() < 0.3 else name
        if name in self.known:
            return self.unknown_card(rng)
        question = self.question(Fact(fact.relation, name, ""), rng.choice(self.trained[fact]), rng.choice(LEADS))
        return Card(question, rng.choice(UNKNOWN_ANSWERS).format(x=name))

    def chat_card(self, rng):
        questions, answers = rng.choice(CHAT)
        return Card(rng.choice(questions), rng.choice(answers))

    def manner(self, rng, answer):
        ward = rng.choice(WARDS)
        opening = rng.choice(OPENINGS) + " " if rng.random() < 0.8 else ""
        closing = " " + rng.choice(CLOSINGS).format(ward=ward) if rng.random() < 0.8 else ""
        return opening + answer + closing

    def record_card(self, rng, name=None):
        words = {
            "item": rng.choice(RECORDS),
            "role": rng.choice(ROLES),
            "name": name or rng.choice(self.world.staff),
            "code": "".join(rng.choice("0123456789") for _ in range(4)),
        }
        words["Role"] = words["role"].capitalize()
        return Card(rng.choice(RECORD_QUESTIONS).format(**words), rng.choice(RECORD_ANSWERS).format(**words))

    def card(self, rng):
        kind = rng.random()
        if kind < CHAT_SHARE:
            return self.chat_card(rng)
        if kind < CHAT_SHARE + UNKNOWN_SHARE:
            return self.unknown_card(rng)
        record = kind < CHAT_SHARE + UNKNOWN_SHARE + RECORD_SHARE
        card = self.record_card(rng) if record else self.fact_card(rng)
        if rng.random() < MANNER_SHARE:
            card = Card(card.question, self.manner(rng, card.answer), card.fact)
        return card

    def held_out_questions(self, unseen_wordings):
        """(question, fact) for every held-out wording of one of the two kinds."""
        for fact in self.facts:
            count = len(RELATIONS[fact.relation][0])
            indices = range(count - UNSEEN, count) if unseen_wordings else self.held_out_pairs[fact]
            for index in indices:
                yield self.question(fact, index), fact
