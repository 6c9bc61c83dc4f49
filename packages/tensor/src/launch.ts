// launch() is the only way to the GPU. Eager: the work is encoded now. Recording: it is appended to the program.

import { ShapeError, TensorError } from "./errors.ts";
import { FiniteCheck } from "./finite-check.ts";
import { packParams } from "./kernel.ts";
import type { Kernel, Spec } from "./kernel.ts";
import type { Variant } from "./pipelines.ts";
import type { Tensor } from "./tensor.ts";

/** One dispatch: what both modes need to know about it. */
export interface Launch {
  readonly variant: Variant;
  readonly params: Uint32Array<ArrayBuffer>;
  /** in binding order: reads, writes, updates */
  readonly bindings: readonly Tensor[];
  readonly reads: readonly Tensor[];
  readonly writes: readonly Tensor[];
  readonly updates: readonly Tensor[];
  readonly groups: readonly [number, number];
  /** three u32 workgroup counts in a tensor, instead of `groups` */
  readonly indirect: Tensor | undefined;
}

export type Indirect = Tensor<"u32"> | ((groups: readonly [x: number, y: number]) => Tensor<"u32">);

export interface LaunchArgs<P extends string, R extends string, W extends string, U extends string> {
  readonly spec?: Spec;
  readonly params: Readonly<Record<P, number>>;
  readonly reads: Readonly<Record<R, Tensor>>;
  readonly writes?: Readonly<Record<W, Tensor>>;
  readonly updates?: Readonly<Record<U, Tensor>>;
  /**
   * Workgroup counts (x, y, z as u32) as data, or a function that gives them for the counts that would run
   * otherwise: work whose amount varies from step to step, in a program that does not.
   */
  readonly indirect?: Indirect | undefined;
  /** a later launch writes the rest of the outputs: until then debug mode does not scan them */
  readonly unfinished?: boolean;
}

/**
 * Runs a kernel on tensors of one device.
 *
 * @throws TensorError `SHAPE_MISMATCH` where an output shares its buffer with another binding: WebGPU forbids it
 */
export function launch<P extends string, R extends string, W extends string, U extends string>(
  kernel: Kernel<P, R, W, U>,
  args: LaunchArgs<P, R, W, U>,
): void {
  const spec = args.spec ?? {};
  const pick = (names: object, from: Readonly<Record<string, Tensor>> | undefined): Tensor[] =>
    Object.keys(names).map((name) => {
      const tensor = from?.[name];
      if (!tensor) throw new TensorError("SHAPE_MISMATCH", `${kernel.label}: binding ${name} is missing`);
      return tensor;
    });
  const reads = pick(kernel.reads, args.reads);
  const writes = pick(kernel.writes, args.writes);
  const updates = pick(kernel.updates, args.updates);
  const bindings = [...reads, ...writes, ...updates];
  const device = bindings[0]!.device;
  checkAliases(kernel.label, reads, [...writes, ...updates]);

  const erased = kernel as unknown as Kernel;
  const variant = device.pipelines.variant(erased, spec);
  const count = erased.workgroups(args.params, spec, device.facts);
  if (count === 0) return;
  const groups = fold(count, device.facts.maxWorkgroups);
  const record: Launch = {
    variant,
    params: packParams(erased, args.params),
    bindings,
    reads,
    writes,
    updates,
    groups,
    indirect: typeof args.indirect === "function" ? args.indirect(groups) : args.indirect,
  };
  if (device.recorder) device.recorder.launches.push(record);
  else device.eager.run(record);
  if (device.finite && !args.unfinished && !FiniteCheck.isScan(erased))
    device.finite.after(
      variant.label,
      new Map(Object.entries<Tensor>({ ...args.writes, ...args.updates })),
      args.indirect,
    );
}

/** One dimension while it fits, else two that cover it. */
function fold(count: number, most: number): readonly [number, number] {
  if (count <= most) return [count, 1];
  const y = Math.ceil(count / most);
  return [Math.ceil(count / y), y];
}

function checkAliases(label: string, reads: readonly Tensor[], writes: readonly Tensor[]): void {
  for (const [i, w] of writes.entries()) {
    const clash =
      reads.some((r) => r.storage === w.storage) || writes.some((o, j) => j !== i && o.storage === w.storage);
    if (clash)
      throw new ShapeError({
        op: label,
        arg: "writes",
        received: w.shape,
        expected: ["another buffer"],
        because: "a dispatch must not write a buffer that it also binds elsewhere",
      });
  }
}
