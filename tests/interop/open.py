# Opens what we wrote with transformers and PEFT, and says what they warned about and which logits they give.
# Request on stdin: {"out", "ids", "cases": [{"name", "base", "adapter"?}]}
import json
import logging
import sys
import warnings

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from precision import in_f32
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

request = json.load(sys.stdin)
ids = torch.tensor([request["ids"]])
logged = []


class Collect(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())


for logger in (transformers_logging.get_logger("transformers"), logging.getLogger("peft")):
    logger.addHandler(Collect(level=logging.WARNING))


def opened(case):
    model, loading = AutoModelForCausalLM.from_pretrained(
        case["base"], dtype=torch.float32, device_map="cpu", output_loading_info=True
    )
    keys = {name: sorted(map(str, loading[name])) for name in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if "adapter" in case:
        model = PeftModel.from_pretrained(model, case["adapter"])
        ours = load_file(f"{case['adapter']}/adapter_model.safetensors")
        # the same again, for what from_pretrained does not return
        again = set_peft_model_state_dict(model, ours)
        theirs = get_peft_model_state_dict(model, save_embedding_layers=False)
        # what PEFT does not save it misses as well: the head's name for token rows that are the embedding's
        missing = [key.replace(".default", "") for key in again.missing_keys if ".default" in key]
        keys["missing_keys"] += [key for key in missing if key in theirs]
        keys["unexpected_keys"] += again.unexpected_keys
        keys["different"] = sorted(ours.keys() ^ theirs.keys())
        keys["different"] += [n for n in ours if n in theirs and not torch.equal(ours[n], theirs[n])]
    in_f32(model)
    with torch.no_grad():
        return {"logits": model.eval()(ids).logits[0].float().flatten().tolist(), **keys}


report = {}
for case in request["cases"]:
    logged.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report[case["name"]] = opened(case)
    # what the libraries say about each other's coming versions is no concern of what they read
    said = [str(w.message) for w in caught if not issubclass(w.category, (FutureWarning, DeprecationWarning))]
    report[case["name"]]["warnings"] = said + list(logged)

json.dump(report, open(request["out"], "w"))
