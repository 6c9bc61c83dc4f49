import { embedding } from "@tunesmith/autograd";
import type { Magnitude } from "@tunesmith/autograd";
import {
  columnSums,
  decomposedFactor,
  empty,
  launch,
  matmul,
  multiply,
  scopeSync,
  state,
  upload,
  viewOf,
} from "@tunesmith/tensor";
import type { Tensor, Weight } from "@tunesmith/tensor";

/** A weight of the base, however it is stored. */
export interface BaseWeight {
  readonly weight: Weight;
  /** `in_out` is the Conv1D of GPT-2. Default `out_in` */
  readonly layout?: "out_in" | "in_out" | undefined;
}

/** DoRA's start: the norm of each output's weights, so that the adapted model begins as the base. */
export function initMagnitude({ values, squaredNorms: squares }: Magnitude): void {
  const { device, size } = values;
  if (device.virtual) return;
  scopeSync(device, () => {
    const unused = empty(device, [size]);
    launch(decomposedFactor, {
      params: { n: size, rank: 0, scale: 0 },
      reads: { magnitude: squares, squared: squares, b: squares, wa: squares, baa: squares },
      writes: { factor: unused, norm: values },
    });
  });
}

/** f32 values that are unpacked at a time. */
const CHUNK = 1 << 22;
/** Rows of a chunk come in these, so that their sums start on 256 bytes. */
const ROWS = 64;

/**
 * ‖W‖² of the weights of each output, f32 `[out]`, computed now. The caller disposes it.
 * @param path - of the module, for the memory plan
 */
export function squaredNorms({ weight, layout = "out_in" }: BaseWeight, path: string): Tensor {
  const { device } = weight.shards[0]!.tensor;
  const [rows, cols] = weight.shape;
  const label = `squared norms of ${path}`;
  const out = state(device, { shape: [layout === "out_in" ? rows : cols], dtype: "f32", category: "adapter", label });
  if (device.virtual) return out;
  const step = Math.max(1, Math.floor(CHUNK / cols / ROWS)) * ROWS;
  scopeSync(device, () => {
    const ones = upload(device, [1, cols], "f32", new Float32Array(cols).fill(1));
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      const ids = upload(
        device,
        [count],
        "i32",
        Int32Array.from({ length: count }, (_, i) => first + i),
      );
      const values = embedding(weight, ids); // unpacks any format
      const squares = empty(device, [count, cols]);
      launch(multiply, { params: { n: count * cols }, reads: { a: values, b: values }, writes: { out: squares } });
      if (layout === "in_out") columnSums({ x: squares, out, accumulate: first > 0 });
      else matmul({ layout: "nt", a: squares, b: ones, out: viewOf(out, first, [count, 1]) });
    }
  });
  return out;
}
