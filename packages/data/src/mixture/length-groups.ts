// Micro-batches of examples of similar length, for `packing: false`: less padding at the price of an order that is not
// quite random. Inside windows of about 8,192 draws examples are sorted by length, cut into micro-batches, and these are
// shuffled: a pure function of (seed, epoch).

import { siteId } from "@tunesmith/core";
import type { Draws } from "./draws.ts";
import { permute } from "./feistel.ts";
import { type Units, WINDOW } from "./units.ts";

export interface LengthGroupOptions {
  /** tokens of each example of the dataset */
  readonly lengths: ArrayLike<number>;
  /** examples of a micro-batch */
  readonly batchSize: number;
  readonly seed: number;
}

/** The draws of an epoch, reordered so that each run of `batchSize` units has similar lengths. */
export function lengthGroups(draws: Draws, { lengths, batchSize, seed }: LengthGroupOptions): Units {
  // whole micro-batches per window: the smaller one of an epoch stays at its end
  const perWindow = Math.max(1, Math.floor(WINDOW / batchSize)) * batchSize;
  let last: { epoch: number; window: number; order: readonly number[] } | undefined;

  const orderOf = (epoch: number, window: number): readonly number[] => {
    if (last?.epoch === epoch && last.window === window) return last.order;
    const start = window * perWindow;
    const size = Math.min(perWindow, draws.epochSize(epoch) - start);
    const sorted = Array.from({ length: size }, (_, i) => draws.at(epoch, start + i)).sort(
      (a, b) => lengths[a]! - lengths[b]!,
    );
    const whole = Math.floor(size / batchSize);
    const key = { seed, site: siteId("data", `length groups ${window}`), index: epoch };
    const groups = Array.from({ length: whole }, (_, i) => permute(i, whole, key) * batchSize);
    const order = [...groups.flatMap((at) => sorted.slice(at, at + batchSize)), ...sorted.slice(whole * batchSize)];
    last = { epoch, window, order };
    return order;
  };
  return {
    epochSize: (epoch) => draws.epochSize(epoch),
    nextChange: (epoch) => draws.nextChange(epoch),
    at: (epoch, i) => [orderOf(epoch, Math.floor(i / perWindow))[i % perWindow]!],
  };
}
