// TFRecord framing: length (u64), its checksum, data, its checksum, all little-endian. Checksums are CRC-32C, rotated and
// shifted so that a record that holds records is no trap (tensorflow/core/lib/io/record_writer.h, tensorflow/core/lib/hash/crc32c.h).

const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;
/** CRC-32C (Castagnoli), reflected; RFC 3720, appendix B.4 */
const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}

function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

/** One record as it lies in a file. */
export function frameRecord(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(HEADER_BYTES + data.length + FOOTER_BYTES);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(record.subarray(0, 8)), true);
  record.set(data, HEADER_BYTES);
  view.setUint32(HEADER_BYTES + data.length, masked(data), true);
  return record;
}

/** Where each record ends, up to the first that is cut or damaged. */
export function recordEnds(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ends: number[] = [];
  for (let at = 0; at + HEADER_BYTES + FOOTER_BYTES <= bytes.length; at = ends.at(-1)!) {
    if (view.getUint32(at + 8, true) !== masked(bytes.subarray(at, at + 8))) break;
    const start = at + HEADER_BYTES;
    const end = start + Number(view.getBigUint64(at, true));
    if (end + FOOTER_BYTES > bytes.length) break;
    if (view.getUint32(end, true) !== masked(bytes.subarray(start, end))) break;
    ends.push(end + FOOTER_BYTES);
  }
  return ends;
}
