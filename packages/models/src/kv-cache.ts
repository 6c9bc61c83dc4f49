// Keys and values of the rows being generated, and the two recorded programs around them: prefill runs the prompts of all rows
// as one flat sequence, step runs one token per row. Logits of the last positions come to the host.

import { attention, cachedAttention, headLogits, softCap, storeKeysValues } from "@tunesmith/autograd";
import type { LayerCache } from "@tunesmith/autograd";
import { empty, gatherRows, launch, record, state } from "@tunesmith/tensor";
import type { Inputs, Program, Tensor, TensorData } from "@tunesmith/tensor";
import { declareTokens, tokenBucket, tokenValues } from "./batch.ts";
import { attentionShape, decode, outputHead } from "./decoder.ts";
import type { Adapter, Attend, Model } from "./decoder.ts";

/** The next token needs the logits of the last one. */
const ONE_IN_FLIGHT = { inFlight: 1 };

/** A token to run, and its position in its row. */
export interface NextToken {
  readonly id: number;
  readonly position: number;
}

/** Keys and values of every layer for a number of rows, and the programs that fill and use them. */
export class KeyValueCache {
  readonly #model: Model;
  readonly #adapter: Adapter | undefined;
  readonly #rows: number;
  readonly #capacity: number;
  readonly #layers: readonly LayerCache[];
  readonly #prefills = new Map<number, Program>();
  #step: Program | undefined;

  constructor(model: Model, adapter: Adapter | undefined, rows: number, capacity: number) {
    this.#model = model;
    this.#adapter = adapter;
    this.#rows = rows;
    this.#capacity = capacity;
    const { kvHeads, headDim } = model.config;
    const make = (label: string): Tensor<"f32"> =>
      state(model.device, { shape: [rows * capacity, kvHeads * headDim], dtype: "f32", category: "state", label });
    this.#layers = model.layers.map((_, i) => ({
      keys: make(`cached keys ${i}`),
      values: make(`cached values ${i}`),
      capacity,
    }));
  }

  /** The programs that prompts of so many tokens in all will run. */
  prepare(length: number): readonly Program[] {
    return [this.#prefill(tokenBucket(length)), this.#stepProgram()];
  }

  /** Runs all prompts and returns the logits after each. */
  async prefill(prompts: readonly Int32Array[]): Promise<Float32Array[]> {
    const { tokens, values } = this.prefillValues(prompts);
    const { logits } = await this.#prefill(tokens).replay(values).read();
    return this.#split(logits as Float32Array);
  }

  /** Runs one token per row; undefined rows are idle. */
  async step(tokens: readonly (NextToken | undefined)[]): Promise<Float32Array[]> {
    const { logits } = await this.#stepProgram().replay(this.stepValues(tokens)).read();
    return this.#split(logits as Float32Array);
  }

  /** The inputs of a prefill, and the number of tokens it is recorded for. */
  prefillValues(prompts: readonly Int32Array[]): { tokens: number; values: Record<string, TensorData> } {
    const length = prompts.reduce((n, prompt) => n + prompt.length, 0);
    const tokens = tokenBucket(length);
    const sequence = {
      inputIds: new Int32Array(length),
      positionIds: new Int32Array(length),
      segmentIds: new Int32Array(length),
    };
    const slots = new Int32Array(tokens).fill(-1);
    const last = new Int32Array(this.#rows);
    let at = 0;
    for (const [row, prompt] of prompts.entries())
      for (const [position, id] of prompt.entries()) {
        sequence.inputIds[at] = id;
        sequence.positionIds[at] = position;
        sequence.segmentIds[at] = row;
        slots[at] = row * this.#capacity + position;
        last[row] = at++;
      }
    const limits = { vocab: this.#model.config.vocabSize, positions: this.#model.positions };
    return { tokens, values: { ...tokenValues(sequence, tokens, limits), slots, last } };
  }

  /** The inputs of a step. */
  stepValues(tokens: readonly (NextToken | undefined)[]): Record<string, TensorData> {
    const fill = (value: (token: NextToken, row: number) => number, idle: number): Int32Array =>
      Int32Array.from({ length: this.#rows }, (_, row) => (tokens[row] ? value(tokens[row], row) : idle));
    return {
      ids: fill((t) => t.id, 0),
      positions: fill((t) => t.position, 0),
      slots: fill((t, row) => row * this.#capacity + t.position, -1),
      lengths: fill((t) => t.position + 1, 0),
    };
  }

  /** What the prefill program computes, eagerly or while recording: logits `[rows, vocab]`. Fills the cache. */
  prefillLogits(inputs: Inputs, tokens: number): Tensor {
    const { config, device } = this.#model;
    const sequence = declareTokens(inputs, tokens);
    const slots = inputs.input("slots", [tokens], "i32");
    const attend: Attend = (layer, q, k, v) => {
      storeKeysValues(k, v, this.#layers[layer]!, slots);
      return attention(q, k, v, {
        segments: sequence.segments,
        ...attentionShape(config, layer),
      });
    };
    const hidden = decode(this.#model, sequence, { adapter: this.#adapter, attend });
    const ends = empty(device, [this.#rows, config.hiddenSize]);
    launch(gatherRows, {
      spec: { format: "f32" },
      params: { count: this.#rows, dim: config.hiddenSize, first_id: 0, first_row: 0, rows: tokens },
      reads: { ids: inputs.input("last", [this.#rows], "i32"), table: hidden },
      writes: { out: ends },
    });
    return this.#logits(ends);
  }

  /** The same of the step program, whose inputs are `[rows]` each. */
  stepLogits(inputs: Inputs): Tensor {
    const { config } = this.#model;
    const of = (name: string): Tensor<"i32"> => inputs.input(name, [this.#rows], "i32");
    const [slots, lengths] = [of("slots"), of("lengths")];
    const attend: Attend = (layer, q, k, v) => {
      const cache = this.#layers[layer]!;
      storeKeysValues(k, v, cache, slots);
      return cachedAttention(q, cache, {
        lengths,
        ...attentionShape(config, layer),
      });
    };
    const tokens = { ids: of("ids"), positions: of("positions") };
    return this.#logits(decode(this.#model, tokens, { adapter: this.#adapter, attend }));
  }

  dispose(): void {
    for (const program of this.#prefills.values()) program.dispose();
    this.#step?.dispose();
    for (const { keys, values } of this.#layers) {
      keys.dispose();
      values.dispose();
    }
  }

  #prefill(tokens: number): Program {
    let program = this.#prefills.get(tokens);
    if (!program) {
      program = this.#record(`prefill of ${tokens} tokens`, (inputs) => this.prefillLogits(inputs, tokens));
      this.#prefills.set(tokens, program);
    }
    return program;
  }

  #stepProgram(): Program {
    return (this.#step ??= this.#record(`decode ${this.#rows} rows`, (inputs) => this.stepLogits(inputs)));
  }

  #record(label: string, logits: (inputs: Inputs) => Tensor): Program {
    return record(this.#model.device, label, (inputs) => ({ logits: logits(inputs) }), ONE_IN_FLIGHT);
  }

  #logits(hidden: Tensor): Tensor {
    const { device, config } = this.#model;
    const logits = empty(device, [this.#rows, config.vocabSize]);
    headLogits(hidden, outputHead(this.#model, this.#adapter), logits);
    return config.logitSoftCap === undefined ? logits : softCap(logits, config.logitSoftCap);
  }

  #split(logits: Float32Array): Float32Array[] {
    const vocab = this.#model.config.vocabSize;
    return Array.from({ length: this.#rows }, (_, row) => logits.subarray(row * vocab, (row + 1) * vocab));
  }
}
