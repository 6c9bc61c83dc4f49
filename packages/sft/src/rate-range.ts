// The learning-rate range test (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", section 3.3): the rate grows
// by a constant factor per update, and the loss says where it helps, and where it breaks the model. Batches differ in difficulty
// by more than a few updates change, so each loss is compared with that of the untouched weights on the same rows.

/** nats; smaller changes are taken for noise */
const NOTICEABLE = 0.05;
/** nats above the untouched weights at which there is nothing left to learn from */
const BROKEN = 0.5;
/** of the average of what came before, per update */
const SMOOTHING = 0.9;

export interface RangePoint {
  /** finished updates */
  readonly step: number;
  /** of the update before the loss was taken */
  readonly rate: number;
  /** objective, and what it is with the untouched weights on the same rows; nats */
  readonly loss: number;
  readonly start_loss: number;
  /** loss − start_loss */
  readonly change: number;
  /** its running average */
  readonly smoothed: number;
}

export interface RateSuggestion {
  /** null where the test does not show one */
  readonly suggested: number | null;
  readonly reason: string;
  /** where the smoothed change was least, and where it fell fastest */
  readonly lowest: RangePoint | null;
  readonly steepest: RangePoint | null;
}

/** Rate of update `step` (from 0) of `steps`: `from` first, `to` last. */
export function rangeRate(
  { from, to, steps }: { readonly from: number; readonly to: number; readonly steps: number },
  step: number,
): number {
  return from * (to / from) ** (step / (steps - 1));
}

/** The curve of a range test, point by point. */
export class RateRange {
  readonly points: RangePoint[] = [];
  #average = 0;

  /** @returns true where the loss has come back so far that higher rates tell nothing */
  add({ step, rate, loss, startLoss }: { step: number; rate: number; loss: number; startLoss: number }): boolean {
    const change = loss - startLoss;
    this.#average = SMOOTHING * this.#average + (1 - SMOOTHING) * change;
    const smoothed = this.#average / (1 - SMOOTHING ** (this.points.length + 1)); // it starts at 0
    this.points.push({ step, rate, loss, start_loss: startLoss, change, smoothed });
    const lowest = Math.min(...this.points.map((point) => point.smoothed));
    return smoothed > BROKEN || (lowest < -NOTICEABLE && smoothed > lowest / 2);
  }

  /** @param ended - the loss came back, or was not finite, before the highest rate */
  suggestion(ended: boolean): RateSuggestion {
    const { points } = this;
    const [first, ...later] = points;
    if (first === undefined) return { suggested: null, reason: "no update was made", lowest: null, steepest: null };
    const lowest = later.reduce((best, point) => (point.smoothed < best.smoothed ? point : best), first);
    if (lowest.smoothed > -NOTICEABLE)
      return {
        suggested: null,
        reason: ended
          ? "no rate lowered the loss before it broke the model: test lower rates, or more updates"
          : "no rate changed the loss: test higher rates, or more updates",
        lowest,
        steepest: null,
      };
    const until = points.slice(0, points.indexOf(lowest) + 1);
    const fall = (i: number): number => (i === 0 ? 0 : until[i]!.smoothed - until[i - 1]!.smoothed);
    const steepest = until.reduce((best, _, i) => (fall(i) < fall(best) ? i : best), 0);
    const suggested = Number((lowest.rate / 10).toPrecision(2));
    const still = !ended && points.indexOf(lowest) === points.length - 1;
    return {
      suggested: still ? null : suggested,
      reason: still
        ? "the loss still fell at the highest rate: test higher ones"
        : `a tenth of ${lowest.rate.toPrecision(2)}, where the loss was lowest before it rose: the usual margin; it fell fastest at ${until[steepest]!.rate.toPrecision(2)}`,
      lowest,
      steepest: until[steepest]!,
    };
  }
}
