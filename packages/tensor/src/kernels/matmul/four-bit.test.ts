import { matmul as reference, maxAbsError, relativeMaxError, seededIntegers, seededNormals } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../../tests/support/device.ts";
import type { Device } from "../../device.ts";
import { fourBitWeight } from "../../four-bit-weight.ts";
import { launch } from "../../launch.ts";
import { weightShards } from "../../shards.ts";
import { empty } from "../../tensor.ts";
import type { FourBitFormat, Weight } from "../../weight.ts";
import { gatherRows, gatherRowsInto } from "../rows.ts";
import { matmul } from "./matmul.ts";

const NF4 = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];
/** sign, two bits of exponent, one of fraction, largest value 1 */
const FP4 = [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4].flatMap((v, i, all) =>
  i < 7 ? [v] : [v, ...all.map((w) => -w)],
);

/** A random matrix and what it means by the definition, element by element. */
async function randomWeight(
  device: Device,
  o: { shape: readonly [number, number]; format: FourBitFormat; blockSize: number; doubleQuant: boolean; seed: number },
): Promise<{ weight: Weight; meaning: Float64Array }> {
  const { shape, blockSize, seed } = o;
  const size = shape[0] * shape[1];
  const codes = seededIntegers(size, seed, 0, 16);
  const blocks = Math.ceil(size / blockSize);
  const bytes = new Uint8Array(Math.ceil(size / 2));
  codes.forEach((code, i) => (bytes[i >> 1]! |= i % 2 === 0 ? code << 4 : code));
  const groups = Math.ceil(blocks / 256);
  const map = Float32Array.from(seededNormals(256, seed + 1));
  const groupScales = Float32Array.from(seededNormals(groups, seed + 2));
  const offset = Math.fround(0.3);
  const eight = Uint8Array.from(seededIntegers(blocks, seed + 3, 0, 256));
  const plain = Float32Array.from(seededNormals(blocks, seed + 4));
  const scale = (block: number): number =>
    o.doubleQuant ? map[eight[block]!]! * groupScales[Math.floor(block / 256)]! + offset : plain[block]!;
  const table = o.format === "nf4" ? NF4 : FP4;
  const meaning = Float64Array.from({ length: size }, (_, i) => table[codes[i]!]! * scale(Math.floor(i / blockSize)));
  const scales = o.doubleQuant
    ? { blockSize, scales: eight, group: { map, scales: groupScales, offset } }
    : { blockSize, scales: plain };
  const weight = await fourBitWeight(device, {
    ...o,
    scales,
    elements: (first, end) => Promise.resolve(bytes.subarray(first, end)),
    label: "random",
  });
  return { weight, meaning };
}

// shards: a device whose largest binding is small cuts the matrix
describe.each([
  ["as opened", {}],
  ["portable", { subgroups: false, software: false }],
])("four-bit weights, %s", (_, facts) => {
  let device: Device;
  let narrow: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
    narrow = await testDevice({ ...facts, maxBindingBytes: 13_312 });
  });

  // sizes on and beside blocks and tiles; rows as in training, few rows as in decoding; odd lines, where a block
  // spans rows; a lone element; a depth cut into slices
  test.each([
    ["nf4", 64, true, 70, 96, 128],
    ["nf4", 64, false, 19, 64, 192],
    ["fp4", 64, true, 33, 128, 64],
    ["nf4", 128, true, 17, 36, 100],
    ["fp4", 32, false, 5, 64, 96],
    ["nf4", 64, true, 1, 160, 256],
    ["nf4", 64, true, 8, 64, 2048],
    ["nf4", 64, true, 20, 13, 7],
    ["fp4", 4096, false, 66, 33, 61],
    ["nf4", 64, true, 1, 1, 1],
  ] as const)(
    "%s, blocks of %i, double quantization %s: %i × %i × %i",
    async (format, blockSize, doubleQuant, m, n, k) => {
      for (const layout of ["nt", "nn"] as const) {
        const [rows, cols] = layout === "nt" ? [n, k] : [k, n];
        const { weight, meaning } = await randomWeight(device, {
          shape: [rows, cols],
          format,
          blockSize,
          doubleQuant,
          seed: 5,
        });
        const a = seededNormals(m * k, 1);
        const before = seededNormals(m * n, 3);
        const rank = 4;
        const [a2, b2] = [seededNormals(m * rank, 7), seededNormals(rank * n, 8)];
        const out = f32(device, [m, n], before);
        matmul({
          layout,
          a: f32(device, [m, k], a),
          b: weight,
          plus: { layout, a: f32(device, [m, rank], a2), b: f32(device, layout === "nt" ? [n, rank] : [rank, n], b2) },
          out,
          accumulate: true,
        });
        const name = layout === "nt" ? "NT" : "NN";
        const first = reference(a, meaning, { m, n, k }, name);
        const second = reference(a2, b2, { m, n, k: rank }, name);
        const want = first.map((v, i) => v + second[i]! + before[i]!);
        expect(relativeMaxError(await values(out), want), layout).toBeLessThan(2e-6);
        for (const { tensor } of weight.shards) tensor.dispose();
      }
    },
  );

  test("row shards, which begin inside a group of scales, equal the whole", async () => {
    const shape = [320, 192] as const; // 104 rows are 312 blocks: the second shard begins at place 56 of a group
    const given = { shape, format: "nf4", blockSize: 64, doubleQuant: true, seed: 9 } as const;
    const { weight, meaning } = await randomWeight(narrow, given);
    expect(weight.shards.map((shard) => shard.firstRow)).toEqual([0, 104, 208, 312]);
    for (const [layout, m, n, k] of [
      ["nt", 9, 320, 192],
      ["nn", 9, 192, 320],
    ] as const) {
      const a = seededNormals(m * k, 1);
      const out = empty(narrow, [m, n]);
      matmul({ layout, a: f32(narrow, [m, k], a), b: weight, out });
      const want = reference(a, meaning, { m, n, k }, layout === "nt" ? "NT" : "NN");
      expect(relativeMaxError(await values(out), want), layout).toBeLessThan(2e-6);
    }
    const ids = [0, 63, 64, 200, 319, 320];
    const out = empty(narrow, [ids.length, 192]);
    for (const [i, { tensor, firstRow, rows }] of weight.shards.entries()) {
      const call = {
        spec: { format: weight.format },
        params: { count: ids.length, dim: 192, first_id: 0, first_row: firstRow, rows },
        reads: { ids: i32(narrow, [ids.length], ids), table: tensor },
      };
      if (i === 0) launch(gatherRows, { ...call, writes: { out } });
      else launch(gatherRowsInto, { ...call, updates: { out } });
    }
    const want = ids.flatMap((id) => [
      ...(id < 320 ? meaning.subarray(id * 192, (id + 1) * 192) : new Float64Array(192)),
    ]);
    expect(maxAbsError(await values(out), want)).toBeLessThan(1e-6);
    for (const { tensor } of weight.shards) tensor.dispose();
  });
});

test("two runs of columns per lane, in one block of scales and in two", async () => {
  const device = await testDevice({ description: "llvmpipe (Mesa 25.2.0)" });
  for (const blockSize of [32, 64])
    for (const [layout, m, n, k] of [
      ["nt", 64, 128, 512],
      ["nn", 64, 160, 512],
      ["nn", 64, 256, 512],
    ] as const) {
      const shape = layout === "nt" ? ([n, k] as const) : ([k, n] as const);
      const given = { shape, format: "nf4", blockSize, doubleQuant: true, seed: 3 } as const;
      const { weight, meaning } = await randomWeight(device, given);
      const a = seededNormals(m * k, 1);
      const out = empty(device, [m, n]);
      matmul({ layout, a: f32(device, [m, k], a), b: weight, out });
      const want = reference(a, meaning, { m, n, k }, layout === "nt" ? "NT" : "NN");
      expect(relativeMaxError(await values(out), want), `${layout} ${blockSize}`).toBeLessThan(2e-6);
      for (const { tensor } of weight.shards) tensor.dispose();
    }
});

test("shards take the bytes that were planned, and begin at the borders of blocks", async () => {
  const device = await testDevice({ maxBindingBytes: 13_312 });
  for (const [shape, blockSize, doubleQuant] of [
    [[320, 128], 64, true],
    [[500, 100], 64, false],
    [[7, 13], 64, true],
    [[300, 96], 4096, true],
  ] as const) {
    const given = { shape, format: "nf4", blockSize, doubleQuant, seed: 1 } as const;
    const plan = weightShards(shape, given, 13_312);
    const before = device.bytes.get("weights") ?? 0;
    const { weight } = await randomWeight(device, given);
    expect(weight.shards.map((s) => [s.firstRow, s.rows, s.tensor.bytes])).toEqual(
      plan.map((s) => [s.firstRow, s.rows, s.bytes]),
    );
    expect(device.bytes.get("weights")! - before).toBe(plan.reduce((sum, s) => sum + s.bytes, 0));
    expect(plan.every((s) => s.bytes <= 13_312 && (s.firstRow * shape[1]) % blockSize === 0)).toBe(true);
    expect(plan.reduce((sum, s) => sum + s.rows, 0)).toBe(shape[0]);
    for (const { tensor } of weight.shards) tensor.dispose();
  }
});

test("a matrix that no cut makes small enough is refused", () => {
  expect(() => weightShards([4, 4_000_000], { format: "nf4", blockSize: 64, doubleQuant: true }, 1 << 20)).toThrow(
    /cannot be cut/,
  );
});
