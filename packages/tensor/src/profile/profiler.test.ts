import { openDevice } from "@tunesmith/node";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../../tests/support/device.ts";
import type { Device } from "../device.ts";
import { TensorError } from "../errors.ts";
import { chunkGroups } from "../kernels/cross-entropy.ts";
import { addScaled } from "../kernels/elementwise.ts";
import { matmul } from "../kernels/matmul/matmul.ts";
import { launch } from "../launch.ts";
import type { Program } from "../program.ts";
import { record } from "../recorder.ts";
import { empty, state, viewOf } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import type { Profile } from "./profile.ts";
import { Profiler } from "./profiler.ts";
import type { ChromeTrace } from "./trace.ts";

const SIZE = 96;
const x = Float32Array.from({ length: SIZE * SIZE }, (_, i) => Math.sin(i));
const now = (): number => performance.now();

function scaled(a: Tensor, b: Tensor, indirect?: Tensor<"u32">): Tensor {
  const out = empty(a.device, a.shape);
  launch(addScaled, {
    params: { n: a.size, scale_a: 0.5, scale_b: 1 },
    reads: { a, b },
    writes: { out },
    indirect,
  });
  return out;
}

/** A product added to its operand `sums` times, and once more where `rows` is not empty. */
function network(device: Device, label: string, sums: number): Program {
  return record(device, label, ({ input }) => {
    const a = input("a", [SIZE, SIZE], "f32");
    const rows = input("rows", [64], "i32");
    const args = empty(device, [1, 64], "u32");
    launch(chunkGroups, {
      params: { count: 64, chunks: 1, chunk_rows: 64, tile: 0, x: 9, y: 1 },
      reads: { rows },
      writes: { args },
    });
    let y: Tensor = empty(device, [SIZE, SIZE]);
    matmul({ layout: "nt", a, b: a, out: y });
    for (let i = 0; i < sums; i++) y = scaled(y, a);
    scaled(y, a, viewOf(args, 0, [3]));
    return { y, perhaps: scaled(y, a, viewOf(args, 0, [3])) };
  });
}
const some = new Int32Array(64).fill(-1);
some[0] = 0;
const none = new Int32Array(64).fill(-1);

let device: Device;
let program: Program;
let profile: Profile;
let trace: ChromeTrace;
let plain: unknown;
let timed: unknown;
beforeAll(async () => {
  device = await testDevice();
  program = network(device, "network", 3);
  plain = (await program.replay({ a: x, rows: some }).read())["y"];
  const profiler = await Profiler.start(device, { now });
  for (let i = 0; i < 3; i++) timed = (await program.replay({ a: x, rows: some }).read())["y"];
  await network(device, "once", 1).replay({ a: x, rows: none }).read();
  ({ profile, trace } = await profiler.stop());
});
/** Sums over a kernel and its variants that write in place. */
function work(kernel: string): { launches: number; flops: number; bytes: number } {
  const all = profile.kernels.filter((found) => found.kernel.startsWith(kernel));
  const sum = (key: "launches" | "flops" | "bytes"): number => all.reduce((n, found) => n + found[key], 0);
  return { launches: sum("launches"), flops: sum("flops"), bytes: sum("bytes") };
}

describe("a profile", () => {
  test("leaves results as they are, bit for bit", () => {
    expect(timed).toEqual(plain);
  });

  test("counts replays: the first compiles and is left out, unless it was the only one", () => {
    expect(profile.programs).toMatchObject([
      { program: "network", launches: 6, replays: 2 },
      { program: "once", launches: 4, replays: 1 },
    ]);
    const [network, once] = profile.programs;
    expect(network!.first_seconds).toBeGreaterThan(0);
    expect(once!.seconds).toBe(once!.first_seconds);
  });

  test("sums launches, seconds and work by kernel", () => {
    expect(work("matmul")).toEqual({ launches: 3, flops: 3 * 2 * SIZE ** 3, bytes: 3 * 2 * 4 * SIZE ** 2 });
    // 2 × 4 full ones, 1 full one, and one that ran no workgroup: that one has launched, but done nothing
    expect(work("add")).toEqual({
      launches: 2 * 4 + 2,
      flops: (2 * 4 + 1) * 3 * SIZE ** 2,
      bytes: (2 * 4 + 1) * 3 * 4 * SIZE ** 2,
    });
    expect(profile.seconds).toBeCloseTo(
      profile.kernels.reduce((sum, { seconds }) => sum + seconds, 0),
      9,
    );
    expect(profile.kernels.reduce((sum, kernel) => sum + kernel.time_share, 0)).toBeCloseTo(1, 9);
    for (const kernel of profile.kernels) {
      expect(kernel.seconds).toBeGreaterThan(0);
      expect(kernel.shapes.reduce((sum, { launches }) => sum + launches, 0)).toBe(kernel.launches);
    }
    // dispatches follow one another, so they cannot take longer than the programs
    expect(profile.seconds).toBeLessThanOrEqual(profile.programs.reduce((sum, p) => sum + p.seconds, 0) * 1.001);
  });

  test("measures work against the roof of this device", () => {
    expect(profile.roof.copy_bytes_per_second).toBeGreaterThan(1e8);
    expect(profile.roof.matmul_flops_per_second).toBeGreaterThan(1e8);
    const { seconds, flops, bytes, roof_share: share } = profile.kernels.find((k) => k.kernel.startsWith("matmul"))!;
    const least = Math.max(flops / profile.roof.matmul_flops_per_second, bytes / profile.roof.copy_bytes_per_second);
    expect(share).toBeCloseTo(least / seconds, 9);
  });

  test("has the parameters of each shape", () => {
    const add = profile.kernels.find(({ kernel }) => kernel.startsWith("add_scaled"));
    expect(add!.shapes).toMatchObject([{ params: { n: SIZE * SIZE, scale_a: 0.5, scale_b: 1 }, spec: {} }]);
  });
});

// "Trace Event Format", Duncan & Eads: an object with `traceEvents`; complete events carry ts and dur in microseconds
describe("a trace", () => {
  test("is in the format that Perfetto and chrome://tracing open", () => {
    const parsed = JSON.parse(JSON.stringify(trace)) as ChromeTrace;
    expect(parsed.displayTimeUnit).toBe("ms");
    for (const event of parsed.traceEvents) {
      expect(event).toMatchObject({ name: expect.any(String), pid: 1, tid: expect.any(Number) });
      expect(["X", "M"]).toContain(event.ph);
      if (event.ph === "M") expect(event.args).toEqual({ name: expect.any(String) });
      else expect(event).toMatchObject({ cat: expect.any(String), ts: expect.any(Number), dur: expect.any(Number) });
    }
    expect(parsed.traceEvents.filter(({ name }) => name === "thread_name").map(({ args }) => args!["name"])).toEqual([
      "dispatches",
      "programs",
      "host",
    ]);
  });

  test("holds every dispatch of the replays that count, in their order, inside their program", () => {
    const of = (cat: string): { ts: number; end: number; name: string }[] =>
      trace.traceEvents
        .filter((event) => event.cat === cat)
        .map((event) => ({ name: event.name, ts: event.ts!, end: event.ts! + event.dur! }));
    const [dispatches, programs, host] = [of("dispatches"), of("programs"), of("host")];
    expect(dispatches).toHaveLength(2 * 6 + 4);
    expect(programs).toHaveLength(3);
    expect(host).toHaveLength(3);
    for (const program of programs) {
      const inside = dispatches.filter(({ ts, end }) => ts >= program.ts - 1e-3 && end <= program.end + 1e-3);
      expect(inside).toHaveLength(program.name === "network" ? 6 : 4);
      for (const [i, event] of inside.entries())
        if (i > 0) expect(event.ts).toBeGreaterThanOrEqual(inside[i - 1]!.end - 1e-3);
    }
    // a replay cannot run before it was submitted
    expect(programs[0]!.ts).toBeGreaterThanOrEqual(host[0]!.end - 1e-3);
    const indirect = trace.traceEvents.filter((event) => event.args?.["workgroups"] === 0);
    expect(indirect).toHaveLength(1);
  });
});

test("off, a replay runs in one pass, without a query", async () => {
  expect(device.profiler).toBeUndefined();
  const passes: GPUComputePassDescriptor[] = [];
  const { gpu } = device;
  gpu.createCommandEncoder = (descriptor) => {
    const encoder = Object.getPrototypeOf(gpu).createCommandEncoder.call(gpu, descriptor) as GPUCommandEncoder;
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (given) => {
      passes.push(given!);
      return begin(given);
    };
    return encoder;
  };
  try {
    await program.replay({ a: x, rows: some }).read();
  } finally {
    Reflect.deleteProperty(gpu, "createCommandEncoder");
  }
  expect(passes).toEqual([undefined]);
});

test("a program profiles itself, and gives all memory back", async () => {
  const total = state(device, { shape: [SIZE], dtype: "f32", category: "state", label: "total" });
  const add = record(device, "add", ({ input }) => {
    launch(addScaled, {
      params: { n: SIZE, scale_a: 1, scale_b: 1 },
      reads: { a: input("a", [SIZE], "f32"), b: input("b", [SIZE], "f32") },
      writes: { out: total },
    });
    return {};
  });
  const a = new Float32Array(SIZE).fill(1);
  const { profile: own } = await add.profile({ a, b: a }, { now, roof: profile.roof, replays: 2 });
  expect(own.programs).toMatchObject([{ program: "add", replays: 2, launches: 1 }]);
  expect(own.kernels).toMatchObject([{ kernel: "add_scaled", launches: 2, flops: 2 * 3 * SIZE }]);
  expect([...(await total.read())]).toEqual(Array.from({ length: SIZE }, () => 2));
  const bytes = device.bytes.get("staging");
  await add.profile({ a, b: a }, { now, roof: profile.roof, replays: 1 });
  expect(device.bytes.get("staging")).toBe(bytes);
  total.dispose();
});

test("one profiler at a time", async () => {
  const { roof } = profile;
  const profiler = await Profiler.start(device, { now, roof });
  await expect(Profiler.start(device, { now, roof })).rejects.toThrow(TensorError);
  const { profile: nothing } = await profiler.stop();
  expect(nothing).toMatchObject({ seconds: 0, flops: 0, kernels: [], programs: [], untraced_replays: 0 });
});

test("a GPU without a clock is refused in words", async () => {
  const other = await openDevice({ validate: true });
  Object.defineProperty(other.gpu, "features", { value: new Set(["subgroups"]) });
  await expect(Profiler.start(other, { now })).rejects.toMatchObject({
    code: "PROFILER_UNAVAILABLE",
    details: { expected: expect.stringContaining("timestamp-query"), received: "subgroups" },
  });
  expect(other.profiler).toBeUndefined();
  other.destroy();
});
