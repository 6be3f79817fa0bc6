"""A small made-up medical world, drawn from a seed.

Thirty glands each make one hormone; each hormone raises one thing in the body; each drug raises
one hormone; each disease is a lack of one hormone, shows first as a low level of what that hormone
raises, and is treated with the drug that raises it. So the facts agree with each other, and none of
them is about real medicine.
"""

import random
from dataclasses import dataclass

SIZE = 30

BODY_VALUES = """blood salt|heart rate|night sight|bone growth|skin warmth|deep sleep|muscle force|blood sugar|hair growth|
tear flow|hearing|thirst|appetite|iron level|pulse strength|finger grip|lung volume|stomach acid|memory|balance|
blood pressure|sweat flow|voice strength|sense of smell|wound healing|calm mood|joint glide|milk flow|
taste|nail growth""".replace("\n", "").split("|")

SIDE_EFFECTS = """dry mouth|cold hands|red eyes|light sleep|itchy skin|sore throat|back pain|short breath|loud dreams|
weak knees|blue lips|stiff neck|wet palms|slow speech|ear ringing|sharp hunger|pale cheeks|dull headache|
numb toes|heavy legs|runny nose|warm ears|hiccups|sneezing|yawning|dizzy spells|tired eyes|shaky hands|mild fever|
swollen feet""".replace("\n", "").split("|")

PLACES = """behind the left lung|under the tongue|above the right kidney|below the heart|beside the spleen|
inside the left knee|behind the nose|under the liver|near the throat|inside the hip|above the stomach|
behind the right ear|below the ribs|near the left elbow|under the jaw|beside the spine|inside the wrist|
behind the eyes|above the ankle|below the navel|near the collar bone|under the shoulder|inside the thigh|
beside the bladder|behind the heart|above the left lung|near the temple|under the palm|inside the chest wall|
below the tail bone""".replace("\n", "").split("|")

ONSETS = "b br d dr f fl g gl k kl l m n p pl pr r s sk st t tr v z".split()
VOWELS = "a e i o u".split()
CODAS = "l m n r s".split()


@dataclass(frozen=True)
class World:
    """Names by index; index i of one list belongs to index i of the lists it depends on."""

    glands: list
    hormones: list
    drugs: list
    diseases: list
    raises: list
    places: list
    side_effects: list
    doses: list
    staff: list


def invent(rng, count, ending, taken, syllables=2):
    """`count` pronounceable names with `ending`; no two names in the world share their beginning."""
    names = []
    while len(names) < count:
        parts = [rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(syllables)]
        stem = "".join(parts) + (rng.choice(CODAS) if ending else "")
        if stem[:4] in taken:
            continue
        taken.add(stem[:4])
        names.append(stem + ending)
    return names


def shuffled(rng, values):
    values = list(values)
    rng.shuffle(values)
    return values


def build(seed, staff=160):
    rng = random.Random(f"world {seed}")
    taken = set()
    glands = invent(rng, SIZE, "ic", taken)
    hormones = invent(rng, SIZE, "in", taken)
    drugs = invent(rng, SIZE, "ax", taken)
    diseases = invent(rng, SIZE, "osis", taken)
    people = [name.capitalize() for name in invent(rng, staff, "", taken)]
    doses = [str(5 * step) for step in rng.sample(range(3, 199), SIZE)]
    return World(
        glands,
        hormones,
        drugs,
        diseases,
        shuffled(rng, BODY_VALUES),
        shuffled(rng, PLACES),
        shuffled(rng, SIDE_EFFECTS),
        doses,
        people,
    )
