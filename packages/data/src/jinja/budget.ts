// A chat template is foreign code. It has no access to anything but its inputs; what is left to fear is that it never
// ends or eats the memory. Both are bounded here, before the work is done: every node, character and list entry that a
// template makes is paid for from one budget.

/** The bounds of one compilation or one render. */
export interface Limits {
  /** steps: a node costs one, text and lists cost by their length */
  readonly fuel: number;
  /** nested calls of the interpreter */
  readonly depth: number;
  /** UTF-16 code units of one string, and of the output */
  readonly stringLength: number;
  /** code units of all strings made, whether or not they are still in use */
  readonly totalLength: number;
  /** entries of all lists and dicts made */
  readonly totalItems: number;
  /** code units of the template's source */
  readonly sourceLength: number;
  /** nested expressions and blocks of the source */
  readonly sourceDepth: number;
}

/**
 * The largest of 124 public templates has 19,574 characters, nested 15 deep; over 1,984 renders they take at most 2,300
 * steps, 28 nested calls, 24,000 characters and 152 entries. A hostile template meets these bounds within a tenth of a second.
 */
export const DEFAULT_LIMITS: Limits = {
  fuel: 1_000_000,
  depth: 300,
  stringLength: 1 << 20,
  totalLength: 1 << 22,
  totalItems: 1 << 17,
  sourceLength: 1 << 16,
  sourceDepth: 80,
};

/** A bound was met. */
export class LimitExceeded extends Error {
  readonly limit: keyof Limits;
  readonly allowed: number;
  constructor(limit: keyof Limits, allowed: number) {
    super(`the template goes beyond its limit of ${allowed} for ${NAMES[limit]}`);
    this.limit = limit;
    this.allowed = allowed;
  }
}

const NAMES: { readonly [L in keyof Limits]: string } = {
  fuel: "steps",
  depth: "nested calls",
  stringLength: "characters in one string",
  totalLength: "characters in all strings",
  totalItems: "entries in all lists",
  sourceLength: "characters of source",
  sourceDepth: "nested expressions",
};

/** Bounds grow with what the user put in: a long conversation may take long to render, a short one may not. */
export function limitsFor(inputLength: number, limits: Limits = DEFAULT_LIMITS): Limits {
  return {
    ...limits,
    fuel: limits.fuel + 8 * inputLength,
    stringLength: limits.stringLength + 8 * inputLength,
    totalLength: limits.totalLength + 128 * inputLength,
    totalItems: limits.totalItems + 8 * inputLength,
  };
}

/** What is left of the limits. Whoever makes something pays first. */
export class Budget {
  readonly limits: Limits;
  #fuel: number;
  #length: number;
  #items: number;
  #depth = 0;
  #deepest = 0;

  constructor(limits: Limits) {
    this.limits = limits;
    this.#fuel = limits.fuel;
    this.#length = limits.totalLength;
    this.#items = limits.totalItems;
  }

  /** @throws LimitExceeded */
  step(count = 1): void {
    this.#fuel -= count;
    if (!(this.#fuel >= 0)) throw new LimitExceeded("fuel", this.limits.fuel);
  }

  /** Pays for a string of `length` code units that is about to be made. */
  text(length: number): void {
    if (!(length <= this.limits.stringLength)) throw new LimitExceeded("stringLength", this.limits.stringLength);
    this.#length -= length;
    if (this.#length < 0) throw new LimitExceeded("totalLength", this.limits.totalLength);
    this.step(length / 32);
  }

  /** Pays for reading `length` code units, `needle` of them at every place. */
  scan(length: number, needle = 1): void {
    this.step(length / 32 + (length * needle) / 1024);
  }

  /** Pays for `count` entries that are about to be made. */
  items(count: number): void {
    this.#items -= count;
    if (!(this.#items >= 0)) throw new LimitExceeded("totalItems", this.limits.totalItems);
    this.step(count);
  }

  enter(): void {
    if (++this.#depth > this.limits.depth) throw new LimitExceeded("depth", this.limits.depth);
    if (this.#depth > this.#deepest) this.#deepest = this.#depth;
  }

  leave(): void {
    this.#depth--;
  }

  /** What was used so far. */
  spent(): { readonly fuel: number; readonly length: number; readonly items: number; readonly depth: number } {
    const { fuel, totalLength, totalItems } = this.limits;
    return {
      fuel: fuel - this.#fuel,
      length: totalLength - this.#length,
      items: totalItems - this.#items,
      depth: this.#deepest,
    };
  }
}
