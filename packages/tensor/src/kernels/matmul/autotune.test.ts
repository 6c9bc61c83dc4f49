import { matmul as reference, maxAbsError, seededNormals } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../../tests/support/device.ts";
import { Device } from "../../device.ts";
import { record } from "../../recorder.ts";
import { empty, upload } from "../../tensor.ts";
import { autotune } from "./autotune.ts";
import { matmul } from "./matmul.ts";
import { candidatesOf } from "./variants.ts";

/** Devices with tables of their own, on which more than three workgroups fold to two dimensions. */
const FACTS = [
  ["Mesa 25", { description: "llvmpipe: Mesa 25.0.7-2 (LLVM 15.0.6)", maxWorkgroups: 3 }],
  ["Mesa 26", { description: "llvmpipe: Mesa 26.2.6-1 (LLVM 22.1.8)", maxWorkgroups: 3 }],
  ["portable", { software: false, subgroups: false, maxWorkgroups: 3 }],
] as const;

const product = { left: "k", right: "k", format: "f32", rows: 70, cols: 132, depth: 68 } as const;

/** Runs `a [70, 68] · b [132, 68]ᵀ` and gives its largest error against float64. */
async function error(device: Device): Promise<number> {
  const { rows: m, cols: n, depth: k } = product;
  const [a, b] = [seededNormals(m * k, 1), seededNormals(n * k, 2)];
  const out = empty(device, [m, n]);
  matmul({ layout: "nt", a: f32(device, [m, k], a), b: f32(device, [n, k], b), out });
  return maxAbsError(await values(out), reference(a, b, { m, n, k }, "NT"));
}

describe.each(FACTS)("kernel choices, %s", (name, facts) => {
  let device: Device;
  let key: string;
  beforeAll(async () => {
    device = await testDevice(facts);
    await error(device);
    key = Object.keys(device.kernelChoices.export())[0]!;
  });

  test("a class in use is in the table, under what it depends on", () => {
    expect(key).toBe("nt f32 128x256x128");
    expect(device.kernelChoices.export()[key]).toBe(candidatesOf(device.facts, product, "f32")[0]);
  });

  test("the shipped table knows newer Mesa", () => {
    const large = { ...product, rows: 512, cols: 512, depth: 512 };
    const [seeded] = candidatesOf(device.facts, large, "f32");
    expect(seeded).toBe({ "Mesa 25": "shuffle-32x1", "Mesa 26": "shuffle-32x2", portable: "tile-64" }[name]);
  });

  test("every variant computes the same product", async () => {
    const names = candidatesOf(device.facts, product, "f32");
    expect(names.length).toBeGreaterThan(1);
    for (const variant of names) {
      expect(device.kernelChoices.import({ [key]: variant })).toEqual([]);
      expect.soft(await error(device), variant).toBeLessThan(2e-5);
    }
  });

  test("a recorded program runs the variant of an imported table, and its bytes repeat", async () => {
    const kernelOf = (): string => {
      const program = record(device, "product", ({ input }) => {
        const out = empty(device, [70, 132]);
        matmul({ layout: "nt", a: input("a", [70, 68], "f32"), b: input("b", [132, 68], "f32"), out });
        return { out };
      });
      return program.plan.launches[0]!.variant.label;
    };
    const [first, second] = candidatesOf(device.facts, product, "f32") as [string, string];
    device.kernelChoices.import({ [key]: first });
    const label = kernelOf();
    const saved = device.kernelChoices.export();
    device.kernelChoices.import({ [key]: second });
    expect(kernelOf()).not.toBe(label);
    expect(device.kernelChoices.import(saved)).toEqual([]);
    expect(kernelOf()).toBe(label);
  });

  test("memory does not depend on the variant", () => {
    const bytes = candidatesOf(device.facts, { ...product, rows: 20, cols: 36, depth: 6144 }, "f32").map((variant) => {
      const program = record(device, "in slices", ({ input }) => {
        const out = empty(device, [20, 36]);
        const [a, b] = [input("a", [20, 6144], "f32"), input("b", [36, 6144], "f32")];
        device.kernelChoices.trying(variant, () => matmul({ layout: "nt", a, b, out }));
        return { out };
      });
      expect(program.plan.launches).toHaveLength(2);
      return program.plan.slots;
    });
    expect(bytes.length).toBeGreaterThan(1);
    for (const slots of bytes) expect(slots).toEqual(bytes[0]);
  });

  test("a variant that this device cannot run is refused and changes nothing", () => {
    const before = device.kernelChoices.export();
    expect(device.kernelChoices.import({ [key]: "shuffle-3x7", "nt f32 1x1x1": "tile-64" })).toEqual([key]);
    expect(device.kernelChoices.export()).toEqual({ ...before, "nt f32 1x1x1": "tile-64" });
  });
});

describe("autotune", () => {
  test("leaves software devices to the shipped table", async () => {
    const device = await testDevice({ maxWorkgroups: 65_533 });
    await error(device);
    const before = device.kernelChoices.export();
    expect(await autotune(device, { now: () => 0 })).toEqual([]);
    expect(device.kernelChoices.export()).toEqual(before);
  });

  test("measures each class once, takes the fastest by the clock it is given, in every layout and format", async () => {
    const device = await testDevice({ maxWorkgroups: 65_532 });
    const a = upload(device, [64, 64], "f32", new Float32Array(4096));
    const half = upload(device, [64, 64], "bf16", new Uint16Array(4096));
    const few = upload(device, [64, 16], "f32", new Float32Array(1024));
    matmul({ layout: "nn", a, b: a, out: empty(device, [64, 64]) });
    matmul({ layout: "tn", a, b: a, out: empty(device, [64, 64]) });
    matmul({ layout: "nt", a, b: half, out: empty(device, [64, 64]) });
    matmul({ layout: "nn", a, b: few, out: empty(device, [64, 16]) }); // computed as its transpose
    const keys = ["nn f32 64x64x64", "nt bf16 64x64x64", "tn f32 64x64x64", "tt f32 16x64x64"];
    expect(Object.keys(device.kernelChoices.export())).toEqual(keys);

    // a clock on which each turn is shorter than the one before: the last variant is the fastest
    let [time, step] = [0, 1e6];
    const tuned = await autotune(device, { force: true, now: () => (time += step *= 0.9) });
    expect(tuned.map((t) => t.key).toSorted()).toEqual(keys);
    for (const { key, chosen, milliseconds } of tuned) {
      const names = Object.keys(milliseconds);
      expect(names.length).toBeGreaterThan(1);
      expect(Object.values(milliseconds).every((ms) => ms > 0)).toBe(true); // NaN: results differed
      expect(chosen).toBe(names.at(-1));
      expect(device.kernelChoices.export()[key]).toBe(chosen);
    }
    expect(await autotune(device, { force: true, now: () => 0 })).toEqual([]);
  });

  test("keeps the seeded variant where nothing is clearly faster", async () => {
    const device = await testDevice({ maxWorkgroups: 65_531 });
    await error(device);
    const before = device.kernelChoices.export();
    let time = 0;
    const tuned = await autotune(device, { force: true, now: () => (time += 1) });
    expect(tuned).toHaveLength(1);
    expect(device.kernelChoices.export()).toEqual(before);
  });

  test("leaves what it measured in the cache, and imported choices unmeasured", async () => {
    const { gpu, facts } = await testDevice({ maxWorkgroups: 65_530 });
    const saved: Record<string, string>[] = [];
    const kernelCache = {
      load: () => Promise.resolve({}),
      save: (choices: Record<string, string>) => Promise.resolve(void saved.push(choices)),
    };
    const device = new Device(gpu, {} as GPUAdapterInfo, { facts, kernelCache });
    device.kernelChoices.import({ "nn f32 64x64x64": "shuffle-32x1" });
    const a = upload(device, [64, 64], "f32", new Float32Array(4096));
    matmul({ layout: "nn", a, b: a, out: empty(device, [64, 64]) });
    await error(device);
    const [tuned, ...others] = await autotune(device, { force: true, now: () => 0 });
    expect(others).toEqual([]);
    expect(tuned!.key).toBe("nt f32 128x256x128");
    expect(saved).toEqual([{ [tuned!.key]: tuned!.chosen }]);
  });

  test("is refused inside a recording", async () => {
    const device = await testDevice({ maxWorkgroups: 65_531 });
    let refused: Promise<unknown> | undefined;
    record(device, "inside", () => {
      refused = autotune(device, { now: () => 0 });
      return {};
    });
    await expect(refused).rejects.toThrow(/being recorded/);
  });
});
