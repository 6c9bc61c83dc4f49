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
 * @param peak - the launch at which most bytes are alive, and how many: no placement can go below
 * @param apart - for each storage those that must not lie in one slot with it while both live
 */
export function placeInSlots(
  lives: ReadonlyMap<Storage, Life>,
  peak: { readonly bytes: number; readonly launch: number },
  apart: () => ReadonlyMap<Storage, ReadonlySet<Storage>>,
): Placement {
  const largest = bySize(lives);
  const whole = greedy(largest, undefined, "first");
  if (total(whole) <= peak.bytes * (1 + TOLERATED)) return inOrder(whole);
  const foes = apart();
  const tries = [largest, peakFirst(lives, peak.launch)].flatMap((order) => [
    greedy(order, foes, "first"),
    greedy(order, foes, "last"),
  ]);
  return inOrder(tries.reduce((best, next) => (total(next) < total(best) ? next : best), whole));
}

function total({ slots }: Placement): number {
  return slots.reduce((a, b) => a + b, 0);
}

type Order = readonly (readonly [Storage, Life])[];

function bySize(lives: ReadonlyMap<Storage, Life>): Order {
  return [...lives].sort(([a, x], [b, y]) => b.bytes - a.bytes || x.first - y.first || a.id - b.id);
}

/** What lives at the peak goes first, and what takes most memory for longest. */
function peakFirst(lives: ReadonlyMap<Storage, Life>, peak: number): Order {
  const rank = ({ first, last }: Life): number => (first <= peak && last >= peak ? 0 : 1);
  const volume = ([{ bytes }, { first, last }]: Order[number]): number => bytes * (last - first + 1);
  return bySize(lives).toSorted((a, b) => rank(a[1]) - rank(b[1]) || volume(b) - volume(a));
}

/** The largest slot first. */
function inOrder({ slots, places }: Placement): Placement {
  const order = slots.map((_, i) => i).sort((a, b) => slots[b]! - slots[a]! || a - b);
  const rank = new Map(order.map((slot, i) => [slot, i]));
  return {
    slots: order.map((slot) => slots[slot]!),
    places: new Map([...places].map(([storage, { slot, offset }]) => [storage, { slot: rank.get(slot)!, offset }])),
  };
}

interface Occupant extends Life {
  readonly storage: Storage;
  readonly start: number;
  readonly end: number;
}

/** One storage after the other into a slot with room during its life: the first one, or the last. */
function greedy(
  order: Order,
  apart: ReadonlyMap<Storage, ReadonlySet<Storage>> | undefined,
  into: "first" | "last",
): Placement {
  const slots: { bytes: number; occupants: Occupant[] }[] = [];
  const places = new Map<Storage, Place>();
  for (const [storage, { first, last }] of order) {
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
