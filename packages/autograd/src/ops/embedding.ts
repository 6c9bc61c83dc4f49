import {
  asWeight,
  empty,
  gatherRows,
  gatherRowsInto,
  launch,
  orderByIds,
  scatterAddRows,
  ShapeError,
  Tensor,
} from "@tunesmith/tensor";
import type { DenseFormat, Weight } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { filled } from "./filled.ts";

/**
 * Rows of a table by token id.
 *
 * A shard of the table marked `trainable` (f32 only) gets its gradient by a scatter in a fixed order, straight into
 * the tensor it was marked with where there is one. The table of a tied head adds to the same tensor.
 *
 * @param table - `[vocab, dim]`; may be packed and sharded
 * @param ids - `[tokens]`, i32. An id outside [0, vocab) gives a row of zeros and no gradient; check ids on the host.
 * @returns `[tokens, dim]`, f32
 * @throws {@link ShapeError} if `ids` is not a vector
 */
export function embedding(table: Weight | Tensor<DenseFormat>, ids: Tensor<"i32">): Tensor {
  const weight = table instanceof Tensor ? asWeight(table) : table;
  const dim = weight.shape[1];
  const { device } = ids;
  if (ids.shape.length !== 1)
    throw new ShapeError({
      op: "embedding",
      arg: "ids",
      received: ids.shape,
      expected: [ids.size],
      because: "activations have no batch dimension: one id per token",
    });
  const count = ids.size;
  const out = empty(device, [count, dim]);
  for (const [i, { tensor, firstRow, rows }] of weight.shards.entries()) {
    const call = {
      spec: { format: weight.format },
      params: { count, dim, first_id: 0, first_row: firstRow, rows },
      reads: { ids, table: tensor },
    };
    if (i === 0) launch(gatherRows, { ...call, writes: { out } });
    else launch(gatherRowsInto, { ...call, updates: { out } });
  }

  const inputs = weight.shards.map((s) => s.tensor);
  differentiable({ inputs, outputs: [out] }, ([dout], wants) => {
    if (weight.format !== "f32" || !wants.some(Boolean)) return inputs.map(() => undefined);
    const order = empty(device, [count], "u32");
    launch(orderByIds, { params: { count }, reads: { ids }, writes: { order } });
    return weight.shards.map(({ tensor, firstRow, rows }, i) => {
      const want = wants[i];
      if (!want) return undefined;
      const sum = want === true ? filled(device, tensor.shape, 0) : want;
      launch(scatterAddRows, {
        params: { count, dim, first_row: firstRow, rows },
        reads: { source: dout!, ids, order },
        updates: { table: sum },
      });
      return want === true ? sum : undefined;
    });
  });
  return out;
}
