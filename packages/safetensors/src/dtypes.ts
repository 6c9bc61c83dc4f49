/**
 * Bits of one element, in the order of the reference implementation: ascending alignment. The writer sorts
 * by it. F4 and F6 are the OCP microscaling types (MX v1.0); two F4 fill a byte, four F6 three bytes.
 */
const BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/** An element type of the format, spelt as in a header. */
export type Dtype = keyof typeof BITS;

/** All dtypes, in the order in which the reference implementation ranks them. */
export const DTYPES: readonly Dtype[] = Object.keys(BITS) as Dtype[];

const RANKS: ReadonlyMap<string, number> = new Map(DTYPES.map((dtype, rank) => [dtype, rank]));

export function isDtype(text: string): text is Dtype {
  return RANKS.has(text);
}

/** Size of one element in bits. */
export function dtypeBits(dtype: Dtype): number {
  return BITS[dtype];
}

/** Place in the order of alignment; a file holds the highest first. */
export function dtypeRank(dtype: Dtype): number {
  return RANKS.get(dtype)!;
}

/**
 * Bytes that a tensor occupies, or why there is no such number. Multiplies from left to right as the
 * reference does, so a shape that overflows before it meets a 0 is refused there and here.
 */
export function byteLength(dtype: Dtype, shape: readonly number[]): number | "SHAPE_OVERFLOW" | "SUB_BYTE_MISALIGNED" {
  let bits = dtypeBits(dtype);
  for (const size of shape) {
    bits *= size;
    if (bits > Number.MAX_SAFE_INTEGER) return "SHAPE_OVERFLOW";
  }
  return bits % 8 === 0 ? bits / 8 : "SUB_BYTE_MISALIGNED";
}
