// How matrix operands are read. A format knows how to fetch elements by their flat index; an operand puts row and
// column arithmetic, clamping and zero padding on top. Kernels see only runs of four elements and 4×4 blocks in f32.

import { fourBitGather, fourBitWgsl } from "../../four-bit.ts";
import type { Element } from "../../kernel.ts";
import type { FourBitFormat, WeightFormat } from "../../weight.ts";

/** 4. Mesa unrolls a loop whose count it can prove, and sixteen copies of a store take seconds to compile. See `packFlags` */
export const FOUR = "(p.flags >> 24u)";

/** One way of storing elements. Both fetches take flat element indices. */
export interface OperandFormat {
  /** element of the binding where runs of four start at multiples of four */
  readonly aligned: Element;
  /** element of the binding otherwise */
  readonly single: Element;
  /** WGSL: four consecutive elements from index `e`, a multiple of four */
  readonly four: (binding: string, e: string) => string;
  /** WGSL: the element at index `e` */
  readonly one: (binding: string, e: string) => string;
  /** WGSL: the elements at the four indices of vec4u `e`, where they cost less together */
  readonly some?: (binding: string, e: string) => string;
  /** WGSL functions that these call */
  readonly functions?: (binding: string) => string;
}

/** Elements and scales lie in one binding, whose own header says where. */
const fourBit = (format: FourBitFormat): OperandFormat => ({
  aligned: "u32",
  single: "u32",
  four: (b, e) => `return ${b}_four_bit_run(${e});`,
  one: (b, e) => `return ${b}_four_bit(${e});`,
  some: (b, e) => fourBitGather(b, e, FOUR),
  functions: (b) => fourBitWgsl(b, format),
});

/** The decoding routines, one per format. 16-bit formats lie two per word, low half first; bf16 is the upper half of an f32. */
export const OPERAND_FORMATS: Readonly<Record<WeightFormat, OperandFormat>> = {
  f32: {
    aligned: "vec4f",
    single: "f32",
    four: (b, e) => `return ${b}[${e} >> 2u];`,
    one: (b, e) => `return ${b}[${e}];`,
  },
  f16: {
    aligned: "vec2u",
    single: "u32",
    four: (b, e) => `let w = ${b}[${e} >> 2u]; return vec4f(unpack2x16float(w.x), unpack2x16float(w.y));`,
    one: (b, e) => `return unpack2x16float(${b}[${e} >> 1u] >> ((${e} & 1u) * 16u)).x;`,
  },
  bf16: {
    aligned: "vec2u",
    single: "u32",
    four: (b, e) =>
      `let w = ${b}[${e} >> 2u]; return bitcast<vec4f>(vec4u(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));`,
    one: (b, e) => `return bitcast<f32>((${b}[${e} >> 1u] >> ((${e} & 1u) * 16u)) << 16u);`,
  },
  nf4: fourBit("nf4"),
  fp4: fourBit("fp4"),
};

/** Which dimension is contiguous in memory: the depth k, or the operand's own (rows of left, columns of right). */
export type Contiguous = "k" | "own";

/** WGSL: four f32 per k, at k, k + 1, k + 2, k + 3; the components run over the operand's own dimension. */
export const BLOCK = "struct Block { k0: vec4f, k1: vec4f, k2: vec4f, k3: vec4f }";

/** Element of an operand's binding. */
export function operandElement(format: WeightFormat, aligned: boolean): Element {
  return aligned ? OPERAND_FORMATS[format].aligned : OPERAND_FORMATS[format].single;
}

/**
 * WGSL for operand `name`. `own`, `start` and `stride` are expressions: extent of its own dimension, first element,
 * elements between lines.
 * - `NAME_run(own, k, k_end)`: four elements along the contiguous dimension;
 * - `NAME_block(own, k, k_end)`: 4×4.
 *
 * `k < k_end` must hold. Indices past the end are clamped, so nothing outside the operand is read; elements past
 * `k_end` are zero where `zeroed` (enough on one side: the other then repeats a value of the same sum).
 * `width`, an expression: the operand holds the blocks of a block-diagonal matrix, `[k or own, width]`, and stands for the matrix. Only
 * together with `aligned`, f32 and a width that is a multiple of four; start and stride are not looked at.
 * `aligned` promises that the contiguous extent, the stride, the start and `k` of a run along k are multiples of four.
 */
export function operand(o: {
  name: string;
  own: string;
  start: string;
  stride: string;
  contiguous: Contiguous;
  format: WeightFormat;
  aligned: boolean;
  zeroed: boolean;
  width?: string | undefined;
}): string {
  const { name, own, start, stride, contiguous, aligned, zeroed } = o;
  const format = OPERAND_FORMATS[o.format];
  const fetch = `${format.functions?.(name) ?? ""}
    ${
      aligned
        ? `fn ${name}_four(e: u32) -> vec4f { ${format.four(name, "e")} }`
        : format.some
          ? `fn ${name}_some(e: vec4u) -> vec4f { ${format.some(name, "e")} }`
          : `fn ${name}_one(e: u32) -> f32 { ${format.one(name, "e")} }`
    }`;
  // four neighbours from `first`, clamped to `last`
  const neighbours = (first: string, last: string): string =>
    format.some
      ? `${name}_some(vec4u(line) + min(vec4u(${first}) + vec4u(0u, 1u, 2u, 3u), vec4u(${last})))`
      : `vec4f(${[0, 1, 2, 3].map((j) => `${name}_one(line + min(${first} + ${j}u, ${last}))`).join(", ")})`;
  /** the run of a line of blocks: `line` is the row of its block, `column` a column of the whole */
  const ofBlock = (line: string, column: string): string => `
      let line = ${line};
      let column = ${column} - block_of(line) * ${o.width};
      return select(vec4f(0.0), ${name}_four(line * ${o.width} + min(column, ${o.width} - 4u)), column < ${o.width});`;
  const inside = "vec4<bool>(true, k + 1u < k_end, k + 2u < k_end, k + 3u < k_end)";
  const blockLine = (j: number): string =>
    zeroed && j > 0
      ? `select(vec4f(0.0), ${name}_run(i, min(k + ${j}u, k_end - 1u), k_end), k + ${j}u < k_end)`
      : `${name}_run(i, ${j === 0 ? "k" : `min(k + ${j}u, k_end - 1u)`}, k_end)`;

  if (contiguous === "own")
    return `
    ${fetch}
    fn ${name}_run(i: u32, k: u32, k_end: u32) -> vec4f {${
      o.width
        ? ofBlock("k", `min(i, ${own} - 4u)`)
        : `
      let line = ${start} + k * ${stride};
      return ${aligned ? `${name}_four(line + min(i, ${own} - 4u))` : neighbours("i", `${own} - 1u`)};`
    }
    }
    fn ${name}_block(i: u32, k: u32, k_end: u32) -> Block {
      return Block(${[0, 1, 2, 3].map(blockLine).join(", ")});
    }`;
  const run = aligned ? `${name}_four(line + k)` : neighbours("k", "k_end - 1u");
  const components = ["x", "y", "z", "w"];
  return `
    ${fetch}
    fn ${name}_run(i: u32, k: u32, k_end: u32) -> vec4f {${
      o.width
        ? ofBlock(`min(i, ${own} - 1u)`, "k")
        : `
      let line = ${start} + min(i, ${own} - 1u) * ${stride};
      return ${zeroed && !aligned ? `select(vec4f(0.0), ${run}, ${inside})` : run};`
    }
    }
    fn ${name}_block(i: u32, k: u32, k_end: u32) -> Block {
      let a = ${name}_run(i, k, k_end); let b = ${name}_run(i + 1u, k, k_end);
      let c = ${name}_run(i + 2u, k, k_end); let d = ${name}_run(i + 3u, k, k_end);
      return Block(${components.map((c) => `vec4f(a.${c}, b.${c}, c.${c}, d.${c})`).join(", ")});
    }`;
}
