// Our rivals of bench/matmul.mjs, one per format of the right operand, and the textbook's kernel on the same device.
import { openDevice } from "@tunesmith/node";
import { matmul, record, state } from "@tunesmith/tensor";
import { words } from "./problem.mjs";
import { serve } from "./rival.mjs";
import { textbook } from "./textbook.mjs";

/** @typedef {import("./problem.mjs").Format} Format */

const device = await openDevice();
const mixed = await openDevice({ compute: "mixed" });
const hasMatrixUnits = !mixed.facts.software && mixed.facts.matrices.length > 0;

/**
 * @param {import("@tunesmith/tensor").Device} device
 * @param {Format} format
 * @returns {import("./rival.mjs").Rival}
 */
const ours = (device, format) => ({
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
  {
    "tunesmith f32": ours(device, "f32"),
    "tunesmith f16": ours(device, "f16"),
    "tunesmith bf16": ours(device, "bf16"),
    ...(hasMatrixUnits ? { "tunesmith mixed f16": ours(mixed, "f16") } : {}),
    textbook: textbook(device),
  },
  { adapter: device.facts.description },
);
