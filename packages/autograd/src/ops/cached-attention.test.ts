import { maxAbsError, attention as reference, seededNormals } from "@tunesmith/testing";
import { record, state } from "@tunesmith/tensor";
import type { Device, Program, Tensor } from "@tunesmith/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { cachedAttention, storeKeysValues } from "./cached-attention.ts";
import type { LayerCache } from "./cached-attention.ts";

const filled = (length: number, value: number): number[] => Array.from({ length }, () => value);

// 8 and 64: one and several pieces per lane; 5: rows that start nowhere in particular
const cases = [
  { heads: 8, kvHeads: 4, headDim: 8 },
  { heads: 4, kvHeads: 1, headDim: 8, window: 3 },
  { heads: 4, kvHeads: 2, headDim: 64, window: 70 },
  { heads: 2, kvHeads: 2, headDim: 5 },
  { heads: 4, kvHeads: 1, headDim: 24, window: 70, softCap: 0.8 },
];
const capacity = 256;
// prompts before, at and after the border of a split of 64 keys; the third row is idle
const prompts = [1, 63, 0, 64, 130];
const steps = 3;

describe.each([
  ["subgroup", undefined],
  ["portable", { software: false, subgroups: false, immediates: false }],
])("cachedAttention, %s", (_, facts) => {
  describe.each(cases)("$heads/$kvHeads heads of $headDim, window $window", (c) => {
    const scale = 0.9 / Math.sqrt(c.headDim);
    const [qWidth, kvWidth] = [c.heads * c.headDim, c.kvHeads * c.headDim];
    // per row, q, k and v of the prompt and of all steps
    const rows = prompts.map((length, row) => {
      const tokens = length === 0 ? 0 : length + steps;
      const [q, k, v] = [qWidth, kvWidth, kvWidth].map((width, n) => seededNormals(tokens * width, 10 * row + n));
      const segmentIds = new Int32Array(tokens);
      return { length, q: q!, k: k!, v: v!, full: reference(q!, k!, v!, { ...c, scale, segmentIds }) };
    });
    let device: Device;
    let cache: LayerCache;
    let program: Program;

    beforeAll(async () => {
      device = await testDevice(facts);
      const shape = [rows.length * capacity, kvWidth];
      // memory that nothing was stored to may hold anything
      const empty = (label: string): Tensor =>
        state(device, {
          shape,
          dtype: "f32",
          category: "state",
          label,
          data: new Float32Array(shape[0]! * kvWidth).fill(NaN),
        });
      cache = { keys: empty("keys"), values: empty("values"), capacity };

      // the prompts as one flat sequence with padding behind, like a prefill
      const flat = (pick: (row: (typeof rows)[number]) => Float64Array): Tensor => {
        const parts = rows.flatMap((row) => [...pick(row).subarray(0, row.length * kvWidth)]);
        return f32(device, [parts.length / kvWidth + 2, kvWidth], [...parts, ...filled(2 * kvWidth, NaN)]);
      };
      const slots = rows.flatMap(({ length }, row) => Array.from({ length }, (__, p) => row * capacity + p));
      storeKeysValues(
        flat((r) => r.k),
        flat((r) => r.v),
        cache,
        i32(device, [slots.length + 2], [...slots, -1, -1]),
      );

      program = record(device, "step", ({ input }) => {
        const n = rows.length;
        const [k, v] = [input("k", [n, kvWidth], "f32"), input("v", [n, kvWidth], "f32")];
        storeKeysValues(k, v, cache, input("slots", [n], "i32"));
        const lengths = input("lengths", [n], "i32");
        return { out: cachedAttention(input("q", [n, qWidth], "f32"), cache, { ...c, lengths, scale }) };
      });
    });
    afterAll(() => {
      program.dispose();
      cache.keys.dispose();
      cache.values.dispose();
    });

    /** What one step feeds: each row's token, NaN and no slot for the idle row. */
    const feed = (step: number) => {
      const at = (name: "q" | "k" | "v", width: number): Float32Array<ArrayBuffer> =>
        Float32Array.from(
          rows.flatMap((r) => {
            const first = (r.length + step) * width;
            return r.length === 0 ? filled(width, NaN) : [...r[name].subarray(first, first + width)];
          }),
        );
      return {
        q: at("q", qWidth),
        k: at("k", kvWidth),
        v: at("v", kvWidth),
        slots: Int32Array.from(rows, (r, row) => (r.length === 0 ? -1 : row * capacity + r.length + step)),
        lengths: Int32Array.from(rows, (r) => (r.length === 0 ? 0 : r.length + step + 1)),
      };
    };
    const expected = (step: number): number[] =>
      rows.flatMap((r) => {
        const first = (r.length + step) * qWidth;
        return r.length === 0 ? filled(qWidth, 0) : [...r.full.subarray(first, first + qWidth)];
      });

    test("every step of one program equals attention over the whole row; an idle row gives 0", async () => {
      for (let step = 0; step < steps; step++) {
        const { out } = await program.replay(feed(step)).read();
        expect(maxAbsError(Float64Array.from(out!), expected(step))).toBeLessThan(2e-6);
      }
    });

    test("eager gives the same bytes as replay, twice", async () => {
      const { q, lengths, ...rest } = feed(steps - 1);
      const eager = (): Promise<Float64Array> =>
        values(
          cachedAttention(f32(device, [rows.length, qWidth], q), cache, {
            ...c,
            lengths: i32(device, [rows.length], lengths),
            scale,
          }),
        );
      const { out } = await program.replay({ q, lengths, ...rest }).read();
      const first = await eager();
      expect(first).toEqual(Float64Array.from(out!));
      expect(await eager()).toEqual(first);
    });
  });
});

test("a full cache is used to its last position", async () => {
  const device = await testDevice();
  const [kv, q] = [seededNormals(capacity * 8, 1), seededNormals(capacity * 8, 2)];
  const cache = { keys: f32(device, [capacity, 8], kv), values: f32(device, [capacity, 8], kv), capacity };
  const options = { heads: 1, kvHeads: 1, headDim: 8, scale: 0.3 };
  const last = q.subarray(8 * (capacity - 1));
  const out = cachedAttention(f32(device, [1, 8], last), cache, { ...options, lengths: i32(device, [1], [capacity]) });
  const full = reference(q, kv, kv, { ...options, segmentIds: new Int32Array(capacity) });
  expect(maxAbsError(await values(out), full.subarray(8 * (capacity - 1)))).toBeLessThan(2e-6);
});

test("shapes that do not fit are refused by name", async () => {
  const device = await testDevice();
  const zeros = (rows: number, width: number): Tensor => f32(device, [rows, width], new Float64Array(rows * width));
  const lengths = i32(device, [2], [1, 1]);
  const options = { lengths, heads: 2, kvHeads: 1, headDim: 8, scale: 1 };
  const cache = { keys: zeros(512, 8), values: zeros(512, 8), capacity };
  expect(() => cachedAttention(zeros(2, 8), cache, options)).toThrow(
    /cachedAttention: q has shape \[2, 8\], expected \[2, 16\]/,
  );
  expect(() => cachedAttention(zeros(2, 16), { ...cache, values: zeros(256, 8) }, options)).toThrow(/values has/);
  expect(() => storeKeysValues(zeros(2, 8), zeros(3, 8), cache, lengths)).toThrow(/storeKeysValues: v has/);
});
