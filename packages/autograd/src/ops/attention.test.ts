import { attention as reference, maxAbsError } from "@tunesmith/testing";
import { record } from "@tunesmith/tensor";
import type { Device, Kernel, Tensor } from "@tunesmith/tensor";
import * as tensor from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { layout, numbers, run, scaleOf, testAttention } from "../../../../tests/support/attention.ts";
import type { Case } from "../../../../tests/support/attention.ts";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { attention } from "./attention.ts";

const small: Case[] = [
  { heads: 1, kvHeads: 1, headDim: 1, lengths: [1] },
  { heads: 2, kvHeads: 1, headDim: 8, lengths: [1] },
  { heads: 2, kvHeads: 1, headDim: 8, lengths: [-2, 5, 1, 9, -3] },
  { heads: 4, kvHeads: 1, headDim: 8, lengths: [-1, 12, -2, 8, -1], window: 5 },
  { heads: 3, kvHeads: 3, headDim: 5, lengths: [11, 1, 6], window: 1 },
  { heads: 4, kvHeads: 2, headDim: 5, lengths: [7, 10], window: 100 },
  { heads: 1, kvHeads: 1, headDim: 8, lengths: [-5] },
  { heads: 4, kvHeads: 2, headDim: 8, lengths: [-1, 9, 8], window: 6, softCap: 1.1 },
];
// across tiles and blocks (8 or 32 rows); 1, 2 and 4 heads per lane; heads of 1 to 8 pieces, some partly filled
const large: Case[] = [
  { heads: 8, kvHeads: 4, headDim: 8, lengths: [-3, 70, 1, 33, 30, 40, -9] },
  { heads: 4, kvHeads: 1, headDim: 16, lengths: [100, 29], window: 37 },
  { heads: 6, kvHeads: 2, headDim: 32, lengths: [65, 7] },
  { heads: 4, kvHeads: 2, headDim: 64, lengths: [40, 41], window: 9 },
  { heads: 2, kvHeads: 1, headDim: 67, lengths: [20, -3, 20] },
  { heads: 4, kvHeads: 2, headDim: 24, lengths: [-2, 41, 30], window: 20, softCap: 0.9 },
];

// the second device pretends to know nothing about its subgroups: tiles in shared memory, parameters by uniform buffer
describe.each([
  ["subgroup", undefined],
  ["portable", { software: false, subgroups: false, immediates: false }],
])("attention, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  testAttention(small, { device: () => device, every: true });
  testAttention(large, { device: () => device, every: false });

  test("large scores neither overflow nor vanish", async () => {
    const c: Case = { heads: 2, kvHeads: 1, headDim: 8, lengths: [40] };
    const [q, k, v] = numbers(c).arrays;
    const big = q!.map((x) => Math.fround(x * 60));
    const got = await values(run(device, c, [big, k!, v!]).y);
    // scores reach several hundred, so float32 knows them to about 1e-5
    expect(
      maxAbsError(got, reference(big, k!, v!, { ...c, segmentIds: layout(c.lengths).ids, scale: scaleOf(c) })),
    ).toBeLessThan(2e-4);
  });

  test("the same call gives the same bytes, and so does a replayed program", async () => {
    const c: Case = { heads: 8, kvHeads: 4, headDim: 8, lengths: [-3, 70, 1, 33, 30, 40, -9] };
    const { tokens, arrays } = numbers(c);
    const { start, end } = layout(c.lengths);
    const shapes = arrays.map((a) => [tokens, a.length / tokens]);
    const step = ([q, k, v, dy]: readonly Tensor[], segments: { start: Tensor<"i32">; end: Tensor<"i32"> }) => {
      const leaves = [q!, k!, v!].map((x) => trainable(x));
      const y = attention(q!, k!, v!, { ...c, segments, scale: scaleOf(c) });
      const [dq, dk, dv] = gradients(y, dy!, leaves);
      return { y, dq: dq!, dk: dk!, dv: dv! };
    };
    const eager = async (): Promise<Record<string, unknown>> => {
      const inputs = arrays.map((a, n) => f32(device, shapes[n]!, a));
      const out = step(inputs, { start: i32(device, [tokens], start), end: i32(device, [tokens], end) });
      return { y: await out.y.read(), dq: await out.dq.read(), dk: await out.dk.read(), dv: await out.dv.read() };
    };
    const first = await eager();
    expect(await eager()).toEqual(first);
    const names = ["q", "k", "v", "dy"];
    const program = record(device, "attention", ({ input }) =>
      step(
        names.map((name, n) => input(name, shapes[n]!, "f32")),
        { start: input("start", [tokens], "i32"), end: input("end", [tokens], "i32") },
      ),
    );
    const inputs = Object.fromEntries(names.map((name, n) => [name, Float32Array.from(arrays[n]!)]));
    const replayed = program.replay({ ...inputs, start: Int32Array.from(start), end: Int32Array.from(end) });
    expect(await replayed.read()).toEqual(first);
    program.dispose();
  });

  test("frozen keys cost nothing: only the query's kernel runs", () => {
    const program = record(device, "query only", ({ input }) => {
      const shape = [5, 8];
      const q = trainable(input("q", shape, "f32"));
      const k = input("k", shape, "f32");
      const segments = { start: input("start", [5], "i32"), end: input("end", [5], "i32") };
      const y = attention(q, k, k, { segments, heads: 1, kvHeads: 1, headDim: 8, scale: 0.5 });
      const [dq] = gradients(y, input("dy", shape, "f32"), [q]);
      return { dq: dq! };
    });
    expect(program.plan.launches.map((l) => l.variant.kernel.label)).toEqual([
      "attention_forward",
      "attention_stats",
      "attention_backward_query",
    ]);
  });
});

test("every kernel stays within 8 storage bindings", () => {
  const kernels: Kernel[] = Object.values(tensor).filter(
    (x): x is Kernel => typeof x === "object" && x !== null && "wgsl" in x,
  );
  const mine = kernels.filter((k) => /^(attention|rope|decode|cache)/.test(k.label));
  expect(mine.length).toBeGreaterThanOrEqual(8);
  for (const { label, reads, writes, updates } of mine)
    expect([label, Object.keys({ ...reads, ...writes, ...updates }).length <= 8]).toEqual([label, true]);
});

test("shapes that do not fit are refused by name", async () => {
  const device = await testDevice();
  const { start, end } = layout([3]);
  const segments = { start: i32(device, [3], start), end: i32(device, [3], end) };
  const x = (width: number): Tensor => f32(device, [3, width], new Float64Array(3 * width));
  const options = { segments, heads: 4, kvHeads: 2, headDim: 8, scale: 0.5 };
  expect(() => attention(x(24), x(16), x(16), options)).toThrow(/attention: q has shape \[3, 24\], expected \[3, 32\]/);
  expect(() => attention(x(32), x(16), x(32), options)).toThrow(/attention: v has/);
  expect(() => attention(x(32), x(24), x(24), { ...options, kvHeads: 3 })).toThrow(/kvHeads/);
  expect(() => attention(x(32), x(16), x(16), { ...options, window: 0 })).toThrow(/window/);
  expect(() => attention(x(32), x(16), x(16), { ...options, softCap: 0 })).toThrow(/softCap/);
  expect(() => attention(x(4 * 257), x(2 * 257), x(2 * 257), { ...options, headDim: 257 })).toThrow(/headDim/);
});
