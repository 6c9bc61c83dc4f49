import fc from "fast-check";
import { expect, test } from "vitest";
import { compileTemplate, type RenderInput } from "../chat-template/template.ts";
import { DataError } from "../errors.ts";
import { BUILT_IN_TEMPLATES, builtInTemplate } from "../chat-template/built-in.ts";

const input: RenderInput = {
  messages: [
    { role: "user", content: "a 🦊 <b> e\u0301" },
    { role: "assistant", content: "b" },
  ],
  addGenerationPrompt: false,
  bosToken: "<s>",
  eosToken: "</s>",
  now: new Date(0),
};

/** Whatever a source does, it is a text or a typed error. */
function outcome(source: string): string {
  try {
    return typeof compileTemplate(source, "fuzz").renderWithSpans(input).text;
  } catch (error) {
    if (error instanceof DataError) return error.code;
    throw error;
  }
}
const TYPED = /^(string|TEMPLATE_(INVALID|FAILED|LIMIT))$/;

// prettier-ignore
const WORDS = ["{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", "{{-", "+%}", "if", "elif", "else", "endif", "for", "in", "endfor", "set", "endset", "macro", "endmacro", "call", "endcall", "filter", "endfilter", "with", "endwith", "generation", "endgeneration", "raw", "endraw", "break", "continue", "recursive", "not", "and", "or", "is", "none", "true", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "~", "+", "-", "*", "/", "//", "**", "%", "==", "!=", "<", "<=", "=", "'a'", '"🦊\\n"', "1", "2.5", "0x1f", "1_0", "1e5", "x", "m", "messages", "content", "loop", "index", "caller", "range", "namespace", "dict", "joiner", "cycler", "upper", "tojson", "length", "join", "sort", "map", "select", "replace", "indent", "format", "defined", "string", "items", "split", "strip", "append", "__class__", "\n", " ", "text"];

test("token soup is a text or a typed error", () => {
  const soup = fc.array(fc.constantFrom(...WORDS), { maxLength: 40 }).map((words) => words.join(" "));
  fc.assert(
    fc.property(soup, (source) => {
      expect(outcome(source)).toMatch(TYPED);
    }),
    { numRuns: 3000, seed: 20261121 },
  );
});

test("any characters are a text or a typed error", () => {
  const text = fc.string({ unit: fc.constantFrom(..."{}%#|()[].,:'\"\\ \n-+~ab1_🦊\u0301"), maxLength: 60 });
  fc.assert(
    fc.property(text, (source) => {
      expect(outcome(source)).toMatch(TYPED);
    }),
    { numRuns: 3000, seed: 20261121 },
  );
});

/** Expressions that parse: most of them run. */
const { expression } = fc.letrec<{ expression: string; leaf: string }>((tie) => ({
  leaf: fc.constantFrom(
    "1",
    "0",
    "2.5",
    "'a'",
    "'é🦊'",
    "none",
    "true",
    "[]",
    "[1, 'b']",
    "{'k': 1}",
    "messages",
    "messages[0]",
    "x",
    "range(3)",
    "namespace(a=1)",
    "(1, 2)",
    "' a <b> '",
  ),
  expression: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    tie("leaf"),
    fc
      .tuple(
        tie("expression"),
        fc.constantFrom(
          "+",
          "-",
          "*",
          "/",
          "//",
          "%",
          "**",
          "~",
          "==",
          "!=",
          "<",
          ">=",
          "in",
          "not in",
          "and",
          "or",
          "is",
          "is not",
        ),
        tie("expression"),
      )
      .map(([a, op, b]) => (op.startsWith("is") ? `(${a} ${op} string)` : `(${a} ${op} ${b})`)),
    fc
      .tuple(
        tie("expression"),
        fc.constantFrom(
          "upper",
          "length",
          "tojson",
          "list",
          "first",
          "last",
          "join",
          "sort",
          "string",
          "int",
          "float",
          "trim",
          "safe",
          "e",
          "reverse|list",
          "unique|list",
          "items|list",
          "dictsort",
          "title",
          "indent(2)",
          "center(9)",
          "replace('a', 'bb')",
          "map('string')|list",
          "select|list",
          "groupby(0)",
          "batch(2)|list",
          "sum",
          "max",
          "default(1)",
          "wordwrap(3)",
          "round",
          "abs",
          "urlencode",
          "striptags",
        ),
      )
      .map(([a, f]) => `(${a}|${f})`),
    fc
      .tuple(
        tie("expression"),
        fc.constantFrom(
          "strip()",
          "split('a')",
          "upper()",
          "items()",
          "get('k')",
          "format(1)",
          "join('xy')",
          "title()",
          "zfill(5)",
          "find('a')",
          "splitlines()",
          "keys()",
          "startswith('a')",
          "content",
          "role",
          "a",
          "append(1)",
          "__class__",
          "index",
        ),
      )
      .map(([a, m]) => `(${a}).${m}`),
    fc
      .tuple(tie("expression"), fc.constantFrom("[0]", "[-1]", "[:2]", "[::-1]", "[1:]", "['k']", "['role']", "[::2]"))
      .map(([a, i]) => `(${a})${i}`),
  ),
}));

test("expressions that parse are a text or a typed error", () => {
  fc.assert(
    fc.property(expression, (source) => {
      const loop = `{{ ${source} }}{% for x in ${source} %}{{ x }}{{ loop.index }}{% endfor %}{% set y = ${source} %}{{ y is defined }}`;
      expect(outcome(loop)).toMatch(TYPED);
    }),
    { numRuns: 3000, seed: 20261121 },
  );
});

test("built-in templates keep every character of every message, trained ones and others", () => {
  const content = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).map((text) => `<${text}>`); // some templates trim
  const turns = fc.array(fc.tuple(content, content), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(turns, fc.constantFrom(...BUILT_IN_TEMPLATES), (pairs, name) => {
      const messages = pairs.flatMap(([question, answer]) => [
        { role: "user" as const, content: question },
        { role: "assistant" as const, content: answer },
      ]);
      const { text, spans } = builtInTemplate(name)!.renderWithSpans({ ...input, messages });
      expect(spans.length).toBe(pairs.length);
      let at = 0;
      pairs.forEach(([question, answer], i) => {
        const [start, end] = spans[i]!;
        expect(text.slice(at, start)).toContain(question);
        expect(text.slice(start, end).trimStart().startsWith(answer)).toBe(true);
        at = end;
      });
    }),
    { seed: 20261121 },
  );
});
