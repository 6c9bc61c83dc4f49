// Generation: the next token of every row is drawn on the host from logits that a KV cache's programs compute.

import type { Program } from "@tunesmith/tensor";
import type { Adapter, Model } from "./decoder.ts";
import { ModelError } from "./errors.ts";
import { KeyValueCache } from "./kv-cache.ts";
import { sample } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";

export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** ids that end a row */
  readonly stopIds: readonly number[];
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export interface Generated {
  /** new tokens, with the stop id where one ended the row */
  readonly ids: readonly number[];
  readonly finishReason: "eos" | "length";
}

const ROWS = [1, 2, 4, 8, 16];

/** Prompts that are continued together, and which is the first of them. */
function groups(prompts: readonly Int32Array[]): { rows: readonly Int32Array[]; first: number }[] {
  const most = ROWS.at(-1)!;
  return Array.from({ length: Math.ceil(prompts.length / most) }, (_, i) => ({
    rows: prompts.slice(i * most, (i + 1) * most),
    first: i * most,
  }));
}

/** Generates with one model and adapter; programs and caches are kept between calls. */
export class Generator {
  readonly #model: Model;
  readonly #adapter: Adapter | undefined;
  readonly #caches = new Map<string, KeyValueCache>();

  constructor(model: Model, adapter?: Adapter) {
    this.#model = model;
    this.#adapter = adapter;
  }

  /**
   * Continues every prompt. Rows are drawn independently: (seed, row index, step) decide, not the grouping.
   * @throws ModelError `CONTEXT_TOO_LONG` for a prompt that leaves no position to generate, `TOKEN_OUT_OF_RANGE`
   */
  async generate(prompts: readonly Int32Array[], options: GenerateOptions): Promise<Generated[]> {
    const results: Generated[] = [];
    for (const { rows, first } of groups(prompts)) results.push(...(await this.#group(rows, first, options)));
    return results;
  }

  /** Makes ahead what {@link generate} will need for these prompts: caches, and the programs it returns. */
  prepare(prompts: readonly Int32Array[], { maxNewTokens }: Pick<GenerateOptions, "maxNewTokens">): readonly Program[] {
    return groups(prompts).flatMap(({ rows }) =>
      this.#cacheFor(rows, maxNewTokens).prepare(rows.reduce((sum, { length }) => sum + length, 0)),
    );
  }

  /** Logits `[vocab]` of the token after each prompt. */
  async nextLogits(prompts: readonly Int32Array[]): Promise<Float32Array[]> {
    const logits: Float32Array[] = [];
    for (const { rows: group } of groups(prompts)) {
      const cache = this.#cache(group.length, Math.max(...group.map((prompt) => prompt.length)));
      logits.push(...(await cache.prefill(group)).slice(0, group.length));
    }
    return logits;
  }

  dispose(): void {
    for (const cache of this.#caches.values()) cache.dispose();
    this.#caches.clear();
  }

  async #group(prompts: readonly Int32Array[], firstRow: number, options: GenerateOptions): Promise<Generated[]> {
    const { positions } = this.#model;
    for (const [i, prompt] of prompts.entries())
      if (prompt.length === 0 || prompt.length >= positions)
        throw new ModelError(
          "CONTEXT_TOO_LONG",
          `prompt ${firstRow + i} has ${prompt.length} tokens; generating needs 1 … ${positions - 1}`,
          {
            received: String(prompt.length),
            expected: `1 … ${positions - 1} tokens`,
            fix: prompt.length === 0 ? "give a prompt, or a tokenizer that adds BOS" : "shorten the prompt",
          },
        );
    const cache = this.#cacheFor(prompts, options.maxNewTokens);
    const sequences = prompts.map((prompt) => [...prompt]);
    const done: (Generated | undefined)[] = prompts.map(() => undefined);
    const finish = (row: number, finishReason: Generated["finishReason"]): void => {
      done[row] = { ids: sequences[row]!.slice(prompts[row]!.length), finishReason };
    };
    if (options.maxNewTokens === 0) prompts.forEach((_, row) => finish(row, "length"));

    let logits = done.every(Boolean) ? undefined : await cache.prefill(prompts);
    for (let step = 0; logits; step++) {
      for (const [row, sequence] of sequences.entries()) {
        if (done[row]) continue;
        const at = { seed: options.seed, row: firstRow + row, step };
        const id = sample(logits[row]!, sequence, options, at);
        sequence.push(id);
        if (options.stopIds.includes(id)) finish(row, "eos");
        else if (step + 1 >= options.maxNewTokens || sequence.length >= positions) finish(row, "length");
      }
      if (done.every(Boolean)) break;
      options.signal?.throwIfAborted();
      logits = await cache.step(
        sequences.map((sequence, row) =>
          done[row] ? undefined : { id: sequence.at(-1)!, position: sequence.length - 1 },
        ),
      );
    }
    return done as Generated[];
  }

  #cacheFor(prompts: readonly Int32Array[], maxNewTokens: number): KeyValueCache {
    const longest = Math.max(...prompts.map((prompt) => prompt.length));
    return this.#cache(prompts.length, Math.min(this.#model.positions, longest + maxNewTokens));
  }

  #cache(rows: number, positions: number): KeyValueCache {
    const bucket = ROWS.find((r) => r >= rows)!;
    const capacity = 256 * 2 ** Math.max(0, Math.ceil(Math.log2(positions / 256)));
    const key = `${bucket},${capacity}`;
    let cache = this.#caches.get(key);
    if (!cache) this.#caches.set(key, (cache = new KeyValueCache(this.#model, this.#adapter, bucket, capacity)));
    return cache;
  }
}
