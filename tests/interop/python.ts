import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Runs a script of this folder with a request on its stdin and reads the JSON file it leaves behind. */
export function runPython<T>(script: "make.py" | "open.py", request: object, result: string): T {
  const python = process.env["TUNESMITH_PYTHON"];
  if (python === undefined) throw new Error("TUNESMITH_PYTHON is not set: run the tier with `npm run test:interop`");
  const path = fileURLToPath(new URL(script, import.meta.url));
  const offline = { HF_HUB_OFFLINE: "1", TRANSFORMERS_OFFLINE: "1", CUDA_VISIBLE_DEVICES: "" };
  const { status, stderr, error } = spawnSync(python, [path], {
    input: JSON.stringify(request),
    encoding: "utf8",
    env: { ...process.env, ...offline },
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${script} failed: ${error?.message ?? stderr.slice(-4000)}`);
  return JSON.parse(readFileSync(result, "utf8")) as T;
}
