// Names and shapes of a model's tensors, as its architecture's tree says.

import { architectureOf } from "./architectures/registry.ts";
import type { ModelConfig } from "./config.ts";
import { norm, walk } from "./tree.ts";
import type { LinearSpec, NormSpec } from "./tree.ts";

/** Every parameter in checkpoint order: name → shape (torch layout, `[out, in]` for matrices except GPT-2's). */
export function parameterShapes(config: ModelConfig): Map<string, readonly number[]> {
  const { names, layer } = architectureOf(config.architecture)!;
  const shapes = new Map<string, readonly number[]>();
  const add = (path: string, spec: NormSpec | LinearSpec): void => {
    const size = spec.kind === "norm" ? spec.size : spec.out;
    const matrix = spec.kind === "linear" && (spec.layout === "out_in" ? [spec.out, spec.in] : [spec.in, spec.out]);
    shapes.set(`${path}.weight`, matrix || [size]);
    if (spec.bias) shapes.set(`${path}.bias`, [size]);
  };
  shapes.set(`${names.embedding}.weight`, [config.vocabSize, config.hiddenSize]);
  if (names.positions) shapes.set(`${names.positions}.weight`, [config.maxPositions, config.hiddenSize]);
  for (let i = 0; i < config.layers; i++) walk(layer(config), `${names.layers}.${i}`, add);
  add(names.norm, norm(config.hiddenSize, config.norm === "layer"));
  if (!config.tiedHead) shapes.set(`${names.head}.weight`, [config.vocabSize, config.hiddenSize]);
  return shapes;
}

/** Module paths of the linear layers that an adapter may sit on, in checkpoint order; the output head is not among them. */
export function linearPaths(config: ModelConfig): Map<string, Pick<LinearSpec, "in" | "out" | "layout" | "bias">> {
  const { names, layer } = architectureOf(config.architecture)!;
  const paths = new Map<string, Pick<LinearSpec, "in" | "out" | "layout" | "bias">>();
  for (let i = 0; i < config.layers; i++)
    walk(layer(config), `${names.layers}.${i}`, (path, spec) => {
      if (spec.kind === "linear") {
        const { in: ins, out, layout, bias } = spec;
        paths.set(path, { in: ins, out, layout, bias });
      }
    });
  return paths;
}

/** Sizes of all biases, of linear layers and of norms, by module path. */
export function biasSizes(config: ModelConfig): Map<string, number> {
  return new Map(
    [...parameterShapes(config)]
      .filter(([name]) => name.endsWith(".bias"))
      .map(([name, [size]]) => [name.slice(0, -".bias".length), size!]),
  );
}

/** Shapes of the weights that an adapter may bring whole, by module path: the embedding and the output head, tied or not. */
export function replaceableWeights(config: ModelConfig): Map<string, readonly [rows: number, cols: number]> {
  const { names } = architectureOf(config.architecture)!;
  const shape = [config.vocabSize, config.hiddenSize] as const;
  return new Map([names.embedding, names.head].map((path) => [path, shape]));
}

/** Names of the output head and of the embedding that it is, where the two are tied. */
export function headIsTiedTo(config: ModelConfig): { readonly head: string; readonly embedding: string } | undefined {
  const { names } = architectureOf(config.architecture)!;
  return config.tiedHead ? { head: `${names.head}.weight`, embedding: `${names.embedding}.weight` } : undefined;
}
