// Broken safetensors files that a fuzzer of bytes would hardly find: a valid file is taken apart, one to
// three parts are changed in ways that matter to a reader, and it is put together again.

import { seededIntegers } from "./normals.ts";

interface Parts {
  /** header members, JSON text each */
  entries: string[];
  data: number[];
  /** changes the header's text once it is joined */
  edits: ((header: string) => string)[];
  /** added to the length in front of the header */
  lengthOff: bigint;
  /** changes the finished file */
  finish: ((file: Uint8Array) => Uint8Array)[];
}

/** Draws below n, from a list of words that never runs out. */
type Draw = (n: number) => number;

const NUMBERS =
  "0 1 2 3 4 7 8 -1 -0 01 1.0 1e0 0.5 1E400 255 4294967295 4294967296 9007199254740991 9007199254740992 9007199254740993 9223372036854775808 18446744073709551615 18446744073709551616 null true".split(
    " ",
  );
const DTYPES =
  "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64 Q7 f32".split(
    " ",
  );
const NAMES = [
  "a",
  "b",
  "",
  "__proto__",
  "__metadata__",
  "\\u0061",
  "\\ud83d\\ude00",
  "\\ud800",
  "é",
  "模型",
  "x".repeat(300),
  "a\\n",
  "a\n",
];
const SNIPPETS = [
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '"',
  "\\",
  " ",
  "\n",
  "\t",
  "\0",
  "\ufeff",
  "\u00a0",
  "{}",
  "[[[[",
  '"x":1',
  "1",
  "-",
  "e5",
  "é",
];

const pick = <T>(draw: Draw, from: readonly T[]): T => from[draw(from.length)]!;
const tensor = (name: string, dtype: string, shape: string, begin: number, end: number): string =>
  `"${name}":{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`;

/** A valid file: up to five tensors side by side, some empty, sometimes metadata. */
function validParts(draw: Draw): Parts {
  const entries: string[] = [];
  let at = 0;
  const count = draw(6);
  for (let i = 0; i < count; i++) {
    const [dtype, bytes] = pick(draw, [
      ["U8", 1],
      ["F16", 2],
      ["BF16", 2],
      ["F32", 4],
      ["I64", 8],
      ["BOOL", 1],
    ] as const);
    const shape = Array.from({ length: draw(4) }, () => draw(4));
    const size = bytes * shape.reduce((product, n) => product * n, 1);
    entries.push(tensor(`t${i}`, dtype, shape.join(), at, at + size));
    at += size;
  }
  if (draw(2) === 1) entries.unshift('"__metadata__":{"format":"pt","step":"12"}');
  if (draw(3) === 0) entries.reverse();
  return { entries, data: Array.from({ length: at }, () => draw(256)), edits: [], lengthOff: 0n, finish: [] };
}

/** Replaces the n-th match of a pattern, n drawn, with what `by` makes of it. */
function replaceOne(text: string, pattern: RegExp, draw: Draw, by: (found: string) => string): string {
  const found = [...text.matchAll(pattern)];
  if (found.length === 0) return text;
  const one = pick(draw, found);
  return text.slice(0, one.index) + by(one[0]) + text.slice(one.index + one[0].length);
}

const MUTATIONS: readonly ((parts: Parts, draw: Draw) => void)[] = [
  // numbers: special ones, and off by one
  ({ edits }, draw) => edits.push((text) => replaceOne(text, /\d+/g, draw, () => pick(draw, NUMBERS))),
  ({ edits }, draw) =>
    edits.push((text) => replaceOne(text, /\d+/g, draw, (n) => String(Number(n) + (draw(2) === 0 ? 1 : -1)))),
  ({ edits }, draw) =>
    edits.push((text) =>
      replaceOne(text, /\[\d*(,\d+)*\]/g, draw, (list) =>
        pick(draw, [list.replace("]", ",0]"), "[]", "[0]", "0", "{}"]),
      ),
    ),
  // dtypes, names and fields
  ({ edits }, draw) => edits.push((text) => replaceOne(text, /"[A-Z]+\d*"/g, draw, () => `"${pick(draw, DTYPES)}"`)),
  ({ edits }, draw) => edits.push((text) => replaceOne(text, /"t\d"/g, draw, () => `"${pick(draw, NAMES)}"`)),
  ({ edits }, draw) =>
    edits.push((text) =>
      replaceOne(text, /"(dtype|shape|data_offsets)":/g, draw, () => pick(draw, ['"dtype":', '"shape":', '"x":', ""])),
    ),
  ({ edits }, draw) =>
    edits.push((text) =>
      replaceOne(
        text,
        /"dtype"/g,
        draw,
        () => `"x":${pick(draw, ["[]", "{}", "[[1.5,null]]", "[[[]]]", '{"y":1,"y":1}', "nul", "-1e3"])},"dtype"`,
      ),
    ),
  ({ edits }, draw) =>
    edits.push((text) =>
      replaceOne(text, /"(pt|12)"/g, draw, () => pick(draw, ["1", "null", "{}", "[]", '"\\ud800"', '"é"', "true"])),
    ),
  // entries: one twice, one gone, one more, two swapped
  ({ entries }, draw) => entries.length > 0 && entries.push(pick(draw, entries)),
  ({ entries }, draw) => entries.splice(draw(entries.length + 1), 1),
  ({ entries, data }, draw) =>
    entries.push(tensor(pick(draw, NAMES), "U8", String(draw(3)), draw(data.length + 1), draw(data.length + 2))),
  ({ entries }) => entries.reverse(),
  // text: something put in, something cut out
  ({ edits }, draw) =>
    edits.push((text) => ((at) => text.slice(0, at) + pick(draw, SNIPPETS) + text.slice(at))(draw(text.length + 1))),
  ({ edits }, draw) =>
    edits.push((text) => ((at) => text.slice(0, at) + text.slice(at + 1 + draw(4)))(draw(text.length + 1))),
  ({ edits }, draw) =>
    edits.push((text) =>
      pick(draw, [`${text}   `, ` ${text}`, `${text}\0`, `${text}{}`, `\ufeff${text}`, text.slice(0, -1)]),
    ),
  // the file around the header
  (parts, draw) => (parts.lengthOff = pick(draw, [1n, -1n, 8n, 100_000_000n, 2n ** 32n, 2n ** 53n, 2n ** 63n, -1000n])),
  ({ data }, draw) => data.splice(draw(data.length + 1), 1 + draw(3)),
  ({ data }, draw) => data.push(...Array.from({ length: 1 + draw(9) }, () => draw(256))),
  ({ finish }, draw) => finish.push((file) => file.subarray(0, draw(file.length + 1))),
  ({ finish }, draw) => finish.push((file) => flipBit(file, draw)),
  ({ finish }, draw) => finish.push((file) => flipBit(file, draw, 8 + draw(200))),
];

/** A copy with one bit changed, at a place drawn or given. */
function flipBit(file: Uint8Array, draw: Draw, at: number = draw(file.length + 1)): Uint8Array {
  const copy = new Uint8Array(file);
  if (at < copy.length) copy[at] = copy[at]! ^ (1 << draw(8));
  return copy;
}

/**
 * One file, a pure function of the seed. About one in twenty is left valid.
 * @param seed - integer, taken modulo 2^32
 */
export function mutateSafetensors(seed: number): Uint8Array {
  const words = seededIntegers(512, seed, 0, 2 ** 31 - 1);
  let used = 0;
  const draw: Draw = (n) => words[used++ % words.length]! % Math.max(1, n);
  const parts = validParts(draw);
  const changes = draw(20) === 0 ? 0 : 1 + draw(3);
  for (let i = 0; i < changes; i++) pick(draw, MUTATIONS)(parts, draw);

  let header = `{${parts.entries.join()}}`;
  for (const edit of parts.edits) header = edit(header);
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + parts.data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(text.length) + parts.lengthOff), true);
  file.set(text, 8);
  file.set(parts.data, 8 + text.length);
  return parts.finish.reduce<Uint8Array>((bytes, change) => change(bytes), file);
}
