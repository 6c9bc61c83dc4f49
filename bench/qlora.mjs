// A QLoRA step beside the same LoRA step on packed 16-bit weights, in one process, the two in turns: random weights of a common
// shape, the same values in both, quantized as they would be while loading.
//   npm run build && node bench/qlora.mjs [--shape smollm2-135m] [--rows 1] [--length 256] [--rounds 4] [--type nf4]
// CPU seconds count all threads of the process: other load on the machine disturbs them less than the clock.
import { parseArgs } from "node:util";
import { parseStrictJson } from "@tunesmith/core";
import { fourBitCodec } from "@tunesmith/lora";
import { assembleModel, linearPaths, parseModelConfig } from "@tunesmith/models";
import { openDevice } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { train, tuneLora } from "@tunesmith/sft";
import { randomModel } from "./lib/random-model.mjs";
import { randomRows } from "./lib/random-rows.mjs";
import { report } from "./lib/report.mjs";
import { assertShape, SHAPES } from "./lib/shapes.mjs";
import { median } from "./lib/stats.mjs";

/** @import { Model } from "@tunesmith/models" */
/** @import { Weight } from "@tunesmith/tensor" */

const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "smollm2-135m" },
    rows: { type: "string", default: "1" },
    length: { type: "string", default: "256" },
    rank: { type: "string", default: "16" },
    type: { type: "string", default: "nf4" },
    "no-double-quant": { type: "boolean", default: false },
    steps: { type: "string", default: "3" },
    rounds: { type: "string", default: "4" },
    out: { type: "string" },
  },
});
const { shape } = options;
assertShape(shape);
const type = options.type === "fp4" ? "fp4" : "nf4";
const rows = Number(options.rows);
const length = Number(options.length);
const rank = Number(options.rank);
const steps = Number(options.steps);
const config = parseModelConfig(parseStrictJson(JSON.stringify(SHAPES[shape])), "config.json");
const device = await openDevice();
const plain = randomModel(device, config, { format: "bf16", positions: length });

/** @param {Weight} weight */
const bytesOf = (weight) => weight.shards.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
const bits = { bf16: 0, [type]: 0 };
let parameters = 0;

/** The same model with its projections in four bits. @returns {Promise<Model>} */
async function quantized() {
  const codec = fourBitCodec({ quantize: { type, blockSize: 64, doubleQuant: !options["no-double-quant"] } });
  const all = new Map(plain.parameters);
  for (const path of linearPaths(config).keys()) {
    const name = `${path}.weight`;
    const weight = /** @type {Weight} */ (plain.parameters.get(name));
    const [shard] = weight.shards;
    if (!shard || weight.shards.length > 1) throw new Error(`${name} is cut into shards: choose a smaller shape`);
    const values = /** @type {Uint16Array} */ (await shard.tensor.read());
    const [, cols] = weight.shape;
    const four = await codec.encode(device, {
      name,
      shape: weight.shape,
      format: "bf16",
      rows: async (first, count) => values.subarray(first * cols, (first + count) * cols),
    });
    if (!four) throw new Error("not encoded");
    bits.bf16 += 8 * bytesOf(weight);
    bits[type] = (bits[type] ?? 0) + 8 * bytesOf(four);
    parameters += weight.shape[0] * cols;
    all.set(name, four);
  }
  return assembleModel(device, config, all, { positions: length, dispose: () => {} });
}

const lora = { r: rank, alpha: 2 * rank, useRslora: false, targetModules: "all-linear" };
const sides = [
  { name: "bf16", tuning: tuneLora(plain, lora, { seed: 0 }) },
  { name: type, tuning: tuneLora(await quantized(), lora, { seed: 0 }) },
];
const examples = randomRows({ rows, length, vocab: config.vocabSize });

/** Steps of one side; the first is left out, it records the programs. @param {(typeof sides)[number]} side */
async function run({ tuning }) {
  const seconds = [];
  const cpu = [];
  let loss = 0;
  let before = process.cpuUsage();
  for await (const event of train(tuning, {
    examples,
    tasks: [{ name: "random", lossWeight: 1 }],
    schedule: {
      totalSteps: steps + 1,
      stepsPerEpoch: 1,
      window: () => [examples.map((_, i) => i)],
      epochAt: (step) => step,
    },
    packing: true,
    objective: "token_mean",
    optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }),
    learningRate: () => 1e-4,
    memory: { recompute: "none" },
    now: () => performance.now(),
  })) {
    if (event.type !== "step") continue;
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    loss = event.loss;
    if (event.step === 1) continue;
    seconds.push(event.timing.seconds);
    cpu.push((user + system) / 1e6);
  }
  return { seconds: median(seconds), cpu: median(cpu), loss };
}

/** @type {Record<string, Awaited<ReturnType<typeof run>>>[]} */
const results = [];
for (const side of sides) await run(side); // compiles
for (let round = 1; round <= Number(options.rounds); round++) {
  const order = round % 2 === 1 ? sides : sides.toReversed();
  /** @type {Record<string, Awaited<ReturnType<typeof run>>>} */
  const of = {};
  for (const side of order) of[side.name] = await run(side);
  results.push(of);
  console.error(`round ${round}:`, JSON.stringify(of));
}
/** @param {string} name @param {"seconds" | "cpu"} value */
const of = (name, value) => median(results.map((round) => round[name]?.[value] ?? NaN));
/** Median of the rounds' ratios. @param {string} name @param {"seconds" | "cpu"} value */
const ratio = (name, value) =>
  median(results.map((round) => (round[name]?.[value] ?? NaN) / (round["bf16"]?.[value] ?? NaN))).toFixed(2);
report({
  lines: [{ benchmark: "qlora", node: process.version, ...options }, ...results],
  columns: [
    `${shape}, ${rows} × ${length} tokens`,
    "s/step",
    "CPU s/step",
    "time × bf16",
    "CPU × bf16",
    "bits/parameter",
  ],
  rows: sides.map(({ name }) => [
    name,
    of(name, "seconds"),
    of(name, "cpu"),
    ratio(name, "seconds"),
    ratio(name, "cpu"),
    ((bits[name] ?? NaN) / parameters).toFixed(3),
  ]),
  out: options.out,
});
process.exit(0);
