import { seededIntegers } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { placeInSlots } from "./slots.ts";
import type { Life } from "./slots.ts";
import type { Storage } from "./storage.ts";

const LAUNCHES = 60;

/** Storages of odd sizes that live for some launches, and pairs that must be apart. */
function drawn(seed: number): {
  lives: Map<Storage, Life>;
  least: number;
  foes: Map<Storage, Set<Storage>>;
} {
  const numbers = seededIntegers(400, seed, 0, 1 << 20);
  const storages = Array.from({ length: 80 }, (_, i) => {
    const bytes = 256 * (1 + (numbers[5 * i]! % (i % 9 === 0 ? 400 : 30)));
    const first = (numbers[5 * i + 1]! % (LAUNCHES + 1)) - 1;
    const last = Math.min(LAUNCHES, first + (numbers[5 * i + 2]! % (i % 4 === 0 ? LAUNCHES : 6)));
    return { storage: { id: i, bytes } as Storage, life: { first, last } };
  });
  const foes = new Map(storages.map(({ storage }) => [storage, new Set<Storage>()]));
  for (const [i, { storage }] of storages.entries()) {
    const other = storages[numbers[5 * i + 3]! % storages.length]!.storage;
    foes.get(storage)!.add(other);
    foes.get(other)!.add(storage);
  }
  let least = 0;
  for (let launch = -1; launch <= LAUNCHES; launch++) {
    const alive = storages.filter(({ life }) => life.first <= launch && life.last >= launch);
    least = Math.max(
      least,
      alive.reduce((sum, { storage }) => sum + storage.bytes, 0),
    );
  }
  return { lives: new Map(storages.map(({ storage, life }) => [storage, life])), least, foes };
}

describe("placing storages in slots", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "random lives %i: nothing meets what it must not, and little is wasted",
    (seed) => {
      const { lives, least, foes } = drawn(seed);
      const { slots, places } = placeInSlots(lives, least, () => foes);
      expect(slots).toEqual([...slots].sort((a, b) => b - a));
      const all = [...lives].map(([storage, life]) => ({ storage, ...life, ...places.get(storage)! }));
      for (const a of all) {
        expect(a.offset % 256).toBe(0);
        expect(a.offset + a.storage.bytes).toBeLessThanOrEqual(slots[a.slot]!);
        for (const b of all) {
          if (a === b || a.slot !== b.slot || a.last < b.first || b.last < a.first) continue;
          expect(foes.get(a.storage)!.has(b.storage), `${a.storage.id} beside ${b.storage.id}`).toBe(false);
          expect(a.offset + a.storage.bytes <= b.offset || b.offset + b.storage.bytes <= a.offset).toBe(true);
        }
      }
      const total = slots.reduce((sum, bytes) => sum + bytes, 0);
      expect(total).toBeGreaterThanOrEqual(least);
      expect(total).toBeLessThan(1.05 * least);
    },
  );
});
