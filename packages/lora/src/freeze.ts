import { viewOf } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { changesOf, type LoraAdapter } from "./adapter.ts";

/**
 * An adapter as it is at any time, through which no gradient flows: what trains goes on training in its own tensors, which
 * this one shares.
 */
export function freezeAdapter(adapter: LoraAdapter): LoraAdapter {
  const untracked = (tensor: Tensor): Tensor => viewOf(tensor, 0, tensor.shape); // gradients go by tensor, not by memory
  const modules = new Map(
    [...adapter.modules].map(([path, lowRank]) => {
      const { a, b, magnitude } = lowRank;
      const frozen = { ...lowRank, a: untracked(a), b: untracked(b) };
      return [
        path,
        magnitude ? { ...frozen, magnitude: { ...magnitude, values: untracked(magnitude.values) } } : frozen,
      ];
    }),
  );
  const saved = new Map(
    [...adapter.saved].map(([path, weight]) => {
      const shards = weight.shards.map((shard) => ({ ...shard, tensor: untracked(shard.tensor) }));
      return [path, { ...weight, shards }];
    }),
  );
  const biases = new Map([...adapter.biases].map(([path, bias]) => [path, untracked(bias)]));
  const tokenRows = new Map(
    [...adapter.tokenRows].map(([path, rows]) => [path, { ...rows, values: untracked(rows.values) }]),
  );
  return {
    ...adapter,
    modules,
    at: (path) => modules.get(path),
    saved,
    weight: (path) => saved.get(path),
    biases,
    bias: (path) => biases.get(path),
    tokenRows,
    changedRows: changesOf(tokenRows),
    dispose: () => {}, // the memory is the other's
  };
}
