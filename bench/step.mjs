// Tokens per second and memory of a LoRA step, beside PyTorch in the same run: random weights, random tokens, one process
// per framework and round, one after the other, the order reversed from round to round.
//   npm run build && node bench/step.mjs [--shape smollm2-135m] [--rows 1] [--length 256] [--torch PYTHON]
// --shape         one or more of stories260k, stories15m, smollm2-135m, qwen2.5-0.5b, llama-3.2-1b; may be repeated
// --weights       f32, f16 or bf16: how frozen matrices are stored; may be repeated; default bf16
// --recompute     activation checkpointing by layer
// --torch         a Python with torch, transformers, peft and (for trl) trl and datasets
// --rival         trl (TRL's SFTTrainer) or peft (the shortest loop over transformers and PEFT); may be repeated; default trl
// --torch-weights the same as --weights for PyTorch, which is slow in bf16 on some processors (default: --weights)
// --torch-checkpointing    PyTorch recomputes activations (TRL's default; off here, because it is slower)
// --torch-cpu     PyTorch stays on the CPU, for comparing with a software device on a machine that has a GPU
// CPU seconds count all threads of a process: other load on the machine disturbs them less than the clock.
import { parseArgs } from "node:util";
import { report } from "./lib/report.mjs";
import { runSide, SIDE_OPTIONS, sideName, sidesOf } from "./lib/sides.mjs";
import { median } from "./lib/stats.mjs";

/** @import { StepResult } from "./children/lora-step.mjs" */
/** @import { Side } from "./lib/sides.mjs" */

const { values: options } = parseArgs({
  options: {
    ...SIDE_OPTIONS,
    shape: { type: "string", multiple: true, default: ["smollm2-135m"] },
    rows: { type: "string", default: "1" },
    length: { type: "string", default: "256" },
  },
});
const [rows, length] = [Number(options.rows), Number(options.length)];
const sides = sidesOf(options);

/** @type {(StepResult & Side & { shape: string, round: number })[]} */
const results = [];
for (const shape of options.shape)
  for (let round = 1; round <= Number(options.rounds); round++)
    for (const side of round % 2 === 1 ? sides : sides.toReversed()) {
      console.error(`${shape}, round ${round}: ${sideName(side)}`);
      results.push({ shape, round, ...side, ...runSide(side, { shape, rows, length }, options) });
    }

const table = options.shape.flatMap((shape) => {
  /** @param {Side | undefined} side @param {(result: StepResult) => number} value */
  const of = (side, value) =>
    median(
      results
        .filter((r) => r.shape === shape && r.framework === side?.framework && r.weights === side.weights)
        .map(value),
    );
  return sides.map((side) => {
    /** Theirs over ours, where less is better: above 1, we win. @param {(result: StepResult) => number} value */
    const ratio = (value) => (of(side, value) / of(sides[0], value)).toFixed(2);
    const seconds = (/** @type {StepResult} */ r) => median(r.seconds);
    const cpu = (/** @type {StepResult} */ r) => median(r.cpu_seconds);
    const peak = (/** @type {StepResult} */ r) => r.peak_rss_bytes;
    return [
      shape,
      sideName(side),
      (rows * length) / of(side, seconds),
      of(side, cpu),
      of(side, (r) => r.first_seconds),
      of(side, peak) / 1e6,
      of(side, (r) => r.device_bytes) / 1e6,
      ratio(seconds),
      ratio(cpu),
      ratio(peak),
    ];
  });
});
const { out, torch: _, ...settings } = options;
report({
  lines: [{ benchmark: "step", node: process.version, ...settings }, ...results],
  columns: [
    `${rows} × ${length} tokens`,
    "framework",
    "tokens/s",
    "CPU s/step",
    "first step s",
    "peak RSS MB",
    "device MB",
    "time × ours",
    "CPU × ours",
    "RSS × ours",
  ],
  rows: table,
  out,
});
