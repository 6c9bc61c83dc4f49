import { CHART_STYLE } from "./line-chart.ts";
import { escapeHtml } from "./escape.ts";

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:light-dark(#f6f6f4,#222);padding:1rem}table{border-collapse:collapse}th,td{text-align:left;padding:.15rem .9rem .15rem 0;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600;border-bottom:1px solid #8886}.warn{background:light-dark(#fff3d6,#4a3a10);padding:.3rem .8rem;margin:.3rem 0}${CHART_STYLE}`;

/** One self-contained page: nothing is fetched, no script runs. */
export function htmlPage(title: string, sections: readonly string[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>
<style>${STYLE}</style></head>
<body>
${sections.join("\n")}
</body></html>
`;
}

/** Rows of texts; numbers stand to the right. */
export function htmlTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const numeric = head.map((_, column) => rows.every((row) => typeof row[column] === "number"));
  const cell = (tag: "th" | "td", value: string | number, column: number): string =>
    `<${tag}${numeric[column] ? ' class="n"' : ""}>${escapeHtml(typeof value === "number" ? shown(value) : value)}</${tag}>`;
  const line = (tag: "th" | "td", values: readonly (string | number)[]): string =>
    `<tr>${values.map((value, column) => cell(tag, value, column)).join("")}</tr>`;
  return `<table>${line("th", head)}\n${rows.map((row) => line("td", row)).join("\n")}</table>`;
}

function shown(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toPrecision(5);
}
