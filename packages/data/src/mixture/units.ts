import type { Draws } from "./draws.ts";

/** Draws that are looked at together where their order depends on lengths. */
export const WINDOW = 8192;

/** What a micro-batch counts: single examples, or bins of them. */
export interface Units {
  /** units of an epoch; 0 = every task is used up */
  epochSize(epoch: number): number;
  /** the next epoch of another size, Infinity if all that follow are alike */
  nextChange(epoch: number): number;
  /** example indices of unit `i` */
  at(epoch: number, i: number): readonly number[];
}

/** Every example is a unit of its own. */
export function singles(draws: Draws): Units {
  return {
    epochSize: (epoch) => draws.epochSize(epoch),
    nextChange: (epoch) => draws.nextChange(epoch),
    at: (epoch, i) => [draws.at(epoch, i)],
  };
}
