// Which variant of a kernel runs which class of work on this device. A class is decided once and keeps its variant, so
// that sums keep their order: by the shipped table, by `autotune`, or by a table from an earlier run.

import type { DeviceFacts } from "./facts.ts";
import type { Compute, ProductClass } from "./kernels/matmul/variants.ts";
import { canRun } from "./kernels/matmul/variants.ts";

/** Where measured choices outlive the process: by class, for one driver. */
export interface KernelCache {
  /** Empty where there is nothing. */
  load(): Promise<Readonly<Record<string, string>>>;
  /** Adds to what is there. */
  save(choices: Readonly<Record<string, string>>): Promise<void>;
}

export class KernelChoices {
  readonly #facts: DeviceFacts;
  readonly #compute: Compute;
  readonly #names = new Map<string, string>();
  /** decided by the shipped table and never measured, with the product that asked first */
  readonly #unmeasured = new Map<string, ProductClass>();
  #trial: string | undefined;

  constructor(facts: DeviceFacts, compute: Compute) {
    this.#facts = facts;
    this.#compute = compute;
  }

  /** The variant of class `key`, decided now if it was not. */
  decide(key: string, product: ProductClass, seeded: () => string): string {
    if (this.#trial !== undefined) return this.#trial;
    let name = this.#names.get(key);
    if (name === undefined) {
      this.#names.set(key, (name = seeded()));
      this.#unmeasured.set(key, product);
    }
    return name;
  }

  /** Classes in use that were never measured. */
  get unmeasured(): ReadonlyMap<string, ProductClass> {
    return this.#unmeasured;
  }

  /** Runs `body` with every product on variant `name`, and decides nothing. */
  trying(name: string, body: () => void): void {
    this.#trial = name;
    try {
      body();
    } finally {
      this.#trial = undefined;
    }
  }

  /** All decisions so far, sorted by class: what a run saves so that it can be resumed with the same bytes. */
  export(): Record<string, string> {
    return Object.fromEntries([...this.#names].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  /**
   * Takes over decisions of an earlier run or of a cache; what was decided before gives way. Programs recorded before
   * keep what they were recorded with.
   * @returns the classes whose variant this device cannot run; they are left as they were
   */
  import(choices: Readonly<Record<string, string>>): string[] {
    const refused: string[] = [];
    for (const [key, name] of Object.entries(choices)) {
      if (!canRun(this.#facts, name, this.#compute)) {
        refused.push(key);
        continue;
      }
      this.#names.set(key, name);
      this.#unmeasured.delete(key);
    }
    return refused;
  }
}
