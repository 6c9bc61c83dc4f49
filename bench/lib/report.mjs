// How every benchmark here speaks: JSON lines, then a table for people.
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { dirname } from "node:path";

/**
 * @param {object} of
 * @param {readonly object[]} of.lines one JSON line each; the first says what machine and versions they are from
 * @param {readonly string[]} of.columns
 * @param {readonly (readonly (string | number)[])[]} of.rows cells; numbers are shown with three digits
 * @param {string | undefined} of.out file for the JSON lines; default: stdout, before the table
 */
export function report({ lines, columns, rows, out }) {
  const [head, ...rest] = lines;
  // what else the machine does decides how far wall clock can be trusted
  const machine = { cpus: availableParallelism(), load_average: loadavg()[0] };
  const json = [{ ...head, ...machine }, ...rest].map((line) => `${JSON.stringify(line)}\n`).join("");
  if (out === undefined) process.stdout.write(`${json}\n`);
  else {
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, json);
  }
  console.log(markdownTable(columns, rows));
}

/**
 * @param {readonly string[]} columns
 * @param {readonly (readonly (string | number)[])[]} rows
 */
export function markdownTable(columns, rows) {
  const cells = [columns, ...rows.map((row) => row.map(shown))];
  const widths = columns.map((_, i) => Math.max(3, ...cells.map((row) => [...(row[i] ?? "")].length)));
  const line = (/** @type {readonly string[]} */ row) =>
    `| ${widths.map((width, i) => (row[i] ?? "").padEnd(width)).join(" | ")} |`;
  const [head = [], ...body] = cells.map(line);
  return [head, line(widths.map((width) => "-".repeat(width))), ...body].join("\n");
}

/**
 * Three digits that count.
 * @param {string | number} value
 */
function shown(value) {
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toPrecision(3);
}
