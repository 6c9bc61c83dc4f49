// From a recorded list of launches to exact memory: dead launches go, every virtual storage gets a first and a
// last use, and storages whose lives do not overlap share a slot. Only bit-preserving work happens here.

import type { Launch } from "./launch.ts";
import type { Storage } from "./storage.ts";
import type { Tensor } from "./tensor.ts";

export interface Plan {
  /** launches that some output or state depends on, in order */
  readonly launches: readonly Launch[];
  /** bytes per slot, largest first */
  readonly slots: readonly number[];
  /** slot of every virtual storage that is used */
  readonly placement: ReadonlyMap<Storage, number>;
  /** the launch at which most virtual bytes are alive, and how many */
  readonly peak: { readonly bytes: number; readonly at: string };
}

/** Plans a program whose inputs are written before the first launch and whose outputs are copied after the last. */
export function plan(recorded: readonly Launch[], inputs: Iterable<Tensor>, outputs: Iterable<Tensor>): Plan {
  const kept = [...outputs];
  const launches = liveLaunches(recorded, kept);

  const lives = new Map<Storage, { first: number; last: number }>();
  const touch = (tensor: Tensor, at: number): void => {
    if (tensor.storage.persistent) return;
    const life = lives.get(tensor.storage);
    if (life) life.last = Math.max(life.last, at);
    else lives.set(tensor.storage, { first: at, last: at });
  };
  for (const tensor of inputs) touch(tensor, -1);
  for (const [at, launch] of launches.entries()) {
    for (const tensor of launch.bindings) touch(tensor, at);
    if (launch.indirect) touch(launch.indirect, at);
  }
  for (const tensor of kept) touch(tensor, launches.length);

  return { launches, ...place(lives), peak: peakOf(lives, launches) };
}

/** Walks backwards: a launch lives if it writes a state, an output, or something a living launch needs. */
function liveLaunches(recorded: readonly Launch[], outputs: readonly Tensor[]): Launch[] {
  const needed = new Set<Storage>(outputs.map((t) => t.storage));
  const live: Launch[] = [];
  for (const launch of recorded.toReversed()) {
    const targets = [...launch.writes, ...launch.updates];
    if (!targets.some((t) => t.storage.persistent || needed.has(t.storage))) continue;
    live.push(launch);
    for (const tensor of launch.bindings) needed.add(tensor.storage);
    if (launch.indirect) needed.add(launch.indirect.storage);
  }
  return live.reverse();
}

/** Greedy by size: the largest storage first, each into the first slot that is free during its life. */
function place(lives: ReadonlyMap<Storage, { first: number; last: number }>): {
  slots: number[];
  placement: Map<Storage, number>;
} {
  const slots: { bytes: number; taken: { first: number; last: number }[] }[] = [];
  const placement = new Map<Storage, number>();
  const bySize = [...lives].sort(([a], [b]) => b.bytes - a.bytes || a.id - b.id);
  for (const [storage, life] of bySize) {
    let slot = slots.findIndex((s) => s.taken.every((t) => t.last < life.first || t.first > life.last));
    if (slot < 0) slot = slots.push({ bytes: storage.bytes, taken: [] }) - 1;
    slots[slot]!.taken.push(life);
    placement.set(storage, slot);
  }
  return { slots: slots.map((s) => s.bytes), placement };
}

function peakOf(
  lives: ReadonlyMap<Storage, { first: number; last: number }>,
  launches: readonly Launch[],
): Plan["peak"] {
  const change = new Float64Array(launches.length + 3); // index = launch + 1: inputs are written at -1
  for (const [storage, { first, last }] of lives) {
    change[first + 1]! += storage.bytes;
    change[last + 2]! -= storage.bytes;
  }
  let peak = { bytes: 0, at: "inputs" };
  let bytes = 0;
  for (let i = 0; i < change.length - 1; i++) {
    bytes += change[i]!;
    if (bytes > peak.bytes) peak = { bytes, at: launches[i - 1]?.variant.label ?? (i === 0 ? "inputs" : "outputs") };
  }
  return peak;
}
