"""PyTorch's rate on the square products of bench/matmul.mjs, for the same machine. Prints one JSON line per size and
dtype.    python bench/children/matmul.py 1024,2048,4096"""

import json
import sys
import time

import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
TURN_SECONDS = 0.15


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


for n in map(int, sys.argv[1].split(",")):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        a = torch.randn(n, n, device=device).to(dtype)
        b = torch.randn(n, n, device=device).to(dtype)
        torch.matmul(a, b)
        times, rounds = 1, []
        while len(rounds) < 7:
            wait()
            start = time.perf_counter()
            for _ in range(times):
                torch.matmul(a, b)
            wait()
            seconds = time.perf_counter() - start
            if seconds < TURN_SECONDS / 2 and not rounds:
                times *= 2
            else:
                rounds.append(seconds / times)
        gflops = 2 * n**3 / sorted(rounds)[3] / 1e9
        line = {"framework": "torch", "adapter": name, "size": n, "dtype": str(dtype).split(".")[1], "gflops": gflops}
        print(json.dumps(line))
