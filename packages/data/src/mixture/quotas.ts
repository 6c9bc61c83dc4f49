// Sampling weights as exact quotas: how many of a cycle's slots each task gets, and what happens as tasks run out.

/** Slots of a full cycle. */
export const CYCLE = 1000;

/**
 * Splits `total` slots by weight: floors first, then one more each by largest remainder (the earlier task wins a tie).
 */
export function largestRemainder(weights: readonly number[], total: number): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  const exact = weights.map((weight) => (sum === 0 ? 0 : (weight / sum) * total));
  const quotas = exact.map(Math.floor);
  const left = total - quotas.reduce((a, b) => a + b, 0);
  const order = exact.map((_, k) => k).sort((a, b) => exact[b]! - quotas[b]! - (exact[a]! - quotas[a]!) || a - b);
  for (const k of order.slice(0, left)) quotas[k]!++;
  return quotas;
}

/** A run of equal cycles. */
export interface Phase {
  /** first cycle of the phase */
  readonly cycle: number;
  readonly cycles: number;
  /** first draw of the phase */
  readonly draw: number;
  /** slots of one cycle per task; their sum is the cycle's length */
  readonly quotas: readonly number[];
  /** draws of each task before the phase */
  readonly drawn: readonly number[];
}

/** Weights that hold from a draw on. */
export interface Stage {
  readonly draw: number;
  /** one per task, ≥ 0, not all 0 */
  readonly weights: readonly number[];
}

/**
 * The phases of a mixture. Each lasts until some task would pass its cap; then comes one cycle in which that task gets
 * what it has left and the others share the rest, and then a phase without it. Where a stage begins inside a cycle, the
 * cycle before it is cut short there.
 *
 * @param stages - by ascending draw, the first at 0
 * @param caps - draws after which a task is used up, Infinity where there is no cap
 * @returns phases without a gap; they end where no task with a weight has draws left
 */
export function mixturePhases(stages: readonly Stage[], caps: readonly number[]): Phase[] {
  const phases: Phase[] = [];
  const drawn = caps.map(() => 0);
  let cycle = 0;
  let draw = 0;
  for (const [i, { weights }] of stages.entries()) {
    const end = stages[i + 1]?.draw ?? Infinity;
    while (draw < end) {
      const left = caps.map((cap, k) => cap - drawn[k]!);
      const quotas = cycleQuotas(weights, left, Math.min(CYCLE, end - draw));
      const length = sumOf(quotas);
      if (length === 0) break;
      const allowed = quotas.map((quota, k) => (quota === 0 ? Infinity : Math.floor(left[k]! / quota)));
      const cycles = Math.min(...allowed, Math.floor((end - draw) / length));
      phases.push({ cycle, cycles, draw, quotas, drawn: [...drawn] });
      if (cycles === Infinity) return phases;
      quotas.forEach((quota, k) => (drawn[k]! += quota * cycles));
      draw += cycles * length;
      cycle += cycles;
    }
    if (draw < end) return phases;
  }
  return phases;
}

/** Quotas of a cycle of `slots`: a task never gets more than it has left, the others share what it leaves. */
function cycleQuotas(weights: readonly number[], left: readonly number[], slots: number): number[] {
  const quotas = weights.map(() => 0);
  let open = weights.flatMap((weight, k) => (weight > 0 && left[k]! > 0 ? [k] : []));
  for (;;) {
    const shares = largestRemainder(
      open.map((k) => weights[k]!),
      slots,
    );
    const full = open.filter((k, i) => shares[i]! >= left[k]!);
    if (full.length === 0) {
      open.forEach((k, i) => (quotas[k] = shares[i]!));
      return quotas;
    }
    for (const k of full) {
      quotas[k] = left[k]!;
      slots -= left[k]!;
    }
    open = open.filter((k) => !full.includes(k));
    if (open.length === 0) return quotas;
  }
}

/** Draws of a cycle with these quotas. */
export function sumOf(quotas: readonly number[]): number {
  return quotas.reduce((a, b) => a + b, 0);
}
