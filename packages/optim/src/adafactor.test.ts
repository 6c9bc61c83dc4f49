import { record } from "@tunesmith/tensor";
import type { Device, Program } from "@tunesmith/tensor";
import { maxAbsError, readGolden, relativeMaxError, seededNormals } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { adafactor } from "./adafactor.ts";
import { adamw } from "./adamw.ts";
import type { Optimizer } from "./optimizer.ts";
import { ParameterStore } from "./store.ts";
import { scalarCount } from "./update.ts";

const recordUpdate = (store: ParameterStore, optimizer: Optimizer): Program =>
  record(store.device, "update", ({ input }) =>
    optimizer.update(store, input("scalars", [scalarCount(store.layout)], "f32")),
  );

/** One step of the paper in float64, as transformers orders it; moves everything in place. */
function step64(
  state: { x: Float64Array; row: Float64Array; col: Float64Array },
  g: Float64Array,
  { step, lr, decay, threshold }: { step: number; lr: number; decay: number; threshold: number },
): void {
  const { x, row, col } = state;
  const [rows, cols] = [row.length, col.length];
  const beta = 1 - step ** -0.8;
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += g[r * cols + c]! ** 2 + 1e-30;
    row[r] = beta * row[r]! + (1 - beta) * (sum / cols);
  }
  for (let c = 0; c < cols; c++) {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += g[r * cols + c]! ** 2 + 1e-30;
    col[c] = beta * col[c]! + (1 - beta) * (sum / rows);
  }
  const mean = row.reduce((a, b) => a + b, 0) / rows;
  const u = g.map((v, i) => v / Math.sqrt((row[Math.floor(i / cols)]! / mean) * col[i % cols]!));
  const rms = Math.sqrt(u.reduce((sum, v) => sum + v * v, 0) / u.length);
  for (const [i, v] of u.entries()) x[i] = x[i]! * (1 - lr * decay) - (lr * v) / Math.max(1, rms / threshold);
}

// the last device allows so small a binding that the tall matrix lies in eleven row slices
describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
  ["small bindings", { maxBindingBytes: 16 * 1024 }],
])("%s", (label, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  test("factors after 12 steps are transformers'", async () => {
    const golden = readGolden(readFileSync(goldenPath("optim", "adafactor.safetensors")));
    const problem = readGolden(readFileSync(goldenPath("optim", "problem.safetensors")));
    const optimizer = adafactor({ weightDecay: 0.01 });
    const specs = [{ name: "w", shape: [24, 16], decay: true }];
    const store = new ParameterStore(device, specs, "adapter", optimizer.moments);
    store.write("w", "values", Float32Array.from(problem.get("w0")!.values));
    const update = recordUpdate(store, optimizer);
    for (let step = 0; step < 12; step++) {
      const gradients = problem.get("grad_w")!.values.subarray(step * 384, (step + 1) * 384);
      store.write("w", "gradients", Float32Array.from(gradients));
      await update.replay({ scalars: optimizer.scalars(store.layout, { lr: 0.01, step: step + 1 }) }).read();
    }
    const { rows, columns } = store.factors("w");
    expect(relativeMaxError(await rows.read(), golden.get("state_w.exp_avg_sq_row")!.values)).toBeLessThan(1e-6);
    expect(relativeMaxError(await columns.read(), golden.get("state_w.exp_avg_sq_col")!.values)).toBeLessThan(1e-6);
    update.dispose();
    store.dispose();
  });

  test("a tall matrix of many blocks, a vector and a row: updates, clipping and groups of the float64 reference", async () => {
    const optimizer = adafactor({ weightDecay: 0.5, clipThreshold: 0.4 });
    const specs = [
      { name: "tall", shape: [600, 70], decay: true },
      { name: "bias", shape: [130], decay: false },
      { name: "one", shape: [1, 90], decay: true, rate: 4 },
    ];
    const store = new ParameterStore(device, specs, "weights", optimizer.moments);
    expect(store.slices("tall").length).toBe(label === "small bindings" ? 11 : 1);
    const update = recordUpdate(store, optimizer);
    const states = specs.map(({ name, shape }, i) => {
      const [rows, cols = 1] = shape as [number, number?];
      const x = seededNormals(rows * cols, i + 1);
      store.write(name, "values", Float32Array.from(x));
      return { x, row: new Float64Array(rows), col: new Float64Array(cols) };
    });
    for (let step = 1; step <= 3; step++) {
      for (const [i, { name }] of specs.entries()) {
        const { x, row, col } = states[i]!;
        // rows and columns of very different sizes, one row of zeros
        const g = seededNormals(x.length, 10 * step + i).map((v, k) => {
          const r = Math.floor(k / col.length);
          return r === 5 ? 0 : Math.fround(v * 10 ** -(r % 3) * (1 + (k % col.length)));
        });
        store.write(name, "gradients", Float32Array.from(g));
        const lr = name === "one" ? 0.4 : 0.1;
        step64({ x, row, col }, g, { step, lr, decay: name === "bias" ? 0 : 0.5, threshold: 0.4 });
      }
      await update.replay({ scalars: optimizer.scalars(store.layout, { lr: 0.1, step }) }).read();
      for (const [i, { name }] of specs.entries()) {
        const { x, row, col } = states[i]!;
        const { rows, columns } = store.factors(name);
        expect(maxAbsError(await store.read(name, "values"), x), name).toBeLessThan(5e-6);
        expect(Math.max(...(await rows.read()).map((v, r) => Math.abs(v / row[r]! - 1)))).toBeLessThan(1e-5);
        expect(Math.max(...(await columns.read()).map((v, c) => Math.abs(v / col[c]! - 1)))).toBeLessThan(1e-5);
        expect((await store.read(name, "gradients")).every((v) => v === 0)).toBe(true);
      }
    }
    update.dispose();
    store.dispose();
  });
});

describe("factored moments", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });
  const optimizer = adafactor({ weightDecay: 0 });
  const make = (): ParameterStore =>
    new ParameterStore(device, [{ name: "w", shape: [40, 24], decay: true }], "weights", optimizer.moments);
  const take = async (store: ParameterStore, update: Program, step: number, fill?: number): Promise<void> => {
    const gradients = Float32Array.from(seededNormals(960, step));
    store.write("w", "gradients", fill === undefined ? gradients : gradients.fill(fill));
    await update.replay({ scalars: optimizer.scalars(store.layout, { lr: 0.01, step }) }).read();
  };
  const states = (store: ParameterStore): Promise<Uint8Array[]> =>
    Promise.all([...store.savedStates.values()].map((state) => state.read()));

  test("are saved and put back with the same bits; a halt leaves them and the values alone", async () => {
    const [a, b] = [make(), make()];
    const [updateA, updateB] = [recordUpdate(a, optimizer), recordUpdate(b, optimizer)];
    expect([...a.savedStates.keys()]).toEqual(["rows.w", "columns.w"]);
    for (const step of [1, 2]) await take(a, updateA, step);
    for (const [key, state] of a.savedStates) b.savedStates.get(key)!.write(await state.read());
    b.write("w", "values", await a.read("w", "values"));
    for (const step of [3, 4])
      for (const [store, update] of [
        [a, updateA],
        [b, updateB],
      ] as const)
        await take(store, update, step);
    expect(await a.read("w", "values")).toEqual(await b.read("w", "values"));
    const before = await states(a);
    expect(before).toEqual(await states(b));
    await take(a, updateA, 5, NaN);
    expect(await states(a)).toEqual(before);
    expect(await a.read("w", "values")).toEqual(await b.read("w", "values"));
    for (const disposable of [updateA, updateB, a, b]) disposable.dispose();
  });

  test("take a number per row and column, and give them back", () => {
    const held = (): number => device.bytes.get("optimizer") ?? 0;
    const before = held();
    const store = make();
    expect(held() - before).toBe(4 * (40 + 24) + 16); // and the halt flag
    store.dispose();
    expect(held()).toBe(before);
  });

  test("options out of range, and stores without them, are refused by name", () => {
    expect(() => adafactor({ weightDecay: -1 })).toThrow(/weightDecay/);
    expect(() => adafactor({ weightDecay: 0, decayRate: 0 })).toThrow(/decayRate/);
    expect(() => adafactor({ weightDecay: 0, clipThreshold: 0 })).toThrow(/clipThreshold/);
    const { moments } = adamw({ betas: [0.9, 0.99], eps: 1e-8, weightDecay: 0 });
    const store = new ParameterStore(device, [{ name: "w", shape: [2], decay: true }], "weights", moments);
    expect(() => store.factors("w")).toThrow(expect.objectContaining({ code: "MOMENT_UNKNOWN" }));
    store.dispose();
  });
});
