// Our side of bench/step.mjs: LoRA steps of a random model through the same loop that `tunesmith train` runs, one JSON
// line at the end.   node bench/children/lora-step.mjs '{"config": {…}, "rows": 1, "length": 256, …}'
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseStrictJson } from "@tunesmith/core";
import { parseModelConfig } from "@tunesmith/models";
import { openDevice } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { train, tuneLora } from "@tunesmith/sft";
import { Profiler } from "@tunesmith/tensor";
import { randomModel } from "../lib/random-model.mjs";
import { randomRows } from "../lib/random-rows.mjs";

/** @import { DenseFormat } from "@tunesmith/tensor" */
/** @import { HuggingFaceConfig } from "../lib/shapes.mjs" */

/**
 * What both sides of bench/step.mjs are told.
 * @typedef {object} StepJob
 * @property {HuggingFaceConfig} config
 * @property {number} rows rows per step
 * @property {number} length tokens per row
 * @property {number} rank of LoRA, on all linear layers
 * @property {DenseFormat} weights how frozen matrices are stored
 * @property {boolean} recompute activation checkpointing
 * @property {boolean} torchCpu
 * @property {string | undefined} [profile] folder for profile.json and trace.json; timing every dispatch slows the steps
 * @property {number} warmUp steps before those that count
 * @property {number} steps steps that count
 */

/**
 * What both sides answer.
 * @typedef {object} StepResult
 * @property {"tunesmith" | "trl" | "peft"} framework
 * @property {string} adapter
 * @property {number} first_seconds the first step, which compiles
 * @property {readonly number[]} seconds wall clock of each step that counts
 * @property {readonly number[]} cpu_seconds of all threads
 * @property {readonly number[]} losses of all steps
 * @property {number} rss_bytes at the end
 * @property {number} peak_rss_bytes on a software device this holds the device's memory, too
 * @property {number} device_bytes what is allocated on the device
 */

/** @type {StepJob} */
const job = JSON.parse(process.argv[2] ?? "{}");
const config = parseModelConfig(parseStrictJson(JSON.stringify(job.config)), "config.json");
const device = await openDevice();
const model = randomModel(device, config, { format: job.weights, positions: job.length });
const tuning = tuneLora(
  model,
  { r: job.rank, alpha: 2 * job.rank, useRslora: false, targetModules: "all-linear" },
  { seed: 0 },
);
const examples = randomRows({ rows: job.rows, length: job.length, vocab: config.vocabSize });
const totalSteps = job.warmUp + job.steps;

const profiler = job.profile === undefined ? undefined : await Profiler.start(device, { now: () => performance.now() });
const losses = [];
const seconds = [];
const cpuSeconds = [];
const cpuNow = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let cpu = cpuNow();
for await (const event of train(tuning, {
  examples,
  tasks: [{ name: "random", lossWeight: 1 }],
  schedule: { totalSteps, stepsPerEpoch: 1, window: () => [examples.map((_, i) => i)], epochAt: (step) => step },
  packing: true,
  objective: "token_mean",
  optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }),
  learningRate: () => 1e-4,
  memory: { recompute: job.recompute ? "layer" : "none" },
  now: () => performance.now(),
})) {
  if (event.type !== "step") continue;
  const now = cpuNow();
  losses.push(event.loss);
  seconds.push(event.timing.seconds);
  cpuSeconds.push(now - cpu);
  cpu = now;
}
if (profiler && job.profile !== undefined) {
  const { profile, trace } = await profiler.stop();
  mkdirSync(job.profile, { recursive: true });
  writeFileSync(join(job.profile, "profile.json"), JSON.stringify(profile));
  writeFileSync(join(job.profile, "trace.json"), JSON.stringify(trace));
}
const bytes = Object.fromEntries([...device.bytes].filter(([, n]) => n > 0));
console.log(
  JSON.stringify({
    framework: "tunesmith",
    adapter: device.facts.description || device.facts.architecture,
    first_seconds: seconds[0],
    seconds: seconds.slice(job.warmUp),
    cpu_seconds: cpuSeconds.slice(job.warmUp),
    losses,
    rss_bytes: process.memoryUsage.rss(),
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
    device_bytes: Object.values(bytes).reduce((a, b) => a + b, 0),
    device_bytes_by_category: bytes,
  }),
);
process.exit(0);
