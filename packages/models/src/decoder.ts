// A decoder of any architecture: embedding, layers, final norm. What a layer is, its architecture says.

import {
  add,
  addLayerNorm,
  addRmsNorm,
  attention,
  changedEmbedding,
  embedding,
  layerNorm,
  linear,
  linearMany,
  recompute,
  rmsNorm,
  rope,
  scale,
  splitHeads,
} from "@tunesmith/autograd";
import type { ChangedRows, Head, LowRank } from "@tunesmith/autograd";
import type { Device, Tensor, Weight } from "@tunesmith/tensor";
import type { LayerContext } from "./architecture.ts";
import { architectureOf } from "./architectures/registry.ts";
import type { TokenInputs } from "./batch.ts";
import type { ModelConfig } from "./config.ts";
import type { Norm } from "./tree.ts";

/** Tables of one rotary embedding, `[positions, rotaryDim / 2]` each. */
export interface Rotary {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

/** A layer with its tensors. */
export type Layer = (x: Tensor, context: LayerContext) => Tensor;

/** A model on a device. Nothing in it knows about adapters: they are an argument of `forward`. */
export interface Model {
  readonly device: Device;
  readonly config: ModelConfig;
  /** every tensor by its name in the checkpoint; matrices are weights */
  readonly parameters: ReadonlyMap<string, Tensor | Weight>;
  /** `[vocab, hidden]` */
  readonly embedding: Weight;
  /** `[positions, hidden]`, where positions are learned */
  readonly positionEmbedding: Weight | undefined;
  readonly layers: readonly Layer[];
  readonly norm: Norm;
  /** the output head `[vocab, hidden]`; the embedding itself where the two are tied */
  readonly lm_head: Weight;
  /** by layer; undefined: that layer turns nothing */
  readonly rotary: readonly (Rotary | undefined)[];
  /** positions that were prepared */
  readonly positions: number;
  /** Gives the weights' memory back (not that of parameters placed elsewhere). */
  dispose(): void;
}

/** Whatever adds low-rank terms to linear layers or replaces embedding and head, looked up by the module's path. */
export interface Adapter {
  at(path: string): LowRank | undefined;
  /** a weight that stands in for the base's */
  weight?(path: string): Weight | undefined;
  /** a bias that stands in for that of a linear layer or a norm */
  bias?(path: string): Tensor | undefined;
  /** changes to rows of the embedding or the output head; a head that is tied to the embedding has the embedding's */
  changedRows?(path: string): ChangedRows | undefined;
}

/** What is saved for backward: everything (`none`), or the input of each layer, which then runs twice. */
export type Recompute = "none" | "layer";

/** What attention sees of one layer's keys and values; a generator puts its cache here. */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

export interface DecodeOptions {
  readonly adapter?: Adapter | undefined;
  readonly recompute?: Recompute | undefined;
  /** what the embedding gives (scaled where the model scales it) becomes, before learned positions and the layers; default: itself */
  readonly onEmbedding?: ((embedded: Tensor) => Tensor) | undefined;
  /** shown the hidden states `[T, hidden]` after the embedding (0) and after each layer (1 …), before the final norm */
  readonly onHidden?: ((hidden: Tensor, layer: number) => void) | undefined;
}

/**
 * Runs the decoder and stops before logits (which the loss soft-caps where `config.logitSoftCap` says so).
 *
 * @param tokens - one flat sequence of T tokens
 * @returns hidden states after the final norm, `[T, hidden]` f32; rows of padding tokens mean nothing
 */
export function forward(model: Model, tokens: TokenInputs, options: DecodeOptions = {}): Tensor {
  const { config } = model;
  const attend: Attend = (layer, q, k, v) =>
    attention(q, k, v, { segments: tokens.segments, ...attentionShape(config, layer) });
  return decode(model, tokens, { ...options, attend });
}

/** The head `[vocab, hidden]` that makes logits of hidden states: the adapter's own, or the base's with the adapter's rows. */
export function outputHead(model: Model, adapter: Adapter | undefined): Head {
  const { embedding, head } = architectureOf(model.config.architecture)!.names;
  const changed = adapter?.changedRows?.(model.config.tiedHead ? embedding : head);
  return { weight: adapter?.weight?.(head) ?? model.lm_head, changed };
}

/** What every attention of a layer is told about its heads. */
export function attentionShape(
  config: ModelConfig,
  layer: number,
): { heads: number; kvHeads: number; headDim: number; scale: number; window?: number; softCap?: number } {
  const { heads, kvHeads, headDim, attentionScale, attentionSoftCap } = config;
  const window = config.windows[layer];
  return {
    heads,
    kvHeads,
    headDim,
    scale: attentionScale,
    ...(window === undefined ? {} : { window }),
    ...(attentionSoftCap === undefined ? {} : { softCap: attentionSoftCap }),
  };
}

/** The decoder around any way to attend. */
export function decode(
  model: Model,
  tokens: Pick<TokenInputs, "ids" | "positions">,
  options: DecodeOptions & { readonly attend: Attend },
): Tensor {
  const { config } = model;
  const { adapter } = options;
  const path = architectureOf(config.architecture)!.names.embedding;
  let x = changedEmbedding(adapter?.weight?.(path) ?? model.embedding, tokens.ids, adapter?.changedRows?.(path));
  if (config.embeddingScale !== 1) x = scale(x, config.embeddingScale);
  if (options.onEmbedding) x = options.onEmbedding(x);
  if (model.positionEmbedding) x = add(x, embedding(model.positionEmbedding, tokens.positions));
  options.onHidden?.(x, 0);
  for (const [i, layer] of model.layers.entries()) {
    const input = x;
    const run = (): Tensor => layer(input, layerContext(model, tokens, i, options));
    x = options.recompute === "layer" ? recompute(model.device, run) : run();
    options.onHidden?.(x, i + 1);
  }
  return normalize(config, x, model.norm, adapter);
}

function layerContext(
  { config, rotary }: Model,
  { positions }: Pick<TokenInputs, "positions">,
  layer: number,
  { adapter, attend }: { adapter?: Adapter | undefined; attend: Attend },
): LayerContext {
  const { headDim, normEps: eps } = config;
  const tables = rotary[layer];
  return {
    config,
    project: (x, { path, weight, bias: own, layout }) => {
      const bias = adapter?.bias?.(path) ?? own;
      return linear(x, weight, { ...(bias ? { bias } : {}), lowRank: adapter?.at(path), layout });
    },
    projectMany: (x, linears) =>
      linearMany(
        x,
        linears.map(({ path, weight, bias }) => ({
          weight,
          bias: adapter?.bias?.(path) ?? bias,
          lowRank: adapter?.at(path),
        })),
      ),
    splitHeads: (joined, { turned }) =>
      splitHeads(joined, {
        heads: config.heads,
        kvHeads: config.kvHeads,
        headDim,
        rotary: turned && tables ? { positions, ...tables } : undefined,
      }),
    norm: (x, norm, groups) => normalize(config, x, norm, adapter, groups),
    addNorm: (x, y, { path, weight, bias }) =>
      config.norm === "layer"
        ? addLayerNorm(x, y, weight, { eps, bias: adapter?.bias?.(path) ?? bias })
        : addRmsNorm(x, y, weight, { eps, offset: gainOffset(config) }),
    rotate: (x, heads) => (tables ? rope(x, { positions, ...tables, heads, headDim }) : x),
    attend: (q, k, v) => attend(layer, q, k, v),
  };
}

/** What is added to the weight of an RMSNorm. */
function gainOffset({ norm }: ModelConfig): number {
  return norm === "rms_offset" ? 1 : 0;
}

function normalize(
  config: ModelConfig,
  x: Tensor,
  { path, weight, bias }: Norm,
  adapter: Adapter | undefined,
  groups = 1,
): Tensor {
  const { norm, normEps: eps } = config;
  return norm === "layer"
    ? layerNorm(x, weight, { eps, bias: adapter?.bias?.(path) ?? bias })
    : rmsNorm(x, weight, { eps, groups, offset: gainOffset(config) });
}
