"""torch's side of bench/quality.mjs (with PEFT for adapters): the same rows in the same order from the same adapter or weights, with
AdamW, a cosine schedule and clipping, on the CPU. Prints one JSON line.    python bench/children/quality_torch.py '{"model": ..., "adapter": ..., ...}'"""

import glob
import json
import math
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

job = json.loads(sys.argv[1])
torch.manual_seed(0)


def rows(folder):
    """(input ids, targets) of each row; targets are shifted already, -100 = none."""
    for shard in sorted(glob.glob(f"{folder}/shard-*.safetensors")):
        part = load_file(shard)
        starts = part["starts"].tolist()
        for start, end in zip(starts, starts[1:]):
            yield part["input_ids"][start:end].long(), part["targets"][start:end].long()


def load():
    if not job["four_bit"]:
        return AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    import bitsandbytes

    quant = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32, quantization_config=quant, device_map="cpu")

    def forward(self, x):
        # bitsandbytes' product for CPUs wants rows that begin a block, and may round to bfloat16
        weight = bitsandbytes.functional.dequantize_4bit(self.weight.data, self.weight.quant_state)
        return F.linear(x, weight.to(x.dtype), self.bias)

    bitsandbytes.nn.Linear4bit.forward = forward
    return model


model = load()
if job["adapter"]:
    model = PeftModel.from_pretrained(model, job["adapter"], is_trainable=True)
else:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(job["trained"])))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=job["learning_rate"], weight_decay=0.0)


def rate(step):
    if step < job["warmup"]:
        return step / job["warmup"]
    return 0.5 * (1 + math.cos(math.pi * (step - job["warmup"]) / (job["steps"] - job["warmup"])))


def losses(batch):
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.stack([F.pad(i, (0, longest - len(i))) for i, _ in batch])
    mask = torch.stack([F.pad(torch.ones_like(i), (0, longest - len(i))) for i, _ in batch])
    targets = torch.stack([F.pad(t, (0, longest - len(t)), value=-100) for _, t in batch])
    logits = model(input_ids=ids, attention_mask=mask).logits.float()
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
    return total, int((targets != -100).sum())


def evaluate():
    model.eval()
    with torch.no_grad():
        parts = [losses(test[i : i + 8]) for i in range(0, len(test), 8)]
    model.train()
    return sum(float(total) for total, _ in parts) / sum(count for _, count in parts)


train, test = list(rows(job["train"])), list(rows(job["eval"]))
start, speeds, size = evaluate(), [], job["batch_size"]
for step in range(job["steps"]):
    began = time.perf_counter()
    batch = train[step * size : (step + 1) * size]
    for group in optimizer.param_groups:
        group["lr"] = job["learning_rate"] * rate(step)
    total, count = losses(batch)
    (total / count).backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    speeds.append(sum(len(ids) for ids, _ in batch) / (time.perf_counter() - began))
print(
    json.dumps(
        {
            "framework": "torch",
            "start_loss": start,
            "eval_loss": evaluate(),
            "tokens_per_second": sorted(speeds, reverse=True)[len(speeds) // 10],
            "trained": sum(p.numel() for p in trained),
        }
    )
)
