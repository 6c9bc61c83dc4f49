import { describe, expect, test } from "vitest";
import { tokenBucket, tokenValues } from "./batch.ts";

const limits = { vocab: 10, positions: 4 };

describe("tokenBucket", () => {
  test.each([
    [0, 64],
    [1, 64],
    [64, 64],
    [65, 128],
    [200, 256],
    [257, 384],
    [513, 768],
    [769, 1024],
    [1025, 1536],
    [1537, 2048],
    [5000, 6144],
  ])("%i tokens → %i", (tokens, bucket) => {
    expect(tokenBucket(tokens)).toBe(bucket);
  });
});

describe("tokenValues", () => {
  test("segments become bounds; padding and the rest of the bucket attend to nothing", () => {
    const values = tokenValues(
      {
        inputIds: Int32Array.of(1, 2, 3, 4, 99),
        positionIds: Int32Array.of(0, 1, 0, 1, 99),
        segmentIds: Int32Array.of(0, 0, 7, 7, -1),
      },
      8,
      limits,
    );
    expect([...values.ids]).toEqual([1, 2, 3, 4, 0, 0, 0, 0]);
    expect([...values.positions]).toEqual([0, 1, 0, 1, 0, 0, 0, 0]);
    expect([...values.segment_start]).toEqual([0, 0, 2, 2, -1, -1, -1, -1]);
    expect([...values.segment_end]).toEqual([2, 2, 4, 4, 0, 0, 0, 0]);
  });

  test.each([
    [10, 0, "TOKEN_OUT_OF_RANGE"],
    [-1, 0, "TOKEN_OUT_OF_RANGE"],
    [1, 4, "CONTEXT_TOO_LONG"],
  ])("id %i at position %i is refused", (id, position, code) => {
    const sequence = {
      inputIds: Int32Array.of(id),
      positionIds: Int32Array.of(position),
      segmentIds: Int32Array.of(0),
    };
    expect(() => tokenValues(sequence, 64, limits)).toThrow(expect.objectContaining({ code }));
  });
});
