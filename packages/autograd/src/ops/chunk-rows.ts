import type { DeviceFacts } from "@tunesmith/tensor";

/** bytes of logits that exist at one time, and rows beyond which a chunk gains nothing */
const SOFTWARE = { bytes: 32 * 2 ** 20, rows: 128 };
const HARDWARE = { bytes: 256 * 2 ** 20, rows: 512 };

/**
 * Rows of logits computed at a time: a multiple of 64, within one binding, no more than the tokens need. Larger chunks
 * read the head less often; smaller ones waste less where few positions have a target.
 */
export function defaultChunkRows(tokens: number, vocab: number, facts: DeviceFacts): number {
  const most = facts.software ? SOFTWARE : HARDWARE;
  const bytes = Math.min(most.bytes, facts.maxBindingBytes);
  const fitting = Math.floor(bytes / (4 * vocab * 64)) * 64;
  return Math.max(64, Math.min(most.rows, fitting, Math.ceil(tokens / 64) * 64));
}
