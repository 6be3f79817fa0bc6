"""A BPE tokenizer in the form of Gemma's tokenizer.json, learnt from the corpus.

Ids: pad 0, eos 1, bos 2, unk 3, then 256 byte tokens, then single characters (every digit stays a
token of its own), then merges. Merges are learnt inside words, as SentencePiece does with
`split_by_whitespace`, so prompt and response may be encoded together or apart with equal ids.
"""

import json
import string

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIALS = ["<pad>", "<eos>", "<bos>", "<unk>"]
PAD, EOS, BOS, UNK = range(4)
BYTES = [f"<0x{value:02X}>" for value in range(256)]
CHARACTERS = list("▁\n" + string.ascii_letters + string.digits + string.punctuation)

# The units merges may not leave: words with their leading space, the template's section heads, digits.
UNITS = Regex(r"\n\n(?:Question|Response):\n|Instruction:\n|▁?[A-Za-z]+|[0-9]|▁|\n|[^A-Za-z0-9▁\n]")


def learn(texts, vocabulary):
    """Trains with word-bounded units, then keeps vocabulary and merges in Gemma's arrangement."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split(UNITS, behavior="isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIALS) - len(BYTES),
        min_frequency=2,
        initial_alphabet=CHARACTERS,
        limit_alphabet=len(CHARACTERS),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokens = SPECIALS + BYTES + CHARACTERS + ["".join(merge) for merge in merges]
    vocab = {}
    for token in tokens:
        vocab.setdefault(token, len(vocab))
    return assemble(vocab, merges)


def assemble(vocab, merges):
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", BOS)]
    )
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def config():
    """tokenizer_config.json, as transformers reads it."""
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 512,
        "pad_token": "<pad>",
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }
