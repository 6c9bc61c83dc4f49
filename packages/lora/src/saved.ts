// modules_to_save: the output head or the embedding, trained in full as f32 copies that stand in for the base's weights.

import { gatherRows, gatherRowsInto, launch, scopeSync, state, upload, viewOf, weightShards } from "@tunesmith/tensor";
import type { Device, Weight } from "@tunesmith/tensor";
import type { LoraConfig } from "./config.ts";
import { LoraError } from "./errors.ts";
import type { PeftAdapter } from "./peft.ts";

/** Shapes `[rows, cols]` of the weights an adapter may bring whole, by module path. */
export type ReplaceableWeights = ReadonlyMap<string, readonly [rows: number, cols: number]>;

/** Name in a PEFT file of a module that is saved whole. */
export function savedName(path: string): string {
  return `base_model.model.${path}.weight`;
}

/**
 * The modules that `modules_to_save` names, by whole path or by what it ends with from a dot on.
 * @throws LoraError `ADAPTER_UNSUPPORTED` for any other module than the output head and the embedding
 */
export function resolveSaved(
  { modulesToSave = [] }: Pick<LoraConfig, "modulesToSave">,
  replaceable: ReplaceableWeights,
): string[] {
  const paths = [...replaceable.keys()];
  const meant = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);
  for (const name of modulesToSave)
    if (!paths.some((path) => meant(path, name)))
      throw new LoraError("ADAPTER_UNSUPPORTED", `modules_to_save names ${name}`, {
        received: name,
        expected: paths.length > 0 ? paths.join(", ") : "the output head or the embedding",
        fix: "name the output head or the embedding: only these can be trained whole beside an adapter",
      });
  return paths.filter((path) => modulesToSave.some((name) => meant(path, name)));
}

/** The modules that an adapter on the host brings whole. */
export function savedPaths({ values }: PeftAdapter): string[] {
  return [...values.keys()].flatMap(
    (name) => /^base_model\.model\.(.+)(?<!\.lora_[AB])\.weight$/.exec(name)?.[1] ?? [],
  );
}

/** A weight of its own, f32, for an adapter that is used but not trained. The caller disposes its shards. */
export function wholeWeight(
  device: Device,
  matrix: { readonly shape: readonly [number, number]; readonly values: Float32Array; readonly label: string },
): Weight {
  const { shape, values, label } = matrix;
  const shards = weightShards(shape, { format: "f32" }, device.facts.maxBindingBytes).map(({ firstRow, rows }) => {
    const data = values.subarray(firstRow * shape[1], (firstRow + rows) * shape[1]);
    const tensor = state(device, { shape: [rows, shape[1]], dtype: "f32", category: "adapter", label, data });
    return { tensor, firstRow, rows };
  });
  return { shape, format: "f32", shards };
}

/** All rows, row-major. */
export async function readWhole({ shape, shards }: Weight): Promise<Float32Array> {
  const values = new Float32Array(shape[0] * shape[1]);
  for (const { tensor, firstRow } of shards) values.set((await tensor.read()) as Float32Array, firstRow * shape[1]);
  return values;
}

/** Rows that are copied at a time: their places start on 256 bytes. */
const ROWS = 1 << 14;

/** Fills an f32 weight with another one's values, whatever format those have. */
export function copyWeight(from: Weight, into: Weight): void {
  const { device } = into.shards[0]!.tensor;
  const dim = from.shape[1];
  for (const { tensor, firstRow, rows } of into.shards)
    for (let first = 0; first < rows; first += ROWS)
      scopeSync(device, () => {
        const count = Math.min(ROWS, rows - first);
        const ids = upload(
          device,
          [count],
          "i32",
          Int32Array.from({ length: count }, (_, i) => firstRow + first + i),
        );
        const out = viewOf(tensor, first * dim, [count, dim]);
        for (const [i, shard] of from.shards.entries()) {
          const call = {
            spec: { format: from.format },
            params: { count, dim, first_id: 0, first_row: shard.firstRow, rows: shard.rows },
            reads: { ids, table: shard.tensor },
          };
          if (i === 0) launch(gatherRows, { ...call, writes: { out } });
          else launch(gatherRowsInto, { ...call, updates: { out } });
        }
      });
}
