import { record, virtualTwin } from "@tunesmith/tensor";
import type { Program } from "@tunesmith/tensor";
import { maxAbsError, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { pullToStart } from "./start-penalty.ts";
import { ParameterStore } from "./store.ts";

const SPECS = [
  { name: "w", shape: [40, 24], decay: true },
  { name: "bias", shape: [7], decay: false },
];
const SIZES = [960, 7];
const STRENGTH = 0.3;

const recordPull = (store: ParameterStore): Program =>
  record(store.device, "pull", ({ input }) => ({
    penalty: pullToStart(store, input("scalars", [8], "f32"), STRENGTH),
  }));
/** of two groups; the loss scale is 4 */
const SCALARS = Float32Array.of(0, 0, 0, 0.25, 0, 0, 0, 0.25);

// the last device allows so small a binding that w lies in four shards
describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
  ["small bindings", { maxBindingBytes: 1024 }],
])("%s", (_, facts) => {
  test("gradients get strength · (x − start), decayed or not, scaled as they are; the penalty is the float64 one", async () => {
    const store = new ParameterStore(await testDevice(facts), SPECS, "weights", []);
    const [start, moved, gradients] = [1, 2, 3].map((seed) => SIZES.map((n, i) => seededNormals(n, 10 * seed + i)));
    const write = (part: "values" | "gradients", data: readonly Float64Array[]): void => {
      for (const [i, { name }] of SPECS.entries()) store.write(name, part, Float32Array.from(data[i]!));
    };
    write("values", start!);
    store.keepStart();
    write("values", moved!);
    write("gradients", gradients!);
    const pull = recordPull(store);
    const { penalty } = await pull.replay({ scalars: SCALARS }).read();
    let sum = 0;
    for (const [i, { name }] of SPECS.entries()) {
      const difference = moved![i]!.map((x, k) => x - start![i]![k]!);
      for (const d of difference) sum += d * d;
      const expected = gradients![i]!.map((g, k) => g + 4 * STRENGTH * difference[k]!);
      expect(maxAbsError(await store.read(name, "gradients"), expected)).toBeLessThan(2e-6);
      expect(maxAbsError(await store.read(name, "values"), moved![i]!)).toBeLessThan(1e-7);
    }
    expect(Math.abs(penalty![0]! / ((STRENGTH / 2) * sum) - 1)).toBeLessThan(1e-6);

    write("values", start!);
    expect((await pull.replay({ scalars: SCALARS }).read())["penalty"]![0]).toBe(0);
    write("values", moved!);
    store.halt.write(Uint32Array.of(1));
    const before = await store.readAll("gradients");
    await pull.replay({ scalars: SCALARS }).read();
    expect(await store.readAll("gradients")).toEqual(before);
    pull.dispose();
    store.dispose();
  });
});

test("the copy is planned as it is made, given back, and asked for", async () => {
  const device = await testDevice();
  const held = (on: typeof device): number => on.bytes.get("optimizer") ?? 0;
  for (const on of [device, virtualTwin(device)]) {
    const before = held(on);
    const store = new ParameterStore(on, SPECS, "weights", []);
    expect(() => recordPull(store)).toThrow(/no start/);
    store.keepStart();
    expect(held(on) - before).toBe(4 * store.layout.size + 16); // and the halt flag
    store.dispose();
    expect(held(on)).toBe(before);
  }
});
