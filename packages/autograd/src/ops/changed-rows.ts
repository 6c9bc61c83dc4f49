// A table some of whose rows are changed: tokens that train beside a frozen embedding or output head. The table stays as it
// is, in any format; with D the changes of n rows, looking a token up adds its row of D, and logits get x·Dᵀ in n columns.

import {
  addChosenColumns,
  asWeight,
  empty,
  launch,
  matmul,
  placesInList,
  takeChosenColumns,
  Tensor,
} from "@tunesmith/tensor";
import type { DenseFormat, MatmulArgs, Weight } from "@tunesmith/tensor";
import { add } from "./elementwise.ts";
import { embedding } from "./embedding.ts";

/** What is added to some rows of a table `[rows, dim]`. */
export interface ChangedRows {
  /** i32 `[n]`: the rows, each once, all within the table */
  readonly ids: Tensor<"i32">;
  /** f32 `[n, dim]` */
  readonly changes: Tensor;
}

/** An output head `[vocab, dim]`, and what is added to some of its rows. */
export interface Head {
  readonly weight: Weight;
  readonly changed?: ChangedRows | undefined;
}

export function asHead(head: Head | Weight | Tensor<DenseFormat>): Head {
  if (head instanceof Tensor) return { weight: asWeight(head) };
  return "weight" in head ? head : { weight: head };
}

/**
 * Rows of a table by token id, with changes to some of them; gradients of both as in {@link embedding}.
 * @returns `[tokens, dim]`, f32
 */
export function changedEmbedding(table: Weight, ids: Tensor<"i32">, changed: ChangedRows | undefined): Tensor {
  const rows = embedding(table, ids);
  if (!changed) return rows;
  const places = empty(ids.device, [ids.size], "i32");
  launch(placesInList, {
    params: { count: ids.size, n: changed.ids.size },
    reads: { ids, list: changed.ids },
    writes: { places },
  });
  return add(rows, embedding(changed.changes as Tensor<"f32">, places));
}

/** Which rows of the products are wanted, as data; see `matmul` and `launch`. */
export type Wanted = Pick<MatmulArgs, "indirect" | "rowTiles">;

/** `out = x·headᵀ`: x f32 `[count, dim]`, out f32 `[count, vocab]`. Has no gradient. */
export function headLogits(x: Tensor, { weight, changed }: Head, out: Tensor, wanted: Wanted = {}): void {
  matmul({ layout: "nt", a: x, b: weight, out, ...wanted });
  if (!changed) return;
  const [rows, width] = out.shape as [number, number];
  const n = changed.ids.size;
  const source = empty(x.device, [rows, n]);
  matmul({ layout: "nt", a: x, b: changed.changes, out: source, ...wanted });
  launch(addChosenColumns, {
    params: { rows, width, n },
    reads: { source, list: changed.ids },
    updates: { x: out },
    indirect: perRow(wanted),
  });
  source.dispose();
}

/**
 * What changed rows add to the gradients of `x·headᵀ`.
 * @param x - f32 `[count, dim]`
 * @param dLogits - f32 `[count, vocab]`
 * @param into - f32 `[count, dim]` and `[n, dim]`, each to be added to; for `dChanges` all rows of x and dLogits are read
 */
export function changedRowsBackward(
  { ids, changes }: ChangedRows,
  { x, dLogits }: { readonly x: Tensor; readonly dLogits: Tensor },
  into: { readonly dx?: Tensor | undefined; readonly dChanges?: Tensor | undefined },
  wanted: Wanted = {},
): void {
  const [rows, width] = dLogits.shape as [number, number];
  const n = ids.size;
  const d = empty(x.device, [rows, n]);
  launch(takeChosenColumns, {
    params: { rows, width, n },
    reads: { x: dLogits, list: ids },
    writes: { out: d },
    indirect: into.dChanges ? wanted.indirect : perRow(wanted),
  });
  if (into.dx) matmul({ layout: "nn", a: d, b: changes, out: into.dx, accumulate: true, ...wanted });
  if (into.dChanges)
    matmul({ layout: "tn", a: d, b: x, out: into.dChanges, accumulate: true, indirect: wanted.indirect });
  d.dispose();
}

/** For a kernel that takes a workgroup per row. */
function perRow({ indirect, rowTiles }: Wanted): Wanted["indirect"] {
  return rowTiles?.(1, 1) ?? indirect;
}
