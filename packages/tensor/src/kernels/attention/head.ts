// What all attention kernels share: rows of heads as vectors of four, and which tokens see which.

import type { Element, Spec } from "../../kernel.ts";

/** A score that no key has: far below all others, yet differences of two stay finite. */
export const UNSEEN = "-3e38";

/** Vectors of four that hold one head's row; the last one may be padded with zeros. */
export function headVectors(spec: Spec): number {
  return Math.ceil(Number(spec["headDim"]) / 4);
}

/** Element of a binding whose rows are heads: vectors where rows start at multiples of 16 bytes. */
export function headElement(spec: Spec): Element {
  return Number(spec["headDim"]) % 4 === 0 ? "vec4f" : "f32";
}

/** Joins what `write` gives for 0 … n−1. */
export function each(n: number, write: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => write(i)).join("\n");
}

/** WGSL `fn load_<name>(row, part) -> vec4f`: vector `part` of a row of `headDim` numbers, zeros beyond its end. */
export function loadHead(name: string, spec: Spec): string {
  const dim = Number(spec["headDim"]);
  const body =
    headElement(spec) === "vec4f"
      ? `return ${name}[row * ${dim / 4}u + part];`
      : `let at = row * ${dim}u + part * 4u;
         var r = vec4f(${name}[at], 0.0, 0.0, 0.0);
         if (part * 4u + 1u < ${dim}u) { r.y = ${name}[at + 1u]; }
         if (part * 4u + 2u < ${dim}u) { r.z = ${name}[at + 2u]; }
         if (part * 4u + 3u < ${dim}u) { r.w = ${name}[at + 3u]; }
         return r;`;
  return `fn load_${name}(row: u32, part: u32) -> vec4f { ${body} }`;
}

/** WGSL `fn store_<name>(row, part, value)`, the counterpart of {@link loadHead}. */
export function storeHead(name: string, spec: Spec): string {
  const dim = Number(spec["headDim"]);
  const body =
    headElement(spec) === "vec4f"
      ? `${name}[row * ${dim / 4}u + part] = value;`
      : `let at = row * ${dim}u + part * 4u;
         ${name}[at] = value.x;
         if (part * 4u + 1u < ${dim}u) { ${name}[at + 1u] = value.y; }
         if (part * 4u + 2u < ${dim}u) { ${name}[at + 2u] = value.z; }
         if (part * 4u + 3u < ${dim}u) { ${name}[at + 3u] = value.w; }`;
  return `fn store_${name}(row: u32, part: u32, value: vec4f) { ${body} }`;
}

/**
 * WGSL that turns the flat group index into `block` (of `rows` tokens) and `unit` (a head or group of heads).
 * A causal query's work grows with its position, and software Vulkan gives each thread one contiguous range of
 * groups: short and long blocks alternate, so that any range holds its share of both.
 */
export function blockAndUnit(rows: number): string {
  return `
    let blocks = (p.tokens + ${rows - 1}u) / ${rows}u;
    let unit = group / blocks;
    let turn = group % blocks;
    let block = select(turn / 2u, blocks - 1u - turn / 2u, (turn & 1u) == 1u);`;
}

/**
 * WGSL for the row `at` (an i32 expression) of a block of queries: `own` (the row), `token` (the same in range), `here`
 * (not padding), and the first and last key it sees, `lower` … `upper` (none for padding), all with `suffix`.
 */
export function queryRow(at: string, suffix: number | "" = ""): string {
  return `
    let own${suffix} = ${at};
    let token${suffix} = min(u32(own${suffix}), p.tokens - 1u);
    let start${suffix} = select(-1, segment_start[token${suffix}], u32(own${suffix}) < p.tokens);
    let here${suffix} = start${suffix} >= 0;
    let lower${suffix} = select(2147483647, max(start${suffix}, own${suffix} - p.window + 1), here${suffix});
    let upper${suffix} = select(-1, own${suffix}, here${suffix});`;
}

/** The same for a row of a block of keys: the queries that see it, `lower` … `upper`. */
export function keyRow(at: string, suffix: number | "" = ""): string {
  return `
    let own${suffix} = ${at};
    let token${suffix} = min(u32(own${suffix}), p.tokens - 1u);
    let end${suffix} = select(-1, segment_end[token${suffix}], u32(own${suffix}) < p.tokens);
    let here${suffix} = end${suffix} > own${suffix};
    let lower${suffix} = select(2147483647, own${suffix}, here${suffix});
    // own + window may pass the largest i32, end − own cannot
    let upper${suffix} = select(-1, own${suffix} + min(end${suffix} - own${suffix}, p.window) - 1, here${suffix});`;
}

/** WGSL `soft_tanh` for soft-capped scores, of f32 and vec4f: from exp(−2|x|), which never overflows. */
export function softTanh(spec: Spec): string {
  if (spec["softCap"] !== true) return "";
  const of = (name: string, type: string): string => `fn ${name}(x: ${type}) -> ${type} {
      let e = exp(-2.0 * abs(x));
      return sign(x) * ((1.0 - e) / (1.0 + e));
    }`;
  return of("soft_tanh", "f32") + of("soft_tanh4", "vec4f");
}

/** The score of a scaled product: itself, or p.cap · tanh of it. */
export function scoreOf(spec: Spec, product: string, type: "" | "4" = ""): string {
  return spec["softCap"] === true ? `p.cap * soft_tanh${type}(${product})` : product;
}

/** What the gradient of a score is multiplied by to be that of the product: ` * (1 − tanh²)`, or nothing. */
export function scoreSlope(spec: Spec, score: string): string {
  return spec["softCap"] === true ? ` * (1.0 - (${score} / p.cap) * (${score} / p.cap))` : "";
}

/** Whether token `t` (u32) is no padding, in kernels that run over queries and over keys. */
export const QUERY_KEPT = "segment_start[t] >= 0";
export const KEY_KEPT = "segment_end[t] > i32(t)";
