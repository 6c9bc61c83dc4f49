// Safetensors files built by hand, right or wrong.

/** A file with this header (text, or an object to write as JSON) and so many zero bytes of data. */
export function safetensorsBytes(header: string | object, dataBytes = 0, claimedHeaderBytes?: number): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(claimedHeaderBytes ?? text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** A header's entry for an f32 tensor from `start`. */
export function f32Entry(shape: readonly number[], start = 0): object {
  const bytes = 4 * shape.reduce((size, dim) => size * dim, 1);
  return { dtype: "F32", shape, data_offsets: [start, start + bytes] };
}
