// Memory and time of loading a base in four bits: a checkpoint of a common shape, whose random bf16 weights come into being as
// they are read, quantized while it loads. The device's bytes are counted as they are created and compared with the plan; on a
// software device they are part of the process, and what it grows by beyond them is the price of loading.
//   npm run build && node --expose-gc bench/load.mjs [--shape llama-3.2-1b] [--type nf4] [--plain]
// --plain   leave the weights in bf16
import { parseArgs } from "node:util";
import { parseStrictJson } from "@tunesmith/core";
import { fourBitCodec } from "@tunesmith/lora";
import {
  linearPaths,
  loadModel,
  parameterShapes,
  parseModelConfig,
  planModel,
  readModelFormats,
} from "@tunesmith/models";
import { openDevice } from "@tunesmith/node";
import { virtualDevice } from "@tunesmith/tensor";
import { report } from "./lib/report.mjs";
import { assertShape, SHAPES } from "./lib/shapes.mjs";

/** @import { Files } from "@tunesmith/core" */
/** @import { ModelConfig } from "@tunesmith/models" */
/** @import { Weight } from "@tunesmith/tensor" */

const { values: options } = parseArgs({
  options: {
    shape: { type: "string", default: "llama-3.2-1b" },
    type: { type: "string", default: "nf4" },
    plain: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const { shape } = options;
assertShape(shape);
const text = JSON.stringify(SHAPES[shape]);
const config = parseModelConfig(parseStrictJson(text), "config.json");
const quantize = /** @type {const} */ ({
  type: options.type === "fp4" ? "fp4" : "nf4",
  blockSize: 64,
  doubleQuant: true,
});
const codec = fourBitCodec(options.plain ? {} : { quantize });

/** Watches the process: what it holds beyond the device's bytes. */
const watch = { baseline: 0, device: 0, devicePeak: 0, beyond: 0 };
function look() {
  watch.beyond = Math.max(watch.beyond, process.memoryUsage.rss() - watch.baseline - watch.device);
}

const device = await openDevice();
const { createBuffer, destroyBuffer } = device;
device.createBuffer = (bytes, ...rest) => {
  const buffer = createBuffer.call(device, bytes, ...rest);
  watch.device += bytes;
  watch.devicePeak = Math.max(watch.devicePeak, watch.device);
  return buffer;
};
device.destroyBuffer = (buffer, category) => {
  look();
  watch.device -= buffer.size;
  destroyBuffer.call(device, buffer, category);
};

const files = checkpoint(config, text);
const { config: _, ...formats } = await readModelFormats(files, "model", codec);
const planned = virtualDevice(device.facts);
await planModel(planned, config, { ...formats, codec, positions: 2048 });
const plan = [...planned.bytes.values()].reduce((a, b) => a + b, 0);

globalThis.gc?.();
watch.baseline = process.memoryUsage.rss();
const began = performance.now();
const cpu = process.cpuUsage();
const timer = setInterval(look, 5);
const model = await loadModel(device, files, "model", { codec, positions: 2048 });
await device.idle();
clearInterval(timer);
look();
const { user, system } = process.cpuUsage(cpu);
const seconds = (performance.now() - began) / 1000;

let bits = 0;
let parameters = 0;
for (const path of linearPaths(config).keys()) {
  const weight = /** @type {Weight} */ (model.parameters.get(`${path}.weight`));
  for (const { tensor } of weight.shards) bits += 8 * tensor.bytes;
  parameters += weight.shape[0] * weight.shape[1];
}
const live = [...device.bytes.values()].reduce((a, b) => a + b, 0);
report({
  lines: [
    { benchmark: "load", node: process.version, ...options },
    {
      adapter: device.facts.description,
      plan_bytes: plan,
      device_bytes: live,
      device_peak_bytes: watch.devicePeak,
      beyond_peak_bytes: watch.beyond,
      peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
      bits_per_parameter: bits / parameters,
      seconds,
      cpu_seconds: (user + system) / 1e6,
    },
  ],
  columns: [shape, "plan MB", "device MB", "peak MB", "process beyond MB", "bits/parameter", "s", "CPU s"],
  rows: [
    [
      options.plain ? "bf16" : `${quantize.type}, double quantization`,
      plan / 1e6,
      live / 1e6,
      watch.devicePeak / 1e6,
      watch.beyond / 1e6,
      (bits / parameters).toFixed(3),
      seconds,
      (user + system) / 1e6,
    ],
  ],
  out: options.out,
});
if (plan !== live) throw new Error(`planned ${plan} bytes, ${live} are there`);
process.exit(0);

/**
 * A folder of one safetensors file that nowhere exists: every range is drawn when it is read.
 * @param {ModelConfig} of @param {string} configText
 * @returns {Files}
 */
function checkpoint(of, configText) {
  /** @type {Record<string, object>} */
  const header = {};
  let end = 0;
  for (const [name, dims] of parameterShapes(of)) {
    const start = end;
    end += 2 * dims.reduce((a, b) => a * b, 1);
    header[name] = { dtype: "BF16", shape: dims, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8 + json.length);
  head.writeBigUInt64LE(BigInt(json.length));
  json.copy(head, 8);
  // normal numbers of the usual size, from which every read copies a stretch
  const pool = new Uint16Array(1 << 20);
  for (let i = 0; i < pool.length; i++) {
    const value = 0.02 * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    pool[i] = new Uint16Array(Float32Array.of(value).buffer)[1] ?? 0;
  }
  const bytes = new Uint8Array(pool.buffer);
  /** @param {number} offset @param {number} length */
  const read = (offset, length) => {
    look();
    const out = new Uint8Array(length);
    for (let i = 0; i < length;) {
      const at = offset + i;
      if (at < head.length) out[i++] = head[at] ?? 0;
      else {
        const from = (at - head.length) % bytes.length;
        const n = Math.min(length - i, bytes.length - from);
        out.set(bytes.subarray(from, from + n), i);
        i += n;
      }
    }
    return Promise.resolve(out);
  };
  const name = (/** @type {string} */ path) => path.split("/").at(-1);
  return {
    open: async (path) =>
      name(path) === "config.json"
        ? {
            path,
            size: configText.length,
            read: async () => Buffer.from(configText),
            close: async () => {},
          }
        : { path, size: head.length + end, read, close: async () => {} },
    exists: async (path) => ["config.json", "model.safetensors"].includes(name(path) ?? ""),
    list: async () => ["config.json", "model.safetensors"],
    writeAtomic: async () => {
      throw new Error("nothing is written here");
    },
    join: (...parts) => parts.join("/"),
  };
}
