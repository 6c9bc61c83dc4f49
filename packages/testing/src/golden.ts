// A reader for the trusted files under fixtures/goldens, apart from @tunesmith/safetensors so that a
// mistake there cannot hide. It checks nothing beyond what its arithmetic needs.

export interface GoldenTensor {
  /** as in the file: F32, F16, BF16, I32, I64, U8 or BOOL */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** row-major, exact (64-bit integers beyond 2^53 would be rounded; the goldens have none) */
  readonly values: Float64Array;
}

/** The value of a float16 bit pattern (IEEE 754 binary16). */
function half(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The value of a bfloat16 bit pattern: sign, 8 bits of exponent, 7 of fraction. */
function brain(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 7) & 255;
  const fraction = bits & 127;
  if (exponent === 255) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -133 : (1 + fraction / 128) * 2 ** (exponent - 127));
}

const READERS: Record<string, { bytes: number; read: (view: DataView, at: number) => number }> = {
  F32: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  F16: { bytes: 2, read: (view, at) => half(view.getUint16(at, true)) },
  BF16: { bytes: 2, read: (view, at) => brain(view.getUint16(at, true)) },
  I32: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  I64: { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  U8: { bytes: 1, read: (view, at) => view.getUint8(at) },
  BOOL: { bytes: 1, read: (view, at) => view.getUint8(at) },
};

/**
 * All tensors of one golden file, widened to float64.
 * @param file - the bytes of a `.safetensors` file of this repository
 */
export function readGolden(file: Uint8Array): Map<string, GoldenTensor> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const data = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, data))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const out = new Map<string, GoldenTensor>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const reader = READERS[dtype];
    if (!reader) throw new Error(`golden tensor ${name}: no reader for ${dtype}`);
    const length = (offsets[1] - offsets[0]) / reader.bytes;
    const values = Float64Array.from({ length }, (_, i) => reader.read(view, data + offsets[0] + i * reader.bytes));
    out.set(name, { dtype, shape, values });
  }
  return out;
}
