// The tensors of a model as a tree whose keys are those of the checkpoint. An architecture writes the tree of one layer; loading,
// drawing and planning all walk the same one.

import type { Tensor, Weight } from "@tunesmith/tensor";

/** A gain `[size]`, perhaps with a shift. */
export interface NormSpec {
  readonly kind: "norm";
  readonly size: number;
  readonly bias: boolean;
}

export interface LinearSpec {
  readonly kind: "linear";
  readonly out: number;
  readonly in: number;
  readonly bias: boolean;
  /** `in_out` is GPT-2's Conv1D */
  readonly layout: "out_in" | "in_out";
}

/** A norm: its path in the checkpoint, gain and shift. */
export interface Norm {
  readonly path: string;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** A linear layer: its path in the checkpoint, weight `[out, in]` (see `layout`) and optional bias `[out]`. */
export interface Linear {
  readonly path: string;
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  readonly layout: "out_in" | "in_out";
}

export interface ParameterTree {
  readonly [key: string]: NormSpec | LinearSpec | ParameterTree | undefined;
}

/** The same tree with the tensors in place of their descriptions. */
export type Loaded<T> = T extends NormSpec
  ? Norm
  : T extends LinearSpec
    ? Linear
    : { readonly [K in keyof T]: Loaded<T[K]> };

export function norm(size: number, bias: boolean = false): NormSpec {
  return { kind: "norm", size, bias };
}

export function linear(out: number, input: number, bias: boolean, layout: LinearSpec["layout"] = "out_in"): LinearSpec {
  return { kind: "linear", out, in: input, bias, layout };
}

/** Calls `visit` for every norm and linear layer, with its path. */
export function walk(
  tree: ParameterTree,
  path: string,
  visit: (path: string, spec: NormSpec | LinearSpec) => void,
): void {
  for (const [key, value] of Object.entries(tree)) {
    const at = `${path}.${key}`;
    if (value === undefined) continue;
    if (isSpec(value)) visit(at, value);
    else walk(value, at, visit);
  }
}

export function isSpec(value: NormSpec | LinearSpec | ParameterTree): value is NormSpec | LinearSpec {
  return value.kind === "norm" || value.kind === "linear";
}

/** The tree under `path` with the tensors of `parameters`. */
export function fill<T extends NormSpec | LinearSpec | ParameterTree>(
  tree: T,
  path: string,
  parameters: ReadonlyMap<string, Tensor | Weight>,
): Loaded<T> {
  const weight = parameters.get(`${path}.weight`);
  const bias = parameters.get(`${path}.bias`);
  const filled = !isSpec(tree)
    ? Object.fromEntries(
        Object.entries(tree).map(([key, value]) => [key, value && fill(value, `${path}.${key}`, parameters)]),
      )
    : tree.kind === "norm"
      ? { path, weight, bias }
      : { path, weight, bias, layout: tree.layout };
  return filled as Loaded<T>;
}
