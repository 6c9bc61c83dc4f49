// Log-probabilities of given next tokens, as a program recorded once per bucket of tokens.

import { scoreTokens } from "@tunesmith/autograd";
import { declareTokens, forward, outputHead, tokenBucket, tokenValues } from "@tunesmith/models";
import type { TokenSequence } from "@tunesmith/models";
import { record } from "@tunesmith/tensor";
import type { Program } from "@tunesmith/tensor";
import { rowsFor } from "./step-memory.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

/** Per position of a sequence; 0 where there is no target. */
export interface Scores {
  /** log p(target), nats */
  readonly logProbs: Float32Array;
  /** of the distribution over the next token, nats; at every position */
  readonly entropy: Float32Array;
  /** 1 where the target is the most likely token */
  readonly correct: Float32Array;
}

export class ScorePrograms {
  readonly #tuning: Pick<Tuning, "model" | "adapter">;
  readonly #programs = new Map<number, Program>();

  readonly #chunkRows: number | undefined;

  constructor(tuning: Pick<Tuning, "model" | "adapter">, { chunkRows }: Pick<StepMemory, "chunkRows"> = {}) {
    this.#tuning = tuning;
    this.#chunkRows = chunkRows;
  }

  get all(): readonly Program[] {
    return [...this.#programs.values()];
  }

  /** The program for a bucket of tokens. */
  program(tokens: number): Program {
    const { model, adapter } = this.#tuning;
    let program = this.#programs.get(tokens);
    if (!program) {
      program = record(model.device, `score ${tokens} tokens`, (inputs) => {
        const hidden = forward(model, declareTokens(inputs, tokens), { adapter });
        const targets = inputs.input("targets", [tokens], "i32");
        return scoreTokens(hidden, outputHead(model, adapter), {
          targets,
          softCap: model.config.logitSoftCap,
          chunkRows: rowsFor(tokens, this.#chunkRows),
        });
      });
      this.#programs.set(tokens, program);
    }
    return program;
  }

  /** Scores every position that has a target (−100 = none). At most two may be on their way at one time. */
  async score(sequence: TokenSequence & { readonly targets: Int32Array }): Promise<Scores> {
    const { model } = this.#tuning;
    const length = sequence.inputIds.length;
    const tokens = tokenBucket(length);
    const targets = new Int32Array(tokens).fill(-100);
    targets.set(sequence.targets);
    const limits = { vocab: model.config.vocabSize, positions: model.positions };
    const values = await this.program(tokens)
      .replay({ ...tokenValues(sequence, tokens, limits), targets })
      .read();
    const of = (name: string): Float32Array => values[name]!.subarray(0, length) as Float32Array;
    return { logProbs: of("logProbs"), entropy: of("entropy"), correct: of("correct") };
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose();
    this.#programs.clear();
  }
}
