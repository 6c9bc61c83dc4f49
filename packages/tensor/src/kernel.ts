// A kernel is a value: its WGSL as a function of a specialization, its parameters and its bindings.
// Sizes are parameters, never baked into the text; the specialization holds only what changes the code.

import type { TensorData } from "./dtype.ts";
import type { DeviceFacts } from "./facts.ts";

/** WGSL element type of a storage binding. */
export type Element = "f32" | "i32" | "u32" | "vec2f" | "vec4f" | "vec2u" | "vec4u" | "atomic<u32>";
/** Types of parameters; at most 16 of them (64 bytes). */
export type ParamType = "u32" | "i32" | "f32";
/** What changes a kernel's code: variant names, tile sizes. Part of the pipeline's cache key. */
export type Spec = Readonly<Record<string, string | number | boolean>>;

/** What a launch of a kernel has to do: for profiles, never for choosing code. */
export interface Cost {
  /** additions, multiplications, divisions and transcendentals, each counted as one */
  readonly flops: number;
  /** bytes that must move at least once; default: every binding once, updates twice */
  readonly bytes?: number;
}

/** What a kernel's cost may depend on besides its parameters. */
export interface LaunchedWork {
  /** bytes of a binding; 0 where the same memory is bound under an earlier name, too */
  bytes(binding: string): number;
  /** a binding's host values where it is an input of the program that runs */
  values(binding: string): TensorData | undefined;
}

type Bindings<K extends string> = Readonly<Record<K, Element | ((spec: Spec) => Element)>>;

export interface Kernel<
  P extends string = string,
  R extends string = string,
  W extends string = string,
  U extends string = string,
> {
  readonly label: string;
  readonly params: Readonly<Record<P, ParamType>>;
  /** bound read-only */
  readonly reads: Bindings<R>;
  /** outputs: every element that a later kernel reads is written */
  readonly writes: Bindings<W>;
  /** read and written in place */
  readonly updates: Bindings<U>;
  /**
   * Output → reads whose buffer it may take over where they die: every invocation reads an element of them before it
   * writes that element of the output, and no other invocation reads it. See in-place.ts.
   */
  readonly inPlace?: Readonly<Partial<Record<W, readonly R[]>>>;
  /** number of workgroups; folded to two dimensions when above the device's limit, see GROUP_INDEX */
  readonly workgroups: (params: Readonly<Record<P, number>>, spec: Spec, facts: DeviceFacts) => number;
  /** functions and `main`; bindings and the parameter struct `p` are declared in front of it */
  readonly wgsl: (spec: Spec, facts: DeviceFacts) => string;
  /** absent: moves its bindings once and computes nothing worth counting */
  readonly cost?: (params: Readonly<Record<P, number>>, spec: Spec, work: LaunchedWork) => Cost;
}

/**
 * Defines a kernel. Bindings are declared in the order reads, writes, updates; in WGSL they are arrays with the
 * given names, and parameters are fields of `p`.
 */
export function defineKernel<
  P extends string,
  R extends string,
  W extends string = never,
  U extends string = never,
>(def: {
  label: string;
  params: Readonly<Record<P, ParamType>>;
  reads: Bindings<R>;
  writes?: Bindings<W>;
  updates?: Bindings<U>;
  inPlace?: Readonly<Partial<Record<NoInfer<W>, readonly NoInfer<R>[]>>>;
  workgroups: (params: Readonly<Record<P, number>>, spec: Spec, facts: DeviceFacts) => number;
  wgsl: (spec: Spec, facts: DeviceFacts) => string;
  cost?: (params: Readonly<Record<P, number>>, spec: Spec, work: LaunchedWork) => Cost;
}): Kernel<P, R, W, U> {
  return {
    ...def,
    writes: def.writes ?? ({} as Bindings<W>),
    updates: def.updates ?? ({} as Bindings<U>),
  };
}

/**
 * The builtins of `main` and the flat workgroup index. A launch may fold its groups to two dimensions, so the
 * index can run past the last group: kernels return when `group >= ` their count.
 */
export const MAIN_ARGS =
  "@builtin(workgroup_id) workgroup_id: vec3u, @builtin(num_workgroups) num_workgroups: vec3u, @builtin(local_invocation_index) lane: u32";
export const GROUP_INDEX = "let group = workgroup_id.x + workgroup_id.y * num_workgroups.x;";

/** The complete shader text of one variant. */
export function assembleWgsl(kernel: Kernel, spec: Spec, facts: DeviceFacts): string {
  const element = (e: Element | ((spec: Spec) => Element)): Element => (typeof e === "function" ? e(spec) : e);
  const body = kernel.wgsl(spec, facts);
  const lines: string[] = [];
  if (/\bsubgroup[A-Z]\w*\(|subgroup_size|subgroup_invocation_id/.test(body)) lines.push("enable subgroups;");
  if (/<f16/.test(body)) lines.push("enable f16;");
  if (/\bsubgroupMatrix/.test(body)) {
    lines.push("enable chromium_experimental_subgroup_matrix;");
    // subgroup_id is the same in all of a subgroup, which the analysis does not know
    lines.push("diagnostic(off, chromium.subgroup_matrix_uniformity);");
  }
  let binding = 0;
  for (const [name, e] of Object.entries(kernel.reads))
    lines.push(`@group(0) @binding(${binding++}) var<storage, read> ${name}: array<${element(e)}>;`);
  for (const [name, e] of [...Object.entries(kernel.writes), ...Object.entries(kernel.updates)])
    lines.push(`@group(0) @binding(${binding++}) var<storage, read_write> ${name}: array<${element(e)}>;`);
  const fields = Object.entries<ParamType>(kernel.params);
  if (fields.length > 0) {
    lines.push(`struct Params { ${fields.map(([name, type]) => `${name}: ${type}`).join(", ")} }`);
    lines.push(facts.immediates ? "var<immediate> p: Params;" : "@group(1) @binding(0) var<uniform> p: Params;");
  }
  return `${lines.join("\n")}\n${body}`;
}

/** The parameter struct as bytes, in declaration order. */
export function packParams(kernel: Kernel, params: Readonly<Record<string, number>>): Uint32Array<ArrayBuffer> {
  const names = Object.entries<ParamType>(kernel.params);
  const words = new Uint32Array(names.length);
  const floats = new Float32Array(words.buffer);
  names.forEach(([name, type], i) => {
    const value = params[name];
    if (value === undefined || !Number.isFinite(value))
      throw new RangeError(`${kernel.label}: parameter ${name} is ${value}`);
    if (type === "f32") floats[i] = value;
    else words[i] = value;
  });
  return words;
}

/** The parameters that `packParams` packed. */
export function unpackParams(kernel: Kernel, words: Uint32Array<ArrayBuffer>): Record<string, number> {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const signed = new Int32Array(words.buffer, words.byteOffset, words.length);
  return Object.fromEntries(
    Object.entries<ParamType>(kernel.params).map(([name, type], i) => [
      name,
      (type === "f32" ? floats : type === "i32" ? signed : words)[i]!,
    ]),
  );
}
