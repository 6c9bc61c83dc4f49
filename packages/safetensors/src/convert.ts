// Exact conversions between the float types a checkpoint holds. Files are little-endian, and so is every
// machine that WebGPU runs on: bytes are reinterpreted in place.

import type { Dtype } from "./dtypes.ts";
import { SafetensorsError } from "./errors.ts";

/**
 * Tensor bytes as float32, exactly: every F16 and BF16 value is a float32 value (NaN payloads included).
 *
 * @param bytes - little-endian, at any alignment
 * @param dtype - F32, F16 or BF16; anything else would have to be rounded or guessed
 * @returns a new array, never a view of `bytes`
 * @throws {@link SafetensorsError} `DTYPE_NOT_CONVERTIBLE`, `DATA_LENGTH` if the last element is cut off
 */
export function toF32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
    const details = {
      received: dtype,
      expected: "F32, F16 or BF16",
      fix: "read the raw bytes and convert them yourself",
    };
    throw new SafetensorsError(
      "DTYPE_NOT_CONVERTIBLE",
      `converting to float32: ${dtype} is not a 16 or 32-bit float`,
      details,
    );
  }
  const size = dtype === "F32" ? 4 : 2;
  if (bytes.length % size !== 0) {
    const message = `converting ${dtype} to float32: ${bytes.length} bytes are not whole elements of ${size}`;
    throw new SafetensorsError("DATA_LENGTH", message, { fix: "pass all bytes of whole elements" });
  }
  const copy = new Uint8Array(bytes).buffer; // not slice(): a Node Buffer's shares its pool
  if (dtype === "F32") return new Float32Array(copy);
  const words = new Uint16Array(copy);
  return dtype === "BF16" ? bf16ToF32(words) : f16ToF32(words);
}

/**
 * Float32 values as the bytes of a tensor, rounded to nearest, ties to even.
 * @param dtype - F32, F16 (beyond ±65519: ±Inf) or BF16
 * @returns a new array, or for F32 a view of `values`
 */
export function fromF32(values: Float32Array, dtype: "F32" | "F16" | "BF16"): Uint8Array {
  const out = dtype === "F32" ? values : dtype === "F16" ? f32ToF16(values) : f32ToBf16(values);
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}

/** bfloat16 is the upper half of a float32. */
function bf16ToF32(words: Uint16Array): Float32Array {
  const out = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) out[i] = words[i]! << 16;
  return new Float32Array(out.buffer);
}

/** IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
function f16ToF32(words: Uint16Array): Float32Array {
  const floats = new Float32Array(words.length);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const sign = (word & 0x8000) << 16;
    const exponent = (word >> 10) & 31;
    const fraction = word & 0x3ff;
    if (exponent === 0) {
      floats[i] = fraction * 2 ** -24; // zero and subnormals
      bits[i] = bits[i]! | sign;
    } else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return floats;
}

/**
 * bfloat16 bit patterns, rounded to nearest, ties to even; beyond the largest finite value to infinity;
 * NaN stays NaN.
 */
export function f32ToBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const isNaN = (b & 0x7fffffff) > 0x7f800000;
    // a NaN's payload may lie in the dropped half: set a bit that stays
    out[i] = isNaN ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return out;
}

/**
 * float16 bit patterns, rounded to nearest, ties to even; 65520 and more to infinity, 2^-25 and less to
 * zero; NaN stays NaN.
 */
export function f32ToF16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i]! >>> 16) & 0x8000;
    const b = bits[i]! & 0x7fffffff;
    let half: number;
    if (b > 0x7f800000) half = 0x7e00 | ((b >>> 13) & 0x3ff);
    else if (b >= 0x477ff000) half = 0x7c00;
    else if (b >= 0x38800000) {
      // normal: drop 13 bits of fraction; a carry runs into the exponent, as it should
      half = ((b - 0x38000000 + 0xfff + ((b >>> 13) & 1)) >>> 13) & 0x7fff;
    } else half = roundHalfEven(Math.abs(values[i]!) * 2 ** 24); // subnormal: counts of 2^-24
    out[i] = sign | half;
  }
  return out;
}

/** Exact for 0 ≤ x < 2^52. */
function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}
