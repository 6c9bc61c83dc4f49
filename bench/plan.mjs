// What a LoRA step takes, planned to the byte on a device that holds nothing: common shapes, how the base is stored,
// with and without recomputation. Needs no GPU. (`npm run build` first.)
//   node bench/plan.mjs [--shapes NAME,…] [--rows 4] [--length 1024] [--rank 16] [--software]
import { parseStrictJson } from "@tunesmith/core";
import { fourBitCodec } from "@tunesmith/lora";
import { parseModelConfig, planModel } from "@tunesmith/models";
import { adamw } from "@tunesmith/optim";
import { planRun, tuneLora } from "@tunesmith/sft";
import { virtualDevice } from "@tunesmith/tensor";
import { parseArgs } from "node:util";
import { SHAPES } from "./lib/shapes.mjs";

const { values: options } = parseArgs({
  options: {
    shapes: { type: "string", default: "qwen2.5-0.5b,llama-3.2-1b" },
    rows: { type: "string", default: "4" },
    length: { type: "string", default: "1024" },
    rank: { type: "string", default: "16" },
    software: { type: "boolean", default: false },
  },
});
const tokens = Number(options.rows) * Number(options.length);

/** A GPU of a laptop, or lavapipe. @type {import("@tunesmith/tensor").DeviceFacts} */
const facts = {
  vendor: options.software ? "mesa" : "nvidia",
  architecture: options.software ? "software" : "ada",
  description: "planned",
  software: options.software,
  subgroups: true,
  subgroupMinSize: options.software ? 8 : 32,
  subgroupMaxSize: options.software ? 8 : 32,
  immediates: true,
  maxBindingBytes: options.software ? 2 ** 27 : 2 ** 31 - 256,
  offsetAlignment: 256,
  maxWorkgroups: 65_535,
  matrices: [],
};
const optimizer = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 });
const bases = {
  bf16: fourBitCodec(),
  nf4: fourBitCodec({ quantize: { type: "nf4", doubleQuant: true, blockSize: 64 } }),
};
const gigabytes = (/** @type {number} */ bytes) => (bytes / 1e9).toFixed(3);

console.log(`${tokens} tokens per micro-batch, LoRA r = ${options.rank} on all linear layers, f32 activations; GB\n`);
const columns = ["shape", "base", "recompute", "logits", "peak", "weights", "lora+adam", "saved", "workspace"];
console.log(`| ${[...columns, "× least", "dispatches", "plan ms", "peak at"].join(" | ")} |`);
console.log(`|${" --- |".repeat(columns.length + 4)}`);
for (const name of options.shapes.split(",")) {
  const json = SHAPES[/** @type {keyof typeof SHAPES} */ (name)];
  if (!json) throw new Error(`unknown shape ${name}; known: ${Object.keys(SHAPES).join(", ")}`);
  const config = parseModelConfig(parseStrictJson(JSON.stringify(json), { path: name }), name);
  for (const [base, codec] of Object.entries(bases))
    for (const recompute of /** @type {const} */ (["none", "layer"]))
      for (const chunkRows of [512, 64]) {
        const model = await planModel(virtualDevice(facts), config, { positions: Number(options.length), codec });
        const lora = { r: Number(options.rank), alpha: 32, useRslora: false, targetModules: "all-linear" };
        const tuning = tuneLora(model, lora, { seed: 0 });
        const shape = { microBatches: new Map([[tokens, 2]]), scored: new Set(), tokens };
        const start = performance.now();
        let row;
        try {
          const {
            peakBytes,
            categories: c,
            slots,
            peak,
          } = planRun(tuning, {
            optimizer,
            shape,
            memory: { recompute, chunkRows },
          });
          const shared = slots.reduce((a, b) => a + b, 0);
          row = [
            ...[peakBytes, c.weights, c.adapter + c.gradients + c.optimizer, c.activations, c.workspace].map(gigabytes),
            (shared / peak.bytes).toFixed(3),
            peak.launches,
            (performance.now() - start).toFixed(0),
            peak.at.replace(/\{.*/, ""),
          ];
        } catch (error) {
          row = [/** @type {Error} */ (error).message];
        }
        console.log(`| ${[name, base, recompute, chunkRows, ...row].join(" | ")} |`);
      }
}
