// What the host pays for a LoRA step: time to encode and submit a replay per dispatch, API calls per step, and what 500
// replays leave on the JavaScript heap. Production flags. (`npm run build` first.)
//   node --expose-gc bench/host.mjs [--shape stories260k] [--tokens 64] [--replays 500]
// A replay is timed on an idle device, from the call to its return. On a software device the work begins on the same cores
// at once, so the fastest tenth of the replays says what the host itself costs, and the median what is felt.
import { parseStrictJson } from "@tunesmith/core";
import { declareTokens, drawModel, forward, parseModelConfig } from "@tunesmith/models";
import { backward, linearCrossEntropy } from "@tunesmith/autograd";
import { openDevice } from "@tunesmith/node";
import { adamw, scalarCount } from "@tunesmith/optim";
import { tuneLora } from "@tunesmith/sft";
import { record } from "@tunesmith/tensor";
import { parseArgs } from "node:util";
import { SHAPES } from "./lib/shapes.mjs";

/** @import { Program, TensorData } from "@tunesmith/tensor" */

const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "stories260k" },
    tokens: { type: "string", default: "64" },
    replays: { type: "string", default: "500" },
  },
});
const tokens = Number(options.tokens);
const replays = Number(options.replays);

const device = await openDevice();
const json = SHAPES[/** @type {keyof typeof SHAPES} */ (options.shape)];
const config = parseModelConfig(parseStrictJson(JSON.stringify(json), { path: options.shape }), options.shape);
const model = await drawModel(device, config, { positions: tokens, seed: 0 });
const lora = { r: 16, alpha: 32, useRslora: false, targetModules: "all-linear" };
const { store, adapter } = tuneLora(model, lora, { seed: 0 });
const optimizer = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 });

const microBatch = record(device, "micro-batch", (inputs) => {
  const hidden = forward(model, declareTokens(inputs, tokens), { adapter });
  const { loss, losses } = linearCrossEntropy(hidden, model.lm_head, {
    targets: inputs.input("targets", [tokens], "i32"),
    weights: inputs.input("weights", [tokens], "f32"),
    rows: inputs.input("rows", [tokens], "i32"),
  });
  backward(loss);
  return { losses };
});
const update = record(device, "update", (inputs) =>
  optimizer.update(store, inputs.input("scalars", [scalarCount(store.layout)], "f32")),
);
const ints = (/** @type {(i: number) => number} */ value) => Int32Array.from({ length: tokens }, (_, i) => value(i));
/** @type {Record<string, TensorData>} */
const values = {
  ids: ints((i) => (i * 17) % config.vocabSize),
  positions: ints((i) => i),
  segment_start: ints(() => 0),
  segment_end: ints(() => tokens),
  targets: ints((i) => (i * 5) % config.vocabSize),
  weights: new Float32Array(tokens).fill(1 / tokens),
  rows: ints((i) => i),
};
const scalars = { scalars: optimizer.scalars(store.layout, { lr: 0, step: 1 }) };

/**
 * The same calls without our code: what was encoded in one replay, in a bare loop with its submit. No replay can take less.
 * @param {Program} program @param {Record<string, TensorData>} inputs
 */
async function bareLoop(program, inputs) {
  /** @type {[string, unknown[]][]} */
  const calls = [];
  const encoder = device.gpu.createCommandEncoder();
  const prototype = Object.getPrototypeOf(encoder.beginComputePass());
  const names = ["setPipeline", "setBindGroup", "setImmediates", "dispatchWorkgroups", "dispatchWorkgroupsIndirect"];
  const originals = names.map((name) => prototype[name]);
  for (const [i, name] of names.entries())
    /** @this {unknown} @param {unknown[]} args */
    prototype[name] = function seen(...args) {
      calls.push([name, args]);
      return originals[i].apply(this, args);
    };
  await program.replay(inputs).read();
  for (const [i, name] of names.entries()) prototype[name] = originals[i];
  return () => {
    const commands = device.gpu.createCommandEncoder();
    const pass = /** @type {any} */ (commands.beginComputePass());
    for (const [name, args] of calls) {
      if (args.length === 1) pass[name](args[0]);
      else if (args.length === 2) pass[name](args[0], args[1]);
      else pass[name](args[0], args[1], args[2]);
    }
    pass.end();
    device.gpu.queue.submit([commands.finish()]);
  };
}

/** Host microseconds of each replay on an idle device, and of the bare loop between them. @param {Program} program @param {Record<string, TensorData>} inputs */
async function hostMicroseconds(program, inputs) {
  for (let i = 0; i < 20; i++) await program.replay(inputs).read();
  const bare = await bareLoop(program, inputs);
  const times = { replay: new Float64Array(replays), bare: new Float64Array(replays) };
  for (let i = 0; i < replays; i++) {
    let start = performance.now();
    const pending = program.replay(inputs);
    times.replay[i] = (performance.now() - start) * 1000;
    await pending.read();
    start = performance.now();
    bare();
    times.bare[i] = (performance.now() - start) * 1000;
    await device.idle();
  }
  times.replay.sort();
  times.bare.sort();
  return times;
}

console.log(
  `${device.facts.description || device.facts.architecture}; ${options.shape}, ${tokens} tokens, ${replays} replays`,
);
for (const [program, inputs] of /** @type {const} */ ([
  [microBatch, values],
  [update, scalars],
])) {
  const { replay, bare } = await hostMicroseconds(program, inputs);
  const { length } = program.plan.launches;
  const told = (/** @type {Float64Array} */ times) =>
    [replays / 10, replays / 2].map((at) => `${((times[Math.floor(at)] ?? NaN) / length).toFixed(2)} µs`).join(" and ");
  console.log(
    `${program.label}: ${length} dispatches; fastest tenth and median per dispatch: replay ${told(replay)}, the bare calls ${told(bare)}`,
  );
}

const step = async () => {
  const losses = microBatch.replay(values);
  const norm = update.replay(scalars);
  await losses.read();
  await norm.read();
};
/** Counts every method call on the classes of these objects. @param {readonly object[]} objects */
function countMethods(objects) {
  /** @type {Map<string, number>} */
  const calls = new Map();
  for (const object of objects) {
    const prototype = Object.getPrototypeOf(object);
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value !== "function" || name === "constructor") continue;
      /** @this {unknown} @param {unknown[]} args */
      prototype[name] = function counted(...args) {
        calls.set(name, (calls.get(name) ?? 0) + 1);
        return value.apply(this, args);
      };
    }
  }
  return calls;
}

const encoder = device.gpu.createCommandEncoder();
const pass = encoder.beginComputePass();
const buffer = device.workspace.slot(0);

const collect = /** @type {(() => void) | undefined} */ (/** @type {any} */ (globalThis).gc);
if (!collect) console.log("heap: run with --expose-gc");
else {
  for (let i = 0; i < 50; i++) await step();
  collect();
  const before = process.memoryUsage();
  for (let i = 0; i < replays; i++) await step();
  collect();
  const after = process.memoryUsage();
  const grown = (/** @type {"heapUsed" | "external" | "arrayBuffers"} */ what) =>
    `${what} ${after[what] - before[what]}`;
  console.log(
    `bytes kept after ${replays} steps: ${grown("heapUsed")}, ${grown("external")}, ${grown("arrayBuffers")}`,
  );
}

pass.end();
const calls = countMethods([device.gpu, device.gpu.queue, encoder, pass, buffer]);
await step();
const counted = [...calls].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`);
console.log(`API calls per step: ${counted.join(", ")}`);
