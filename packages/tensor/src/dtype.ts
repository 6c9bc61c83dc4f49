/** Element types. `f16` and `bf16` are stored packed, two per 32-bit word, low half first. */
export type DType = "f32" | "i32" | "u32" | "f16" | "bf16";

/** The arrays that go to and come from the device: packed types travel as their 16-bit words. */
export type TensorData<D extends DType = DType> = D extends "f32"
  ? Float32Array
  : D extends "i32"
    ? Int32Array
    : D extends "u32"
      ? Uint32Array
      : Uint16Array;

/** Bytes of one element. */
export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = {
  f32: 4,
  i32: 4,
  u32: 4,
  f16: 2,
  bf16: 2,
};

/** Bytes of a tensor on the device: rounded up to 16, so that a kernel may always bind `array<vec4>`. */
export function byteSize(shape: readonly number[], dtype: DType): number {
  return Math.max(16, Math.ceil((elementCount(shape) * BYTES_PER_ELEMENT[dtype]) / 16) * 16);
}

/** Number of elements of a shape; 1 for the shape of a scalar, []. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((n, d) => n * d, 1);
}

/** Views `bytes` (little-endian, as on every WebGPU host) as the elements of `dtype`, `count` of them. */
export function asElements(bytes: ArrayBuffer, dtype: DType, count: number): TensorData {
  switch (dtype) {
    case "f32":
      return new Float32Array(bytes, 0, count);
    case "i32":
      return new Int32Array(bytes, 0, count);
    case "u32":
      return new Uint32Array(bytes, 0, count);
    case "f16":
    case "bf16":
      return new Uint16Array(bytes, 0, count);
    default:
      return dtype satisfies never;
  }
}
