import { describe, expect, test } from "vitest";
import type { Tensor } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, rope as turned, seededIntegers, seededNormals } from "@tunesmith/testing";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import { differentiable, gradients, trainable } from "../tape.ts";
import { scale } from "./elementwise.ts";
import { ropeTables } from "./rope.ts";
import { splitHeads } from "./split-heads.ts";

interface Case {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** pairs of each head that are turned; 0: none */
  readonly half: number;
}

/** Columns of a head, of the parts in turn; the first 2 · half of q's and k's turned. */
function reference(
  x: ArrayLike<number>,
  c: Case,
  positions: ArrayLike<number>,
  frequencies: Float64Array,
): Float64Array[] {
  const all = c.heads + 2 * c.kvHeads;
  return [
    { first: 0, n: c.heads, turn: true },
    { first: c.heads, n: c.kvHeads, turn: true },
    { first: c.heads + c.kvHeads, n: c.kvHeads, turn: false },
  ].map(({ first, n, turn }) => {
    const out: number[] = [];
    for (let t = 0; t < c.tokens; t++)
      for (let head = 0; head < n; head++) {
        const start = (t * all + first + head) * c.headDim;
        const row = Array.from({ length: c.headDim }, (_, i) => x[start + i]!);
        const front = turn && c.half > 0 ? turned(row.slice(0, 2 * c.half), [positions[t]!], frequencies, 1) : [];
        out.push(...front, ...row.slice(front.length));
      }
    return Float64Array.from(out);
  });
}

// lone elements; odd widths; pairs of four; heads of which a part is turned, in fours and not; nothing turned
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headDim: 2, half: 1 },
  { tokens: 5, heads: 3, kvHeads: 1, headDim: 6, half: 3 },
  { tokens: 9, heads: 4, kvHeads: 2, headDim: 8, half: 4 },
  { tokens: 3, heads: 2, kvHeads: 2, headDim: 16, half: 4 },
  { tokens: 4, heads: 2, kvHeads: 1, headDim: 7, half: 2 },
  { tokens: 6, heads: 2, kvHeads: 1, headDim: 5, half: 0 },
  { tokens: 6, heads: 2, kvHeads: 1, headDim: 12, half: 0 },
];
describe.each([
  { name: "default", facts: undefined, cases },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, cases: cases.slice(2, 5) },
])("$name", ({ facts, cases }) => {
  test.each(cases)("splitHeads $tokens × ($heads + 2 · $kvHeads) × $headDim, $half pairs turned", async (c) => {
    const { tokens, heads, kvHeads, headDim, half } = c;
    const frequencies = Float64Array.from({ length: half }, (_, i) => 1.3 ** -i);
    const rows = 50;
    const positions = seededIntegers(tokens, 3, 0, rows);
    const columns = (heads + 2 * kvHeads) * headDim;
    const x = seededNormals(tokens * columns, 1);
    const widths = [heads, kvHeads, kvHeads].map((n) => n * headDim);
    const dy = widths.map((w, i) => seededNormals(tokens * w, 10 + i));
    const { cosines, sines } = ropeTables(frequencies, rows);
    const tables: Record<"cosines" | "sines", ReturnType<typeof given>> = {
      cosines: given([rows, Math.max(1, half)], half > 0 ? cosines : new Float32Array(rows)),
      sines: given([rows, Math.max(1, half)], half > 0 ? sines : new Float32Array(rows)),
    };
    const inputs = {
      x: given([tokens, columns], x),
      positions: givenInts([tokens], positions),
      ...tables,
      dq: given([tokens, widths[0]!], dy[0]!),
      dk: given([tokens, widths[1]!], dy[1]!),
      dv: given([tokens, widths[2]!], dy[2]!),
    };
    const out = await bothModes(await testDevice(facts), inputs, (t) => {
      const rotary =
        half > 0 ? { positions: t.positions as Tensor<"i32">, cosines: t.cosines, sines: t.sines } : undefined;
      const parts = splitHeads(trainable(t.x), { heads, kvHeads, headDim, rotary });
      // something that reads all three
      const all = scale(t.dq, 1);
      differentiable({ inputs: [parts.q, parts.k, parts.v], outputs: [all] }, () => [t.dq, t.dk, t.dv]);
      const [dx] = gradients(all, all, [t.x]);
      const [dxOfK] = gradients(parts.k, t.dk, [t.x]);
      return { ...parts, dx: dx!, dxOfK: dxOfK! };
    });
    const [q, k, v] = reference(x, c, positions, frequencies);
    expect(maxAbsError(out.q, q!)).toBeLessThan(1e-5);
    expect(maxAbsError(out.k, k!)).toBeLessThan(1e-5);
    expect(maxAbsError(out.v, v!)).toBe(0);
    const loss = (at: ArrayLike<number>, only?: number): number =>
      reference(at, c, positions, frequencies).reduce(
        (sum, part, i) => sum + (only === undefined || only === i ? dot(part, dy[i]!) : 0),
        0,
      );
    expect(
      maxAbsError(
        out.dx,
        finiteDifference((at) => loss(at), x),
      ),
    ).toBeLessThan(1e-4);
    expect(
      maxAbsError(
        out.dxOfK,
        finiteDifference((at) => loss(at, 1), x),
      ),
    ).toBeLessThan(1e-4);
  });
});

test("what does not fit is refused by name", async () => {
  const device = await testDevice();
  const t = (...shape: number[]): Tensor => f32(device, shape, new Float64Array(shape.reduce((n, d) => n * d, 1)));
  const rotary = { positions: i32(device, [3], [0, 1, 2]), cosines: t(4, 2), sines: t(4, 2) };
  const shape = { heads: 2, kvHeads: 1, headDim: 4 };
  expect(await values(splitHeads(t(3, 16), { ...shape, rotary }).q)).toHaveLength(24);
  expect(() => splitHeads(t(3, 12), { ...shape, rotary })).toThrow(
    /splitHeads: x has shape \[3, 12\], expected \[3, 16\]/,
  );
  expect(() => splitHeads(t(2, 16), { ...shape, rotary })).toThrow(/positions/);
  expect(() => splitHeads(t(3, 16), { ...shape, rotary: { ...rotary, cosines: t(4, 3) } })).toThrow(/cosines/);
  expect(() => splitHeads(t(3, 16), { ...shape, rotary: { ...rotary, sines: t(3, 2) } })).toThrow(/sines/);
});
