"""Adapters there and back between VaultLab and Python's PEFT, on the demo checkpoint.

Both directions compare the logits of VaultLab's command line with those of transformers and PEFT, an independent
implementation of model and adapter format: `max |a - b| <= 1e-4 * max |b|`, the bound that all parity tests of this
project keep (f32 rounding over a few layers stays well below it, a transposed or unscaled matrix far above).

1. PEFT saves adapters with random weights in several shapes; VaultLab loads them.
2. VaultLab trains an adapter privately for a few steps and exports it; PEFT loads it.

An adapter that changed nothing would pass such a comparison unseen, so each must also move the logits by ten
times the tolerance.

Run by `npm run test:peft`; prints one line for each comparison and ends with status 1 if any failed.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

TOLERANCE = 1e-4
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
# Shapes of adapter that PEFT users save: all projections, a few, another scaling, an odd rank.
CONFIGS = {
    "all projections, rank 8": dict(r=8, lora_alpha=16, target_modules=ATTENTION + MLP),
    "query and value only, rank 3": dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"]),
    "rank-stabilised scaling": dict(r=4, lora_alpha=8, target_modules=MLP, use_rslora=True),
}


class VaultLab:
    """The command line, on one model and one device."""

    def __init__(self, binary: Path, model: Path, device: str):
        self.binary, self.model, self.device = binary, model, device

    def run(self, command: str, *options) -> None:
        line = [self.binary, command, "--model", self.model, "--device", self.device, *options]
        result = subprocess.run([str(part) for part in line], capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"vaultlab {command} failed: {result.stderr.strip()}")

    def logits(self, ids: list[int], adapter: Path | None, folder: Path) -> torch.Tensor:
        out = folder / "logits.safetensors"
        options = [] if adapter is None else ["--adapter", adapter]
        self.run("logits", "--ids", ",".join(map(str, ids)), "--out", out, *options)
        return load_file(out)["logits"]


class Report:
    """Prints one line for each comparison and remembers failures."""

    def __init__(self):
        self.failed = 0

    def compare(self, name: str, ours: torch.Tensor, reference: torch.Tensor, base: torch.Tensor | None) -> None:
        scale = reference.abs().max()
        difference = ((ours - reference).abs().max() / scale).item()
        good = ours.shape == reference.shape and difference <= TOLERANCE
        text = f"{name}: relative difference {difference:.1e}"
        if base is not None:
            effect = ((reference - base).abs().max() / scale).item()
            good = good and effect >= 10 * TOLERANCE
            text += f", the adapter moves the logits by {effect:.1e}"
        self.failed += not good
        print(f"{'ok' if good else 'FAILED'} {text}", flush=True)


def load_base(model: Path):
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def reference_logits(model, ids: list[int]) -> torch.Tensor:
    return model(torch.tensor([ids])).logits[0]


def peft_to_vaultlab(vaultlab: VaultLab, ids: list[int], base: torch.Tensor, folder: Path, report: Report) -> None:
    for number, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(number)
        # init_lora_weights=False leaves A and B random, so that the adapter has an effect without training.
        model = get_peft_model(load_base(vaultlab.model), LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **config)).eval()
        adapter = folder / f"peft-{number}"
        model.save_pretrained(adapter)
        ours = vaultlab.logits(ids, adapter, folder)
        report.compare(f"PEFT to VaultLab, {vaultlab.device}, {name}", ours, reference_logits(model, ids), base)


def vaultlab_to_peft(vaultlab: VaultLab, data: Path, ids: list[int], base: torch.Tensor, folder: Path, report: Report) -> None:
    adapter = folder / f"trained-{vaultlab.device}"
    plan = ["--target-epsilon", 8, "--delta", 1e-5, "--steps", 3, "--batch", 16, "--warmup", 0, "--learning-rate", 0.01]
    # A ledger of its own: the one in the user's home folder must not learn of tests.
    vaultlab.run("finetune", "--data", data, *plan, "--ledger", folder / "ledger", "--out", adapter)
    model = PeftModel.from_pretrained(load_base(vaultlab.model), adapter).eval()
    ours = vaultlab.logits(ids, adapter, folder)
    report.compare(f"VaultLab to PEFT, {vaultlab.device}, trained privately", ours, reference_logits(model, ids), base)


def main() -> None:
    repository = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vaultlab", type=Path, required=True, help="the vaultlab binary")
    parser.add_argument("--model", type=Path, default=repository / "www/models/demo")
    parser.add_argument("--data", type=Path, default=repository / "www/models/demo/private.csv")
    arguments = parser.parse_args()

    disable_progress_bar()
    base_model = load_base(arguments.model)
    generator = torch.Generator().manual_seed(0)
    ids = [2] + torch.randint(3, base_model.config.vocab_size, (31,), generator=generator).tolist()
    base = reference_logits(base_model, ids)

    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for device in ["cpu", "gpu"]:
            vaultlab = VaultLab(arguments.vaultlab, arguments.model, device)
            report.compare(f"base model, {device}", vaultlab.logits(ids, None, folder), base, None)
            peft_to_vaultlab(vaultlab, ids, base, folder, report)
            vaultlab_to_peft(vaultlab, arguments.data, ids, base, folder, report)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
