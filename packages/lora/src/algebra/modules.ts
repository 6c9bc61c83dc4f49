// Adapters as plain matrices on the host, one low-rank update ΔW = s·B·A per module.

import type { LoraConfig } from "../adapter.ts";
import { loraScale, peftNames } from "../adapter.ts";
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
}

/** The updates of an adapter by module path, in float64. */
export function updatesOf(adapter: PeftAdapter): Map<string, Update> {
  const scale = loraScale(adapter.config);
  return new Map(
    adapter.targets.map((path) => {
      const names = peftNames(path);
      const of = (name: string): Matrix => {
        const [rows, cols] = adapter.shapes.get(name)!;
        return matrix(rows!, cols!, adapter.values.get(name)!);
      };
      return [path, { a: of(names.a), b: of(names.b), scale }];
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
