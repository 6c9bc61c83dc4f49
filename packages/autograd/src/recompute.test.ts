import { scope, upload } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { bothModes, given } from "../../../tests/support/modes.ts";
import { f32, testDevice } from "../../../tests/support/device.ts";
import { dropout } from "./ops/dropout.ts";
import { add } from "./ops/elementwise.ts";
import { linear } from "./ops/linear.ts";
import { gelu } from "./ops/gelu.ts";
import { backward, gradients, isTracked, keep, recompute, trainable } from "./tape.ts";

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

const wave = (n: number, seed: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(seed * 7 + i));
const [rows, dim] = [5, 12];
const inputs = {
  x: given([rows, dim], wave(rows * dim, 1)),
  w1: given([dim, dim], wave(dim * dim, 2)),
  w2: given([dim, dim], wave(dim * dim, 3)),
  dy: given([rows, dim], wave(rows * dim, 4)),
  seed: { shape: [2], dtype: "u32", data: Uint32Array.of(1, 2) },
  step: { shape: [1], dtype: "u32", data: Uint32Array.of(3) },
} as const;
type Name = keyof typeof inputs;
type Wrap = (body: () => Tensor) => Tensor;
const plain: Wrap = (body) => body();
const again: Wrap = (body) => recompute(device, body);

/** Two residual layers with dropout; both use w2, so that its gradient is a sum over layers. */
function network(t: Record<Name, Tensor>, wrap: Wrap): { y: Tensor; inner: Tensor[] } {
  const inner: Tensor[] = [];
  const layer = (x: Tensor, site: number): Tensor => {
    const gate = linear(x, t.w1);
    const up = dropout(linear(x, t.w2), 0.5, {
      seed: t.seed as Tensor<"u32">,
      step: t.step as Tensor<"u32">,
      site,
    });
    inner.push(gate, up);
    return add(x, add(gelu(gate), up));
  };
  const first = wrap(() => layer(t.x, 11));
  return { y: wrap(() => layer(first, 12)), inner };
}

function run(wrap: Wrap): Promise<Record<"y" | "dx" | "dw1" | "dw2", TensorData>> {
  return bothModes(device, inputs, (t) => {
    for (const name of ["x", "w1", "w2"] as const) trainable(t[name]);
    const { y } = network(t, wrap);
    const [dx, dw1, dw2] = gradients(y, t.dy, [t.x, t.w1, t.w2]);
    return { y, dx: dx!, dw1: dw1!, dw2: dw2! };
  });
}

describe("recompute", () => {
  test("values and gradients are the bits of the plain pass, eagerly and recorded, dropout among them", async () => {
    const expected = await run(plain);
    expect(await run(again)).toEqual(expected);
    expect(await run((body) => recompute(device, () => recompute(device, body)))).toEqual(expected);
    expect([...(expected.dx as Float32Array)].some((v) => v !== 0)).toBe(true);
  });

  test("runs its body twice, and what it made is gone in between", async () => {
    await scope(device, async () => {
      const t = Object.fromEntries(
        Object.entries(inputs).map(([name, { shape, dtype, data }]) => [name, upload(device, shape, dtype, data)]),
      ) as Record<Name, Tensor>;
      const sink = f32(device, [dim, dim], new Float32Array(dim * dim));
      trainable(t.w1, sink);
      const { y, inner } = network(t, again);
      expect(inner).toHaveLength(4);
      await expect((async () => inner[0]!.read())()).rejects.toMatchObject({ code: "TENSOR_DISPOSED" });
      backward(y, t.dy);
      expect(inner).toHaveLength(8);
      await expect((async () => inner[7]!.read())()).rejects.toMatchObject({ code: "TENSOR_DISPOSED" });
      expect([...(await sink.read())].some((v) => v !== 0)).toBe(true);
    });
  });

  test("what a stretch keeps is made once and outlives it; without `keeps`, and inside a stretch that has it not, it is made again", async () => {
    let made = 0;
    const body = (t: Record<Name, Tensor>) => (): Tensor => {
      const kept = keep(() => {
        made++;
        return add(t.x, t.x);
      });
      return gelu(linear(kept, t.w1));
    };
    const runs: readonly [expected: number, wrap: Wrap][] = [
      [1, plain],
      [1, (run) => recompute(device, run, { keeps: true })],
      [2, again],
      [2, (run) => recompute(device, () => recompute(device, run, { keeps: true }))],
    ];
    const results = [];
    for (const [expected, wrap] of runs) {
      made = 0;
      results.push(
        await bothModes(device, inputs, (t) => {
          trainable(t.w1);
          const y = wrap(body(t));
          return { y, dw1: gradients(y, t.dy, [t.w1])[0]! };
        }),
      );
      expect(made).toBe(2 * expected); // eagerly and recorded
    }
    for (const result of results) expect(result).toEqual(results[0]);
  });

  test("a frozen stretch leaves nothing on the tape, and several outputs keep their own gradients", async () => {
    const x = f32(device, [4], [1, 2, 3, 4]);
    expect(isTracked(recompute(device, () => add(x, x)))).toBe(false);
    trainable(x);
    const frozen = f32(device, [4], [0, 0, 0, 0]);
    const [a, b, c] = recompute(device, () => [add(x, frozen), add(add(x, x), frozen), add(frozen, frozen)] as const);
    expect([a, b, c].map(isTracked)).toEqual([true, true, false]);
    const [dx] = gradients(add(a, b), f32(device, [4], [1, 10, 100, 1000]), [x]);
    expect([...(await dx!.read())]).toEqual([3, 30, 300, 3000]);
    expect(isTracked(add(frozen, frozen))).toBe(false); // the tape runs again afterwards
  });

  test("a body that throws leaves the tape as it was", () => {
    const x = trainable(f32(device, [1], [1]));
    expect(() =>
      recompute(device, () => {
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(isTracked(add(x, x))).toBe(true);
  });
});
