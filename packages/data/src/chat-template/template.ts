// A compiled chat template: conversation in, text and the spans inside `{% generation %}` out.

import type { JsonObject, JsonValue } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { Message } from "../formats/row.ts";
import { Budget, DEFAULT_LIMITS, LimitExceeded, type Limits, limitsFor } from "../jinja/budget.ts";
import { globals } from "../jinja/globals.ts";
import { interpret, type Marks } from "../jinja/interpreter.ts";
import { parse } from "../jinja/parser.ts";
import { Float, type Value } from "../jinja/values.ts";
import { strftime } from "./strftime.ts";

/** Start and end in UTF-16 code units. */
export type Span = readonly [start: number, end: number];

/** Everything a render depends on; the clock is an argument, so that a text is a pure function of its inputs. */
export interface RenderInput {
  /** checked messages, or JSON objects as they are in a file: the template decides what it accepts */
  readonly messages: readonly (Message | JsonObject)[];
  readonly tools?: readonly JsonValue[] | undefined;
  /** undefined: the template does not see the variable */
  readonly parallelToolCalls?: boolean | undefined;
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

/** JSON, and messages as plain objects, as values of a template; counts what it holds. */
function valueOf(json: unknown, size: { length: number }): Value {
  size.length++;
  if (typeof json === "string") {
    size.length += json.length;
    return json;
  }
  if (typeof json === "number") return Number.isInteger(json) ? json : new Float(json);
  if (json === null || json === undefined || typeof json === "boolean") return json ?? null;
  if (Array.isArray(json)) return json.map((item) => valueOf(item, size));
  const entries = json instanceof Map ? json : Object.entries(json);
  return new Map([...entries].map(([key, item]) => [key as string, valueOf(item, size)]));
}

function roleOf(message: Message | JsonObject): string {
  return String(message instanceof Map ? message.get("role") : message.role);
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
 * `strftime_now`, `tools` and `documents` none where absent. A template has no access to anything but what
 * {@link RenderInput} holds, and ends within its limits, which grow with the length of that input.
 *
 * @param name - shown in errors
 * @throws DataError `TEMPLATE_INVALID` on a syntax error, `TEMPLATE_LIMIT` for a source too long or too deep
 */
export function compileTemplate(source: string, name: string, limits: Limits = DEFAULT_LIMITS): ChatTemplate {
  const program = guarded(name, () => parse(source, limits));

  function run(input: RenderInput, marks: Marks): string {
    const size = { length: 0 };
    const given: Readonly<Record<string, unknown>> = {
      messages: input.messages,
      tools: input.tools ?? null,
      documents: null,
      parallel_tool_calls: input.parallelToolCalls,
      add_generation_prompt: input.addGenerationPrompt,
      bos_token: input.bosToken,
      eos_token: input.eosToken,
      pad_token: input.padToken,
    };
    const values = Object.entries(given).flatMap(([key, value]): [string, Value][] =>
      value === undefined ? [] : [[key, valueOf(value, size)]],
    );
    const budget = new Budget(limitsFor(size.length, limits));
    const variables = globals(budget, (format) => strftime(input.now, format));
    for (const [key, value] of values) variables.set(key, value);
    return guarded(name, () => interpret(program, variables, budget, marks), input);
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
    hasGenerationTags: program.hasGeneration,
    render: (input) => run(input, ["", ""]),
    renderWithSpans: (input) => {
      const unmarked = run(input, ["", ""]);
      const [start, end] = unusedMarks(unmarked + source);
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

/** Errors of the engine as ours. */
function guarded<T>(name: string, work: () => T, input?: RenderInput): T {
  try {
    return work();
  } catch (cause) {
    // the engine bounds its own depth; this is for callers that were deep in the stack already
    const overflow = cause instanceof RangeError;
    const message = `chat template ${name}: ${overflow ? "the template needs more memory or a deeper stack than there is" : (cause as Error).message}`;
    if (overflow || cause instanceof LimitExceeded) {
      throw new DataError("TEMPLATE_LIMIT", message, {
        ...(cause instanceof LimitExceeded ? { expected: `at most ${cause.allowed}` } : {}),
        fix: "use the model's own template: no honest one comes near the limits",
        cause,
      });
    }
    if (input === undefined) {
      throw new DataError("TEMPLATE_INVALID", message, {
        expected: "a Jinja template",
        fix: "repair the template's syntax",
        cause,
      });
    }
    throw new DataError("TEMPLATE_FAILED", message, {
      received: `roles ${input.messages.map(roleOf).join(", ")}`,
      fix: "change the conversation to what the template accepts, or use another template",
      cause,
    });
  }
}
