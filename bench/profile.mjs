// Where a LoRA step of a random model spends the GPU's time, by kernel and by shape of its largest products.
//   npm run build && node bench/profile.mjs [--shape smollm2-135m] [--rows 1] [--length 256] [--folder .cache/profile]
// --folder  gets profile.json and trace.json (open in ui.perfetto.dev)
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CACHE } from "../scripts/setup/paths.mjs";
import { jsonLines } from "./lib/child.mjs";
import { report } from "./lib/report.mjs";
import { assertShape, SHAPES } from "./lib/shapes.mjs";

/** @import { Profile } from "@tunesmith/tensor" */
/** @import { StepJob } from "./children/lora-step.mjs" */

const SLOWEST = 12;
const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "smollm2-135m" },
    rows: { type: "string", default: "1" },
    length: { type: "string", default: "256" },
    rank: { type: "string", default: "16" },
    weights: { type: "string", default: "bf16" },
    recompute: { type: "boolean", default: false },
    steps: { type: "string", default: "3" },
    folder: { type: "string", default: join(CACHE, "profile") },
    out: { type: "string" },
  },
});
const { shape, out } = options;
assertShape(shape);
const folder = resolve(options.folder);
/** @type {StepJob} */
const job = {
  config: SHAPES[shape],
  rows: Number(options.rows),
  length: Number(options.length),
  rank: Number(options.rank),
  weights: /** @type {StepJob["weights"]} */ (options.weights),
  recompute: options.recompute,
  torchCpu: false,
  profile: folder,
  warmUp: 1,
  steps: Number(options.steps),
};
const [result] = jsonLines(process.execPath, [
  resolve(import.meta.dirname, "children", "lora-step.mjs"),
  JSON.stringify(job),
]);
/** @type {Profile} */
const profile = JSON.parse(readFileSync(join(folder, "profile.json"), "utf8"));

const shapes = profile.kernels
  .flatMap((kernel) => kernel.shapes.map((work) => ({ kernel: kernel.kernel, work })))
  .filter(({ work }) => "depth" in work.params)
  .toSorted((a, b) => b.work.seconds - a.work.seconds)
  .slice(0, SLOWEST);
/** @param {string} name @param {Profile["kernels"][number] | Profile["kernels"][number]["shapes"][number]} work */
const row = (name, { launches, seconds, flops, bytes, time_share: time, roof_share: roof }) => [
  name,
  launches,
  seconds * 1e3,
  `${(100 * time).toFixed(1)} %`,
  flops / seconds / 1e9,
  bytes / seconds / 1e9,
  `${(100 * roof).toFixed(0)} %`,
];
const { copy_bytes_per_second: copy, matmul_flops_per_second: matmul } = profile.roof;
report({
  lines: [{ benchmark: "profile", node: process.version, ...options }, profile],
  columns: [
    `${shape}, ${options.rows} × ${options.length}, ${options.steps} steps`,
    "launches",
    "ms",
    "time",
    "GFLOP/s",
    "GB/s",
    "of roof",
  ],
  rows: [
    ...profile.kernels.map((kernel) => row(kernel.kernel, kernel)),
    ...shapes.map(({ work }) => {
      const { rows, cols, depth, rank } = work.params;
      const second = work.spec["joined"] === "no" ? "" : ` + ${rank}`;
      return row(`  ${rows} × ${cols} × ${depth}${second}`, work);
    }),
  ],
  out,
});
console.log(
  `\n${result.adapter}: copies ${(copy / 1e9).toFixed(1)} GB/s, multiplies ${(matmul / 1e9).toFixed(1)} GFLOP/s; files in ${folder}`,
);
