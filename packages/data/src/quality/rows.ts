import type { Example } from "../tokenize/example.ts";

/** The examples of one row: one, or the blocks of a long text. */
export interface RowExamples {
  readonly row: number;
  readonly examples: readonly Example[];
}

/** Examples by row, in the order given. */
export function rowsOf(examples: readonly Example[]): RowExamples[] {
  const rows: { row: number; examples: Example[] }[] = [];
  for (const example of examples) {
    const last = rows.at(-1);
    if (last?.row === example.row) last.examples.push(example);
    else rows.push({ row: example.row, examples: [example] });
  }
  return rows;
}

/** All examples but those of the given rows. */
export function withoutRows(examples: readonly Example[], rows: ReadonlySet<number>): Example[] {
  return examples.filter((example) => !rows.has(example.row));
}
