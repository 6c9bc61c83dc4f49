// Does the model learn, or recite? Training losses between two evaluations against the evaluation that ends them.

import type { EvalResult, TaskLoss } from "../events.ts";
import type { Warning } from "./findings.ts";

/** evaluations on end that must each be worse than the one before */
const RISES = 3;
/** share of the eval loss below which a training loss is far below it … */
const FAR_BELOW = 0.5;
/** … if it is so many nats below as well: small losses differ by chance */
const LEAST_GAP = 0.2;

interface Round {
  readonly evalLoss: number;
  /** of the steps before it; undefined at the start */
  readonly trainLoss: number | undefined;
}

/** Collects training losses between evaluations. */
export class OverfittingGuard {
  readonly #sums = new Map<string, { loss: number; targets: number }>();
  /** losses of the evaluations since the eval loss last fell, that one included */
  #rising: Round[] = [];
  readonly #memorised = new Set<string>();

  step(tasks: Readonly<Record<string, TaskLoss>>): void {
    for (const [name, { loss, targets }] of Object.entries(tasks)) {
      const sum = this.#sums.get(name) ?? { loss: 0, targets: 0 };
      this.#sums.set(name, { loss: sum.loss + loss * targets, targets: sum.targets + targets });
    }
  }

  /** @returns the training losses since the last evaluation, undefined before the first step, and what they say */
  evaluation(result: EvalResult): { tasks: Readonly<Record<string, TaskLoss>> | undefined; warnings: Warning[] } {
    const tasks = Object.fromEntries(
      [...this.#sums].map(([name, { loss, targets }]) => [name, { loss: loss / targets, targets }]),
    );
    const all = [...this.#sums.values()];
    const targets = all.reduce((sum, task) => sum + task.targets, 0);
    const trainLoss = targets === 0 ? undefined : all.reduce((sum, task) => sum + task.loss, 0) / targets;
    this.#sums.clear();
    return {
      tasks: targets === 0 ? undefined : tasks,
      warnings: [...this.#overfitting(result.loss, trainLoss), ...this.#memorisation(result, tasks)],
    };
  }

  #overfitting(evalLoss: number, trainLoss: number | undefined): Warning[] {
    const last = this.#rising.at(-1);
    if (last === undefined || !(evalLoss > last.evalLoss)) this.#rising = [];
    this.#rising.push({ evalLoss, trainLoss });
    if (this.#rising.length !== RISES + 1) return []; // once, until the eval loss falls again
    const [lowest, first] = this.#rising as [Round, Round];
    if (trainLoss === undefined || first.trainLoss === undefined || trainLoss >= first.trainLoss) return [];
    const rose = `from ${lowest.evalLoss.toFixed(4)} to ${evalLoss.toFixed(4)}`;
    const fell = `from ${first.trainLoss.toFixed(4)} to ${trainLoss.toFixed(4)}`;
    return [
      {
        code: "OVERFITTING",
        message: `the eval loss has risen ${RISES} times on end (${rose}) while the training loss fell (${fell}); stop with eval.patience, keep: best, train fewer epochs or at a lower rate`,
      },
    ];
  }

  #memorisation(result: EvalResult, trained: Readonly<Record<string, TaskLoss>>): Warning[] {
    return Object.entries(result.tasks).flatMap(([name, { loss: evalLoss }]): Warning[] => {
      const train = trained[name];
      if (train === undefined) return [];
      const far = train.loss <= FAR_BELOW * evalLoss && evalLoss - train.loss >= LEAST_GAP;
      const told = this.#memorised.has(name);
      if (!far) this.#memorised.delete(name);
      if (!far || told) return [];
      this.#memorised.add(name);
      return [
        {
          code: "MEMORISATION",
          name,
          message: `task ${name}: the training loss is ${train.loss.toFixed(4)} and the eval loss ${evalLoss.toFixed(4)}: the model recites its rows; train fewer epochs, add rows, or use dropout and weight_decay`,
        },
      ];
    });
  }
}
