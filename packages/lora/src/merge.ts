// An adapter merged into its base: W + s·B·A, formed in f32 and rounded once to the dtype that is written.

import { fromF32, toF32 } from "@tunesmith/safetensors";
import type { TensorSource, TensorToWrite } from "@tunesmith/safetensors";
import type { LinearSizes } from "./adapter.ts";
import { type Update, updatesOf } from "./algebra/modules.ts";
import { LoraError } from "./errors.ts";
import type { PeftAdapter } from "./peft.ts";
import { savedPaths, savedName } from "./saved.ts";
import { tokenRowsName } from "./token-rows.ts";

export type MergeDtype = "F32" | "F16" | "BF16";
const FLOATING: readonly string[] = ["F32", "F16", "BF16"] satisfies MergeDtype[];
/** Bytes copied at a time. */
const PIECE = 1 << 24;

export interface MergeOptions {
  /** the base's linear layers */
  readonly sizes: LinearSizes;
  /** paths of the two weights that are one tensor in the base; a module that is saved whole unties them */
  readonly tied?: { readonly embedding: string; readonly head: string } | undefined;
  /** of all floating-point tensors; default: each keeps its own */
  readonly dtype?: MergeDtype | undefined;
}

/**
 * The tensors of the merged model, each formed when its turn to be written comes: at most one is in memory.
 *
 * @param base - the tensors of the base model, by checkpoint name
 * @throws LoraError `MERGE_UNSUPPORTED` where a target's weight is missing or is not F32, F16 or BF16 (4-bit, say)
 */
export function mergeAdapter(
  base: TensorSource,
  adapter: PeftAdapter,
  { sizes, tied, dtype }: MergeOptions,
): Map<string, TensorToWrite> {
  const updates = new Map([...updatesOf(adapter)].map(([path, update]) => [`${path}.weight`, { path, update }]));
  const whole = new Map(savedPaths(adapter).map((path) => [`${path}.weight`, adapter.values.get(savedName(path))!]));
  const biases = [...adapter.values].flatMap(([name, bias]): [string, Float32Array][] => {
    const path = /^base_model\.model\.(.+?)(?:\.base_layer)?\.bias$/.exec(name)?.[1];
    return path === undefined ? [] : [[`${path}.bias`, bias]];
  });
  for (const [name, bias] of biases) whole.set(name, bias);
  const rows = new Map([...(adapter.tokenRows ?? [])].map(([path, ids]) => [`${path}.weight`, { path, ids }]));
  const head = tied && savedPaths(adapter).length > 0 ? `${tied.head}.weight` : undefined;
  /** where a tensor of the merged model comes from; an untied head from the embedding */
  const sourceOf = (name: string): string =>
    name === head && !base.tensors.has(name) ? `${tied!.embedding}.weight` : name;
  for (const name of [...updates.keys(), ...whole.keys(), ...rows.keys()]) {
    const found = base.tensors.get(sourceOf(name))?.dtype;
    if (found !== undefined && FLOATING.includes(found)) continue;
    throw new LoraError("MERGE_UNSUPPORTED", `merge: the base's ${name} is ${found ?? "missing"}`, {
      received: found ?? "no such tensor",
      expected: FLOATING.join(", "),
      fix: "merge into the original 16-bit model folder, which the adapter fits as well; or --requantize, into four bits",
    });
  }
  const merged = new Map<string, TensorToWrite>();
  for (const name of new Set([...base.tensors.keys(), ...(head === undefined ? [] : [head])])) {
    const from = sourceOf(name);
    const { dtype: own, shape, start, end } = base.tensors.get(from)!;
    const to = dtype !== undefined && FLOATING.includes(own) ? dtype : own;
    const change = updates.get(name);
    const tokens = rows.get(name);
    const form = async function* (): AsyncGenerator<Uint8Array> {
      const values = whole.get(name);
      if (values) {
        yield fromF32(values, to as MergeDtype);
        return;
      }
      if (change || tokens || to !== own) {
        const values = toF32(await base.read(from), own);
        if (change) addUpdate(values, change.update, sizes.get(change.path)!.layout ?? "out_in");
        if (tokens) setRows(values, tokens.ids, adapter.values.get(tokenRowsName(tokens.path))!);
        yield fromF32(values, to as MergeDtype);
        return;
      }
      for (let at = 0; at < end - start; at += PIECE)
        yield await base.readRange(from, at, Math.min(PIECE, end - start - at));
    };
    merged.set(name, { dtype: to, shape, data: form });
  }
  return merged;
}

/** Adds s·B·A to a weight in place, each sum in f32; for DoRA each output's weights then get their magnitude as length. */
function addUpdate(weight: Float32Array, { a, b, scale, magnitude }: Update, layout: "out_in" | "in_out"): void {
  const [outs, ins, rank] = [b.rows, a.cols, a.rows];
  const row = new Float64Array(ins);
  for (let o = 0; o < outs; o++) {
    const at = (i: number): number => (layout === "out_in" ? o * ins + i : i * outs + o);
    row.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = scale * b.data[o * rank + k]!;
      for (let i = 0; i < ins; i++) row[i]! += factor * a.data[k * ins + i]!;
    }
    let squares = 0;
    for (let i = 0; i < ins; i++) {
      row[i] = Math.fround(weight[at(i)]! + Math.fround(row[i]!));
      squares += row[i]! ** 2;
    }
    const length = magnitude ? magnitude[o]! / Math.sqrt(squares) : 1;
    for (let i = 0; i < ins; i++) weight[at(i)] = row[i]! * length;
  }
}

/** Row ids[i] of the table becomes row i of `rows`. */
function setRows(table: Float32Array, ids: readonly number[], rows: Float32Array): void {
  const dim = rows.length / ids.length;
  for (const [i, id] of ids.entries()) table.set(rows.subarray(i * dim, (i + 1) * dim), id * dim);
}
