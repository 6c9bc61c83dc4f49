// Reverse mode as closures on tensors: an op that depends on something trainable leaves a node behind that knows how
// to turn the gradients of its outputs into those of its inputs. Works the same eagerly and while recording.

import { BugError } from "@tunesmith/core";
import { accumulate, launch, scopeSync, ShapeError, Tensor } from "@tunesmith/tensor";
import type { Device } from "@tunesmith/tensor";
import { filled } from "./ops/filled.ts";
import { PendingGradients, sum } from "./pending.ts";

/**
 * What backward should do for one input: nothing (frozen), return its gradient, or, where a tensor is given, either
 * add the gradient to that tensor itself (and return undefined) or return it all the same.
 */
export type Want = false | true | Tensor;

/**
 * Gradients of the inputs, in their order; undefined where nothing is to be passed on. What it returns is the tape's, which
 * may add to it: a new tensor or one of dOutputs, never something saved.
 */
export type Backward = (
  dOutputs: readonly (Tensor | undefined)[],
  wants: readonly Want[],
) => readonly (Tensor | undefined)[];

interface Node {
  readonly order: number;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly backward: Backward;
}

/** Stands for a stretch of the forward pass that left no nodes: running it again leaves them. */
interface Stretch {
  readonly order: number;
  readonly device: Device;
  readonly outputs: readonly Tensor[];
  readonly again: () => readonly Tensor[];
}

const nodes = new WeakMap<Tensor, Node | Stretch>();
const leaves = new WeakMap<Tensor, { readonly into: Tensor | undefined }>();
let nextOrder = 0;
/** while the tape is paused: tensors made since that a gradient will flow through */
let paused: Set<Tensor> | undefined;
/** what the first run of a stretch keeps for the second, in the order it is asked for; `next` counts in the second */
let keeping: { readonly kept: Tensor[]; next: number | undefined } | undefined;

/**
 * Marks a tensor as trainable: ops on it are recorded on the tape.
 * @param into - f32 tensor of the same shape that `backward` adds the gradient to
 */
export function trainable(tensor: Tensor, into?: Tensor): Tensor {
  if (into && into.shape.join() !== tensor.shape.join())
    throw new ShapeError({
      op: "trainable",
      arg: "into",
      received: into.shape,
      expected: tensor.shape,
      because: "a gradient has the shape of its tensor",
    });
  leaves.set(tensor, { into });
  return tensor;
}

/** True if a gradient can flow to or through this tensor. */
export function isTracked(tensor: Tensor): boolean {
  return nodes.has(tensor) || leaves.has(tensor) || paused?.has(tensor) === true;
}

/** Registers the backward rule of an op. Where no input is tracked nothing is kept: frozen branches cost nothing. */
export function differentiable(
  op: { inputs: readonly Tensor[]; outputs: readonly Tensor[] },
  backward: Backward,
): void {
  if (!op.inputs.some(isTracked)) return;
  if (paused) {
    for (const output of op.outputs) paused.add(output);
    return;
  }
  const node = { order: nextOrder++, inputs: op.inputs, outputs: op.outputs, backward };
  for (const output of op.outputs) nodes.set(output, node);
}

/**
 * Activation checkpointing: runs `body` without saving anything for backward, and runs it again when its gradient is
 * asked for. Values and gradients are the same bits either way: random numbers come from counters, and sums keep their
 * order.
 *
 * @param body - a pure function of tensors it closes over and of nothing that changes; runs twice
 * @param options.keeps - the second run takes over what the first one made in `keep`
 * @returns what `body` returns; everything else it made is freed at once (eagerly) or dies there (recorded)
 * @see Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174
 */
export function recompute<T extends Tensor | readonly Tensor[]>(
  device: Device,
  body: () => T,
  options: { readonly keeps?: boolean } = {},
): T {
  if (paused) return body(); // inside another one, which runs all of it again
  const list = (result: T): readonly Tensor[] => (result instanceof Tensor ? [result] : result);
  const touched = new Set<Tensor>();
  const kept: Tensor[] = [];
  const run = (next: number | undefined): T => {
    const before = keeping;
    keeping = options.keeps ? { kept, next } : undefined;
    try {
      return body();
    } finally {
      keeping = before;
    }
  };
  let result!: T;
  paused = touched;
  try {
    scopeSync(device, () => [...list((result = run(undefined))), ...kept]);
  } finally {
    paused = undefined;
  }
  const made = list(result).map((output) => touched.has(output));
  const outputs = list(result).filter((_, i) => made[i]);
  const stretch = { order: nextOrder++, device, outputs, again: () => list(run(0)).filter((_, i) => made[i]) };
  for (const output of outputs) nodes.set(output, stretch);
  return result;
}

/**
 * For values that take little memory and much work: in a stretch that `keeps` them, the first run makes the tensor and the second one
 * gets it; elsewhere it is made each time. Calls come in the same order in both runs.
 */
export function keep(make: () => Tensor): Tensor {
  if (keeping?.next !== undefined) {
    const tensor = keeping.kept[keeping.next++];
    if (!tensor) throw new BugError("recompute: the second run asks for more kept tensors than the first one made");
    return tensor;
  }
  const tensor = make();
  keeping?.kept.push(tensor);
  return tensor;
}

/**
 * Runs backward from `output` and adds every leaf's gradient to the tensor it was marked with.
 * @param dOutput - gradient of what is minimised with respect to `output`; ones if `output` is the loss itself
 */
export function backward(output: Tensor, dOutput: Tensor = filled(output.device, output.shape, 1)): void {
  sweep(output, dOutput, (leaf, gradient) => {
    const into = leaves.get(leaf)?.into;
    if (into)
      launch(accumulate, {
        params: { n: leaf.size },
        reads: { x: gradient },
        updates: { sum: into },
      });
    return undefined;
  });
}

/** Gradients of `output` (weighted by `dOutput`) with respect to `wrt`, which must be leaves marked without a sink. */
export function gradients(output: Tensor, dOutput: Tensor, wrt: readonly Tensor[]): (Tensor | undefined)[] {
  const found = new Map<Tensor, Tensor>();
  sweep(output, dOutput, (leaf, gradient) => {
    const before = found.get(leaf);
    const all = before ? sum(before, gradient) : gradient;
    found.set(leaf, all);
    return all;
  });
  return wrt.map((tensor) => found.get(tensor));
}

/** @param atLeaf - takes a leaf's gradient; returns what of it must outlive the sweep */
function sweep(output: Tensor, dOutput: Tensor, atLeaf: (leaf: Tensor, gradient: Tensor) => Tensor | undefined): void {
  const pending = new PendingGradients();
  const ready = new Map<number, Node | Stretch>();
  const kept: Tensor[] = [];
  const give = (tensor: Tensor, gradient: Tensor): void => {
    if (leaves.has(tensor)) {
      const keep = atLeaf(tensor, gradient);
      if (keep) {
        kept.push(keep);
        pending.leave(keep);
      }
      return;
    }
    const node = nodes.get(tensor);
    if (!node) return;
    pending.give(tensor, gradient);
    ready.set(node.order, node);
  };
  /** Runs all nodes that are no older than `oldest`. */
  const drain = (oldest: number): void => {
    while (ready.size > 0) {
      // the youngest node first: all users of its outputs have run
      const order = Math.max(...ready.keys());
      if (order < oldest) return;
      const node = ready.get(order)!;
      ready.delete(order);
      const dOutputs = node.outputs.map((t) => pending.take(t));
      if ("again" in node) unfold(node, dOutputs);
      else {
        const wants = node.inputs.map((t): Want => leaves.get(t)?.into ?? pending.open(t) ?? isTracked(t));
        const dInputs = node.backward(dOutputs, wants);
        for (const gradient of dOutputs) if (gradient) pending.done(gradient);
        for (const [i, gradient] of dInputs.entries()) {
          if (gradient && wants[i] !== false) give(node.inputs[i]!, gradient);
        }
      }
    }
  };
  /** Runs a stretch again and then back: its new nodes are younger than all others, so they come first by themselves. */
  const unfold = (stretch: Stretch, dOutputs: readonly (Tensor | undefined)[]): void => {
    scopeSync(stretch.device, () => {
      const oldest = nextOrder;
      for (const [i, tensor] of stretch.again().entries()) {
        const gradient = dOutputs[i];
        if (!gradient) continue;
        give(tensor, gradient);
        pending.done(gradient);
      }
      drain(oldest);
      return [...pending.values(), ...kept];
    });
  };
  output.device.recorder?.beginBackward();
  pending.leave(dOutput);
  give(output, dOutput);
  drain(0);
}
