# Small random models and adapters on them, written by transformers, PEFT and bitsandbytes, with the logits they give.
# Request on stdin: {"folder", "ids", "bases": {name: config}, "adapters": {name: {"base", "config"}}, "quantize": {name: base},
#   "starts": {name: {"base", "kind", "config"}}}
import json
import sys

import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import LoraConfig, get_peft_model
from peft.utils.loftq_utils import _low_rank_decomposition
from precision import in_f32
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

request = json.load(sys.stdin)
folder, ids = request["folder"], torch.tensor([request["ids"]])
logits = {}


def kept(name, model):
    in_f32(model)
    with torch.no_grad():
        logits[name] = model(ids).logits[0].float().flatten().tolist()


def randomize(module_parameters, scale):
    for parameter in module_parameters:
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter) * scale)


for number, (name, config) in enumerate(request["bases"].items()):
    torch.manual_seed(number)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.float32).eval()
    # biases and gains start as 0 and 1, which would hide a mistake in them
    randomize((p for p in model.parameters() if p.dim() == 1), 0.1)
    model.save_pretrained(f"{folder}/{name}")
    kept(name, model)

for name, base in request["quantize"].items():
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        f"{folder}/{base}", quantization_config=settings, dtype=torch.float32, device_map="cpu"
    ).eval()
    model.save_pretrained(f"{folder}/{name}")
    kept(name, model)

for number, (name, adapter) in enumerate(request["adapters"].items()):
    torch.manual_seed(100 + number)
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/{adapter['base']}", dtype=torch.float32, device_map="cpu")
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **adapter["config"])).eval()
    randomize((p for p in model.parameters() if p.requires_grad), 0.1)
    model.save_pretrained(f"{folder}/{name}", save_embedding_layers=False)
    kept(name, model)

# Starts from the base's weights: what the adapter adds, and what PEFT leaves of each weight, stored [out, in]
for name, start in request["starts"].items():
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/{start['base']}", dtype=torch.float32, device_map="cpu")
    kind, config, tensors = start["kind"], start["config"], {}
    plain = LoraConfig(task_type="CAUSAL_LM", **config, **({} if kind == "loftq" else {"init_lora_weights": kind}))
    for path, module in get_peft_model(base, plain).base_model.model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        weight = module.base_layer.weight.detach()
        if kind == "loftq":  # PEFT's function for it takes a GPU for granted; these are its parts
            stored, state = quantize_4bit(weight, quant_type="nf4")
            rest = dequantize_4bit(stored, state)
            parts = _low_rank_decomposition(weight - rest, reduced_rank=config["r"])
            product = parts["L"] @ parts["R"]
        else:
            product = module.scaling["default"] * module.lora_B["default"].weight @ module.lora_A["default"].weight
            rest = weight.T if plain.fan_in_fan_out else weight
        tensors[f"{path}.product"], tensors[f"{path}.rest"] = product.detach().contiguous(), rest.contiguous()
    save_file(tensors, f"{folder}/{name}.safetensors")

json.dump(logits, open(f"{folder}/logits.json", "w"))
