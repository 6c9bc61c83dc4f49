// Adapters as plain matrices on the host, one low-rank update ΔW = s·B·A per module.

import { peftNames } from "../adapter.ts";
import { type LoraConfig, moduleRank } from "../config.ts";
import { LoraError } from "../errors.ts";
import { matrix, type Matrix } from "../linalg/matrix.ts";
import type { PeftAdapter } from "../peft.ts";

/** The update of one linear layer. */
export interface Update {
  /** [r, in] */
  readonly a: Matrix;
  /** [out, r] */
  readonly b: Matrix;
  readonly scale: number;
  /** DoRA: [out] */
  readonly magnitude?: Float32Array | undefined;
}

/** The updates of an adapter by module path, in float64. */
export function updatesOf(adapter: PeftAdapter): Map<string, Update> {
  return new Map(
    adapter.targets.map((path) => {
      const names = peftNames(path);
      const of = (name: string): Matrix => {
        const [rows, cols] = adapter.shapes.get(name)!;
        return matrix(rows!, cols!, adapter.values.get(name)!);
      };
      const magnitude = adapter.values.get(names.magnitude);
      return [path, { a: of(names.a), b: of(names.b), scale: moduleRank(adapter.config, path).scale, magnitude }];
    }),
  );
}

/**
 * An adapter from updates whose scale is 1 and whose ranks are one. Its config names each path, so that it loads whatever
 * the layers of its parts were called.
 */
export function adapterFrom(
  updates: ReadonlyMap<string, Pick<Update, "a" | "b">>,
  baseModel: string | undefined,
): PeftAdapter {
  const targets = [...updates.keys()];
  const r = updates.get(targets[0]!)!.a.rows;
  const config: LoraConfig = { r, alpha: r, useRslora: false, targetModules: targets };
  const shapes = new Map<string, readonly number[]>();
  const values = new Map<string, Float32Array>();
  for (const [path, { a, b }] of updates) {
    const names = peftNames(path);
    for (const [name, { rows, cols, data }] of [
      [names.a, a],
      [names.b, b],
    ] as const) {
      shapes.set(name, [rows, cols]);
      values.set(name, Float32Array.from(data));
    }
  }
  return { config, baseModel, targets, shapes, values };
}

/**
 * The updates of an adapter that is nothing but low-rank updates.
 * @throws LoraError `COMBINATION_INVALID` for DoRA, whose magnitudes belong to one base and one B·A, and modules saved whole
 */
export function plainUpdatesOf(adapter: PeftAdapter): Map<string, Update> {
  if (adapter.config.useDora)
    throw new LoraError("COMBINATION_INVALID", "a DoRA adapter is more than a low-rank update of its base", {
      received: "use_dora: true",
      expected: "LoRA adapters",
      fix: "merge it into its base (`tunesmith merge`)",
    });
  if (adapter.config.bias !== undefined)
    throw new LoraError("COMBINATION_INVALID", "an adapter with biases is more than a low-rank update", {
      received: `bias: ${adapter.config.bias}`,
      expected: "LoRA adapters",
      fix: "merge it into its base (`tunesmith merge`)",
    });
  if (adapter.config.trainableTokens !== undefined)
    throw new LoraError("COMBINATION_INVALID", "an adapter with token rows is more than a low-rank update", {
      received: "trainable_token_indices",
      expected: "LoRA adapters",
      fix: "merge it into its base (`tunesmith merge`)",
    });
  if (adapter.config.modulesToSave?.length)
    throw new LoraError("COMBINATION_INVALID", "an adapter with whole modules is more than a low-rank update", {
      received: `modules_to_save: ${adapter.config.modulesToSave.join(", ")}`,
      expected: "LoRA adapters",
      fix: "merge it into its base (`tunesmith merge`)",
    });
  return updatesOf(adapter);
}

/** @throws LoraError `ADAPTERS_INCOMPATIBLE` unless a module has one shape in all adapters that have it */
export function checkSameShapes(adapters: readonly ReadonlyMap<string, Update>[]): void {
  const shapes = new Map<string, string>();
  for (const updates of adapters)
    for (const [path, { a, b }] of updates) {
      const shape = `[${b.rows}, ${a.cols}]`;
      const before = shapes.get(path) ?? shape;
      shapes.set(path, before);
      if (before !== shape)
        throw new LoraError(
          "ADAPTERS_INCOMPATIBLE",
          `module ${path} is ${before} for one adapter and ${shape} for another`,
          {
            expected: before,
            received: shape,
            fix: "combine adapters of one base model",
          },
        );
    }
}
