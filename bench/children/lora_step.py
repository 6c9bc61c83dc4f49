"""The PyTorch side of bench/step.mjs: the same LoRA steps in TRL's trainer, or in a plain loop over transformers and
PEFT. Prints one JSON line.    python bench/children/lora_step.py trl|peft '{"config": {...}, "rows": 1, ...}'"""

import json
import os
import platform
import resource
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import peft
import torch
import transformers

framework, job = sys.argv[1], json.loads(sys.argv[2])
transformers.logging.set_verbosity_error()
device = "cuda" if torch.cuda.is_available() and not job["torchCpu"] else "cpu"
dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[job["weights"]]
rows, length, rank = job["rows"], job["length"], job["rank"]
total = job["warmUp"] + job["steps"]

torch.manual_seed(0)
config = transformers.AutoConfig.for_model(**job["config"])
torch.set_default_dtype(dtype)
model = transformers.AutoModelForCausalLM.from_config(config)
torch.set_default_dtype(torch.float32)
model.config.use_cache = False
lora = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
# the ids that random-rows.mjs makes
ids = [[((n * 2654435761) % 2**32 >> 8) % config.vocab_size for n in range(r * length + 1, (r + 1) * length + 1)] for r in range(rows)]

marks = []


def mark():
    if device == "cuda":
        torch.cuda.synchronize()
    marks.append((time.perf_counter(), time.process_time()))


def run_peft():
    """The shortest loop: no metrics, no trainer."""
    tuned = peft.get_peft_model(model, lora).to(device)
    if job["recompute"]:
        tuned.enable_input_require_grads()
        tuned.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    tuned.train()
    trainable = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, weight_decay=0.0)
    batch = torch.tensor(ids, device=device)
    losses = []
    mark()
    for _ in range(total):
        loss = tuned(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        mark()
    return losses


def run_trl():
    import datasets
    import tokenizers
    import trl

    datasets.disable_progress_bars()
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")

    class Marks(transformers.TrainerCallback):
        def on_train_begin(self, *_, **__):
            mark()

        def on_step_end(self, *_, **__):
            mark()

    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.SFTTrainer(
            model=model,
            args=trl.SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=rows,
                max_steps=total,
                max_length=length,
                learning_rate=1e-4,
                lr_scheduler_type="constant",
                gradient_checkpointing=job["recompute"],
                bf16=False,
                use_cpu=device == "cpu",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_dict({"input_ids": ids * total}),
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[Marks()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


losses = {"trl": run_trl, "peft": run_peft}[framework]()
steps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks, marks[1:])]
versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
if framework == "trl":
    import trl

    versions["trl"] = trl.__version__
unit = 1 if platform.system() == "Darwin" else 1024
if os.path.exists("/proc/self/statm"):
    with open("/proc/self/statm") as f:
        resident = int(f.read().split()[1]) * resource.getpagesize()
else:
    resident = 0  # only Linux says it
print(
    json.dumps(
        {
            "framework": framework,
            "versions": versions,
            "adapter": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
            "first_seconds": steps[0][0],
            "seconds": [s for s, _ in steps[job["warmUp"] :]],
            "cpu_seconds": [c for _, c in steps[job["warmUp"] :]],
            "losses": losses,
            "rss_bytes": resident,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
            "device_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else 0,
        }
    )
)
