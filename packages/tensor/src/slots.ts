// Which storages share a buffer. As a rule every storage has a whole slot for its life. Where that wastes memory (one
// large buffer beside many small ones) storages also lie side by side in a slot, except for two that one dispatch reads
// and writes: WebGPU forbids a buffer to be bound for both, whatever the ranges.

import type { Storage } from "./storage.ts";

/** First and last launch that touch a storage; −1 = written as an input, the number of launches = read as an output. */
export interface Life {
  readonly first: number;
  last: number;
}

export interface Place {
  readonly slot: number;
  /** bytes, a multiple of 256 */
  readonly offset: number;
}

export interface Placement {
  /** bytes per slot, largest first */
  readonly slots: readonly number[];
  readonly places: Map<Storage, Place>;
}

const ALIGNMENT = 256;
/** Sharing a slot costs barriers that nothing needs: whole slots stay while they waste no more than this part. */
const TOLERATED = 0.02;

/**
 * @param least - most bytes alive at one time, which no placement can go below
 * @param apart - for each storage those that must not lie in one slot with it while both live
 */
export function placeInSlots(
  lives: ReadonlyMap<Storage, Life>,
  least: number,
  apart: () => ReadonlyMap<Storage, ReadonlySet<Storage>>,
): Placement {
  const whole = greedyBySize(lives, undefined, "first");
  if (total(whole) <= least * (1 + TOLERATED)) return whole;
  const foes = apart();
  const tries = [whole, greedyBySize(lives, foes, "first"), greedyBySize(lives, foes, "tightest")];
  return tries.reduce((best, next) => (total(next) < total(best) ? next : best));
}

function total({ slots }: Placement): number {
  return slots.reduce((a, b) => a + b, 0);
}

interface Occupant extends Life {
  readonly storage: Storage;
  readonly start: number;
  readonly end: number;
}

/** The largest storage first, each into a slot with room during its life: the first one, or the smallest. */
function greedyBySize(
  lives: ReadonlyMap<Storage, Life>,
  apart: ReadonlyMap<Storage, ReadonlySet<Storage>> | undefined,
  into: "first" | "tightest",
): Placement {
  const slots: { bytes: number; occupants: Occupant[] }[] = []; // largest first
  const places = new Map<Storage, Place>();
  const bySize = [...lives].sort(([a, x], [b, y]) => b.bytes - a.bytes || x.first - y.first || a.id - b.id);
  for (const [storage, { first, last }] of bySize) {
    const foes = apart?.get(storage);
    let place: Place | undefined;
    for (let i = 0; i < slots.length && !place; i++) {
      const slot = into === "first" ? i : slots.length - 1 - i;
      const { bytes, occupants } = slots[slot]!;
      const meanwhile = occupants.filter((other) => other.last >= first && other.first <= last);
      if (meanwhile.length > 0 && (!apart || meanwhile.some((other) => foes?.has(other.storage)))) continue;
      const offset = gap(meanwhile, storage.bytes, bytes);
      if (offset !== undefined) place = { slot, offset };
    }
    place ??= { slot: slots.push({ bytes: storage.bytes, occupants: [] }) - 1, offset: 0 };
    const { slot, offset: start } = place;
    slots[slot]!.occupants.push({ storage, first, last, start, end: start + storage.bytes });
    places.set(storage, place);
  }
  return { slots: slots.map((s) => s.bytes), places };
}

/** The first free range of a slot, or undefined. */
function gap(taken: Occupant[], bytes: number, slotBytes: number): number | undefined {
  let start = 0;
  for (const other of taken.sort((a, b) => a.start - b.start)) {
    if (start + bytes <= other.start) return start;
    start = Math.max(start, Math.ceil(other.end / ALIGNMENT) * ALIGNMENT);
  }
  return start + bytes <= slotBytes ? start : undefined;
}
