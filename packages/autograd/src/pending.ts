// Gradients on their way: what has been gathered so far for tensors whose nodes have not run yet, and who else still
// reads it. A gradient that nobody else reads is added to in place.

import { accumulate, addScaled, empty, launch } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";

type Memory = Tensor["storage"];

export class PendingGradients {
  readonly #gathered = new Map<Tensor, Tensor>();
  /** how often a gradient's memory is waiting or being read by a node that runs */
  readonly #readers = new Map<Memory, number>();
  /** memory of gradients that belong to someone else: never written */
  readonly #foreign = new Set<Memory>();

  /** Says that a gradient belongs to the caller, or will. */
  leave(gradient: Tensor): void {
    this.#foreign.add(gradient.storage);
  }

  /** Adds to what `tensor` has got so far. */
  give(tensor: Tensor, gradient: Tensor): void {
    const before = this.#gathered.get(tensor);
    if (!before) {
      this.#gathered.set(tensor, gradient);
      this.#read(gradient, 1);
    } else if (this.#isFree(before) && before.storage !== gradient.storage) {
      launch(accumulate, { params: { n: before.size }, reads: { x: gradient }, updates: { sum: before } });
    } else {
      this.#gathered.set(tensor, sum(before, gradient));
      this.#read(this.#gathered.get(tensor)!, 1);
      this.#read(before, -1);
    }
  }

  /** Takes what `tensor` has got, for a node to read until `done`. */
  take(tensor: Tensor): Tensor | undefined {
    const gradient = this.#gathered.get(tensor);
    this.#gathered.delete(tensor);
    return gradient;
  }

  /** The node that took this gradient has run. */
  done(gradient: Tensor): void {
    this.#read(gradient, -1);
  }

  /** What `tensor` has got so far, where an op may add to it in place. */
  open(tensor: Tensor): Tensor | undefined {
    const gradient = this.#gathered.get(tensor);
    return gradient && this.#isFree(gradient) ? gradient : undefined;
  }

  values(): Iterable<Tensor> {
    return this.#gathered.values();
  }

  #isFree({ storage }: Tensor): boolean {
    return this.#readers.get(storage) === 1 && !this.#foreign.has(storage);
  }

  #read({ storage }: Tensor, change: 1 | -1): void {
    this.#readers.set(storage, (this.#readers.get(storage) ?? 0) + change);
  }
}

/** a + b, untracked: the sum of two gradients. */
export function sum(a: Tensor, b: Tensor): Tensor {
  const out = empty(a.device, a.shape);
  launch(addScaled, {
    params: { n: a.size, scale_a: 1, scale_b: 1 },
    reads: { a, b },
    writes: { out },
  });
  return out;
}
