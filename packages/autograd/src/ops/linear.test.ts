import { dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import { asWeight, record, state, upload } from "@tunesmith/tensor";
import type { Device, Tensor, Weight } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { backward, gradients, isTracked, trainable } from "../tape.ts";
import { linear } from "./linear.ts";
import { matmul } from "./matmul.ts";

const SCALE = 0.75;

/** y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ by its definition, one output at a time, in float64. */
function reference(
  t: Record<"x" | "w" | "bias" | "a" | "b", Float64Array>,
  rows: number,
  ins: number,
  outs: number,
  rank: number,
): Float64Array {
  const y = new Float64Array(rows * outs);
  for (let row = 0; row < rows; row++)
    for (let o = 0; o < outs; o++) {
      let sum = t.bias[o]!;
      for (let i = 0; i < ins; i++) {
        let effective = t.w[o * ins + i]!;
        for (let r = 0; r < rank; r++) effective += SCALE * t.b[o * rank + r]! * t.a[r * ins + i]!;
        sum += t.x[row * ins + i]! * effective;
      }
      y[row * outs + o] = sum;
    }
  return y;
}

const transpose = (m: Float64Array, rows: number, cols: number): Float64Array =>
  m.map((_, i) => m[(i % rows) * cols + Math.floor(i / rows)]!);

describe.each([
  ["as opened", undefined],
  ["portable", { subgroups: false, software: false }],
])("linear, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });
  const up = (shape: number[], data: Float64Array): Tensor => f32(device, shape, data);

  // a lone element; odd sizes; multiples of four with few enough columns for the transposed kernel; several tiles
  describe.each([
    [1, 1, 1, 1],
    [5, 7, 3, 2],
    [24, 12, 8, 4],
    [33, 36, 40, 4],
  ])("[%i, %i] → %i, rank %i", (rows, ins, outs, rank) => {
    const host = {
      x: seededNormals(rows * ins, 1),
      w: seededNormals(outs * ins, 2),
      bias: seededNormals(outs, 3),
      a: seededNormals(rank * ins, 4),
      b: seededNormals(outs * rank, 5),
    };
    const dy = seededNormals(rows * outs, 6);
    const want = reference(host, rows, ins, outs, rank);
    const wantGradient = (name: keyof typeof host): Float64Array =>
      finiteDifference((v) => dot(reference({ ...host, [name]: v }, rows, ins, outs, rank), dy), host[name]);
    const upAll = (): Record<keyof typeof host, Tensor> => ({
      x: up([rows, ins], host.x),
      w: up([outs, ins], host.w),
      bias: up([outs], host.bias),
      a: up([rank, ins], host.a),
      b: up([outs, rank], host.b),
    });

    test("forward and every gradient equal the reference and its finite differences", async () => {
      const t = upAll();
      for (const tensor of Object.values(t)) trainable(tensor);
      const y = linear(t.x, t.w, { bias: t.bias, lowRank: { a: t.a, b: t.b, scale: SCALE } });
      expect(maxAbsError(await values(y), want)).toBeLessThan(1e-4);
      const names = ["x", "w", "bias", "a", "b"] as const;
      const found = gradients(
        y,
        up([rows, outs], dy),
        names.map((name) => t[name]),
      );
      for (const [i, name] of names.entries())
        expect(maxAbsError(await values(found[i]!), wantGradient(name)), `d${name}`).toBeLessThan(2e-4);
    });

    test("sinks receive the gradients on top of what they hold", async () => {
      const t = upAll();
      const sinks = Object.fromEntries(
        Object.entries(t).map(([name, tensor]) => {
          const sink = up([...tensor.shape], new Float64Array(tensor.size).fill(2));
          trainable(tensor, sink);
          return [name, sink];
        }),
      );
      const y = linear(t.x, t.w, { bias: t.bias, lowRank: { a: t.a, b: t.b, scale: SCALE } });
      backward(y, up([rows, outs], dy));
      for (const name of ["x", "w", "bias", "a", "b"] as const)
        expect(
          maxAbsError(
            await values(sinks[name]!),
            wantGradient(name).map((v) => v + 2),
          ),
          `d${name}`,
        ).toBeLessThan(2e-4);
    });
  });

  test("a weight stored [in, out] gives the same output and gradients", async () => {
    const [rows, ins, outs] = [6, 8, 12];
    const host = {
      x: seededNormals(rows * ins, 1),
      w: seededNormals(outs * ins, 2),
      bias: seededNormals(outs, 3),
      a: new Float64Array(0),
      b: new Float64Array(0),
    };
    const dy = seededNormals(rows * outs, 4);
    const x = trainable(up([rows, ins], host.x));
    const w = trainable(up([ins, outs], transpose(host.w, outs, ins)));
    const y = linear(x, w, { layout: "in_out", bias: up([outs], host.bias) });
    expect(maxAbsError(await values(y), reference(host, rows, ins, outs, 0))).toBeLessThan(1e-5);
    const [dx, dw] = gradients(y, up([rows, outs], dy), [x, w]);
    const loss = (v: Partial<typeof host>): number => dot(reference({ ...host, ...v }, rows, ins, outs, 0), dy);
    expect(
      maxAbsError(
        await values(dx!),
        finiteDifference((v) => loss({ x: v }), host.x),
      ),
    ).toBeLessThan(1e-4);
    const dwOutIn = finiteDifference((v) => loss({ w: v }), host.w);
    expect(maxAbsError(await values(dw!), transpose(dwOutIn, outs, ins))).toBeLessThan(1e-4);
  });

  test("matmul of a tensor with itself has both gradients", async () => {
    const n = 5;
    const host = seededNormals(n * n, 1);
    const dy = seededNormals(n * n, 2);
    const square = (v: Float64Array): Float64Array =>
      v.map((_, at) => {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += v[at - (at % n) + i]! * v[i * n + (at % n)]!;
        return sum;
      });
    const x = trainable(up([n, n], host));
    const y = matmul(x, x);
    expect(maxAbsError(await values(y), square(host))).toBeLessThan(1e-5);
    const [dx] = gradients(y, up([n, n], dy), [x]);
    expect(
      maxAbsError(
        await values(dx!),
        finiteDifference((v) => dot(square(v), dy), host),
      ),
    ).toBeLessThan(1e-4);
  });

  test("trainable shards get the gradients of their rows; x keeps its leading dimensions", async () => {
    const [batch, tokens, ins, outs] = [2, 3, 8, 11];
    const rows = batch * tokens;
    const host = {
      x: seededNormals(rows * ins, 1),
      w: seededNormals(outs * ins, 2),
      bias: new Float64Array(outs),
      a: new Float64Array(0),
      b: new Float64Array(0),
    };
    const dy = seededNormals(rows * outs, 4);
    const shard = (firstRow: number, count: number): Weight["shards"][number] => ({
      tensor: trainable(up([count, ins], host.w.slice(firstRow * ins, (firstRow + count) * ins))),
      firstRow,
      rows: count,
    });
    const shards = [shard(0, 4), shard(4, 7)];
    const x = trainable(up([batch, tokens, ins], host.x));
    const y = linear(x, { shape: [outs, ins], format: "f32", shards });
    expect(y.shape).toEqual([batch, tokens, outs]);
    expect(maxAbsError(await values(y), reference(host, rows, ins, outs, 0))).toBeLessThan(1e-5);
    const [dx, first, second] = gradients(y, up([batch, tokens, outs], dy), [x, ...shards.map((s) => s.tensor)]);
    const loss = (v: Partial<typeof host>): number => dot(reference({ ...host, ...v }, rows, ins, outs, 0), dy);
    expect(dx!.shape).toEqual(x.shape);
    expect(
      maxAbsError(
        await values(dx!),
        finiteDifference((v) => loss({ x: v }), host.x),
      ),
    ).toBeLessThan(1e-4);
    const dw = finiteDifference((v) => loss({ w: v }), host.w);
    expect(maxAbsError(Float64Array.from([...(await values(first!)), ...(await values(second!))]), dw)).toBeLessThan(
      1e-4,
    );
  });

  test("frozen inputs cost no launches, and an untracked call leaves no node", () => {
    const launches = (trained: readonly ("x" | "w" | "a" | "b")[]): string[] => {
      const t = Object.fromEntries(
        Object.entries({ x: [40, 32], w: [36, 32], a: [4, 32], b: [36, 4] }).map(([name, shape]) => [
          name,
          state(device, { shape, dtype: "f32", category: "weights", label: name }),
        ]),
      ) as Record<"x" | "w" | "a" | "b", Tensor>;
      const dy = state(device, { shape: [40, 36], dtype: "f32", category: "state", label: "dy" });
      const sinks = new Map<string, Tensor>();
      for (const name of trained) {
        sinks.set(name, state(device, { shape: t[name].shape, dtype: "f32", category: "gradients", label: name }));
        trainable(t[name], sinks.get(name));
      }
      const program = record(device, "frozen", () => {
        const y = linear(t.x, asWeight(t.w as Tensor<"f32">), {
          lowRank: { a: t.a, b: t.b, scale: 1 },
        });
        expect(isTracked(y)).toBe(trained.length > 0);
        if (trained.length > 0) backward(y, dy);
        return trained.length > 0 ? {} : { y };
      });
      return program.plan.launches.map((l) => l.variant.kernel.label);
    };
    expect(launches([])).toHaveLength(2); // x·Aᵀ, x·Wᵀ + u·Bᵀ
    expect(launches(["b"])).toHaveLength(1 + 1); // u again, dB
    expect(launches(["a", "b"])).toHaveLength(1 + 3); // u, dY·B, dA, dB: nothing the size of W
    expect(launches(["x"])).toHaveLength(2); // dY·B, dY·W + v·A
    expect(launches(["w"])).toHaveLength(1); // dYᵀ·X
  });

  test("a 16-bit weight passes the gradient on", async () => {
    const words = Uint16Array.from([0x3f80, 0x4000, 0xbf80, 0x3f00, 0x0000, 0x4040, 0x3f80, 0xc000]); // 1 2 −1 ½ 0 3 1 −2
    const w = [1, 2, -1, 0.5, 0, 3, 1, -2];
    const x = trainable(up([1, 4], Float64Array.of(1, -1, 2, 0.5)));
    const y = linear(x, asWeight(upload(device, [2, 4], "bf16", words)));
    expect([...(await values(y))]).toEqual([1 - 2 - 2 + 0.25, -3 + 2 - 1]);
    const [dx] = gradients(y, up([1, 2], Float64Array.of(2, -1)), [x]);
    expect([...(await values(dx!))]).toEqual([0, 1, 2, 3].map((i) => 2 * w[i]! - w[4 + i]!));
  });

  test("shapes that do not fit are refused by name", () => {
    const t = (...shape: number[]): Tensor => up(shape, new Float64Array(shape.reduce((p, d) => p * d, 1)));
    expect(() => linear(t(2, 3), t(4, 5))).toThrow(/linear: x has shape \[2, 3\], expected \[\.\.\., 5\]/);
    expect(() => linear(t(2, 5), t(4, 5), { bias: t(5) })).toThrow(/bias has shape \[5\], expected \[4\]/);
    expect(() => linear(t(2, 5), t(4, 5), { lowRank: { a: t(2, 4), b: t(4, 2), scale: 1 } })).toThrow(/lowRank\.a/);
    expect(() => linear(t(2, 5), t(4, 5), { lowRank: { a: t(2, 5), b: t(2, 4), scale: 1 } })).toThrow(/lowRank\.b/);
  });
});
