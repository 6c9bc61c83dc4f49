// Ownership in eager mode: a scope frees what was made inside, except what it returns.

import type { Device } from "./device.ts";
import { Tensor } from "./tensor.ts";

/**
 * Runs `body`; afterwards frees every tensor made inside, except those in its result (a tensor, or an array or
 * plain object of tensors), which belong to the enclosing scope or, outside any, to the caller.
 */
export async function scope<T>(device: Device, body: () => T | Promise<T>): Promise<T> {
  const outer = device.scope;
  const inner = new Set<NonNullable<typeof outer> extends Set<infer S> ? S : never>();
  device.scope = inner;
  try {
    const result = await body();
    for (const tensor of tensorsIn(result)) {
      if (inner.delete(tensor.storage)) outer?.add(tensor.storage);
    }
    return result;
  } finally {
    device.scope = outer;
    for (const storage of inner) device.release(storage);
  }
}

function* tensorsIn(value: unknown): Iterable<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const v of value) yield* tensorsIn(v);
  else if (value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype)
    for (const v of Object.values(value)) yield* tensorsIn(v);
}
