import type { DeviceFacts } from "@tunesmith/tensor";

/**
 * Bytes of logits that exist at one time; rows beyond which a chunk of large logits gains nothing; bytes up to which more
 * rows cost less than more launches.
 */
const SOFTWARE = { bytes: 16 * 2 ** 20, rows: 128, small: 4 * 2 ** 20 };
const HARDWARE = { bytes: 256 * 2 ** 20, rows: 512, small: 16 * 2 ** 20 };

/**
 * Rows of logits computed at a time: a multiple of 64, within one binding, no more than the tokens need. Larger chunks
 * read the head less often and take fewer launches; smaller ones take less memory.
 */
export function defaultChunkRows(tokens: number, vocab: number, facts: DeviceFacts): number {
  const most = facts.software ? SOFTWARE : HARDWARE;
  const rowsIn = (bytes: number): number => Math.floor(bytes / (4 * vocab * 64)) * 64;
  const fitting = rowsIn(Math.min(most.bytes, facts.maxBindingBytes));
  return Math.max(64, Math.min(Math.max(most.rows, rowsIn(most.small)), fitting, Math.ceil(tokens / 64) * 64));
}
