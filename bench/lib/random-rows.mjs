/** @import { Example } from "@tunesmith/data" */

/**
 * Rows of random ids, each position trained on the next: what a step costs does not depend on what they say.
 * @param {{ rows: number, length: number, vocab: number }} size
 * @returns {Example[]}
 */
export function randomRows({ rows, length, vocab }) {
  return Array.from({ length: rows }, (_, row) => {
    const id = (/** @type {number} */ t) => (Math.imul((row * length + t + 1) >>> 0, 2_654_435_761) >>> 8) % vocab;
    const inputIds = Int32Array.from({ length }, (_, t) => id(t));
    const targets = inputIds.map((_, t) => (t + 1 < length ? id(t + 1) : -100));
    const targetWeights = Float32Array.from(targets, (target) => (target < 0 ? 0 : 1));
    return { inputIds, targets, targetWeights, task: "random", row };
  });
}
