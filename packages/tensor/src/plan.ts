// From a recorded list of launches to exact memory: dead launches go, every virtual storage gets a first and a last use,
// outputs take over the buffer of an input that dies at their launch where the kernel allows it, and storages whose
// lives do not overlap share a slot. Only bit-preserving work happens here.

import { inPlaceKernel } from "./in-place.ts";
import type { Launch } from "./launch.ts";
import type { PipelineCache } from "./pipelines.ts";
import { placeInSlots } from "./slots.ts";
import type { Life, Place } from "./slots.ts";
import type { Storage } from "./storage.ts";
import type { Tensor } from "./tensor.ts";

export interface Plan {
  /** launches that some output or state depends on, in order */
  readonly launches: readonly Launch[];
  /** bytes per slot, largest first */
  readonly slots: readonly number[];
  /** where every virtual storage that is used lies */
  readonly places: ReadonlyMap<Storage, Place>;
  /** the launch at which most virtual bytes are alive, and how many: no plan for this order can need less */
  readonly peak: { readonly bytes: number; readonly at: string };
  /** bytes that the forward pass leaves for backward; 0 where nothing ran backward */
  readonly savedBytes: number;
}

/** What the recorder has seen. */
export interface Recording {
  readonly launches: readonly Launch[];
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** number of launches before the first of backward */
  readonly backwardAt?: number | undefined;
}

/** Plans a program whose inputs are written before the first launch and whose outputs are copied after the last. */
export function plan(recording: Recording, pipelines: PipelineCache): Plan {
  const kept = [...recording.outputs.values()];
  const live = liveLaunches(recording.launches, kept);
  const launches = recording.launches.filter((launch) => live.has(launch));

  const lives = new Map<Storage, Life>();
  const touch = (tensor: Tensor, at: number): void => {
    if (tensor.storage.persistent) return;
    const life = lives.get(tensor.storage);
    if (life) life.last = Math.max(life.last, at);
    else lives.set(tensor.storage, { first: at, last: at });
  };
  for (const tensor of recording.inputs.values()) touch(tensor, -1);
  for (const [at, launch] of launches.entries()) {
    for (const tensor of launch.bindings) touch(tensor, at);
    if (launch.indirect) touch(launch.indirect, at);
  }
  for (const tensor of kept) touch(tensor, launches.length);

  const owners = takeOver(launches, lives, pipelines);
  const peak = peakOf(lives, launches);
  const { slots, places } = placeInSlots(lives, peak.bytes, () => readAgainstWritten(launches, owners));
  for (const [storage, owner] of owners) places.set(storage, places.get(owner)!);
  const border = recording.launches.slice(0, recording.backwardAt).filter((launch) => live.has(launch)).length;
  let savedBytes = 0;
  if (recording.backwardAt !== undefined)
    for (const [storage, { first, last }] of lives) if (first < border && last >= border) savedBytes += storage.bytes;
  return { launches, slots, places, peak, savedBytes };
}

/** Walks backwards: a launch lives if it writes a state, an output, or something a living launch needs. */
function liveLaunches(recorded: readonly Launch[], outputs: readonly Tensor[]): Set<Launch> {
  const needed = new Set<Storage>(outputs.map((t) => t.storage));
  const live = new Set<Launch>();
  for (const launch of recorded.toReversed()) {
    const targets = [...launch.writes, ...launch.updates];
    if (!targets.some((t) => t.storage.persistent || needed.has(t.storage))) continue;
    live.add(launch);
    for (const tensor of launch.bindings) needed.add(tensor.storage);
    if (launch.indirect) needed.add(launch.indirect.storage);
  }
  return live;
}

/**
 * Lets outputs take over the buffers of inputs that die at their launch. Rewrites `launches` to kernels that bind such a
 * buffer once, and joins the two lives.
 * @returns storage → the storage whose buffer it lives in
 */
function takeOver(launches: Launch[], lives: Map<Storage, Life>, pipelines: PipelineCache): Map<Storage, Storage> {
  const owners = new Map<Storage, Storage>();
  const ownerOf = (storage: Storage): Storage => owners.get(storage) ?? storage;
  for (const [at, launch] of launches.entries()) {
    const { kernel, spec } = launch.variant;
    if (!kernel.inPlace) continue;
    const [reads, writes] = [Object.keys(kernel.reads), Object.keys(kernel.writes)];
    const taken = new Map<string, string>();
    for (const [w, write] of writes.entries()) {
      const out = launch.writes[w]!;
      if (!isWhole(out) || lives.get(out.storage)?.first !== at) continue;
      const read = kernel.inPlace[write]?.find((name) => {
        const input = launch.reads[reads.indexOf(name)]!;
        return (
          isWhole(input) &&
          input.storage.bytes === out.storage.bytes &&
          lives.get(ownerOf(input.storage))?.last === at &&
          launch.bindings.filter((other) => other.storage === input.storage).length === 1 &&
          launch.indirect?.storage !== input.storage
        );
      });
      if (read === undefined) continue;
      const owner = ownerOf(launch.reads[reads.indexOf(read)]!.storage);
      owners.set(out.storage, owner);
      lives.get(owner)!.last = lives.get(out.storage)!.last;
      lives.delete(out.storage);
      taken.set(write, read);
    }
    if (taken.size === 0) continue;
    const gone = new Set(taken.values());
    const bound = {
      reads: launch.reads.filter((_, r) => !gone.has(reads[r]!)),
      writes: launch.writes.filter((_, w) => !taken.has(writes[w]!)),
      updates: [...launch.updates, ...[...taken.keys()].map((write) => launch.writes[writes.indexOf(write)]!)],
    };
    launches[at] = {
      ...launch,
      ...bound,
      bindings: [...bound.reads, ...bound.writes, ...bound.updates],
      variant: pipelines.variant(inPlaceKernel(kernel, taken), spec),
    };
  }
  return owners;
}

/** Storages of which some launch reads one and writes the other. */
function readAgainstWritten(
  launches: readonly Launch[],
  owners: ReadonlyMap<Storage, Storage>,
): Map<Storage, Set<Storage>> {
  const apart = new Map<Storage, Set<Storage>>();
  const add = (a: Storage, b: Storage): void => {
    const set = apart.get(a);
    if (set) set.add(b);
    else apart.set(a, new Set([b]));
  };
  const owned = (tensors: readonly Tensor[]): Storage[] =>
    tensors.filter((t) => !t.storage.persistent).map((t) => owners.get(t.storage) ?? t.storage);
  for (const launch of launches) {
    const reads = owned(launch.indirect ? [...launch.reads, launch.indirect] : launch.reads);
    for (const written of owned([...launch.writes, ...launch.updates]))
      for (const read of reads) {
        add(written, read);
        add(read, written);
      }
  }
  return apart;
}

/** True for a tensor that is all of a virtual storage. */
function isWhole({ storage, bytes }: Tensor): boolean {
  return !storage.persistent && storage.bytes === bytes;
}

function peakOf(lives: ReadonlyMap<Storage, Life>, launches: readonly Launch[]): Plan["peak"] {
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
