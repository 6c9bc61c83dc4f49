// Where one GPU both computes and drives a screen, a submit that runs long freezes the picture, and a watchdog kills it
// after about two seconds. A program's replay is then cut into several submits by measured time.

/** Replays that are measured, a launch per submit; the one before them compiles the pipelines. */
const MEASURED = 2;

export interface SubmitLimit {
  /** longest time that one submit should keep the GPU busy */
  readonly ms: number;
  /** milliseconds from any origin */
  readonly now: () => number;
}

/** Decides after which launches of a program a submit ends. */
export class SubmitCuts {
  readonly #limit: SubmitLimit;
  /** shortest measured milliseconds of each launch */
  readonly #times: Float64Array;
  #cuts: readonly number[] | undefined;
  #replays = 0;
  #measured = 0;
  #lastDone = -Infinity;

  /** @param launches - of the program */
  constructor(limit: SubmitLimit, launches: number) {
    this.#limit = limit;
    this.#times = new Float64Array(launches).fill(Infinity);
  }

  /** Ends of all submits of the next replay but the last one; every launch alone until enough is known. */
  next(): readonly number[] {
    if (this.#cuts) return this.#cuts;
    if (this.#measured >= MEASURED) return (this.#cuts = this.#cutsFor());
    this.#replays++;
    return Array.from(this.#times.subarray(1), (_, i) => i + 1);
  }

  /**
   * Takes the time of a submit that ends before launch `end`: from its own start, or the end of the one before it.
   * @param done - settles when the queue has run it; asked for only while times are measured
   */
  submitted(done: () => Promise<unknown>, end: number): void {
    if (this.#cuts) return;
    const compiling = this.#replays === 1;
    const began = this.#limit.now();
    void done().then(
      () => {
        const now = this.#limit.now();
        const took = now - Math.max(began, this.#lastDone);
        this.#lastDone = now;
        if (compiling || end === 0) return;
        this.#times[end - 1] = Math.min(this.#times[end - 1]!, took);
        if (end === this.#times.length) this.#measured++;
      },
      () => {}, // whoever reads is told that the device was lost
    );
  }

  /** As many launches per submit as stay below the limit. */
  #cutsFor(): number[] {
    const cuts: number[] = [];
    let ms = 0;
    for (const [launch, time] of this.#times.entries()) {
      if (launch > 0 && ms + time > this.#limit.ms) {
        cuts.push(launch);
        ms = 0;
      }
      ms += time;
    }
    return cuts;
  }
}
