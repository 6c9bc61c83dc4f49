// Attention at every head size that models have, and at some that none has: each is a set of pipelines of its own.
import type { Device } from "@tunesmith/tensor";
import { beforeAll, describe } from "vitest";
import { testAttention } from "../../../../tests/support/attention.ts";
import type { Case } from "../../../../tests/support/attention.ts";
import { testDevice } from "../../../../tests/support/device.ts";

const sizes = [2, 12, 24, 40, 48, 72, 80, 96, 112, 127, 128, 160, 192, 256];
const cases = sizes.flatMap((headDim, i): Case[] => {
  const shape = { heads: 4, kvHeads: [1, 2, 4][i % 3]!, headDim, lengths: [-1, 35, 34] };
  return [
    { ...shape, window: 20 },
    { ...shape, softCap: 0.9 },
  ];
});

describe.each([
  ["subgroup", undefined],
  ["portable", { software: false, subgroups: false, immediates: false }],
])("attention, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });
  testAttention(cases, { device: () => device, every: false });
});
