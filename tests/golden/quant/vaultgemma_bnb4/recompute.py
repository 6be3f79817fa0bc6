"""Recomputes golden.safetensors from the stored NF4 tensors: weights, logits and loss in float32.

    python recompute.py VAULTGEMMA_CONFIG_FOLDER CHECKPOINT_FOLDER OUT.safetensors

bitsandbytes 0.50.2 applies the first block's scale to every block when a reloaded 4-bit layer of this
size is dequantised on the CPU, so its own dequantisation of this checkpoint cannot serve as a
reference. Here the stored tables are applied directly. On single matrices (nf4.safetensors, where
bitsandbytes is right) this formula gives bitsandbytes' values bit for bit.
"""

import json
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

STATE = ".quant_state.bitsandbytes__nf4"


def dequantise(tensors, name):
    state = json.loads(bytes(tensors[name + STATE].tolist()))
    packed = tensors[name].flatten()
    codes = torch.stack([packed >> 4, packed & 15], 1).flatten().long()
    scale = tensors[name + ".nested_quant_map"][tensors[name + ".absmax"].long()]
    nested = tensors[name + ".nested_absmax"].repeat_interleave(state["nested_blocksize"])
    scale = scale * nested[: scale.numel()] + torch.tensor(state["nested_offset"], dtype=torch.float32)
    values = tensors[name + ".quant_map"][codes]
    values = values * scale.repeat_interleave(state["blocksize"])[: codes.numel()]
    return values.reshape(state["shape"]).contiguous()


def main(config_folder, folder, out_file):
    torch.set_num_threads(1)
    tensors = load_file(f"{folder}/model.safetensors")
    old = load_file(f"{folder}/golden.safetensors")
    quantised = [name[: -len(STATE)] for name in tensors if name.endswith(STATE)]
    out = {key: old[key] for key in ("attention_mask", "input_ids", "labels")}
    weights = {name: t for name, t in tensors.items() if not any(name.startswith(q) for q in quantised)}
    for name in quantised:
        weights[name] = out["dequant." + name] = dequantise(tensors, name)
    config = AutoConfig.from_pretrained(config_folder)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    missing = model.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys
    model.tie_weights()
    with torch.no_grad():
        result = model(**{key: old[key] for key in ("attention_mask", "input_ids", "labels")})
    out["logits"], out["loss"] = result.logits.contiguous(), result.loss.reshape(1)
    save_file(out, out_file, metadata={"format": "pt"})


if __name__ == "__main__":
    main(*sys.argv[1:])
