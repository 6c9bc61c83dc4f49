// A compiled chat template: conversation in, text and the spans inside `{% generation %}` out.

import { Environment, parse, tokenize } from "@huggingface/jinja";
import type { JsonObject, JsonValue } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { Message } from "../formats/row.ts";
import { interpret, type Program } from "./python-interpreter.ts";
import type { Scope } from "./python-values.ts";
import { strftime } from "./strftime.ts";

/** Start and end in UTF-16 code units. */
export type Span = readonly [start: number, end: number];

/** Everything a render depends on; the clock is an argument, so that a text is a pure function of its inputs. */
export interface RenderInput {
  /** checked messages, or JSON objects as they are in a file: the template decides what it accepts */
  readonly messages: readonly (Message | JsonObject)[];
  readonly tools?: readonly JsonValue[] | undefined;
  readonly addGenerationPrompt: boolean;
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  readonly padToken?: string | undefined;
  /** for `strftime_now`; read through its UTC fields */
  readonly now: Date;
}

/** A template ready to render. */
export interface ChatTemplate {
  readonly source: string;
  /** shown in errors: a path or a name */
  readonly name: string;
  readonly hasGenerationTags: boolean;
  /** @throws DataError `TEMPLATE_FAILED` if the template raises, for example on roles it does not accept */
  render(input: RenderInput): string;
  /**
   * The text and the spans that `{% generation %}` blocks wrote, in order, empty ones left out.
   * @throws DataError `TEMPLATE_FAILED`, also where the blocks are nested or their text is changed after they end
   */
  renderWithSpans(input: RenderInput): { text: string; spans: Span[] };
}

const TAG = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;
const START = "__generation_start__";
const END = "__generation_end__";

/**
 * The library deletes generation tags before it parses. Writing each as an `if` block that prints a variable keeps their
 * whitespace control and lets the same program render with and without marks.
 */
function rewriteGenerationTags(source: string): string {
  return source.replace(
    TAG,
    (_, left: string, end: string | undefined, right: string) =>
      `{%${left} if true %}{{ ${end === undefined ? START : END} }}{% endif ${right}%}`,
  );
}

/** Maps are JSON objects here; the library wants plain ones. Without a prototype, `__proto__` is a key like any other. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const out = Object.create(null) as Record<string, unknown>;
  for (const [key, entry] of value instanceof Map ? value : Object.entries(value)) out[key as string] = plain(entry);
  return out;
}

function roleOf(message: Message | JsonObject): string {
  return String(message instanceof Map ? message.get("role") : message.role);
}

/** As in jinja2's sandbox. */
const MAX_RANGE = 100_000;

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (step === 0) throw new Error("range() arg 3 must not be zero");
  if ((to - from) / step > MAX_RANGE) throw new Error(`range() of more than ${MAX_RANGE} items`);
  const out = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(i);
  return out;
}

/** Two private-use characters that do not occur in `text`. */
function unusedMarks(text: string): [string, string] {
  const marks: string[] = [];
  for (let code = 0xe000; marks.length < 2; code++) {
    const mark = String.fromCharCode(code);
    if (!text.includes(mark)) marks.push(mark);
  }
  return [marks[0]!, marks[1]!];
}

/**
 * Compiles a Jinja chat template with the settings of transformers: `trim_blocks`, `lstrip_blocks`, `raise_exception`,
 * `strftime_now`, `tools` and `documents` none where absent.
 *
 * @param name - shown in errors
 * @throws DataError `TEMPLATE_INVALID` on a syntax error
 */
export function compileTemplate(source: string, name: string): ChatTemplate {
  const text = source.replace(/\r\n?/g, "\n"); // as jinja2 reads templates
  const hasGenerationTags = new RegExp(TAG.source).test(text.replace(/\{#.*?#\}/gs, ""));
  let program: Program;
  try {
    program = parse(tokenize(rewriteGenerationTags(text), { trim_blocks: true, lstrip_blocks: true }));
  } catch (cause) {
    throw new DataError("TEMPLATE_INVALID", `chat template ${name}: ${(cause as Error).message}`, {
      expected: "a Jinja template",
      fix: "repair the template's syntax",
      cause,
    });
  }

  function run(input: RenderInput, [start, end]: readonly [string, string]): string {
    const env: Scope = new Environment();
    const variables: Record<string, unknown> = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      range,
      raise_exception: (message: string): never => {
        throw new Error(message);
      },
      strftime_now: (format: string) => strftime(input.now, format),
      [START]: start,
      [END]: end,
      messages: plain(input.messages),
      tools: input.tools === undefined ? null : plain(input.tools),
      documents: null,
      add_generation_prompt: input.addGenerationPrompt,
      ...(input.bosToken === undefined ? {} : { bos_token: input.bosToken }),
      ...(input.eosToken === undefined ? {} : { eos_token: input.eosToken }),
      ...(input.padToken === undefined ? {} : { pad_token: input.padToken }),
    };
    for (const [key, value] of Object.entries(variables)) env.set(key, value);
    try {
      return interpret(program, env);
    } catch (cause) {
      throw new DataError("TEMPLATE_FAILED", `chat template ${name}: ${(cause as Error).message}`, {
        received: `roles ${input.messages.map(roleOf).join(", ")}`,
        fix: "change the conversation to what the template accepts, or use another template",
        cause,
      });
    }
  }

  function marksFail(because: string): never {
    throw new DataError("TEMPLATE_FAILED", `chat template ${name}: ${because}`, {
      expected: "{% generation %} blocks whose text reaches the output unchanged",
      fix: "move the {% generation %} tags to where the text is written",
    });
  }

  return {
    source,
    name,
    hasGenerationTags,
    render: (input) => run(input, ["", ""]),
    renderWithSpans: (input) => {
      const unmarked = run(input, ["", ""]);
      const [start, end] = unusedMarks(unmarked + text);
      const marked = run(input, [start, end]);
      const spans: Span[] = [];
      let open: number | undefined;
      let at = 0; // in the text without marks
      for (let i = 0; i < marked.length; i++) {
        if (marked[i] === start) {
          if (open !== undefined) marksFail("a {% generation %} block opens inside another");
          open = at;
        } else if (marked[i] === end) {
          if (open === undefined) marksFail("a {% generation %} block ends that never began");
          if (at > open) spans.push([open, at]);
          open = undefined;
        } else at++;
      }
      if (open !== undefined) marksFail("a {% generation %} block never ends");
      if (marked.replaceAll(start, "").replaceAll(end, "") !== unmarked) {
        marksFail("the text of a {% generation %} block is changed after the block ends");
      }
      return { text: unmarked, spans };
    },
  };
}
