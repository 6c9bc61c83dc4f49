import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice } from "../../../tests/support/device.ts";
import type { Device } from "./device.ts";
import { addScaled } from "./kernels/elementwise.ts";
import { launch } from "./launch.ts";
import { record } from "./recorder.ts";
import type { Inputs } from "./recorder.ts";
import { empty, state } from "./tensor.ts";
import type { Tensor } from "./tensor.ts";

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
    expect(plan.slots).toEqual([288, 288, 288]); // b, and two that alternate
    expect(plan.peak).toEqual({ bytes: 3 * 288, at: "add_scaled" });
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
