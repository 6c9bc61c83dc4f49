// How a LoRA step grows with the length of its rows and with their number: seconds and bytes per size, and the exponent p
// of size^p that fits them (1: linear). Beside PyTorch in the same run where --torch names a Python; options as in step.mjs.
//   npm run build && node bench/growth.mjs [--shape stories15m] [--lengths 128,…,4096] [--rows 1,2,4,8,16] [--torch PYTHON]
// On a software device seconds are CPU seconds of all threads, which other load disturbs less, and bytes are what is
// allocated on the device; for PyTorch on the CPU the bytes are its peak resident set, which holds the framework itself.
import { parseArgs } from "node:util";
import { report } from "./lib/report.mjs";
import { runSide, SIDE_OPTIONS, sideName, sidesOf } from "./lib/sides.mjs";
import { exponent, median } from "./lib/stats.mjs";

/** @import { StepResult } from "./children/lora-step.mjs" */
/** @import { Side } from "./lib/sides.mjs" */

const { values: options } = parseArgs({
  options: {
    ...SIDE_OPTIONS,
    "warm-up": { type: "string", default: "1" },
    steps: { type: "string", default: "3" },
    rounds: { type: "string", default: "1" },
    shape: { type: "string", default: "stories15m" },
    lengths: { type: "string", default: "128,256,512,1024,2048,4096" },
    rows: { type: "string", default: "1,2,4,8,16" },
    "row-length": { type: "string", default: "256" },
    out: { type: "string" },
  },
});
const { shape } = options;
const numbers = (/** @type {string} */ text) => text.split(",").map(Number);
const sizes = {
  length: numbers(options.lengths).map((length) => ({ rows: 1, length })),
  rows: numbers(options.rows).map((rows) => ({ rows, length: Number(options["row-length"]) })),
};
const sides = sidesOf(options);

/** @type {(StepResult & Side & { grows: string, rows: number, length: number, round: number })[]} */
const results = [];
for (let round = 1; round <= Number(options.rounds); round++)
  for (const [grows, points] of Object.entries(sizes))
    for (const { rows, length } of points)
      for (const side of round % 2 === 1 ? sides : sides.toReversed()) {
        console.error(`round ${round}: ${rows} × ${length}, ${sideName(side)}`);
        results.push({ grows, rows, length, round, ...side, ...runSide(side, { shape, rows, length }, options) });
      }

const onCpu = (/** @type {StepResult} */ r) => /^(CPU|llvmpipe|SwiftShader)/.test(r.adapter);
const seconds = (/** @type {StepResult} */ r) => median(onCpu(r) ? r.cpu_seconds : r.seconds);
const bytes = (/** @type {StepResult} */ r) => r.device_bytes || r.peak_rss_bytes;

const table = Object.entries(sizes).flatMap(([grows, points]) =>
  sides.map((side) => {
    /** @param {{ rows: number, length: number }} size @param {(result: StepResult) => number} value */
    const at = (size, value) =>
      median(
        results
          .filter((r) => r.grows === grows && r.rows === size.rows && r.length === size.length)
          .filter((r) => r.framework === side.framework && r.weights === side.weights)
          .map(value),
      );
    /** @param {(result: StepResult) => number} value @returns {string} */
    const fit = (value) =>
      exponent(points.map((size) => /** @type {const} */ ([size.rows * size.length, at(size, value)]))).toFixed(2);
    return [
      grows === "length" ? "1 × length" : `rows × ${options["row-length"]}`,
      sideName(side),
      points.map((size) => at(size, seconds).toPrecision(3)).join(" · "),
      fit(seconds),
      points.map((size) => (at(size, bytes) / 1e6).toFixed(0)).join(" · "),
      fit(bytes),
    ];
  }),
);
const { out, torch: _, ...settings } = options;
report({
  lines: [{ benchmark: "growth", node: process.version, ...settings }, ...results],
  columns: [
    `${shape}; length ${options.lengths}; rows ${options.rows}`,
    "framework",
    "s per step",
    "∝ tokens^",
    "MB",
    "∝ tokens^",
  ],
  rows: table,
  out,
});
