// Packing examples into bins of at most max_length tokens: best fit decreasing inside windows of 8,192 draws, so that an
// epoch needs no more memory than its index and stays a pure function of (seed, epoch).
// Best fit decreasing never needs more than 11/9 of the fewest possible bins, plus 4 (Johnson 1973).

import { siteId } from "@tunesmith/core";
import type { Draws } from "./draws.ts";
import { permute } from "./feistel.ts";
import { type Units, WINDOW } from "./units.ts";

export interface BinOptions {
  /** tokens of each example of the dataset */
  readonly lengths: ArrayLike<number>;
  /** for each example, the index of its task: a bin holds one task */
  readonly exampleTasks: ArrayLike<number>;
  /** tokens of a bin */
  readonly maxLength: number;
  readonly seed: number;
  readonly shuffle: boolean;
}

/**
 * Bins of an epoch's draws. Within each window they come in an order of their own, since packing sorts by length; without
 * `shuffle` in the order of their first draws.
 */
export function bins(draws: Draws, options: BinOptions): Units {
  const sizes = new Map<number, number>();
  let last: { epoch: number; bins: readonly (readonly number[])[] } | undefined;
  const packed = (epoch: number): readonly (readonly number[])[] => {
    if (last?.epoch !== epoch) last = { epoch, bins: packEpoch(draws, epoch, options) };
    return last.bins;
  };
  return {
    epochSize: (epoch) => {
      const size = sizes.get(epoch) ?? (draws.epochSize(epoch) === 0 ? 0 : packed(epoch).length);
      sizes.set(epoch, size);
      return size;
    },
    // one window of the same examples packs into as many bins whatever their order: equal lengths are interchangeable
    nextChange: (epoch) => (draws.repeats && draws.epochSize(epoch) <= WINDOW ? draws.nextChange(epoch) : epoch + 1),
    at: (epoch, i) => packed(epoch)[i]!,
  };
}

function packEpoch(draws: Draws, epoch: number, options: BinOptions): number[][] {
  const size = draws.epochSize(epoch);
  const out: number[][] = [];
  for (let start = 0; start < size; start += WINDOW) {
    const examples = Array.from({ length: Math.min(WINDOW, size - start) }, (_, i) => draws.at(epoch, start + i));
    const window = packWindow(examples, options);
    const key = { seed: options.seed, site: siteId("data", `bins ${start / WINDOW}`), index: epoch };
    for (let i = 0; i < window.length; i++) out.push(window[options.shuffle ? permute(i, window.length, key) : i]!);
  }
  return out;
}

/**
 * Best fit decreasing: the longest example first, each into the bin of its task with the least room that still takes it.
 * An example longer than a bin gets one of its own.
 *
 * @param examples - indices, in the order drawn; ties keep it
 * @returns bins in the order of their first draws, examples in the order drawn
 */
export function packWindow(
  examples: readonly number[],
  { lengths, exampleTasks, maxLength }: Pick<BinOptions, "lengths" | "exampleTasks" | "maxLength">,
): number[][] {
  const order = examples
    .map((_, drawn) => drawn)
    .sort((a, b) => lengths[examples[b]!]! - lengths[examples[a]!]! || a - b);
  const rooms = new Map<number, Rooms>();
  const packed: number[][] = []; // of places in `examples`
  for (const drawn of order) {
    const example = examples[drawn]!;
    const length = lengths[example]!;
    const task = exampleTasks[example]!;
    let room = rooms.get(task);
    if (room === undefined) rooms.set(task, (room = new Rooms(maxLength)));
    const taken = room.take(length);
    const bin = taken?.bin ?? packed.push([]) - 1;
    packed[bin]!.push(drawn);
    room.put(bin, (taken?.room ?? maxLength) - length);
  }
  for (const bin of packed) bin.sort((a, b) => a - b);
  return packed.sort((a, b) => a[0]! - b[0]!).map((bin) => bin.map((drawn) => examples[drawn]!));
}

/** Open bins by the room they have left, with a bit per room so that the best fit is found by words. */
class Rooms {
  readonly #bins = new Map<number, number[]>();
  readonly #set: Uint32Array;

  constructor(maxLength: number) {
    this.#set = new Uint32Array((maxLength >>> 5) + 1);
  }

  put(bin: number, room: number): void {
    if (room <= 0) return;
    const stack = this.#bins.get(room);
    if (stack === undefined) this.#bins.set(room, [bin]);
    else stack.push(bin);
    this.#set[room >>> 5]! |= 1 << (room & 31);
  }

  /** Removes and returns a bin with the least room ≥ `length`. */
  take(length: number): { bin: number; room: number } | undefined {
    let word = length >>> 5;
    let bits = (this.#set[word] ?? 0) & (-1 << (length & 31));
    while (bits === 0) {
      if (++word >= this.#set.length) return undefined;
      bits = this.#set[word]!;
    }
    const room = word * 32 + 31 - Math.clz32(bits & -bits);
    const stack = this.#bins.get(room)!;
    const bin = stack.pop()!;
    if (stack.length === 0) {
      this.#bins.delete(room);
      this.#set[room >>> 5]! &= ~(1 << (room & 31));
    }
    return { bin, room };
  }
}
