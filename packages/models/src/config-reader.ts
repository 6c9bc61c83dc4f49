// Typed access to config.json, with the key's full name in errors.

import type { JsonObject, JsonValue } from "@tunesmith/core";
import { ModelError } from "./errors.ts";

/** Typed access to a JSON object, with the key's full name in errors. `null` counts as absent, as in transformers. */
export class ConfigReader {
  readonly #json: JsonObject;
  readonly #path: string;
  readonly #prefix: string;

  constructor(json: JsonObject, path: string, prefix = "") {
    this.#json = json;
    this.#path = path;
    this.#prefix = prefix;
  }

  has(key: string): boolean {
    const value = this.#json.get(key);
    return value !== undefined && value !== null;
  }

  mentions(key: string): boolean {
    return this.#json.has(key);
  }

  int(key: string, fallback?: number, otherwise?: () => number): number {
    if (!this.has(key) && fallback === undefined && otherwise) return otherwise();
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value) || value < 1) this.invalid(key, String(value), "an integer ≥ 1");
    return value;
  }

  number(key: string, fallback?: number): number {
    const value = this.#get(key, fallback);
    if (typeof value !== "number" || value < 0) return this.invalid(key, shown(value), "a number ≥ 0");
    return value;
  }

  positive(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    return value > 0 ? value : this.invalid(key, String(value), "a number > 0");
  }

  text(key: string, fallback?: string): string {
    const value = this.#get(key, fallback);
    return typeof value === "string" ? value : this.invalid(key, shown(value), "a string");
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#get(key, fallback);
    return typeof value === "boolean" ? value : this.invalid(key, shown(value), "true or false");
  }

  object(key: string): JsonObject | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#json.get(key)!;
    return value instanceof Map ? value : this.invalid(key, shown(value), "an object");
  }

  list(key: string): JsonValue[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#json.get(key)!;
    return Array.isArray(value) ? value : this.invalid(key, shown(value), "a list");
  }

  /** The object under `key`, absent or not, with its own name in errors. */
  within(key: string): ConfigReader | undefined {
    const inner = this.object(key);
    return inner && new ConfigReader(inner, this.#path, `${this.#prefix}${key}.`);
  }

  numbers(key: string, length: number): number[] {
    const values = this.list(key) ?? this.invalid(key, "missing", `${length} numbers`);
    if (values.length !== length || !values.every((v) => typeof v === "number" && v > 0))
      this.invalid(key, `a list of ${values.length}`, `${length} numbers > 0`);
    return values as number[];
  }

  /** Refuses a feature that is switched on: any value but null, false, 0, 1, "" and empty lists. */
  off(key: string): void {
    const value = this.#json.get(key);
    const none = value instanceof Map || Array.isArray(value) ? [...value].length === 0 : !value || value === 1;
    if (none) return;
    const received = shown(value!);
    throw new ModelError(
      "ARCHITECTURE_UNSUPPORTED",
      `${this.#path}: ${this.#prefix}${key} is ${received}, a feature that is not implemented`,
      { path: this.#path, received, expected: `no ${key}`, fix: "use a model without it" },
    );
  }

  /** One id or a list of ids; [] when absent. */
  tokenIds(key: string): number[] {
    if (!this.has(key)) return [];
    const value = this.#json.get(key)!;
    const ids = Array.isArray(value) ? value : [value];
    for (const id of ids)
      if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
        this.invalid(key, shown(value), "a token id or a list of token ids");
    return ids as number[];
  }

  invalid(key: string, received: string, expected: string): never {
    throw new ModelError(
      "CONFIG_INVALID",
      `${this.#path}: ${this.#prefix}${key} is ${received}, expected ${expected}`,
      {
        path: this.#path,
        received,
        expected,
        fix: `correct ${this.#prefix}${key} in the model's config.json, or get the file again from its source`,
      },
    );
  }

  unsupported(key: string, received: string, supported: string): never {
    throw new ModelError(
      "ARCHITECTURE_UNSUPPORTED",
      `${this.#path}: ${this.#prefix}${key} "${received}" is not supported (supported: ${supported})`,
      {
        path: this.#path,
        received,
        expected: supported,
        fix: "use a model without it",
      },
    );
  }

  #get(key: string, fallback: JsonValue | undefined): JsonValue {
    const value = this.#json.get(key);
    if (value !== undefined && value !== null) return value;
    return fallback === undefined ? this.invalid(key, "missing", "a value") : fallback;
  }
}

function shown(value: JsonValue): string {
  return value instanceof Map ? "an object" : JSON.stringify(value);
}
