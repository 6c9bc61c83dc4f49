import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError, parseStrictJson, type JsonValue } from "./index.ts";

/** The value as JSON.parse would give it. */
function plain(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const out: Record<string, unknown> = {};
  // defineProperty: a key `__proto__` must become a key, as it does in JSON.parse
  for (const [key, member] of value) {
    Object.defineProperty(out, key, { value: plain(member), enumerable: true, writable: true, configurable: true });
  }
  return out;
}

const because = (text: string, options?: { path?: string; maxDepth?: number }): string => {
  try {
    parseStrictJson(text, options);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    expect(error).toMatchObject({ code: "JSON_INVALID" });
    return (error as Error).message;
  }
  throw new Error(`accepted ${text}`);
};

describe("accepts what JSON is", () => {
  test.each([
    ["null", null],
    ["true", true],
    ["false", false],
    ["0", 0],
    ["-0", -0],
    ["1.5e-3", 0.0015],
    ["1E+2", 100],
    ["9007199254740991", 2 ** 53 - 1],
    ["-9007199254740991", 1 - 2 ** 53],
    ["1e300", 1e300],
    ["9007199254740993.0", 9007199254740992],
    ['""', ""],
    ['"\\u0041\\n\\/\\""', 'A\n/"'],
    ['"\\ud83d\\ude00"', "😀"],
    ['"\\ud800"', "\ud800"],
    ['"\u2028\x7f"', "\u2028\x7f"],
    ["[]", []],
    [" [ 1 , [ ] ] \r\n\t", [1, []]],
  ] as [string, unknown][])("%s", (text, value) => {
    expect(parseStrictJson(text)).toEqual(value);
  });

  test("objects are maps in the order of the text", () => {
    const value = parseStrictJson('{"b":1,"2":{"__proto__":null},"a":[{}]}');
    expect(value).toEqual(
      new Map<string, JsonValue>([
        ["b", 1],
        ["2", new Map([["__proto__", null]])],
        ["a", [new Map()]],
      ]),
    );
    expect([...(value as Map<string, JsonValue>).keys()]).toEqual(["b", "2", "a"]);
  });

  test("values that JSON.stringify writes, pretty or not", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!/(?<![.\deE+-])-?\d{16,}(?![.\deE])/.test(text)); // integers beyond 2^53 are refused on purpose
        expect(plain(parseStrictJson(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500, seed: 20261121 },
    );
  });
});

describe("refuses what loses information", () => {
  test.each([
    ['{"a":1,"a":1}', 'duplicate key "a"'],
    ['[{"x":{"b":1,"\\u0062":2}}]', 'duplicate key "b"'],
    ["9007199254740992", "2^53"],
    ["-9007199254740993", "2^53"],
    ["1e400", "beyond float64"],
    ["-1e400", "beyond float64"],
    ["\ufeff{}", "byte-order mark"],
    ["{} {}", "text after the value"],
    ["[1]x", "text after the value"],
  ])("%s", (text, reason) => {
    expect(because(text)).toContain(reason);
  });

  test.each([
    "",
    " ",
    "{",
    "[",
    '"',
    "}",
    "{]",
    "[1,]",
    '{"a":1,}',
    "[,1]",
    '{"a"}',
    '{"a":}',
    "{a:1}",
    "{'a':1}",
    "nul",
    "True",
    "NaN",
    "Infinity",
    "undefined",
    "01",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "-",
    "--1",
    "0x1",
    "1_000",
    '"\n"',
    '"\t"',
    '"\\x41"',
    '"\\u12"',
    '"\\u+123"',
    '"\\',
    '"\\"',
    "[1 2]",
    '{"a":1 "b":2}',
    "//x\n1",
    "/**/1",
    "[1]\0",
    "\u00a01",
    "1\u2028",
    '{"a" 1}',
  ])("%j is no JSON for JSON.parse either", (text) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    because(text);
  });

  test("depth: 64 by default, any other on request, and never a stack overflow", () => {
    const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
    expect(parseStrictJson(nested(64))).toBeDefined();
    expect(because(nested(65))).toContain("nested deeper than 64");
    expect(because("[".repeat(1e6))).toContain("nested deeper than 64");
    expect(because('{"a":'.repeat(1e6))).toContain("nested deeper than 64");
    expect(parseStrictJson('[{"a":1}]', { maxDepth: 2 })).toBeDefined();
    expect(because('[{"a":[]}]', { maxDepth: 2 })).toContain("nested deeper than 2");
    expect(parseStrictJson("1", { maxDepth: 0 })).toBe(1);
    expect(because("[]", { maxDepth: 0 })).toContain("nested deeper than 0");
  });

  test("the message names file and character, the error shows what is there", () => {
    expect(because('{"a": ?}', { path: "config.json" })).toBe(
      "config.json: invalid JSON at character 6: expected a value",
    );
    expect(() => parseStrictJson('{"a":1,"b":2,"a":3}', { path: "x" })).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ path: "x", received: '"a":3}' }) }),
    );
    expect(because('{"a":1,"b":2,"a":3}')).toContain("character 13");
  });
});

describe("against JSON.parse", () => {
  const pieces = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"',
    '"a"',
    '"b"',
    "1",
    "-",
    "0",
    ".",
    "e",
    "1e999",
    "9007199254740993",
    "true",
    "null",
    " ",
    "\\",
    "\\u0061",
    "\n",
    "x",
    "\ufeff",
  ];
  const broken = fc
    .tuple(fc.jsonValue({ maxDepth: 3 }), fc.nat(), fc.nat({ max: 3 }), fc.constantFrom(...pieces))
    .map(([value, at, cut, insert]) => {
      const text = JSON.stringify(value);
      const place = at % (text.length + 1);
      return text.slice(0, place) + insert + text.slice(place + cut);
    });
  const soup = fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((parts) => parts.join(""));

  test("what is accepted, JSON.parse reads alike; what only JSON.parse accepts is refused for a stated reason", () => {
    let accepted = 0;
    let stricter = 0;
    fc.assert(
      fc.property(fc.oneof(broken, soup), (text) => {
        let ours: JsonValue;
        try {
          ours = parseStrictJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
          let theirs = false;
          try {
            JSON.parse(text);
            theirs = true;
          } catch {}
          if (theirs) {
            stricter++;
            expect((error as Error).message).toMatch(/duplicate key|2\^53|beyond float64/);
          }
          return;
        }
        accepted++;
        expect(plain(ours)).toEqual(JSON.parse(text));
      }),
      { numRuns: 4000, seed: 20261121 },
    );
    // the property means nothing if one side never happens
    expect(accepted).toBeGreaterThan(200);
    expect(stricter).toBeGreaterThan(5);
  });
});
