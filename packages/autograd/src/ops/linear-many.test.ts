import { philox4x32 } from "@tunesmith/core";
import { asWeight, record, state, upload, viewOf } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { backward, gradients, recompute, trainable } from "../tape.ts";
import { linear, linearMany } from "./linear.ts";
import type { Projection } from "./linear.ts";
import type { LowRank } from "./low-rank.ts";

interface Sizes {
  readonly outs: number;
  readonly rank?: number;
  readonly bias?: boolean;
  readonly scale?: number;
  readonly p?: number;
}
type Part = "w" | "bias" | "a" | "b";
type Host = Partial<Record<Part, Float64Array>> & { w: Float64Array };

const seed = [7, 8] as const;
const step = 3;
const site = (piece: number): number => 100 + piece;

/** dropout's definition, on the host */
function mask(
  rows: number,
  ins: number,
  piece: number,
  p: number,
  examples: ArrayLike<number>,
  positions: ArrayLike<number>,
): Float64Array {
  const fours = Math.ceil(ins / 4);
  return Float64Array.from({ length: rows * ins }, (_, at) => {
    const [row, i] = [Math.floor(at / ins), at % ins];
    const words = philox4x32([positions[row]! * fours + Math.floor(i / 4), examples[row]!, site(piece), step], seed);
    return words[i % 4]! >= Math.floor(p * 2 ** 32) ? 1 / (1 - p) : 0;
  });
}

/** Every projection by its definition, one output at a time, in float64, side by side. */
function reference(
  x: Float64Array,
  hosts: readonly Host[],
  sizes: readonly Sizes[],
  ins: number,
  masks?: readonly (Float64Array | undefined)[],
): Float64Array {
  const rows = x.length / ins;
  const total = sizes.reduce((n, s) => n + s.outs, 0);
  const y = new Float64Array(rows * total);
  let first = 0;
  for (const [piece, { outs, rank = 0, scale = 1 }] of sizes.entries()) {
    const { w, bias, a, b } = hosts[piece]!;
    for (let row = 0; row < rows; row++)
      for (let o = 0; o < outs; o++) {
        let sum = bias?.[o] ?? 0;
        for (let i = 0; i < ins; i++) {
          const at = row * ins + i;
          sum += x[at]! * w[o * ins + i]!;
          const dropped = x[at]! * (masks?.[piece]?.[at] ?? 1);
          for (let r = 0; r < rank; r++) sum += scale * b![o * rank + r]! * a![r * ins + i]! * dropped;
        }
        y[row * total + first + o] = sum;
      }
    first += outs;
  }
  return y;
}

const draw = (sizes: readonly Sizes[], ins: number): Host[] =>
  sizes.map(({ outs, rank, bias }, i) => ({
    w: seededNormals(outs * ins, 10 * i + 1),
    ...(bias ? { bias: seededNormals(outs, 10 * i + 2) } : {}),
    ...(rank ? { a: seededNormals(rank * ins, 10 * i + 3), b: seededNormals(outs * rank, 10 * i + 4) } : {}),
  }));

const shapeOf = (part: Part, { outs, rank = 0 }: Sizes, ins: number): number[] =>
  ({ w: [outs, ins], bias: [outs], a: [rank, ins], b: [outs, rank] })[part];

/** All tensors of the projections; `flat` puts those of a kind one after the other, as a parameter store does. */
function onDevice(
  device: Device,
  hosts: readonly Host[],
  sizes: readonly Sizes[],
  ins: number,
  flat: boolean,
): Record<Part, (Tensor | undefined)[]> {
  const parts = {} as Record<Part, (Tensor | undefined)[]>;
  for (const part of ["w", "bias", "a", "b"] as const) {
    const data = hosts.map((h) => h[part]);
    const all = data.flatMap((d) => [...(d ?? [])]);
    const store = flat && all.length > 0 ? f32(device, [all.length], all) : undefined;
    let start = 0;
    parts[part] = data.map((d, i) => {
      if (!d) return undefined;
      const shape = shapeOf(part, sizes[i]!, ins);
      start += d.length;
      return store ? viewOf(store, start - d.length, shape) : f32(device, shape, d);
    });
  }
  return parts;
}

const projectionsOf = (
  parts: Record<Part, (Tensor | undefined)[]>,
  sizes: readonly Sizes[],
  key?: (piece: number) => LowRank["dropout"],
): Projection[] =>
  sizes.map(({ scale = 1 }, i) => {
    const [a, b] = [parts.a[i], parts.b[i]];
    return {
      weight: parts.w[i]!,
      bias: parts.bias[i],
      lowRank: a && b && { a, b, scale, dropout: key?.(i) },
    };
  });

const networks: readonly { name: string; rows: number; ins: number; sizes: readonly Sizes[]; flat?: boolean }[] = [
  { name: "one of each, odd", rows: 1, ins: 1, sizes: [{ outs: 1, rank: 1 }, { outs: 1 }] },
  {
    name: "ranks, scales and biases of their own",
    rows: 5,
    ins: 7,
    sizes: [
      { outs: 3, rank: 2, scale: 0.75, bias: true },
      { outs: 6 },
      { outs: 5, rank: 3, scale: 2 },
      { outs: 2, bias: true },
    ],
  },
  {
    name: "five pieces, adapters inside",
    rows: 6,
    ins: 4,
    sizes: [{ outs: 3 }, { outs: 4, rank: 4 }, { outs: 1, rank: 4 }, { outs: 4, rank: 4, scale: 3 }, { outs: 2 }],
  },
  {
    name: "adjoining",
    rows: 12,
    ins: 16,
    sizes: [32, 16, 64].map((outs) => ({ outs, rank: 4, scale: 0.5, bias: outs > 0 })),
    flat: true,
  },
  {
    name: "adjoining, more than one launch places",
    rows: 9,
    ins: 16,
    sizes: [16, 32, 16, 16, 16, 32].map((outs, i) => ({ outs, rank: 4, scale: i === 1 ? 2 : 0.5 })),
    flat: true,
  },
  { name: "no adapters", rows: 3, ins: 8, sizes: [{ outs: 4 }, { outs: 8 }] },
];

describe.each([
  ["as opened", undefined],
  ["portable", { subgroups: false, software: false, immediates: false }],
])("%s", (which, facts) => {
  const chosen = networks.filter((n) => which === "as opened" || n.name.startsWith("ranks") || n.name === "adjoining");
  describe.each(chosen)("linearMany, $name", ({ rows, ins, sizes, flat = false }) => {
    // bias views of a flat store must start at multiples of 64 numbers
    const even = flat ? sizes.map((s) => ({ ...s, bias: false })) : sizes;
    const hosts = draw(even, ins);
    const x = seededNormals(rows * ins, 5);
    const outs = even.reduce((n, s) => n + s.outs, 0);
    const dy = seededNormals(rows * outs, 6);
    const known = new Map<string, Float64Array>();
    const wanted = (piece: number, part: Part): Float64Array => {
      const before = known.get(`${part}${piece}`);
      if (before) return before;
      const loss = (v: Float64Array): number =>
        dot(
          reference(
            x,
            hosts.map((h, i) => (i === piece ? { ...h, [part]: v } : h)),
            even,
            ins,
          ),
          dy,
        );
      const found = finiteDifference((v) => loss(Float64Array.from(v)), hosts[piece]![part]!);
      known.set(`${part}${piece}`, found);
      return found;
    };
    const dx = finiteDifference((v) => dot(reference(Float64Array.from(v), hosts, even, ins), dy), x);

    test("value and gradients, fresh and into sinks", async () => {
      const device = await testDevice(facts);
      for (const sinks of [false, true]) {
        const parts = onDevice(device, hosts, even, ins, flat);
        const zeros = hosts.map((h) =>
          Object.fromEntries(Object.entries(h).map(([k, v]) => [k, v.map(() => 2)])),
        ) as unknown as Host[];
        const into = onDevice(device, zeros, even, ins, flat);
        const leaves: { piece: number; part: Part; tensor: Tensor; sink: Tensor }[] = [];
        for (const part of ["w", "bias", "a", "b"] as const)
          for (const [piece, tensor] of parts[part].entries())
            if (tensor) {
              const sink = into[part][piece]!;
              leaves.push({ piece, part, tensor: trainable(tensor, sinks ? sink : undefined), sink });
            }
        const input = f32(device, [rows, ins], x);
        const sinkOfX = f32(
          device,
          [rows, ins],
          x.map(() => 2),
        );
        trainable(input, sinks ? sinkOfX : undefined);
        const y = linearMany(input, projectionsOf(parts, even));
        expect(y.shape).toEqual([rows, outs]);
        expect(maxAbsError(await values(y), reference(x, hosts, even, ins))).toBeLessThan(1e-4);
        const upstream = f32(device, [rows, outs], dy);
        let found: (Tensor | undefined)[];
        if (sinks) {
          backward(y, upstream);
          found = [sinkOfX, ...leaves.map((l) => l.sink)];
        } else found = gradients(y, upstream, [input, ...leaves.map((l) => l.tensor)]);
        const more = sinks ? 2 : 0;
        expect(
          maxAbsError(
            await values(found[0]!),
            dx.map((v) => v + more),
          ),
          "dx",
        ).toBeLessThan(5e-4);
        for (const [i, { piece, part }] of leaves.entries()) {
          const want = wanted(piece, part).map((v) => v + more);
          expect(maxAbsError(await values(found[i + 1]!), want), `d${part} of ${piece}`).toBeLessThan(1e-3);
        }
      }
    });
  });
});

test("matrices of several formats, one of them in shards", async () => {
  const device = await testDevice();
  const [rows, ins] = [3, 4];
  const words = Uint16Array.from([0x3f80, 0x4000, 0xbf80, 0x3f00, 0x0000, 0x4040, 0x3f80, 0xc000]); // 1 2 −1 ½ 0 3 1 −2
  const hosts = [
    { w: Float64Array.of(1, 2, -1, 0.5, 0, 3, 1, -2), a: seededNormals(4, 1), b: seededNormals(2, 2) },
    { w: seededNormals(20, 3) },
    { w: seededNormals(12, 4), a: seededNormals(4, 5), b: seededNormals(3, 6) },
  ];
  const sizes = [{ outs: 2, rank: 1 }, { outs: 5 }, { outs: 3, rank: 1 }];
  const [x, dy] = [seededNormals(rows * ins, 7), seededNormals(rows * 10, 8)];
  const shard = (firstRow: number, count: number): { tensor: Tensor; firstRow: number; rows: number } => ({
    tensor: trainable(f32(device, [count, ins], hosts[1]!.w.slice(firstRow * ins, (firstRow + count) * ins))),
    firstRow,
    rows: count,
  });
  const shards = [shard(0, 2), shard(2, 3)];
  const lowRank = ({ a, b }: (typeof hosts)[number], outs: number): LowRank => ({
    a: f32(device, [1, ins], a!),
    b: f32(device, [outs, 1], b!),
    scale: 1,
  });
  const input = trainable(f32(device, [rows, ins], x));
  const y = linearMany(input, [
    { weight: asWeight(upload(device, [2, ins], "bf16", words)), lowRank: lowRank(hosts[0]!, 2) },
    { weight: { shape: [5, ins], format: "f32", shards } },
    { weight: f32(device, [3, ins], hosts[2]!.w), lowRank: lowRank(hosts[2]!, 3) },
  ]);
  expect(maxAbsError(await values(y), reference(x, hosts, sizes, ins))).toBeLessThan(1e-5);
  const tensors = [input, ...shards.map((s) => s.tensor)];
  const [dx, first, second] = gradients(y, f32(device, [rows, 10], dy), tensors);
  const loss = (v: ArrayLike<number>, w: ArrayLike<number>): number =>
    dot(reference(Float64Array.from(v), [hosts[0]!, { w: Float64Array.from(w) }, hosts[2]!], sizes, ins), dy);
  expect(
    maxAbsError(
      await values(dx!),
      finiteDifference((v) => loss(v, hosts[1]!.w), x),
    ),
  ).toBeLessThan(1e-4);
  const dw = finiteDifference((v) => loss(x, v), hosts[1]!.w);
  expect(maxAbsError(Float64Array.from([...(await values(first!)), ...(await values(second!))]), dw)).toBeLessThan(
    1e-4,
  );
});

test("adjoining q, k, v with adapters: two launches forward, four back", async () => {
  const device = await testDevice();
  const sizes = [64, 32, 32].map((outs) => ({ outs, rank: 4 }));
  const ins = 64;
  const like = (label: string, size: number): Tensor =>
    state(device, { shape: [size], dtype: "f32", category: "state", label });
  const flat = (label: string, shapes: number[][]): Tensor[] => {
    const all = like(
      label,
      shapes.reduce((n, [r, c]) => n + r! * c!, 0),
    );
    let start = 0;
    return shapes.map((shape) => viewOf(all, (start += shape[0]! * shape[1]!) - shape[0]! * shape[1]!, shape));
  };
  const stores = Object.fromEntries(
    (["w", "a", "b"] as const).map((part) => {
      const shapes = sizes.map((s) => shapeOf(part, s, ins));
      return [part, { values: flat(part, shapes), gradients: flat(`d${part}`, shapes) }];
    }),
  );
  for (const part of ["a", "b"]) stores[part]!.values.forEach((t, i) => trainable(t, stores[part]!.gradients[i]!));
  const [x, dy] = [like("x", 96 * ins).reshape([96, ins]), like("dy", 96 * 128).reshape([96, 128])];
  const labels = (back: boolean): string[] =>
    record(device, "qkv", () => {
      // x is the output of something trainable
      const input = linear(x, stores["w"]!.values[0]!, {
        lowRank: { a: stores["a"]!.values[0]!, b: stores["b"]!.values[0]!, scale: 1 },
      });
      const parts = { w: stores["w"]!.values, a: stores["a"]!.values, b: stores["b"]!.values, bias: [] };
      const y = linearMany(input, projectionsOf(parts, sizes));
      if (back) backward(y, dy);
      return back ? {} : { y };
    })
      .plan.launches.slice(back ? 3 : 2)
      .map((l) => l.variant.kernel.label.replace("_shuffle", ""));
  expect(labels(false)).toEqual(["matmul", "matmul"]);
  // u was saved; the forward's last product is dead
  expect(labels(true)).toEqual([
    "matmul",
    "matmul",
    "matmul",
    "matmul",
    "matmul", // from here on the first projection
    "matmul",
    "matmul",
  ]);
});

describe("dropout of the low-rank term's input", () => {
  const ins = 9;
  const rows = 8;
  const sizes: readonly Sizes[] = [
    { outs: 5, rank: 2, scale: 0.5, p: 0.3 },
    { outs: 4, rank: 3, p: 0.5 },
    { outs: 3 },
    { outs: 2, rank: 1, p: 0 },
  ];
  const hosts = draw(sizes, ins);
  const x = seededNormals(rows * ins, 5);
  const examples = [0, 0, 0, 4, 4, 1, 1, 1];
  const positions = [0, 1, 2, 0, 1, 0, 1, 2];
  const keyOf = (device: Device, order: readonly number[]): ((piece: number) => LowRank["dropout"]) => {
    const pick = (from: readonly number[]): Tensor =>
      i32(
        device,
        [order.length],
        order.map((i) => from[i]!),
      );
    const key = {
      seed: upload(device, [2], "u32", Uint32Array.from(seed)),
      step: upload(device, [1], "u32", Uint32Array.of(step)),
      rows: { examples: pick(examples), positions: pick(positions) },
    };
    return (piece) => ({ p: sizes[piece]!.p!, key: { ...key, site: site(piece) } });
  };
  const all = Array.from({ length: rows }, (_, i) => i);
  const masks = sizes.map(({ p }, piece) => (p ? mask(rows, ins, piece, p, examples, positions) : undefined));

  test.each([
    ["several", sizes],
    ["one", sizes.slice(0, 1)],
  ])("%s: value and gradients, each with a mask of its own", async (_, some) => {
    const device = await testDevice();
    const own = hosts.slice(0, some.length);
    const outs = some.reduce((n, s) => n + s.outs, 0);
    const dy = seededNormals(rows * outs, 6);
    const parts = onDevice(device, own, some, ins, false);
    const input = trainable(f32(device, [rows, ins], x));
    const leaves = (["a", "b"] as const).flatMap((part) =>
      parts[part].flatMap((tensor, piece) => (tensor ? [{ part, piece, tensor: trainable(tensor) }] : [])),
    );
    const projections = projectionsOf(parts, some, keyOf(device, all));
    const forward = (): Tensor =>
      projections.length > 1
        ? linearMany(input, projections)
        : linear(input, projections[0]!.weight, { lowRank: projections[0]!.lowRank });
    const y = forward();
    expect(maxAbsError(await values(y), reference(x, own, some, ins, masks))).toBeLessThan(1e-4);
    const upstream = f32(device, [rows, outs], dy);
    const wrt = [input, ...leaves.map((l) => l.tensor)];
    const found = gradients(y, upstream, wrt);
    const dx = finiteDifference((v) => dot(reference(Float64Array.from(v), own, some, ins, masks), dy), x);
    expect(maxAbsError(await values(found[0]!), dx), "dx").toBeLessThan(1e-4);
    for (const [i, { part, piece }] of leaves.entries()) {
      const want = finiteDifference(
        (v) =>
          dot(
            reference(
              x,
              own.map((h, j) => (j === piece ? { ...h, [part]: Float64Array.from(v) } : h)),
              some,
              ins,
              masks,
            ),
            dy,
          ),
        own[piece]![part]!,
      );
      expect(maxAbsError(await values(found[i + 1]!), want), `d${part} of ${piece}`).toBeLessThan(2e-4);
    }
    const again = gradients(recompute(device, forward), upstream, wrt);
    for (const [i, tensor] of again.entries()) expect(await tensor!.read()).toEqual(await found[i]!.read());
  });

  test("an example has the same mask wherever it stands: packed, alone, in another order", async () => {
    const device = await testDevice();
    const run = async (order: readonly number[]): Promise<Float64Array> => {
      const parts = onDevice(device, hosts, sizes, ins, false);
      const at = f32(
        device,
        [order.length, ins],
        order.flatMap((i) => Array.from(x.subarray(i * ins, (i + 1) * ins))),
      );
      return values(linearMany(at, projectionsOf(parts, sizes, keyOf(device, order))));
    };
    const outs = 14;
    const packed = await run(all);
    for (const order of [[3, 4], [7, 5, 0], all.toReversed()]) {
      const part = await run(order);
      const same = order.flatMap((i) => Array.from(packed.subarray(i * outs, (i + 1) * outs)));
      expect(maxAbsError(part, Float64Array.from(same))).toBeLessThan(1e-6);
    }
  });
});

test("what does not fit is refused by name", async () => {
  const device = await testDevice();
  const t = (...shape: number[]): Tensor => f32(device, shape, new Float64Array(shape.reduce((n, d) => n * d, 1)));
  const x = t(2, 3);
  expect(() => linearMany(x, [{ weight: t(4, 3) }, { weight: t(4, 5) }])).toThrow(
    /linearMany: x has shape \[2, 3\], expected \[\.\.\., 5\]/,
  );
  expect(() => linearMany(x, [{ weight: t(4, 3) }, { weight: t(4, 3), bias: t(3) }])).toThrow(
    /projections\[1\]\.bias has shape \[3\], expected \[4\]/,
  );
  const key = {
    seed: upload(device, [2], "u32", Uint32Array.of(1, 2)),
    step: upload(device, [1], "u32", Uint32Array.of(1)),
    site: 1,
  };
  const lowRank = (p: number, rows: number): LowRank => ({
    a: t(1, 3),
    b: t(4, 1),
    scale: 1,
    dropout: { p, key: { ...key, rows: { examples: t(rows), positions: t(rows) } } },
  });
  expect(() => linear(x, t(4, 3), { lowRank: lowRank(1, 2) })).toThrow(/linear: p is 1/);
  expect(() => linear(x, t(4, 3), { lowRank: lowRank(0.5, 3) })).toThrow(/examples has shape \[3\], expected \[2\]/);
});
