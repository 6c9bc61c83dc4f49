// AdamW with eight-bit moments against bitsandbytes: a run of it on prescribed gradients (see fixtures/README.md).
import { readFileSync } from "node:fs";
import { record, virtualTwin } from "@tunesmith/tensor";
import type { Device, Program } from "@tunesmith/tensor";
import { maxAbsError, readGolden, relativeMaxError } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { adamw8bit } from "./adamw8bit.ts";
import type { Optimizer } from "./optimizer.ts";
import { codeTables } from "./quantized.ts";
import { ParameterStore } from "./store.ts";
import { scalarCount } from "./update.ts";

const golden = readGolden(readFileSync(goldenPath("optim", "adamw8bit.safetensors")));
const { adamw8bit: settings } = JSON.parse(readFileSync(goldenPath("optim", "golden.json"), "utf8"));
const STEPS = 4;
const W = 32 * 160;
const B = 24;
/** row `step` of a golden of one row per step */
const row = (name: string, step: number): Float32Array => {
  const { values, shape } = golden.get(name)!;
  const length = values.length / (name.endsWith("0") ? 1 : shape[0]!);
  return Float32Array.from(values.subarray(step * length, (step + 1) * length));
};

function makeStore(device: Device, { moments }: Optimizer): ParameterStore {
  const specs = [
    { name: "b", shape: [B], decay: true },
    { name: "w", shape: [32, 160], decay: true },
  ];
  const store = new ParameterStore(device, specs, "weights", moments);
  store.write("w", "values", row("w0", 0));
  store.write("b", "values", row("b0", 0));
  return store;
}
const optimizerFor = ({ betas, eps, weight_decay: weightDecay }: typeof settings.args): Optimizer =>
  adamw8bit({ betas, eps, weightDecay });
const recordUpdate = (store: ParameterStore, optimizer: Optimizer): Program =>
  record(store.device, "update", ({ input }) =>
    optimizer.update(store, input("scalars", [scalarCount(store.layout)], "f32")),
  );
const step = async (store: ParameterStore, optimizer: Optimizer, update: Program, i: number): Promise<void> => {
  store.write("w", "gradients", row("grad_w", i));
  store.write("b", "gradients", row("grad_b", i));
  await update.replay({ scalars: optimizer.scalars(store.layout, { lr: settings.args.lr, step: i + 1 }) }).read();
};
const bytes = (store: ParameterStore, key: string): Promise<Uint8Array> => store.savedStates.get(key)!.read();
const floats = async (store: ParameterStore, key: string): Promise<Float32Array> => {
  const { buffer, byteOffset, byteLength } = await bytes(store, key);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
};

// the last device allows so small a binding that w lies in two slices, cut where a block ends
describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
  ["small bindings", { maxBindingBytes: 16 * 1024 }],
])("%s", (label, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  test("codes and scales of given moments are bitsandbytes' to the bit", async () => {
    const optimizer = optimizerFor(settings.plain_args); // betas 0: m is the gradient, v its square
    const store = makeStore(device, optimizer);
    const update = recordUpdate(store, optimizer);
    await step(store, optimizer, update, 0);
    expect(await bytes(store, "m.w")).toEqual(Uint8Array.from(golden.get("plain_m")!.values));
    expect(await bytes(store, "v.w")).toEqual(Uint8Array.from(golden.get("plain_v")!.values));
    const scales = await floats(store, "scales.w");
    expect(scales.filter((_, i) => i % 2 === 0)).toEqual(row("plain_absmax_m", 0));
    expect(scales.filter((_, i) => i % 2 === 1)).toEqual(row("plain_absmax_v", 0));
    update.dispose();
    store.dispose();
  });

  test("steps are bitsandbytes'; small parameters keep f32 moments", async () => {
    const optimizer = optimizerFor(settings.args);
    const store = makeStore(device, optimizer);
    expect(store.slices("w").length).toBe(label === "small bindings" ? 2 : 1);
    const update = recordUpdate(store, optimizer);
    for (let i = 0; i < STEPS; i++) {
      await step(store, optimizer, update, i);
      for (const moment of ["m", "v"]) {
        const expected = golden.get(moment)!.values.subarray(i * W, (i + 1) * W);
        const codes = await bytes(store, `${moment}.w`);
        // a moment next to a border may round to the other side
        expect(codes.filter((code, k) => code !== expected[k]).length).toBeLessThan(W / 1000);
        expect(codes.every((code, k) => Math.abs(code - expected[k]!) <= 1)).toBe(true);
        const own = (await floats(store, "scales.w")).filter((_, k) => k % 2 === (moment === "m" ? 0 : 1));
        expect(relativeMaxError(own, row(`absmax_${moment}`, i))).toBeLessThan(1e-6);
      }
      expect(maxAbsError(await store.read("b", "values"), row("b", i))).toBeLessThan(5e-6);
      const off = Float64Array.from(await store.read("w", "values"), (w, k) => Math.abs(w - row("w", i)[k]!)).sort();
      expect(off[Math.floor(0.999 * W)]).toBeLessThan(5e-6);
    }
    expect(store.savedStates.get("m.b")).toMatchObject({ dtype: "F32", size: B });
    update.dispose();
    store.dispose();
  });
});

describe("eight-bit moments", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });

  test("the tables are bitsandbytes' maps", async () => {
    const tables = codeTables(device);
    const values = await tables.read();
    tables.dispose();
    expect(values.subarray(0, 256)).toEqual(Float32Array.from(golden.get("map_signed")!.values));
    expect(values.subarray(512, 768)).toEqual(Float32Array.from(golden.get("map_unsigned")!.values));
  });

  test("a run that is saved and put back goes on with the same bits; a halt leaves the codes alone", async () => {
    const optimizer = optimizerFor(settings.args);
    const [a, b] = [makeStore(device, optimizer), makeStore(device, optimizer)];
    const [updateA, updateB] = [recordUpdate(a, optimizer), recordUpdate(b, optimizer)];
    const states = (store: ParameterStore): Promise<Uint8Array[]> =>
      Promise.all([...store.savedStates.values()].map((state) => state.read()));
    for (let i = 0; i < 2; i++) await step(a, optimizer, updateA, i);
    for (const [key, state] of a.savedStates) b.savedStates.get(key)!.write(await state.read());
    for (const name of ["w", "b"]) b.write(name, "values", await a.read(name, "values"));
    for (const [store, update] of [
      [a, updateA],
      [b, updateB],
    ] as const)
      for (let i = 2; i < STEPS; i++) await step(store, optimizer, update, i);
    expect(await a.readAll("values")).toEqual(await b.readAll("values"));
    const before = await states(a);
    expect(before).toEqual(await states(b));
    expect(before.flatMap((data) => [...data]).filter((x) => x !== 0).length).toBeGreaterThan(W);

    a.write("w", "gradients", row("grad_w", 0).fill(NaN));
    await updateA.replay({ scalars: optimizer.scalars(a.layout, { lr: 0.1, step: 5 }) }).read();
    expect(await states(a)).toEqual(before);
    expect(await a.readAll("values")).toEqual(await b.readAll("values"));
    for (const disposable of [updateA, updateB, a, b]) disposable.dispose();
  });

  test("takes two bytes and a share of two scales per parameter, on a planned device as on a real one", () => {
    const held = (on: Device): number => on.bytes.get("optimizer") ?? 0;
    const optimizer = optimizerFor(settings.args);
    for (const on of [device, virtualTwin(device)]) {
      const before = held(on);
      const store = makeStore(on, optimizer);
      // codes and scales of w; f32 moments of b, padded to a view; the tables; the halt flag
      expect(held(on) - before).toBe(2 * W + (2 * 4 * W) / 256 + 2 * 4 * 64 + 4 * 4 * 256 + 16);
      store.dispose();
      expect(held(on)).toBe(before);
    }
  });
});
