// Amounts of memory as people write them.

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** What a string must look like: a number and a unit, decimal or binary. */
export const BYTES_PATTERN: RegExp = /^\d+(\.\d+)? ?([kKmMgGtT]i?)?[bB]?$/;

/** "8GiB", "800 MB", "12000000": bytes, rounded down; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  if (!BYTES_PATTERN.test(text)) return undefined;
  const [, number, unit] = /^([\d.]+) ?([a-z]*)$/.exec(text.toLowerCase())!;
  const factor = UNITS[unit!] ?? UNITS[`${unit}b`];
  return factor === undefined ? undefined : Math.floor(Number(number) * factor);
}

/** Decimal, three digits. */
export function bytesText(bytes: number): string {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ] as const)
    if (bytes >= size) return `${(bytes / size).toFixed(bytes >= 100 * size ? 0 : bytes >= 10 * size ? 1 : 2)} ${unit}`;
  return `${bytes} bytes`;
}
