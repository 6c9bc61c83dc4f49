// Is this base suitable? Its loss before the first update, against what a uniform guess would have.

import type { TaskLoss } from "../events.ts";
import type { Suitability, Warning } from "./findings.ts";

/** share of ln(vocabulary) from which a loss is no better than a guess: random weights land within a few percent of it */
const UNSUITABLE_SHARE = 0.95;
/** nats per target below which a text was seen before: every token but one in ten is certain */
const KNOWN_LOSS = 0.1;

/** @param tasks - losses of the untouched start */
export function suitability(tasks: Readonly<Record<string, TaskLoss>>, vocabSize: number): Suitability {
  const uniform = Math.log(vocabSize);
  return {
    uniform_loss: uniform,
    tasks: Object.fromEntries(
      Object.entries(tasks).map(([name, { loss }]) => [
        name,
        {
          loss,
          share: loss / uniform,
          verdict: loss >= UNSUITABLE_SHARE * uniform ? "unsuitable" : loss <= KNOWN_LOSS ? "known" : "suitable",
        },
      ]),
    ),
  };
}

export function suitabilityWarnings({ uniform_loss: uniform, tasks }: Suitability): Warning[] {
  return Object.entries(tasks).flatMap(([name, { loss, verdict }]): Warning[] => {
    const numbers = `loss ${loss.toFixed(3)} per target before the first update`;
    if (verdict === "unsuitable")
      return [
        {
          code: "BASE_UNSUITABLE",
          name,
          message: `task ${name}: ${numbers}, and a uniform guess has ${uniform.toFixed(3)}: this base knows nothing of such text; check that tokenizer and chat template are its own, or take another base`,
        },
      ];
    if (verdict === "known")
      return [
        {
          code: "BASE_KNOWS_DATA",
          name,
          message: `task ${name}: ${numbers} is next to nothing: the base has seen these rows, or they tell their own answers; scores on them measure memory`,
        },
      ];
    return [];
  });
}
