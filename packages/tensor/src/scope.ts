// Ownership in eager mode: a scope frees what was made inside, except what it returns.

import type { Device } from "./device.ts";
import type { Storage } from "./storage.ts";
import { Tensor } from "./tensor.ts";

/**
 * Runs `body`; afterwards frees every tensor made inside, except those in its result (a tensor, or an array or
 * plain object of tensors), which belong to the enclosing scope or, outside any, to the caller.
 */
export async function scope<T>(device: Device, body: () => T | Promise<T>): Promise<T> {
  const close = open(device);
  try {
    const result = await body();
    close.keeping(result);
    return result;
  } finally {
    close.now();
  }
}

/** `scope` for a body that waits for nothing. */
export function scopeSync<T>(device: Device, body: () => T): T {
  const close = open(device);
  try {
    const result = body();
    close.keeping(result);
    return result;
  } finally {
    close.now();
  }
}

function open(device: Device): { keeping(result: unknown): void; now(): void } {
  const outer = device.scope;
  const inner = new Set<Storage>();
  device.scope = inner;
  return {
    keeping: (result) => {
      for (const { storage } of tensorsIn(result)) if (inner.delete(storage)) outer?.add(storage);
    },
    now: () => {
      device.scope = outer;
      for (const storage of inner) device.release(storage);
    },
  };
}

function* tensorsIn(value: unknown): Iterable<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const v of value) yield* tensorsIn(v);
  else if (value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype)
    for (const v of Object.values(value)) yield* tensorsIn(v);
}
