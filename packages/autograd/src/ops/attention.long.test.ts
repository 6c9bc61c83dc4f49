// Attention at every head size that models have, and at some that none has: each is a set of pipelines of its own.
import type { Device } from "@tunesmith/tensor";
import { beforeAll, describe } from "vitest";
import { testAttention } from "../../../../tests/support/attention.ts";
import type { Case } from "../../../../tests/support/attention.ts";
import { testDevice } from "../../../../tests/support/device.ts";

// a window and a cap in turns; the quick test has both in every kernel
const cases = [2, 12, 24, 40, 48, 72, 80, 96, 112, 127, 128, 160, 192, 256].map((headDim, i): Case => {
  const shape = { heads: 4, kvHeads: [1, 2, 4][i % 3]!, headDim, lengths: [-1, 35, 34] };
  return i % 2 === 0 ? { ...shape, window: 20 } : { ...shape, softCap: 0.9 };
});
const portable = { software: false, subgroups: false, immediates: false };

describe.each([
  { name: "subgroup", facts: undefined, cases },
  // software takes up to 16 s to compile one of these
  { name: "portable", facts: portable, cases: cases.filter((c) => [24, 40, 80, 112, 160, 256].includes(c.headDim)) },
])("attention, $name", ({ facts, cases }) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });
  testAttention(cases, { device: () => device, every: false });
});
