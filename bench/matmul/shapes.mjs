// Speed of matrix products on the production device (validation and robustness off), per kernel variant and weight
// format: medians of interleaved rounds, so that variants of one run can be compared while other jobs use the computer.
//   pnpm build && node bench/matmul/shapes.mjs [PATTERN]      for example: node bench/matmul.mjs "512x512"
// GFLOP/s by wall clock; in brackets per second of CPU time on a software device, which other load disturbs less.

import { openDevice } from "@tunesmith/node";
import { matmul, record, state } from "@tunesmith/tensor";

/** @import { Tensor } from "@tunesmith/tensor" */
/** @typedef {{ wall: number[], cpu: number[] }} Rates GFLOP/s of each round */

const ROUNDS = 7;
/** @type {["nn" | "nt" | "tn", number, number, number][]} layout, M, N, K */
const SHAPES = [
  ["nn", 512, 512, 512],
  ["nt", 512, 512, 512],
  ["tn", 512, 512, 512],
  ["nt", 2048, 64, 64],
  ["nt", 2048, 128, 384],
  ["nt", 512, 2048, 2048],
  ["nn", 512, 2048, 2048],
  ["nt", 2048, 16, 512], // low-rank factor
  ["nt", 2048, 512, 16],
  ["tn", 16, 512, 2048], // its gradients
  ["tn", 512, 16, 2048],
  ["nt", 1024, 96, 96], // small models
  ["nt", 1024, 256, 96],
  ["nt", 1, 2048, 2048], // decoding
  ["nt", 8, 2048, 2048],
];

const opened = await openDevice();
const { software } = opened.facts;
const devices = [
  { variant: "as opened", device: opened },
  // the variant of every GPU whose subgroups are not known; on a software device it shows what its own variant is worth
  { variant: "portable", device: await openDevice({ facts: { software: false, subgroups: false } }) },
];
const pattern = new RegExp(process.argv[2] ?? "");
console.log(opened.facts.description);

/** @type {readonly ("f32" | "bf16")[]} */
const FORMATS = ["f32", "bf16"];
const columns = devices.flatMap((d) => FORMATS.map((format) => ({ ...d, format })));
const rows = [];
for (const [layout, m, n, k] of SHAPES) {
  const name = `${layout} ${m}x${n}x${k}`;
  if (!pattern.test(name)) continue;
  const flops = 2 * m * n * k;
  const repeats = Math.max(1, Math.round((software ? 1e8 : 2e11) / flops)); // one replay is long against its submit
  const cells = columns.map(({ device, format }) => {
    if (format !== "f32" && layout === "tn") return undefined; // gradients of weights have no packed operand
    /** @type {(shape: [number, number], dtype: "f32" | "bf16") => Tensor} */
    const make = (shape, dtype) => {
      const size = shape[0] * shape[1];
      const data = dtype === "f32" ? new Float32Array(size).fill(0.5) : new Uint16Array(size).fill(0x3f00);
      return state(device, { shape, dtype, category: "weights", label: name, data });
    };
    const a = make(layout === "tn" ? [k, m] : [m, k], "f32");
    const b = make(layout === "nt" ? [n, k] : [k, n], format);
    const out = make([m, n], "f32");
    const program = record(device, name, () => {
      for (let i = 0; i < repeats; i++) matmul({ layout, a, b, out });
      return {};
    });
    /** @type {Rates} */
    const rates = { wall: [], cpu: [] };
    return { device, program, tensors: [a, b, out], rates };
  });
  for (let round = 0; round <= ROUNDS; round++)
    for (const cell of cells) {
      if (!cell) continue;
      const cpu = process.cpuUsage();
      const start = performance.now();
      cell.program.replay();
      await cell.device.idle();
      const seconds = (performance.now() - start) / 1000;
      const used = process.cpuUsage(cpu);
      if (round === 0) continue; // compiles
      cell.rates.wall.push((flops * repeats) / seconds / 1e9);
      cell.rates.cpu.push((flops * repeats) / ((used.user + used.system) / 1e6) / 1e9);
    }
  for (const cell of cells) {
    cell?.program.dispose();
    for (const tensor of cell?.tensors ?? []) tensor.dispose();
  }
  rows.push({ name, rates: cells.map((cell) => cell?.rates) });
}

/** @param {number[]} values */
const median = (values) => (values.toSorted((x, y) => x - y)[values.length >> 1] ?? 0).toFixed(1);
/** @param {Rates | undefined} rates */
const show = (rates) => {
  if (!rates) return "–";
  return software ? `${median(rates.wall)} (${median(rates.cpu)})` : median(rates.wall);
};
console.log("GFLOP/s".padEnd(18), columns.map((c) => `${c.variant}, ${c.format}`.padStart(18)).join(""));
for (const { name, rates } of rows) console.log(name.padEnd(18), rates.map((r) => show(r).padStart(18)).join(""));
process.exit(0);
