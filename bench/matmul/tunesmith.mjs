// Our rivals of bench/matmul.mjs: one per format of the right operand.
import { openDevice } from "@tunesmith/node";
import { matmul, record, state } from "@tunesmith/tensor";
import { words } from "./problem.mjs";
import { serve } from "./rival.mjs";

/** @typedef {import("./problem.mjs").Format} Format */

const device = await openDevice();

/**
 * @param {Format} format
 * @returns {import("./rival.mjs").Rival}
 */
const ours = (format) => ({
  async prepare(n, a, b) {
    /** @type {(dtype: Format, data: Float32Array | Uint16Array) => import("@tunesmith/tensor").Tensor} */
    const make = (dtype, data) => state(device, { shape: [n, n], dtype, category: "weights", label: dtype, data });
    const left = make("f32", a);
    const right = make(format, format === "f32" ? b : words(b, format));
    const out = make("f32", new Float32Array(n * n));
    /** @type {Map<number, import("@tunesmith/tensor").Program>} */
    const programs = new Map();
    return {
      async run(times) {
        let program = programs.get(times);
        if (!program) {
          program = record(device, "matmul", () => {
            for (let i = 0; i < times; i++) matmul({ layout: "nn", a: left, b: right, out });
            return {};
          });
          programs.set(times, program);
        }
        program.replay();
        await device.idle();
      },
      read: async () => /** @type {Float32Array} */ (await out.read()),
    };
  },
});

serve(
  { "tunesmith f32": ours("f32"), "tunesmith f16": ours("f16"), "tunesmith bf16": ours("bf16") },
  { adapter: device.facts.description },
);
