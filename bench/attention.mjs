// Times attention and its backward on this device, with the flags of production. Needs a build (`pnpm build`).
//   node bench/attention.mjs [REPEATS]
import { attention, gradients, trainable } from "@tunesmith/autograd";
import { openDevice } from "@tunesmith/node";
import { scope, state, upload } from "@tunesmith/tensor";

const repeats = Number(process.argv[2] ?? 10);
const layouts = [
  { name: "64 × 32", count: 64, length: 32 },
  { name: "4 × 512", count: 4, length: 512 },
  { name: "1 × 1024", count: 1, length: 1024 },
];
const shapes = [
  { heads: 8, kvHeads: 4, headDim: 8 },
  { heads: 6, kvHeads: 2, headDim: 32 },
  { heads: 8, kvHeads: 2, headDim: 64 },
];

const device = await openDevice();

/** @param {number} tokens @param {number} width @param {number} seed */
const filled = (tokens, width, seed) =>
  state(device, {
    shape: [tokens, width],
    dtype: "f32",
    category: "state",
    label: "bench",
    data: Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(i * seed)),
  });

/** Best milliseconds and the rate they mean. @param {readonly number[]} times @param {number} operations */
const column = (times, operations) => {
  const ms = Math.min(...times);
  return `${ms.toFixed(2).padStart(12)} ${(operations / ms / 1e6).toFixed(1).padStart(8)}`;
};

console.log(`${device.facts.description || device.facts.architecture}; best of ${repeats} after the first`);
console.log("segments   heads/kv/dim    forward ms  GFLOP/s  backward ms  GFLOP/s");
for (const { heads, kvHeads, headDim } of shapes) {
  for (const { name, count, length } of layouts) {
    const tokens = count * length;
    const start = Int32Array.from({ length: tokens }, (_, i) => i - (i % length));
    const segments = {
      start: upload(device, [tokens], "i32", start),
      end: upload(
        device,
        [tokens],
        "i32",
        start.map((first) => first + length),
      ),
    };
    const q = trainable(filled(tokens, heads * headDim, 1.1));
    const k = trainable(filled(tokens, kvHeads * headDim, 1.3));
    const v = trainable(filled(tokens, kvHeads * headDim, 1.7));
    const dy = filled(tokens, heads * headDim, 0.7);

    /** @type {number[]} */
    const forward = [];
    /** @type {number[]} */
    const backward = [];
    const once = async () => {
      await device.idle();
      const begin = performance.now();
      const y = attention(q, k, v, { segments, heads, kvHeads, headDim, scale: headDim ** -0.5 });
      await device.idle();
      const between = performance.now();
      gradients(y, dy, [q, k, v]);
      await device.idle();
      forward.push(between - begin);
      backward.push(performance.now() - between);
    };
    for (let i = 0; i <= repeats; i++) await scope(device, once); // the first compiles

    // two products forward; five backward, although seven are taken: the scores and the weights' gradients twice
    const product = ((2 * headDim * heads * tokens) / 2) * (length + 1);
    const shape = `${heads}/${kvHeads}/${headDim}`;
    console.log(
      `${name.padEnd(10)} ${shape.padEnd(12)} ${column(forward, 2 * product)} ${column(backward, 5 * product)}`,
    );
    for (const tensor of [q, k, v, dy, segments.start, segments.end]) tensor.dispose();
  }
}
device.destroy();
