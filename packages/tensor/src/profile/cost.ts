import type { TensorData } from "../dtype.ts";
import { unpackParams } from "../kernel.ts";
import type { Launch } from "../launch.ts";
import type { Tensor } from "../tensor.ts";

/**
 * What one dispatch has to compute and to move at least, if all its workgroups run.
 * @param valuesOf - host values of a tensor that is an input of the running program
 */
export function launchCost(
  launch: Launch,
  valuesOf: (tensor: Tensor) => TensorData | undefined,
): { flops: number; bytes: number } {
  const { kernel, spec } = launch.variant;
  const names = [...Object.keys(kernel.reads), ...Object.keys(kernel.writes), ...Object.keys(kernel.updates)];
  const sizes = new Map<string, number>();
  const seen = new Set<string>();
  for (const [i, tensor] of launch.bindings.entries()) {
    // kernels bind something in place of an operand that is absent; memory counts once
    const place = `${tensor.storage.id}+${tensor.byteOffset}`;
    sizes.set(names[i]!, seen.has(place) ? 0 : tensor.bytes);
    seen.add(place);
  }
  const bytes = (name: string): number => sizes.get(name) ?? 0;
  const cost = kernel.cost?.(unpackParams(kernel, launch.params), spec, {
    bytes,
    values: (name) => {
      const tensor = launch.bindings[names.indexOf(name)];
      return tensor && valuesOf(tensor);
    },
  });
  const updated = Object.keys(kernel.updates).reduce((sum, name) => sum + bytes(name), 0);
  const bound = [...sizes.values()].reduce((sum, n) => sum + n, updated);
  return { flops: cost?.flops ?? 0, bytes: cost?.bytes ?? bound };
}
