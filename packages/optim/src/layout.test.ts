import { expect, test } from "vitest";
import { layoutParameters } from "./layout.ts";

test("decayed parameters first, every view on 256 bytes, one range per group", () => {
  const layout = layoutParameters(
    [
      { name: "norm", shape: [65], decay: false },
      { name: "a", shape: [3, 5], decay: true },
      { name: "b", shape: [8, 8], decay: true },
    ],
    2 ** 20,
  );
  expect([...layout.slices]).toEqual([
    ["a", [{ shard: 0, start: 0, shape: [3, 5], firstRow: 0 }]],
    ["b", [{ shard: 0, start: 64, shape: [8, 8], firstRow: 0 }]],
    ["norm", [{ shard: 0, start: 128, shape: [65], firstRow: 0 }]],
  ]);
  expect(layout.shards).toEqual([
    {
      size: 256,
      ranges: [
        { start: 0, size: 128, group: 0 },
        { start: 128, size: 128, group: 1 },
      ],
    },
  ]);
  expect(layout.size).toBe(256);
});

test("a shard never exceeds one binding, and a larger parameter is split by rows", () => {
  const layout = layoutParameters(
    [
      { name: "big", shape: [10, 30], decay: true }, // 300 elements, 128 fit one binding: 4 rows each
      { name: "small", shape: [1], decay: true },
    ],
    600, // 150 elements, rounded down to whole views
  );
  expect(layout.slices.get("big")).toEqual([
    { shard: 0, start: 0, shape: [4, 30], firstRow: 0 },
    { shard: 1, start: 0, shape: [4, 30], firstRow: 4 },
    { shard: 2, start: 0, shape: [2, 30], firstRow: 8 },
  ]);
  expect(layout.slices.get("small")).toEqual([{ shard: 2, start: 64, shape: [1], firstRow: 0 }]);
  expect(layout.shards.map((s) => s.size)).toEqual([128, 128, 128]);
});

test("refuses two parameters of one name and a row that fits no binding", () => {
  const twice = { name: "w", shape: [1], decay: true };
  expect(() => layoutParameters([twice, twice], 1024)).toThrow(
    expect.objectContaining({ code: "PARAMETER_DUPLICATE" }),
  );
  expect(() => layoutParameters([{ name: "w", shape: [2, 65], decay: true }], 256)).toThrow(
    expect.objectContaining({ code: "PARAMETER_TOO_LARGE" }),
  );
});
