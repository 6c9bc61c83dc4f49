// Memory of a device and of the programs that run on it, to the byte, before any of it exists.

import type { Device } from "./device.ts";
import type { Program } from "./program.ts";
import type { Category } from "./storage.ts";

/** Exact bytes of states, shared slots, staging and parameter blocks. */
export interface MemoryPlan {
  /** bytes of all buffers that will exist together; the sum of `categories` */
  readonly peakBytes: number;
  readonly categories: Readonly<Record<Category, number>>;
  /** bytes of the slots that all programs share */
  readonly slots: readonly number[];
  /** the program and its launch with most virtual bytes alive, and how many: no order-keeping plan needs fewer slots' bytes */
  readonly peak: { readonly program: string; readonly launches: number; readonly at: string; readonly bytes: number };
}

/**
 * Adds up what a device holds (its states, virtual or not) and what `programs` will need together.
 *
 * @param options.copyBytes - the largest tensor that is read outside programs while all else is alive (saving)
 */
export function planMemory(
  device: Device,
  programs: readonly Program[],
  options: { copyBytes?: number } = {},
): MemoryPlan {
  const slots = sharedSlots(programs);
  let peak: MemoryPlan["peak"] = { program: "none", launches: 0, at: "nothing", bytes: 0 };
  let saved = 0;
  let staging = options.copyBytes ?? 0;
  let uniforms = 0;
  for (const { plan, label, stagingBytes, uniformBytes } of programs) {
    if (plan.peak.bytes > peak.bytes) peak = { program: label, launches: plan.launches.length, ...plan.peak };
    saved = Math.max(saved, plan.savedBytes);
    staging += stagingBytes;
    uniforms += uniformBytes;
  }
  const shared = slots.reduce((a, b) => a + b, 0);
  const held = (category: Category): number => device.bytes.get(category) ?? 0;
  const categories = {
    weights: held("weights"),
    adapter: held("adapter"),
    gradients: held("gradients"),
    optimizer: held("optimizer"),
    state: held("state"),
    activations: saved,
    workspace: shared - saved,
    staging,
    uniforms,
  } satisfies Record<Category, number>;
  return { peakBytes: Object.values(categories).reduce((a, b) => a + b, 0), categories, slots, peak };
}

/** Makes the slots of all these programs at once, so that none of them grows later. */
export function reserveSlots(device: Device, programs: readonly Program[]): void {
  device.workspace.reserve(sharedSlots(programs));
}

/** Slot i is as large as the largest i-th slot of any program. */
function sharedSlots(programs: readonly Program[]): number[] {
  const slots: number[] = [];
  for (const { plan } of programs)
    for (const [i, bytes] of plan.slots.entries()) slots[i] = Math.max(slots[i] ?? 0, bytes);
  return slots;
}
