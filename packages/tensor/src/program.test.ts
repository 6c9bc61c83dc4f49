import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice } from "../../../tests/support/device.ts";
import type { Device } from "./device.ts";
import { addScaled } from "./kernels/elementwise.ts";
import { launch } from "./launch.ts";
import { planMemory } from "./memory-plan.ts";
import { record } from "./recorder.ts";
import type { Inputs } from "./recorder.ts";
import { empty, state, viewOf } from "./tensor.ts";
import type { Tensor } from "./tensor.ts";
import { virtualDevice, virtualTwin } from "./virtual.ts";

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

function add(a: Tensor, b: Tensor, scale = 1): Tensor {
  const out = empty(a.device, a.shape);
  launch(addScaled, {
    params: { n: a.size, scale_a: 1, scale_b: scale },
    reads: { a, b },
    writes: { out },
  });
  return out;
}

/** A chain of sums over two inputs, with one branch that nobody needs. */
function chain({ input }: Inputs): { y: Tensor } {
  const a = input("a", [70], "f32");
  const b = input("b", [70], "f32");
  add(a, b, 100); // dead
  let y = add(a, b);
  for (let i = 0; i < 5; i++) y = add(y, b, i);
  return { y };
}
const a = Float32Array.from({ length: 70 }, (_, i) => i);
const b = Float32Array.from({ length: 70 }, (_, i) => i * 0.5);

describe("record, plan, replay", () => {
  test("replays with new inputs each time", async () => {
    const program = record(device, "chain", chain);
    const first = await program.replay({ a, b }).read();
    const second = await program.replay({ a: b, b: a }).read();
    expect(first["y"]).toEqual(a.map((v, i) => v + b[i]! * 11));
    expect(second["y"]).toEqual(b.map((v, i) => v + a[i]! * 11));
    program.dispose();
  });

  test("equals eager bit for bit", async () => {
    const inputs: Record<string, Tensor> = { a: f32(device, [70], a), b: f32(device, [70], b) };
    const eager = chain({ input: (name: string) => inputs[name]! } as unknown as Inputs);
    const replayed = await record(device, "chain", chain).replay({ a, b }).read();
    expect(await eager.y.read()).toEqual(replayed["y"]);
  });

  test("drops dead launches and reuses memory", () => {
    const { plan } = record(device, "chain", chain);
    expect(plan.launches).toHaveLength(6);
    expect(plan.slots).toEqual([288, 288]); // b, and the sum in the place of a
    expect(plan.peak).toEqual({ bytes: 2 * 288, at: "inputs" });
  });

  test("a steady replay creates nothing and submits once", async () => {
    const program = record(device, "chain", chain);
    await program.replay({ a, b }).read();
    const counts: Record<string, number> = {};
    const gpu = device.gpu as unknown as Record<string, unknown>;
    const queue = device.gpu.queue as unknown as Record<string, unknown>;
    const wrap = (target: Record<string, unknown>, name: string): (() => void) => {
      const original = target[name] as (...args: unknown[]) => unknown;
      target[name] = (...args: unknown[]): unknown => {
        counts[name] = (counts[name] ?? 0) + 1;
        return original.apply(target, args);
      };
      return () => delete target[name];
    };
    const undo = [
      ...["createBuffer", "createBindGroup", "createComputePipeline", "createComputePipelineAsync"].map((n) =>
        wrap(gpu, n),
      ),
      wrap(queue, "submit"),
    ];
    for (let i = 0; i < 3; i++) await program.replay({ a, b }).read();
    for (const u of undo) u();
    expect(counts).toEqual({ submit: 3 });
    program.dispose();
  });

  test("states persist between replays, and reading or uploading inside a recording is refused", async () => {
    const sum = state(device, { shape: [70], dtype: "f32", category: "state", label: "sum" });
    const program = record(device, "sum", ({ input }) => {
      const x = input("x", [70], "f32");
      const next = add(sum, x);
      launch(addScaled, {
        params: { n: 70, scale_a: 1, scale_b: 0 },
        reads: { a: next, b: x },
        writes: { out: sum },
      });
      return {};
    });
    program.replay({ x: a });
    program.replay({ x: a });
    expect(await sum.read()).toEqual(a.map((v) => 2 * v));
    expect(() => record(device, "bad", ({ scalar }) => (void scalar("s").read(), {}))).toThrow(
      expect.objectContaining({ code: "RECORDING" }),
    );
    expect(() => record(device, "bad", () => ({ y: f32(device, [1], [1]) }))).toThrow(
      expect.objectContaining({ code: "RECORDING" }),
    );
    expect(device.recorder).toBeUndefined();
    program.dispose();
    sum.dispose();
  });

  test("a wrong or unknown input is refused by name", () => {
    const program = record(device, "chain", chain);
    expect(() => program.replay({ a })).toThrow(/input b/);
    expect(() => program.replay({ a, b, c: b })).toThrow(/no such input/);
    program.dispose();
  });
});

describe("memory", () => {
  /** Sums of slices of ten inputs, each dead after its launch. */
  const body = ({ input }: Inputs): { y: Tensor } => {
    const x = input("x", [256], "f32");
    const kept = add(x, x, 3); // x lives on: a buffer of its own
    const sum = add(kept, x); // both die: the sum lies where one of them did
    return { y: add(sum, sum, 2) }; // one buffer bound twice cannot be taken over
  };
  const x = Float32Array.from({ length: 256 }, (_, i) => i);

  test("an output takes over the buffer of an input that dies there, and of no other", async () => {
    const program = record(device, "in place", body);
    expect(program.plan.launches.map((l) => l.variant.label)).toEqual([
      "add_scaled",
      "add_scaled(a=out)",
      "add_scaled",
    ]);
    expect(program.plan.slots).toEqual([1024, 1024]);
    for (let i = 0; i < 2; i++) expect((await program.replay({ x }).read())["y"]).toEqual(x.map((v) => 15 * v));
    program.dispose();
  });

  test("a state and an output of the program are never taken over", () => {
    const sum = state(device, { shape: [256], dtype: "f32", category: "state", label: "sum" });
    const { plan } = record(device, "kept", ({ input }) => {
      const a = input("x", [256], "f32");
      return { a, b: add(sum, a) };
    });
    expect(plan.launches.map((l) => l.variant.label)).toEqual(["add_scaled"]);
    expect(plan.slots).toEqual([1024, 1024]);
    sum.dispose();
  });

  test("several small storages share a large slot, unless one launch reads one and writes the other", async () => {
    const n = 256;
    const recorded = ({ input }: Inputs): { y: Tensor } => {
      const big = input("big", [8 * n], "f32");
      // the big one dies at once; then eight small ones live together
      let tip = viewOf(add(big, big), 0, [n]);
      const small: Tensor[] = [];
      for (let i = 0; i < 8; i++) small.push((tip = add(tip, tip, i)));
      return { y: small.reduce((a, b) => add(a, b)) };
    };
    const program = record(device, "side by side", recorded);
    const { plan } = program;
    // the sum lies where the first small one was and reads all others, so none of those may be beside it; of the
    // others neighbours are apart: four beside each other in the second large slot, three alone
    expect(plan.slots).toEqual([8 * n * 4, 8 * n * 4, n * 4, n * 4, n * 4]);
    const places = plan.launches.flatMap((launch) => {
      const of = (t: Tensor): number | undefined => plan.places.get(t.storage)?.slot;
      return launch.reads.flatMap((r) => [...launch.writes, ...launch.updates].map((w) => of(r) === of(w)));
    });
    expect(places).not.toContain(true);
    expect([...plan.places.values()].some((place) => place.offset > 0)).toBe(true);

    const big = Float32Array.from({ length: 8 * n }, (_, i) => i % 97);
    const inputs = { input: () => f32(device, [8 * n], big) } as unknown as Inputs;
    expect((await program.replay({ big }).read())["y"]).toEqual(await recorded(inputs).y.read());
    program.dispose();
  });

  test("outputs wait in as many buffers as replays may be in flight; what nobody asked for is overwritten", async () => {
    const program = record(device, "chain", chain, { inFlight: 2 });
    expect(program.stagingBytes).toBe(2 * 288);
    const before = device.bytes.get("staging") ?? 0;
    const [lost, kept] = [program.replay({ a, b }), program.replay({ a: b, b })];
    const last = program.replay({ a, b });
    expect(device.bytes.get("staging")).toBe(before + 2 * 288);
    await expect(lost.read()).rejects.toMatchObject({ code: "TENSOR_DISPOSED" });
    const reads = [kept.read(), last.read()];
    expect(() => program.replay({ a, b })).toThrow(/being read/);
    const [first, second] = await Promise.all(reads);
    expect(first!["y"]).toEqual(b.map((v) => 12 * v));
    expect(second!["y"]).toEqual(a.map((v, i) => v + b[i]! * 11));
    await expect(kept.read()).rejects.toMatchObject({ code: "TENSOR_DISPOSED" });
    expect((await program.replay({ a, b }).read())["y"]).toEqual(second!["y"]);
    program.dispose();
    expect(device.bytes.get("staging")).toBe(before);
  });

  test("without immediates a program has one parameter block, as planned", async () => {
    const plain = await testDevice({ immediates: false });
    const before = plain.bytes.get("uniforms") ?? 0;
    const program = record(plain, "chain", chain);
    expect(program.uniformBytes).toBe(6 * 256);
    expect((await program.replay({ a, b }).read())["y"]).toEqual(a.map((v, i) => v + b[i]! * 11));
    expect(plain.bytes.get("uniforms")).toBe(before + 6 * 256);
    program.dispose();
    expect(plain.bytes.get("uniforms")).toBe(before);
  });

  test("a device that only plans counts states, records the same program, and runs nothing", () => {
    const planned = virtualDevice(device.facts);
    const sum = state(planned, { shape: [70], dtype: "f32", category: "adapter", label: "sum" });
    const program = record(planned, "chain", chain);
    expect(program.fingerprint()).toBe(record(device, "chain", chain).fingerprint());
    const memory = planMemory(planned, [program, record(planned, "body", body)], { copyBytes: 8 });
    expect(memory.slots).toEqual([1024, 1024]);
    expect(memory.categories).toMatchObject({ adapter: 288, workspace: 2048, activations: 0, staging: 2 * 1312 + 8 });
    expect(memory.peakBytes).toBe(288 + 2048 + 2632 + memory.categories.uniforms);
    expect(memory.peak).toEqual({ program: "body", launches: 3, at: "add_scaled", bytes: 2048 });
    expect(() => program.replay({ a, b })).toThrow(expect.objectContaining({ code: "RECORDING" }));
    expect(virtualTwin(device).kernelChoices.export()).toEqual(device.kernelChoices.export());
    expect(virtualTwin(device).facts).toEqual(device.facts);
    sum.dispose();
    sum.dispose();
    expect(planned.bytes.get("adapter")).toBe(0);
  });
});
