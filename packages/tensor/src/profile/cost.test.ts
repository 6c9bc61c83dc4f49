import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../../tests/support/device.ts";
import type { Device } from "../device.ts";
import type { TensorData } from "../dtype.ts";
import { adamwUpdate } from "../kernels/optimizers.ts";
import { attentionBackwardKeyValue, attentionBackwardQuery, attentionForward } from "../kernels/attention/attention.ts";
import { crossEntropyRows } from "../kernels/cross-entropy.ts";
import { addScaled } from "../kernels/elementwise.ts";
import { matmul } from "../kernels/matmul/matmul.ts";
import { ropeKernel } from "../kernels/rope.ts";
import { gatherRows } from "../kernels/rows.ts";
import { launch } from "../launch.ts";
import { record } from "../recorder.ts";
import type { Inputs } from "../recorder.ts";
import { empty } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { launchCost } from "./cost.ts";

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

/** Costs of the launches that `body` makes, by kernel; nothing runs. */
function costs(
  body: (make: (...shape: number[]) => Tensor, inputs: Inputs) => Tensor,
  values: Record<string, TensorData> = {},
): Map<string, { flops: number; bytes: number }> {
  const { plan, inputs } = record(device, "cost", (given) => ({
    out: body((...shape) => empty(device, shape), given),
  }));
  const names = new Map([...inputs].map(([name, { storage }]) => [storage, name]));
  const valuesOf = ({ storage }: Tensor): TensorData | undefined => values[names.get(storage) ?? ""];
  return new Map(plan.launches.map((l) => [/^[a-z]+/.exec(l.variant.kernel.label)![0], launchCost(l, valuesOf)]));
}

describe("by hand", () => {
  test("a product: two operations per multiply-add; operands and result once", () => {
    const [m, n, k] = [64, 96, 128];
    const { matmul: cost } = Object.fromEntries(
      costs((make) => {
        const out = make(m, n);
        matmul({ layout: "nt", a: make(m, k), b: make(n, k), out });
        return out;
      }),
    );
    expect(cost).toEqual({ flops: 2 * 64 * 96 * 128, bytes: 4 * (64 * 128 + 96 * 128 + 64 * 96) });
  });

  test("a product on top of old values with a low-rank term and a bias", () => {
    const [m, n, k, rank] = [64, 96, 128, 8];
    const cost = costs((make) => {
      const out = make(m, n);
      const plus = { layout: "nt", a: make(m, rank), b: make(n, rank) } as const;
      matmul({ layout: "nt", a: make(m, k), b: make(n, k), out, plus, bias: make(n), accumulate: true });
      return out;
    }).get("matmul");
    const read = 64 * 128 + 96 * 128 + 64 * 8 + 96 * 8 + 96 + 64 * 96;
    expect(cost).toEqual({ flops: 2 * 64 * 96 * (128 + 8), bytes: 4 * (read + 64 * 96) });
  });

  test("16-bit weights move half the bytes", () => {
    const cost = costs((make, { input }) => {
      const out = make(64, 96);
      matmul({ layout: "nt", a: make(64, 128), b: input("w", [96, 128], "bf16"), out });
      return out;
    }).get("matmul");
    expect(cost!.bytes).toBe(4 * 64 * 128 + 2 * 96 * 128 + 4 * 64 * 96);
  });

  // segments of 3 and 2 tokens, one of padding: 1+2+3 and 1+2 pairs; with a window of two 1+2+2 and 1+2
  test.each([
    [64, 9],
    [2, 8],
  ])("attention counts the pairs that see each other, window %i", (window, pairs) => {
    const [tokens, heads, kvHeads, headDim] = [6, 4, 2, 8];
    const sizes = { tokens, heads, kv_heads: kvHeads, vectors: 2, four: 4, window, cap: 0, scale: 1 };
    const spec = { family: "shared", headDim, perLane: 1 };
    const bounds = { start: Int32Array.of(0, 0, 0, 3, 3, -1), end: Int32Array.of(3, 3, 3, 5, 5, 0) };
    const found = costs((make, { input }) => {
      const [q, k, v] = [make(tokens, heads, headDim), make(tokens, kvHeads, headDim), make(tokens, kvHeads, headDim)];
      const start = input("start", [tokens], "i32");
      const [out, lse] = [make(tokens, heads, headDim), make(tokens, heads)];
      launch(attentionForward, {
        spec,
        params: sizes,
        reads: { q, k, v, segment_start: start },
        writes: { out, lse },
      });
      return out;
    }, bounds);
    expect(found.get("attention")!.flops).toBe(2 * 2 * headDim * heads * pairs);

    const backward = (kernel: "query" | "key"): number =>
      costs((make, { input }) => {
        const q = make(tokens, heads, headDim);
        const [k, v] = [make(tokens, kvHeads, headDim), make(tokens, kvHeads, headDim)];
        const reads = { q, k, v, dout: make(tokens, heads, headDim), stats: make(tokens, heads, 2) };
        const [start, end] = [input("start", [tokens], "i32"), input("end", [tokens], "i32")];
        const params = { ...sizes, gradient_scale: 1 };
        const [dq, dk, dv] = [make(tokens, heads, headDim), make(...k.shape), make(...k.shape)];
        if (kernel === "query")
          launch(attentionBackwardQuery, { spec, params, reads: { ...reads, segment_start: start }, writes: { dq } });
        else
          launch(attentionBackwardKeyValue, {
            spec,
            params,
            reads: { ...reads, segment_end: end },
            writes: { dk, dv },
          });
        return kernel === "query" ? dq : dk;
      }, bounds).get("attention")!.flops;
    expect(backward("query")).toBe(3 * 2 * headDim * heads * pairs);
    expect(backward("key")).toBe(4 * 2 * headDim * heads * pairs);
  });

  test("attention without known bounds counts one segment", () => {
    const [tokens, heads, headDim] = [6, 4, 8];
    const cost = costs((make) => {
      const q = make(tokens, heads, headDim);
      const [out, lse] = [make(tokens, heads, headDim), make(tokens, heads)];
      launch(attentionForward, {
        spec: { family: "shared", headDim, perLane: 1 },
        params: { tokens, heads, kv_heads: heads, vectors: 2, four: 4, window: 64, cap: 0, scale: 1 },
        reads: { q, k: make(tokens, heads, headDim), v: make(tokens, heads, headDim), segment_start: make(tokens) },
        writes: { out, lse },
      });
      return out;
    }).get("attention");
    expect(cost!.flops).toBe(2 * 2 * headDim * heads * 21);
  });

  test("rows of a table: only those that are fetched count", () => {
    const cost = costs((make, { input }) => {
      const out = make(8, 32);
      launch(gatherRows, {
        spec: { format: "bf16" },
        params: { count: 8, dim: 32, first_id: 0, first_row: 0, rows: 1000 },
        reads: { ids: input("ids", [8], "i32"), table: input("table", [1000, 32], "bf16") },
        writes: { out },
      });
      return out;
    }).get("gather");
    expect(cost).toEqual({ flops: 0, bytes: 4 * 8 + 2 * 8 * 32 + 4 * 8 * 32 });
  });

  test("rope, a sum, cross-entropy, an update", () => {
    const rope = costs((make, { input }) => {
      const y = make(16, 4, 8);
      launch(ropeKernel, {
        spec: { vectors: true },
        params: { tokens: 16, heads: 4, width: 1, stride: 2, table_rows: 1000, direction: 1 },
        reads: {
          x: make(16, 4, 8),
          positions: input("p", [16], "i32"),
          cosines: make(1000, 4),
          sines: input("s", [1000, 4], "f32"),
        },
        writes: { y },
      });
      return y;
    }).get("rope");
    // three operations per output; per token one row of half a head from each table
    expect(rope).toEqual({ flops: 3 * 16 * 4 * 8, bytes: 4 * (16 * 32 + 16 + 2 * 16 * 4 + 16 * 32) });

    const sum = costs((make) => {
      const out = make(70);
      launch(addScaled, {
        params: { n: 70, scale_a: 1, scale_b: 1 },
        reads: { a: make(70), b: make(70) },
        writes: { out },
      });
      return out;
    }).get("add");
    expect(sum).toEqual({ flops: 210, bytes: 3 * 288 }); // buffers are rounded up to 16 bytes

    const loss = (gradient: boolean): unknown =>
      costs((make, { input }) => {
        const [logits, losses] = [make(64, 100), make(64)];
        launch(crossEntropyRows, {
          spec: { gradient },
          params: { count: 64, vocab: 100, first: 0, tokens: 64, cap: 0 },
          reads: {
            rows: input("rows", [64], "i32"),
            targets: input("targets", [64], "i32"),
            weights: make(64),
            dloss: make(1),
          },
          updates: { logits, losses },
        });
        return losses;
      }).get("cross");
    expect(loss(false)).toEqual({ flops: 4 * 6400, bytes: 4 * 6400 });
    expect(loss(true)).toEqual({ flops: 9 * 6400, bytes: 8 * 6400 });

    const update = costs((make) => {
      const values = make(1024);
      launch(adamwUpdate, {
        params: { n: 256, start: 0, group: 0, rest1: 0.1, beta2: 0.999, rest2: 0.001, eps: 1e-8 },
        reads: { clip: make(3), scalars: make(4) },
        updates: { values, gradients: make(1024), m: make(1024), v: make(1024) },
      });
      return values;
    }).get("adamw");
    expect(update).toEqual({ flops: 15 * 256, bytes: 32 * 256 });
  });
});
