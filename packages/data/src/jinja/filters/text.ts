// Filters of text (jinja2/filters.py).

import { needInteger, needText } from "../arguments.ts";
import { join as joinTexts, joined } from "../methods/text.ts";
import { percentFormat } from "../format.ts";
import { escapeHtml, str } from "../print.ts";
import * as py from "../text.ts";
import { Generator, iterate, Markup, TemplateError, truth, tuple, type Value } from "../values.ts";
import { type Filter, filter, textFilter } from "./filter.ts";

/** jinja2 asks these for `splitlines` without printing them first. */
function ofText(run: Filter): Filter {
  return (value, args, host, name) => {
    needText(name, value);
    return run(value, args, host, name);
  };
}

const indent = textFilter("width first blank", (text, args, budget) => {
  const width = args["width"] ?? 4;
  const prefix =
    typeof width === "string" ? width : " ".repeat(Math.min(1 << 16, Math.max(0, needInteger("width", width))));
  budget.step(text.length / 8);
  const lines = py.splitLines(`${text}\n`, false);
  budget.text(text.length + lines.length * (prefix.length + 1));
  const blank = truth(args["blank"] ?? false);
  const rest = lines.slice(1).map((line) => (blank || line !== "" ? prefix + line : line));
  return (truth(args["first"] ?? false) ? prefix : "") + [lines[0]!, ...rest].join("\n");
});

const truncate = textFilter("length killwords end leeway", (text, args, budget) => {
  const length = needInteger("length", args["length"], 255);
  const end = args["end"] === undefined ? "..." : needText("end", args["end"]);
  const leeway = needInteger("leeway", args["leeway"], 5);
  budget.step(text.length / 8);
  const chars = py.points(text, budget);
  const endLength = [...end].length;
  if (length < endLength) throw new TemplateError(`expected length >= ${endLength}, got ${length}`);
  if (chars.length <= length + leeway) return text;
  const cut = py.firstPoints(text, length - endLength, budget);
  if (truth(args["killwords"] ?? false)) return cut + end;
  const space = cut.lastIndexOf(" ");
  return (space === -1 ? cut : cut.slice(0, space)) + end;
});

const wordwrap = textFilter("width break_long_words wrapstring break_on_hyphens", (text, args, budget) => {
  const width = needInteger("width", args["width"], 79);
  if (width < 1) throw new TemplateError("invalid width (must be > 0)");
  const separator =
    args["wrapstring"] === undefined || args["wrapstring"] === null ? "\n" : needText("wrapstring", args["wrapstring"]);
  budget.step(text.length / 4);
  const lines = py.splitLines(text, false).map((line) => {
    const out: string[] = [];
    let current = "";
    for (const word of line.split(/( +)/)) {
      let rest = word;
      if (current.length + rest.length <= width) {
        current += rest;
        continue;
      }
      if (current.trim() !== "") out.push(current.trimEnd());
      current = "";
      if (/^ +$/.test(rest)) continue;
      while (rest.length > width && args["break_long_words"] !== false) {
        out.push(rest.slice(0, width));
        rest = rest.slice(width);
      }
      current = rest;
    }
    if (current.trim() !== "") out.push(current.trimEnd());
    return joined(separator, out, budget);
  });
  return joined(separator, lines, budget);
});

const title = textFilter("", (text, _, budget) => {
  budget.step(text.length / 4);
  return text
    .split(/([-\s({[<]+)/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join("");
});

const escape: Filter = filter("", (value, _, { budget }) =>
  value instanceof Markup ? value : new Markup(escapeHtml(str(value, budget), budget)),
);

/** By name. */
export const TEXTS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["capitalize", textFilter("", (text) => py.capitalize(text))],
  [
    "center",
    textFilter("width", (text, args, budget) =>
      py.pad(text, needInteger("width", args["width"], 80), " ", "center", budget),
    ),
  ],
  ["e", escape],
  ["escape", escape],
  ["forceescape", filter("", (value, _, { budget }) => new Markup(escapeHtml(str(value, budget), budget)))],
  [
    "format",
    (value, { positional, named }, { budget }) => {
      if (positional.length > 0 && named.size > 0)
        throw new TemplateError("can't handle positional and keyword arguments at the same time");
      return percentFormat(str(value, budget), named.size > 0 ? new Map(named) : tuple(positional), budget);
    },
  ],
  ["indent", ofText(indent)],
  ["lower", textFilter("", (text) => text.toLowerCase())],
  [
    "replace",
    filter("old new count", (value, args, { budget }) =>
      py.replace(
        str(value, budget),
        str(args["old"] ?? "", budget),
        str(args["new"] ?? "", budget),
        needInteger("count", args["count"], -1),
        budget,
      ),
    ),
  ],
  ["safe", filter("", (value, _, { budget }) => new Markup(str(value, budget)))],
  ["string", filter("", (value, _, { budget }) => (value instanceof Markup ? value : str(value, budget)))],
  [
    "striptags",
    textFilter("", (text, _, budget) => {
      budget.step(text.length / 4);
      let out = "";
      let from = 0;
      for (let open = text.indexOf("<"); open !== -1; open = text.indexOf("<", from)) {
        const comment = text.startsWith("<!--", open);
        const close = comment ? text.indexOf("-->", open) + 2 : text.indexOf(">", open);
        if (close < open) break;
        out += text.slice(from, open);
        from = close + 1;
      }
      return py.splitSpace(out + text.slice(from), -1, false).join(" ");
    }),
  ],
  ["title", title],
  [
    "trim",
    textFilter("chars", (text, args) =>
      py.strip(
        text,
        "strip",
        args["chars"] === undefined || args["chars"] === null ? undefined : needText("chars", args["chars"]),
      ),
    ),
  ],
  ["truncate", truncate],
  ["upper", textFilter("", (text) => text.toUpperCase())],
  [
    "urlencode",
    filter("", (value, _, { budget }) => {
      const encode = (one: Value, slash: boolean): string => {
        const text = str(one, budget);
        budget.text(9 * text.length);
        const quoted = encodeURIComponent(text).replace(
          /[!'()*]/g,
          (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
        );
        return slash ? quoted.replaceAll("%2F", "/") : quoted.replaceAll("%20", "+");
      };
      if (!(value instanceof Map || Array.isArray(value) || value instanceof Generator)) return encode(value, true);
      const pairs =
        value instanceof Map
          ? [...value].map(([key, entry]) => [key, entry])
          : iterate(value, budget).map((pair) => iterate(pair, budget));
      return joinTexts(
        "&",
        pairs.map(([key, entry]) => `${encode(key!, false)}=${encode(entry!, false)}`),
        budget,
      );
    }),
  ],
  [
    "wordcount",
    filter("", (value, _, { budget }) => {
      const text = str(value, budget);
      budget.step(text.length / 8);
      return text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
    }),
  ],
  ["wordwrap", ofText(wordwrap)],
]);
