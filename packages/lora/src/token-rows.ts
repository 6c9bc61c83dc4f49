// PEFT's trainable token rows: of a frozen embedding (and output head) a few rows train. What is saved are the rows
// themselves, not what changed; on the device they work as changes to the base's rows.

import { embedding } from "@tunesmith/autograd";
import { launch, scaleBy, scopeSync, state } from "@tunesmith/tensor";
import type { Tensor, Weight } from "@tunesmith/tensor";
import type { LoraConfig } from "./config.ts";
import { LoraError } from "./errors.ts";
import type { ReplaceableWeights } from "./saved.ts";

/** Ids of the rows that train, by the path of the embedding or the output head, in the order in which they are stored. */
export type TokenRows = ReadonlyMap<string, readonly number[]>;

/** Name in a PEFT file of the rows of a module. */
export function tokenRowsName(path: string): string {
  return `base_model.model.${path}.token_adapter.trainable_tokens_delta`;
}

/** Rows on a device. */
export interface TrainedRows {
  /** i32 `[n]` */
  readonly ids: Tensor<"i32">;
  /** f32 `[n, dim]` */
  readonly values: Tensor;
  /** f32 `[n, dim]`: the base's rows, times −1 */
  readonly minusBase: Tensor;
}

/**
 * The rows that `trainable_token_indices` means. A head that is tied to the embedding has the embedding's rows.
 *
 * @param replaceable - the embedding first
 * @param tied - the base has one weight for both
 * @throws LoraError `ADAPTER_UNSUPPORTED` for any other module, for rows that a tied base cannot keep apart, and beside
 *   `modules_to_save`; `ADAPTER_CONFIG_INVALID` for ids that the base does not have, or twice
 */
export function resolveTokenRows(
  { trainableTokens = {}, modulesToSave = [] }: Pick<LoraConfig, "trainableTokens" | "modulesToSave">,
  replaceable: ReplaceableWeights,
  tied: boolean,
): TokenRows {
  const paths = [...replaceable.keys()];
  const entries = isList(trainableTokens)
    ? [[paths[0] ?? "", trainableTokens] as const]
    : Object.entries(trainableTokens);
  const rows = new Map<string, readonly number[]>();
  for (const [name, ids] of entries) {
    const path = paths.find((candidate) => candidate === name || candidate.endsWith(`.${name}`));
    if (path === undefined)
      throw unsupported(`names ${name}`, name, paths.join(", ") || "the embedding or the output head");
    checkIds(path, ids, replaceable.get(path)![0]);
    rows.set(path, ids);
  }
  if (rows.size > 0 && modulesToSave.length > 0)
    throw unsupported("stands beside modules_to_save", modulesToSave.join(", "), "one of the two");
  const [embeds, head] = paths;
  if (tied && head !== undefined && rows.has(head)) {
    if (rows.get(embeds!)?.join() !== rows.get(head)!.join())
      throw unsupported("differs between embedding and head, which this base ties", head, embeds!);
    rows.delete(head);
  }
  return rows;
}

/** Their shapes `[n, dim]`. */
export function tokenRowShapes(rows: TokenRows, replaceable: ReplaceableWeights): ReplaceableWeights {
  return new Map([...rows].map(([path, ids]) => [path, [ids.length, replaceable.get(path)![1]] as const]));
}

function isList(tokens: NonNullable<LoraConfig["trainableTokens"]>): tokens is readonly number[] {
  return Array.isArray(tokens);
}

function checkIds(path: string, ids: readonly number[], vocab: number): void {
  const wrong = ids.find((id, i) => !Number.isInteger(id) || id < 0 || id >= vocab || ids.indexOf(id) !== i);
  if (ids.length > 0 && wrong === undefined) return;
  throw new LoraError("ADAPTER_CONFIG_INVALID", `trainable_token_indices of ${path}: ${wrong ?? "no ids"}`, {
    received: String(wrong ?? "an empty list"),
    expected: `ids from 0 to ${vocab - 1}, each once`,
    fix: "check that the adapter was trained on a base with these tokens",
  });
}

function unsupported(what: string, received: string, expected: string): LoraError {
  return new LoraError("ADAPTER_UNSUPPORTED", `trainable_token_indices ${what}`, {
    received,
    expected,
    fix: "name the embedding, and the output head where it is a weight of its own",
  });
}

/** Rows over values that already exist. The caller disposes `ids` and `minusBase`. */
export function trainedRows(ids: readonly number[], values: Tensor, base: Weight, path: string): TrainedRows {
  const { device } = values;
  const make = { category: "adapter", label: `token rows of ${path}` } as const;
  const rows = {
    ids: state(device, { ...make, shape: [ids.length], dtype: "i32", data: Int32Array.from(ids) }),
    values,
    minusBase: state(device, { ...make, shape: values.shape, dtype: "f32" }),
  };
  if (!device.virtual) scopeSync(device, () => negate(embedding(base, rows.ids), rows.minusBase));
  return rows;
}

/** Where rows start: as the base's. */
export function initTokenRows({ values, minusBase }: TrainedRows): void {
  if (!values.device.virtual) negate(minusBase, values);
}

function negate(x: Tensor, out: Tensor): void {
  launch(scaleBy, { params: { n: x.size, factor: -1 }, reads: { x }, writes: { out } });
}
