// Structure-aware mutants: whatever comes in, the answer is an open file or a SafetensorsError, and what
// is accepted satisfies the format's rules as an independent, deliberately lenient reader sees them.

import { memoryFiles, mutateSafetensors } from "@tunesmith/testing";
import { expect, test } from "vitest";
import { openSafetensors, SafetensorsError } from "./index.ts";

const BITS: Record<string, number> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};
const BYTES = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"];

/** The rules of the reference implementation on top of JSON.parse: name → bytes, or undefined where it refuses. */
function lenient(file: Uint8Array): Map<string, Uint8Array> | undefined {
  const buffer = Buffer.from(file);
  if (buffer.length < 8) return undefined;
  const length = buffer.readBigUInt64LE(0);
  if (length > 100_000_000n || Number(length) + 8 > buffer.length) return undefined;
  const data = 8 + Number(length);
  try {
    const header = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file.subarray(8, data)),
    );
    if (typeof header !== "object" || header === null || Array.isArray(header)) return undefined;
    const entries = Object.entries<any>(header).filter(([name]) => name !== "__metadata__");
    entries.sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]);
    let end = 0;
    const out = new Map<string, Uint8Array>();
    for (const [name, { dtype, shape, data_offsets: range }] of entries) {
      const bits = BITS[dtype] ?? (BYTES.includes(dtype) ? 8 : NaN);
      const size = (shape.reduce((n: number, dim: number) => n * dim, 1) * bits) / 8;
      if (range.length !== 2 || range[0] !== end || range[1] - range[0] !== size || !Number.isInteger(size))
        return undefined;
      end = range[1];
      out.set(name, file.subarray(data + range[0], data + end));
    }
    return data + end === file.length ? out : undefined;
  } catch {
    return undefined;
  }
}

/** Opens mutants; returns how often each outcome came. */
async function runMutants(from: number, count: number): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  for (let seed = from; seed < from + count; seed++) {
    const bytes = mutateSafetensors(seed);
    const files = memoryFiles([["f", bytes]]);
    let outcome: string;
    const before = performance.now();
    try {
      const file = await openSafetensors(files, "f");
      outcome = "accepted";
      const expected = lenient(bytes);
      expect(expected, `seed ${seed} was accepted`).toBeDefined();
      expect([...file.tensors.keys()].sort(), `seed ${seed}`).toEqual([...expected!.keys()].sort());
      for (const name of file.tensors.keys()) {
        expect(Buffer.compare(await file.read(name), expected!.get(name)!), `seed ${seed}, ${name}`).toBe(0);
      }
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw new Error(`seed ${seed}`, { cause: error });
      outcome = error.code;
      expect(files.log.closed, `seed ${seed} was left open`).toEqual(["f"]);
    }
    if (performance.now() - before > 5000) throw new Error(`seed ${seed} took more than 5 s`);
    for (const { offset, length } of files.log.reads)
      expect(offset + length, `seed ${seed}`).toBeLessThanOrEqual(bytes.length);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return outcomes;
}

/** TUNESMITH_MUTANTS=100000 for a long run, TUNESMITH_MUTANTS_FROM for other seeds. */
const count = Number(process.env["TUNESMITH_MUTANTS"] ?? 5000);
const from = Number(process.env["TUNESMITH_MUTANTS_FROM"] ?? 1);

test(`${count} mutants: opened or refused, and rightly`, { timeout: Infinity }, async () => {
  const outcomes = await runMutants(from, count);
  console.log([...outcomes].map(([outcome, times]) => `${outcome} ${times}`).join(", "));
  // mutants that are all alike would prove nothing
  const accepted = (outcomes.get("accepted") ?? 0) / count;
  expect(accepted).toBeGreaterThan(0.05);
  expect(accepted).toBeLessThan(0.5);
  expect(outcomes.size).toBeGreaterThanOrEqual(19);
});
