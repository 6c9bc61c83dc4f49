import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { record, upload } from "@tunesmith/tensor";
import type { Device, Program } from "@tunesmith/tensor";
import { maxAbsError, readGolden, relativeMaxError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { testDevice } from "../../../tests/support/device.ts";
import { adafactor } from "./adafactor.ts";
import { adamw } from "./adamw.ts";
import type { AdamwOptions } from "./adamw.ts";
import { lion } from "./lion.ts";
import type { Optimizer } from "./optimizer.ts";
import { sgd } from "./sgd.ts";
import { ParameterStore } from "./store.ts";
import { scalarCount } from "./update.ts";

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
const flatMoments = ({ moments }: Optimizer): ("m" | "v")[] =>
  (["m", "v"] as const).filter((moment) => moments.includes(moment));

/** The update as a trainer records it. */
function recordUpdate(store: ParameterStore, optimizer: Optimizer): Program {
  return record(store.device, "update", ({ input }) => ({
    ...optimizer.update(store, input("scalars", [scalarCount(store.layout)], "f32")),
    halt: store.halt,
  }));
}

function problemStore(device: Device, { moments }: Optimizer): ParameterStore {
  const specs = [
    { name: "w", shape: [24, 16], decay: true },
    { name: "b", shape: [7], decay: true },
  ];
  const store = new ParameterStore(device, specs, "adapter", moments);
  store.write("w", "values", Float32Array.from(problem("w0")));
  store.write("b", "values", Float32Array.from(problem("b0")));
  return store;
}
interface TorchArgs {
  readonly betas: [number, number];
  readonly eps: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly weight_decay?: number;
}
/** Goldens of torch's optimizers (Lion's of bitsandbytes', Adafactor's of transformers'), and ours with their arguments. */
const OPTIMIZERS: Record<string, (args: TorchArgs) => Optimizer> = {
  adamw: ({ betas, eps, weight_decay: weightDecay = 0 }) => adamw({ betas, eps, weightDecay }),
  adamw_b95: ({ betas, eps, weight_decay: weightDecay = 0 }) => adamw({ betas, eps, weightDecay }),
  adafactor: ({ weight_decay: weightDecay = 0 }) => adafactor({ weightDecay }),
  sgd: ({ momentum = 0, weight_decay: weightDecay = 0 }) => sgd({ momentum, weightDecay }),
  sgd_momentum: ({ momentum = 0, weight_decay: weightDecay = 0 }) => sgd({ momentum, weightDecay }),
  sgd_nesterov: ({ momentum = 0, weight_decay: weightDecay = 0 }) => sgd({ momentum, weightDecay, nesterov: true }),
  lion: ({ betas, weight_decay: weightDecay = 0 }) => lion({ betas, weightDecay }),
};
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

  test.each(Object.entries(OPTIMIZERS))("12 steps equal torch's: %s", async (name, make) => {
    const { args } = settings[name];
    const optimizer = make(args);
    const expected = golden(`${name}.safetensors`);
    const store = problemStore(device, optimizer);
    if (label === "small bindings") expect(store.slices("w").length).toBe(2);
    const update = recordUpdate(store, optimizer);
    for (let step = 0; step < 12; step++) {
      giveGradients(store, step);
      await update.replay({ scalars: optimizer.scalars(store.layout, { lr: args.lr, step: step + 1 }) }).read();
      expect(maxAbsError(await store.read("w", "values"), row(expected("w"), step, W))).toBeLessThan(5e-6);
      expect(maxAbsError(await store.read("b", "values"), row(expected("b"), step, B))).toBeLessThan(5e-6);
    }
    for (const moment of flatMoments(optimizer)) {
      const all = await store.readAll(moment);
      const key = name.startsWith("sgd") ? "momentum_buffer" : moment === "m" ? "exp_avg" : "exp_avg_sq";
      for (const p of ["w", "b"])
        expect(relativeMaxError(all.get(p)!, expected(`state_${p}.${key}`))).toBeLessThan(1e-6);
    }
    expect((await store.read("w", "gradients")).every((g) => g === 0)).toBe(true);
    update.dispose();
    store.dispose();
  });

  test.each(["1.0", "0.1", "1000000000.0"])("clips as torch does: %s", async (max) => {
    const file = { "1.0": "clip_1", "0.1": "clip_0.1", "1000000000.0": "clip_1e+09" }[max]!;
    const clipped = golden(`${file}.safetensors`);
    const optimizer = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: Number(max) });
    const store = problemStore(device, optimizer);
    giveGradients(store, 0);
    const update = recordUpdate(store, optimizer);
    const scalars = optimizer.scalars(store.layout, { lr: 1e-3, step: 1 });
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

describe("an update", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });
  const options = { betas: [0.9, 0.95], eps: 1e-6, weightDecay: 0.5, maxGradNorm: 1 } as const;
  const optimizer = adamw(options);

  test("decays only what asks for it; groups have rates of their own; the loss scale divides gradients and norm", async () => {
    // 20,000 elements: more than one block of the sum of squares
    const sizes = { decayed: 20_000, plain: 65, fast: 12 };
    const store = new ParameterStore(
      device,
      [
        { name: "plain", shape: [65], decay: false },
        { name: "fast", shape: [3, 4], decay: true, rate: 16 },
        { name: "decayed", shape: [200, 100], decay: true },
      ],
      "weights",
    );
    expect(store.layout.groups).toEqual([
      { decay: true, rate: 16 },
      { decay: true, rate: 1 },
      { decay: false, rate: 1 },
    ]);
    const start = { decayed: seededNormals(20_000, 1), plain: seededNormals(65, 2), fast: seededNormals(12, 5) };
    const gradients = {
      decayed: seededNormals(20_000, 3, 1024),
      plain: seededNormals(65, 4, 1024),
      fast: seededNormals(12, 6, 1024),
    };
    const names = ["decayed", "plain", "fast"] as const;
    for (const name of names) {
      store.write(name, "values", Float32Array.from(start[name]));
      store.write(name, "gradients", Float32Array.from(gradients[name]));
    }
    const scalars = optimizer.scalars(store.layout, { lr: 0.1, step: 1, lossScale: 1024 });
    const { gradNorm } = optimizer.update(store, upload(device, [12], "f32", scalars));

    const unscaled = names.map((name) => gradients[name].map((g) => g / 1024));
    const { norm, clipped } = reference.clipGradNorm(unscaled, 1);
    expect(Math.abs((await gradNorm.read())[0]! - norm)).toBeLessThan(1e-6 * norm);
    for (const [i, name] of names.entries()) {
      const state = {
        param: start[name],
        m: new Float64Array(sizes[name]),
        v: new Float64Array(sizes[name]),
      };
      reference.adamwStep(state, clipped[i]!, {
        lr: name === "fast" ? 1.6 : 0.1,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-6,
        weightDecay: name === "plain" ? 0 : 0.5,
        step: 1,
      });
      expect(maxAbsError(await store.read(name, "values"), state.param)).toBeLessThan(1e-5);
    }
    store.dispose();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e30])(
    "a gradient of %d halts every update until the host clears the flag",
    async (bad) => {
      const store = problemStore(device, optimizer);
      const before = await store.readAll("values");
      const update = recordUpdate(store, optimizer);
      const scalars = optimizer.scalars(store.layout, { lr: 0.1, step: 1 });
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

  test.each([
    ["adamw", optimizer],
    ["sgd", sgd({ momentum: 0, weightDecay: 0.1 })],
    ["sgd with momentum", sgd({ momentum: 0.9, weightDecay: 0.1 })],
    ["lion", lion({ betas: [0.9, 0.99], weightDecay: 0.1 })],
    ["adafactor", adafactor({ weightDecay: 0.1 })],
  ])("%s: replay equals eager bit for bit, recording bakes no step in, a halt stops it", async (_, each) => {
    const [a, b] = [problemStore(device, each), problemStore(device, each)];
    const update = recordUpdate(a, each);
    for (const step of [1, 2]) {
      const scalars = each.scalars(a.layout, { lr: 0.01 * step, step });
      giveGradients(a, step);
      giveGradients(b, step);
      const { gradNorm } = await update.replay({ scalars }).read();
      const eager = each.update(b, upload(device, [4], "f32", scalars));
      expect(await eager.gradNorm.read()).toEqual(gradNorm);
      for (const part of ["values", ...flatMoments(each)] as const)
        expect(await a.readAll(part)).toEqual(await b.readAll(part));
    }
    expect(recordUpdate(a, each).fingerprint()).toBe(update.fingerprint());
    const before = await a.readAll("values");
    giveGradients(a, 3);
    a.write("b", "gradients", new Float32Array(7).fill(NaN));
    await update.replay({ scalars: each.scalars(a.layout, { lr: 0.01, step: 3 }) }).read();
    for (const part of ["values", ...flatMoments(each)] as const)
      expect(await a.readAll(part)).toEqual(part === "values" ? before : await b.readAll(part));
    update.dispose();
    a.dispose();
    b.dispose();
  });

  test("1e-6 is added to the norm before dividing, as torch does", async () => {
    const store = new ParameterStore(device, [{ name: "p", shape: [1], decay: true }], "adapter");
    store.write("p", "gradients", Float32Array.of(1e-6));
    const tiny = adamw({ ...options, maxGradNorm: 1e-6 });
    tiny.update(store, upload(device, [4], "f32", tiny.scalars(store.layout, { lr: 0, step: 1 })));
    // factor = 1e-6 / (1e-6 + 1e-6)
    expect((await store.read("p", "m"))[0]! / 1e-7).toBeCloseTo(0.5, 5);
    store.dispose();
  });

  test("options out of range are refused by name", () => {
    const store = problemStore(device, optimizer);
    const attempt = (change: Partial<AdamwOptions>) => () => adamw({ ...options, ...change });
    expect(attempt({ betas: [0.9, 1] })).toThrow(/betas\[1\]/);
    expect(attempt({ eps: 0 })).toThrow(/eps/);
    expect(attempt({ weightDecay: Number.NaN })).toThrow(/weightDecay/);
    expect(attempt({ maxGradNorm: 0 })).toThrow(/maxGradNorm/);
    expect(() => sgd({ momentum: 1, weightDecay: 0 })).toThrow(/momentum/);
    expect(() => sgd({ momentum: 0, nesterov: true, weightDecay: 0 })).toThrow(/momentum/);
    expect(() => lion({ betas: [0.9, 0.99], weightDecay: -1 })).toThrow(/weightDecay/);
    expect(() => optimizer.scalars(store.layout, { lr: 1, step: 0 })).toThrow(/from 1/);
    expect(() => optimizer.update(store, upload(device, [1], "f32", Float32Array.of(1)))).toThrow(/scalars/);
    const bare = problemStore(device, sgd({ momentum: 0, weightDecay: 0 }));
    expect(() => optimizer.update(bare, upload(device, [4], "f32", new Float32Array(4)))).toThrow(
      expect.objectContaining({ code: "MOMENT_UNKNOWN" }),
    );
    bare.dispose();
    store.dispose();
  });
});

describe("ParameterStore", () => {
  test("counts its bytes, and gives them all back", async () => {
    const device = await testDevice();
    const before = new Map(device.bytes);
    const store = problemStore(device, adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 }));
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
    const store = problemStore(await testDevice({ maxBindingBytes: 768 }), sgd({ momentum: 0.9, weightDecay: 0 }));
    expect(() => store.parameter("bb")).toThrow(expect.objectContaining({ code: "PARAMETER_UNKNOWN" }));
    expect(() => store.parameter("w")).toThrow(expect.objectContaining({ code: "PARAMETER_SPLIT" }));
    expect(store.parameter("b").values).toBe(store.slices("b")[0]!.values);
    expect(() => store.write("b", "values", new Float32Array(8))).toThrow(
      expect.objectContaining({ code: "PARAMETER_LENGTH" }),
    );
    store.dispose();
  });
});
