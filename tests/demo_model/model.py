"""VaultGemma's forward pass over a plain dictionary of weights, with optional LoRA.

Weights carry the checkpoint's names. `build.py` compares this forward with transformers'
VaultGemmaForCausalLM before anything is measured. LoRA matrices may be shared, A [r, in] and
B [out, r], or one per example, A [n, r, in] and B [n, out, r]: the gradient of the latter is the
per-example gradient that DP-SGD clips.
"""

import math

import torch
import torch.nn.functional as F

PROJECTIONS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def config(vocabulary, hidden=128, layers=4, heads=4, feed_forward=384):
    return {
        "architectures": ["VaultGemmaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": "float32",
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": hidden // heads,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": feed_forward,
        "layer_types": ["full_attention"] * layers,
        "max_position_embeddings": 512,
        "model_type": "vaultgemma",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": heads,
        "pad_token_id": 0,
        "query_pre_attn_scalar": hidden // heads,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "sliding_window": 512,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocabulary,
    }


def initialise(cfg, generator):
    """Random weights; norm weights are zero because Gemma multiplies by 1 + w."""

    def normal(*shape, scale):
        return torch.randn(*shape, generator=generator) * scale

    hidden, inner = cfg["hidden_size"], cfg["num_attention_heads"] * cfg["head_dim"]
    wide, layers = cfg["intermediate_size"], cfg["num_hidden_layers"]
    deep = 1 / math.sqrt(2 * layers)
    weights = {"model.embed_tokens.weight": normal(cfg["vocab_size"], hidden, scale=hidden**-0.5)}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ["q_proj", "k_proj", "v_proj"]:
            weights[f"{at}self_attn.{name}.weight"] = normal(inner, hidden, scale=hidden**-0.5)
        weights[f"{at}self_attn.o_proj.weight"] = normal(hidden, inner, scale=deep * inner**-0.5)
        for name in ["gate_proj", "up_proj"]:
            weights[f"{at}mlp.{name}.weight"] = normal(wide, hidden, scale=hidden**-0.5)
        weights[f"{at}mlp.down_proj.weight"] = normal(hidden, wide, scale=deep * wide**-0.5)
        weights[f"{at}input_layernorm.weight"] = torch.zeros(hidden)
        weights[f"{at}pre_feedforward_layernorm.weight"] = torch.zeros(hidden)
    weights["model.norm.weight"] = torch.zeros(hidden)
    return weights


class VaultGemma:
    def __init__(self, cfg, weights):
        self.cfg, self.weights = cfg, weights
        self.heads, self.head = cfg["num_attention_heads"], cfg["head_dim"]
        self.scale = cfg["query_pre_attn_scalar"] ** -0.5
        self.eps = cfg["rms_norm_eps"]
        half = torch.arange(0, self.head, 2, dtype=torch.float32) / self.head
        self.frequencies = cfg["rope_parameters"]["rope_theta"] ** -half

    def norm(self, x, name):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weights[name])

    def linear(self, x, name, lora):
        y = F.linear(x, self.weights[name + ".weight"])
        if lora is None:
            return y
        a, b = lora["a"][name], lora["b"][name]
        return y + (x @ a.mT @ b.mT) * lora["scale"]

    def rotate(self, x, cos, sin):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    def hidden(self, ids, lora=None, positions=None, mask=None):
        """Final normed hidden states [n, t, hidden]; rows are padded on the right, so the causal mask is enough.

        `positions` [t] and `mask` [t, t] (true = visible) replace the causal order, for scoring trees of tokens.
        """
        n, t = ids.shape
        if positions is None:
            positions = torch.arange(t)
        angles = torch.outer(positions.float(), self.frequencies)
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos(), angles.sin()
        x = self.weights["model.embed_tokens.weight"][ids] * self.cfg["hidden_size"] ** 0.5

        def heads(y):
            return y.view(n, t, self.heads, self.head).transpose(1, 2)

        for layer in range(self.cfg["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            h = self.norm(x, at + "input_layernorm.weight")
            q = self.rotate(heads(self.linear(h, at + "self_attn.q_proj", lora)), cos, sin)
            k = self.rotate(heads(self.linear(h, at + "self_attn.k_proj", lora)), cos, sin)
            v = heads(self.linear(h, at + "self_attn.v_proj", lora))
            q, k = q.to(v.dtype), k.to(v.dtype)
            h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.scale)
            h = h.transpose(1, 2).reshape(n, t, -1)
            x = x + self.linear(h, at + "self_attn.o_proj", lora)
            h = self.norm(x, at + "pre_feedforward_layernorm.weight")
            gate = F.gelu(self.linear(h, at + "mlp.gate_proj", lora), approximate="tanh")
            up = self.linear(h, at + "mlp.up_proj", lora)
            x = x + self.linear(gate * up, at + "mlp.down_proj", lora)
        return self.norm(x, "model.norm.weight")

    def logits(self, hidden):
        return F.linear(hidden, self.weights["model.embed_tokens.weight"])


def token_losses(model, ids, labels, lora=None):
    """Cross-entropy at every labelled position, and the example each belongs to."""
    hidden = model.hidden(ids, lora)
    target = labels[:, 1:]
    at = target != -100
    losses = F.cross_entropy(model.logits(hidden[:, :-1][at]).float(), target[at], reduction="none")
    return losses, at.nonzero()[:, 0]


def example_losses(model, ids, labels, lora=None):
    """Mean loss of each example over its labelled positions, [n]."""
    losses, row = token_losses(model, ids, labels, lora)
    total = losses.new_zeros(len(ids)).index_add(0, row, losses)
    return total / torch.bincount(row, minlength=len(ids))


def collate(sequences):
    """[(prompt ids, response ids)] to padded ids and labels; the prompt is masked."""
    longest = max(len(p) + len(r) for p, r in sequences)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    labels = torch.full((len(sequences), longest), -100)
    for row, (p, r) in enumerate(sequences):
        ids[row, : len(p) + len(r)] = torch.tensor(p + r)
        labels[row, len(p) : len(p) + len(r)] = torch.tensor(r)
    return ids, labels


def encode(tokenizer, question_prompt, answer):
    """Prompt ids (with bos) and response ids (with eos)."""
    return tokenizer.encode(question_prompt).ids, tokenizer.encode(answer, add_special_tokens=False).ids + [1]


@torch.no_grad()
def greedy(model, prompts, lora=None, limit=48):
    """Greedy continuations of prompts (lists of ids), without a cache: small model, short answers."""
    done = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), 128):
        chunk = order[start : start + 128]
        rows = [list(prompts[i]) for i in chunk]
        alive = set(range(len(rows)))
        for _ in range(limit):
            if not alive:
                break
            live = sorted(alive)
            longest = max(len(rows[j]) for j in live)
            ids = torch.zeros(len(live), longest, dtype=torch.long)
            for at, j in enumerate(live):
                ids[at, : len(rows[j])] = torch.tensor(rows[j])
            hidden = model.hidden(ids, lora)
            last = torch.tensor([len(rows[j]) - 1 for j in live])
            following = model.logits(hidden[torch.arange(len(live)), last]).argmax(-1).tolist()
            for j, token in zip(live, following):
                if token == 1:
                    alive.discard(j)
                else:
                    rows[j].append(token)
        for j, i in enumerate(chunk):
            done[i] = rows[j][len(prompts[i]) :]
    return done
