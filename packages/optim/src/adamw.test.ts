import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { record, upload } from "@tunesmith/tensor";
import type { Device, Program } from "@tunesmith/tensor";
import { maxAbsError, readGolden, relativeMaxError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { testDevice } from "../../../tests/support/device.ts";
import { ADAMW_SCALARS, adamwScalars, adamwStep } from "./adamw.ts";
import type { AdamwOptions } from "./adamw.ts";
import { ParameterStore } from "./store.ts";

const folder = new URL("../../../fixtures/goldens/optim/", import.meta.url);
const golden = (name: string): ((tensor: string) => Float64Array) => {
  const tensors = readGolden(readFileSync(new URL(name, folder)));
  return (tensor) => tensors.get(tensor)!.values;
};
const settings = JSON.parse(readFileSync(new URL("golden.json", folder), "utf8"));
const problem = golden("problem.safetensors");
const row = (all: Float64Array, i: number, length: number): Float32Array =>
  Float32Array.from(all.subarray(i * length, (i + 1) * length));
const [W, B] = [24 * 16, 7];

/** The update as a trainer records it. */
function recordUpdate(store: ParameterStore, options: AdamwOptions): Program {
  return record(store.device, "update", ({ input }) => ({
    ...adamwStep(store, input("scalars", [ADAMW_SCALARS], "f32"), options),
    halt: store.halt,
  }));
}

function problemStore(device: Device): ParameterStore {
  const specs = [
    { name: "w", shape: [24, 16], decay: true },
    { name: "b", shape: [7], decay: true },
  ];
  const store = new ParameterStore(device, specs, "adapter");
  store.write("w", "values", Float32Array.from(problem("w0")));
  store.write("b", "values", Float32Array.from(problem("b0")));
  return store;
}
const giveGradients = (store: ParameterStore, step: number): void => {
  store.write("w", "gradients", row(problem("grad_w"), step, W));
  store.write("b", "gradients", row(problem("grad_b"), step, B));
};

// the last device allows so small a binding that w lies in two shards and three row slices
describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
  ["small bindings", { maxBindingBytes: 768 }],
])("%s", (label, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  test.each(["adamw", "adamw_b95"])("12 steps equal torch's: %s", async (name) => {
    const { args } = settings[name];
    const options = { betas: args.betas, eps: args.eps, weightDecay: args.weight_decay };
    const expected = golden(`${name}.safetensors`);
    const store = problemStore(device);
    if (label === "small bindings") expect(store.slices("w").length).toBe(2);
    const update = recordUpdate(store, options);
    for (let step = 0; step < 12; step++) {
      giveGradients(store, step);
      const scalars = adamwScalars(options, { lr: args.lr, step: step + 1 });
      await update.replay({ scalars }).read();
      expect(maxAbsError(await store.read("w", "values"), row(expected("w"), step, W))).toBeLessThan(5e-6);
      expect(maxAbsError(await store.read("b", "values"), row(expected("b"), step, B))).toBeLessThan(5e-6);
    }
    const moments = ["m", "v"] as const;
    for (const [i, part] of moments.entries()) {
      const all = await store.readAll(part);
      for (const p of ["w", "b"]) {
        const torch = expected(`state_${p}.${["exp_avg", "exp_avg_sq"][i]!}`);
        expect(relativeMaxError(all.get(p)!, torch)).toBeLessThan(1e-6);
      }
    }
    expect((await store.read("w", "gradients")).every((g) => g === 0)).toBe(true);
    update.dispose();
    store.dispose();
  });

  test.each(["1.0", "0.1", "1000000000.0"])("clips as torch does: %s", async (max) => {
    const file = { "1.0": "clip_1", "0.1": "clip_0.1", "1000000000.0": "clip_1e+09" }[max]!;
    const clipped = golden(`${file}.safetensors`);
    const store = problemStore(device);
    giveGradients(store, 0);
    const options = {
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0,
      maxGradNorm: Number(max),
    } as const;
    const update = recordUpdate(store, options);
    const scalars = adamwScalars(options, { lr: 1e-3, step: 1 });
    const { gradNorm } = await update.replay({ scalars }).read();
    const norm = settings.clip_grad_norm_.results[max].total_norm;
    expect(Math.abs(gradNorm![0]! - norm)).toBeLessThan(1e-6 * norm);
    for (const p of ["w", "b"]) {
      // the first moment after one step is a tenth of the clipped gradient
      const seen = Float64Array.from(await store.read(p, "m"), (m) => m * 10);
      expect(relativeMaxError(seen, clipped(p))).toBeLessThan(2e-6);
    }
    update.dispose();
    store.dispose();
  });
});

describe("adamwStep", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });
  const options = { betas: [0.9, 0.95], eps: 1e-6, weightDecay: 0.5, maxGradNorm: 1 } as const;

  test("decays only what asks for it; the loss scale divides gradients and norm", async () => {
    // 20,000 elements: more than one block of the sum of squares
    const sizes = { decayed: 20_000, plain: 65 };
    const store = new ParameterStore(
      device,
      [
        { name: "plain", shape: [65], decay: false },
        { name: "decayed", shape: [200, 100], decay: true },
      ],
      "weights",
    );
    const start = { decayed: seededNormals(20_000, 1), plain: seededNormals(65, 2) };
    const gradients = {
      decayed: seededNormals(20_000, 3, 1024),
      plain: seededNormals(65, 4, 1024),
    };
    for (const name of ["decayed", "plain"] as const) {
      store.write(name, "values", Float32Array.from(start[name]));
      store.write(name, "gradients", Float32Array.from(gradients[name]));
    }
    const scalars = adamwScalars(options, { lr: 0.1, step: 1, lossScale: 1024 });
    const { gradNorm } = adamwStep(store, upload(device, [4], "f32", scalars), options);

    const unscaled = [gradients.decayed.map((g) => g / 1024), gradients.plain.map((g) => g / 1024)];
    const { norm, clipped } = reference.clipGradNorm(unscaled, 1);
    expect(Math.abs((await gradNorm.read())[0]! - norm)).toBeLessThan(1e-6 * norm);
    for (const [i, name] of (["decayed", "plain"] as const).entries()) {
      const state = {
        param: start[name],
        m: new Float64Array(sizes[name]),
        v: new Float64Array(sizes[name]),
      };
      reference.adamwStep(state, clipped[i]!, {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-6,
        weightDecay: i === 0 ? 0.5 : 0,
        step: 1,
      });
      expect(maxAbsError(await store.read(name, "values"), state.param)).toBeLessThan(1e-5);
    }
    store.dispose();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e30])(
    "a gradient of %d halts every update until the host clears the flag",
    async (bad) => {
      const store = problemStore(device);
      const before = await store.readAll("values");
      const update = recordUpdate(store, options);
      const scalars = adamwScalars(options, { lr: 0.1, step: 1 });
      const gradients = row(problem("grad_w"), 0, W);
      gradients[100] = bad;
      store.write("w", "gradients", gradients);
      const first = await update.replay({ scalars }).read();
      expect(first["halt"]).toEqual(Uint32Array.of(1));
      expect(Number.isFinite(first["gradNorm"]![0])).toBe(false);
      expect(await store.read("w", "gradients")).toEqual(gradients); // kept, to look for the cause

      store.zeroGradients();
      giveGradients(store, 0);
      const second = await update.replay({ scalars }).read(); // finite again, but still halted
      expect(second["halt"]).toEqual(Uint32Array.of(1));
      expect(await store.readAll("values")).toEqual(before);
      expect((await store.readAll("m")).get("w")!.every((m) => m === 0)).toBe(true);

      store.clearHalt();
      expect((await update.replay({ scalars }).read())["halt"]).toEqual(Uint32Array.of(0));
      expect(await store.readAll("values")).not.toEqual(before);
      update.dispose();
      store.dispose();
    },
  );

  test("replay equals eager bit for bit, and recording bakes no step in", async () => {
    const [a, b] = [problemStore(device), problemStore(device)];
    const update = recordUpdate(a, options);
    for (const step of [1, 2]) {
      const scalars = adamwScalars(options, { lr: 0.01 * step, step });
      giveGradients(a, step);
      giveGradients(b, step);
      const { gradNorm } = await update.replay({ scalars }).read();
      const eager = adamwStep(b, upload(device, [4], "f32", scalars), options);
      expect(await eager.gradNorm.read()).toEqual(gradNorm);
      for (const part of ["values", "m", "v"] as const) expect(await a.readAll(part)).toEqual(await b.readAll(part));
    }
    expect(recordUpdate(a, options).fingerprint()).toBe(update.fingerprint());
    update.dispose();
    a.dispose();
    b.dispose();
  });

  test("1e-6 is added to the norm before dividing, as torch does", async () => {
    const store = new ParameterStore(device, [{ name: "p", shape: [1], decay: true }], "adapter");
    store.write("p", "gradients", Float32Array.of(1e-6));
    const tiny = { ...options, maxGradNorm: 1e-6 };
    const scalars = adamwScalars(tiny, { lr: 0, step: 1 });
    adamwStep(store, upload(device, [4], "f32", scalars), tiny);
    // factor = 1e-6 / (1e-6 + 1e-6)
    expect((await store.read("p", "m"))[0]! / 1e-7).toBeCloseTo(0.5, 5);
    store.dispose();
  });

  test("options out of range are refused by name", () => {
    const store = problemStore(device);
    const scalars = upload(device, [4], "f32", new Float32Array(4));
    const attempt = (change: Partial<AdamwOptions>) => () => adamwStep(store, scalars, { ...options, ...change });
    expect(attempt({ betas: [0.9, 1] })).toThrow(/betas\[1\]/);
    expect(attempt({ eps: 0 })).toThrow(/eps/);
    expect(attempt({ weightDecay: Number.NaN })).toThrow(/weightDecay/);
    expect(attempt({ maxGradNorm: 0 })).toThrow(/maxGradNorm/);
    expect(() => adamwScalars(options, { lr: 1, step: 0 })).toThrow(/from 1/);
    expect(() => adamwStep(store, upload(device, [1], "f32", Float32Array.of(1)), options)).toThrow(/scalars/);
    store.dispose();
  });
});

describe("ParameterStore", () => {
  test("counts its bytes, and gives them all back", async () => {
    const device = await testDevice();
    const before = new Map(device.bytes);
    const store = problemStore(device);
    const grown = (c: "adapter" | "gradients" | "optimizer"): number =>
      (device.bytes.get(c) ?? 0) - (before.get(c) ?? 0);
    const bytes = store.layout.size * 4;
    expect([grown("adapter"), grown("gradients"), grown("optimizer")]).toEqual([
      bytes,
      bytes,
      2 * bytes + 16, // and the halt flag
    ]);
    store.dispose();
    expect([grown("adapter"), grown("gradients"), grown("optimizer")]).toEqual([0, 0, 0]);
  });

  test("names what is unknown, split or of the wrong length", async () => {
    const store = problemStore(await testDevice({ maxBindingBytes: 768 }));
    expect(() => store.parameter("bb")).toThrow(expect.objectContaining({ code: "PARAMETER_UNKNOWN" }));
    expect(() => store.parameter("w")).toThrow(expect.objectContaining({ code: "PARAMETER_SPLIT" }));
    expect(store.parameter("b").values).toBe(store.slices("b")[0]!.values);
    expect(() => store.write("b", "values", new Float32Array(8))).toThrow(
      expect.objectContaining({ code: "PARAMETER_LENGTH" }),
    );
    store.dispose();
  });
});
