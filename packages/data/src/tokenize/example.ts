/** What a target of −100 means everywhere in this stack: no loss at this position. */
export const IGNORED = -100;

/**
 * One training example. All arrays have one length T.
 *
 * `targets[t]` is what position t must predict, the id at t + 1: labels were shifted here, once, before any packing, so
 * no target can cross into a neighbour. The last position has none.
 */
export interface Example {
  /** [T] token ids */
  readonly inputIds: Int32Array;
  /** [T] ids, or −100 where nothing is trained */
  readonly targets: Int32Array;
  /** [T] w_t ≥ 0: the message weight, 1 by default; 0 exactly where the target is −100 */
  readonly targetWeights: Float32Array;
  readonly task: string;
  /** which row of the dataset this came from; the blocks of one long text share it */
  readonly row: number;
  /** [T]; absent = 0, 1, 2 … */
  readonly positionIds?: Int32Array;
  /** [T] −1 = padding, else 0, 1 … in order: attention stays inside a segment; absent = one segment, no padding */
  readonly segmentIds?: Int32Array;
}

/** Number of positions that have a target. */
export function countTargets(example: { readonly targets: Int32Array }): number {
  let count = 0;
  for (const target of example.targets) if (target !== IGNORED) count++;
  return count;
}

/**
 * Shifts labels by one.
 * @param labelWeights - [T] weight with which each *token* is trained as a label; 0 = ignored
 */
export function shiftLabels(
  inputIds: Int32Array,
  labelWeights: Float32Array,
): { targets: Int32Array; targetWeights: Float32Array } {
  const targets = new Int32Array(inputIds.length).fill(IGNORED);
  const targetWeights = new Float32Array(inputIds.length);
  for (let t = 0; t + 1 < inputIds.length; t++) {
    if (labelWeights[t + 1] === 0) continue;
    targets[t] = inputIds[t + 1]!;
    targetWeights[t] = labelWeights[t + 1]!;
  }
  return { targets, targetWeights };
}
