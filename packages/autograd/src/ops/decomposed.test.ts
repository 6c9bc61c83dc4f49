import { finiteDifference, maxAbsError, relativeMaxError, seededNormals } from "@tunesmith/testing";
import { asWeight } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { linear, linearMany } from "./linear.ts";

const SCALE = 0.75;
type Host = Record<"x" | "w" | "bias" | "a" | "b" | "m", Float64Array>;

/** ‖W + s·B·A‖ of each output, in float64. */
function norms({ w, a, b }: Host, ins: number, outs: number, rank: number): Float64Array {
  return Float64Array.from({ length: outs }, (_, o) => {
    let squares = 0;
    for (let i = 0; i < ins; i++) {
      let value = w[o * ins + i]!;
      for (let r = 0; r < rank; r++) value += SCALE * b[o * rank + r]! * a[r * ins + i]!;
      squares += value * value;
    }
    return Math.sqrt(squares);
  });
}

/** y = m / n · (W + s·B·A)·x + bias by its definition; `n` is given, as backward takes it for a constant. */
function reference(t: Host, n: Float64Array, rows: number, ins: number, outs: number, rank: number): Float64Array {
  const y = new Float64Array(rows * outs);
  for (let row = 0; row < rows; row++)
    for (let o = 0; o < outs; o++) {
      let sum = 0;
      for (let i = 0; i < ins; i++) {
        let value = t.w[o * ins + i]!;
        for (let r = 0; r < rank; r++) value += SCALE * t.b[o * rank + r]! * t.a[r * ins + i]!;
        sum += t.x[row * ins + i]! * value;
      }
      y[row * outs + o] = (t.m[o]! / n[o]!) * sum + t.bias[o]!;
    }
  return y;
}

describe.each([
  ["as opened", undefined],
  ["portable", { subgroups: false, software: false }],
])("a weight-decomposed projection, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });
  const hostOf = (rows: number, ins: number, outs: number, rank: number): Host => ({
    x: seededNormals(rows * ins, 1),
    w: seededNormals(outs * ins, 2),
    bias: seededNormals(outs, 3),
    a: seededNormals(rank * ins, 4, 0.3),
    b: seededNormals(outs * rank, 5, 0.3),
    m: seededNormals(outs, 6).map((v) => 1 + Math.abs(v)),
  });
  const transposed = (w: Float64Array, ins: number, outs: number): Float64Array =>
    w.map((__, i) => w[(i % outs) * ins + Math.floor(i / outs)]!);
  const squares = (w: Float64Array, ins: number, outs: number): Float64Array =>
    Float64Array.from({ length: outs }, (__, o) => w.subarray(o * ins, (o + 1) * ins).reduce((s, v) => s + v * v, 0));

  test.each([
    [1, 1, 1, 1, "out_in"],
    [5, 7, 3, 2, "out_in"],
    [9, 12, 8, 4, "in_out"],
    [33, 36, 68, 5, "out_in"],
  ] as const)("[%i, %i] → %i, rank %i, %s: values and gradients", async (rows, ins, outs, rank, layout) => {
    const host = hostOf(rows, ins, outs, rank);
    const n = norms(host, ins, outs, rank);
    const up = (shape: number[], data: Float64Array): Tensor => trainable(f32(device, shape, data));
    const x = up([rows, ins], host.x);
    const [a, b, m] = [up([rank, ins], host.a), up([outs, rank], host.b), up([outs], host.m)];
    const weight =
      layout === "out_in" ? f32(device, [outs, ins], host.w) : f32(device, [ins, outs], transposed(host.w, ins, outs));
    const y = linear(x, asWeight(weight), {
      bias: f32(device, [outs], host.bias),
      layout,
      lowRank: {
        a,
        b,
        scale: SCALE,
        magnitude: { values: m, squaredNorms: f32(device, [outs], squares(host.w, ins, outs)) },
      },
    });
    const expected = reference(host, n, rows, ins, outs, rank);
    expect(relativeMaxError(await values(y), expected)).toBeLessThan(2e-6);

    const dY = seededNormals(rows * outs, 7);
    const found = gradients(y, f32(device, [rows, outs], dY), [x, a, b, m]);
    for (const [i, key] of (["x", "a", "b", "m"] as const).entries()) {
      const wanted = finiteDifference((at) => {
        const out = reference({ ...host, [key]: at }, n, rows, ins, outs, rank);
        return out.reduce((sum, v, k) => sum + v * dY[k]!, 0);
      }, host[key]);
      expect(relativeMaxError(await values(found[i]!), wanted), key).toBeLessThan(2e-5);
    }
  });

  test("beside plain projections of one input: each column by its own rule, each gradient in its sink", async () => {
    const [rows, ins, rank] = [6, 8, 2];
    const sizes = [3, 5, 4];
    const hosts = sizes.map((outs, i) => ({ ...hostOf(rows, ins, outs, rank), w: seededNormals(outs * ins, 20 + i) }));
    const x = f32(device, [rows, ins], hosts[0]!.x);
    const sink = f32(device, [5], new Float64Array(5).fill(10));
    const magnitude = trainable(f32(device, [5], hosts[1]!.m), sink);
    const projections = hosts.map((host, i) => ({
      weight: f32(device, [sizes[i]!, ins], host.w),
      bias: i === 2 ? undefined : f32(device, [sizes[i]!], host.bias),
      lowRank:
        i === 2
          ? undefined
          : {
              a: f32(device, [rank, ins], host.a),
              b: f32(device, [sizes[i]!, rank], host.b),
              scale: SCALE,
              ...(i === 1
                ? { magnitude: { values: magnitude, squaredNorms: f32(device, [5], squares(host.w, ins, 5)) } }
                : {}),
            },
    }));
    const y = await values(linearMany(x, projections));
    for (const [i, { lowRank, ...rest }] of projections.entries()) {
      const first = sizes.slice(0, i).reduce((p, q) => p + q, 0);
      const own = await values(linear(x, rest.weight, { bias: rest.bias, lowRank }));
      for (let row = 0; row < rows; row++)
        expect(
          maxAbsError(
            y.subarray(row * 12 + first, row * 12 + first + sizes[i]!),
            own.subarray(row * sizes[i]!, (row + 1) * sizes[i]!),
          ),
        ).toBeLessThan(1e-6);
    }
  });
});
