// Tokenized rows as flat arrays: what one call makes, what crosses between threads, and what a prepared shard holds.

import { countTargets, type Example } from "../tokenize/example.ts";
import type { TokenizedRow } from "../tokenize/fit.ts";

/** Rows that were left out because they are bad, under one error code. */
export interface SkippedRows {
  readonly rows: number;
  /** message of the first one */
  readonly first: string;
}

/** What became of some rows. */
export interface RowCounts {
  /** rows that were read */
  readonly rows: number;
  readonly examples: number;
  /** of all rows read, before anything was lost */
  readonly tokens: number;
  readonly targets: number;
  readonly rowsTooLong: number;
  readonly rowsWithoutTargets: number;
  readonly rowsTruncated: number;
  readonly tokensLost: number;
  /** bad rows left out with `on_bad_row: skip`, by error code; not among `rows` */
  readonly skipped: Readonly<Record<string, SkippedRows>>;
}

/** E examples with N tokens in all, in file order. */
export interface TokenChunk {
  readonly counts: RowCounts;
  /** task names that rows brought with them */
  readonly tasks: readonly string[];
  /** [E] index into `tasks`; −1: the row has none and takes its file's */
  readonly taskOf: Int32Array;
  /** [E] which row of the chunk, skipped ones counted */
  readonly rowOf: Int32Array;
  /** [E + 1] where each example's tokens begin */
  readonly starts: Int32Array;
  /** [N] */
  readonly inputIds: Int32Array;
  /** [N] */
  readonly targets: Int32Array;
  /** [N] */
  readonly targetWeights: Float32Array;
  /** [N]; absent where no example has its own; −1 throughout an example without them */
  readonly positionIds?: Int32Array;
  /** [N]; absent where no example has its own; −2 throughout an example without them */
  readonly segmentIds?: Int32Array;
}

const NO_POSITIONS = -1;
const NO_SEGMENTS = -2;

/** One row's outcome, in the order of the file. */
export type RowOutcome =
  | { readonly tokenized: TokenizedRow; readonly task: string | undefined }
  | { readonly skipped: { readonly code: string; readonly message: string } };

export const NO_ROWS: RowCounts = {
  rows: 0,
  examples: 0,
  tokens: 0,
  targets: 0,
  rowsTooLong: 0,
  rowsWithoutTargets: 0,
  rowsTruncated: 0,
  tokensLost: 0,
  skipped: {},
};

export function addCounts(a: RowCounts, b: RowCounts): RowCounts {
  const skipped = { ...a.skipped };
  for (const [code, { rows, first }] of Object.entries(b.skipped))
    skipped[code] = { rows: rows + (skipped[code]?.rows ?? 0), first: skipped[code]?.first ?? first };
  return {
    rows: a.rows + b.rows,
    examples: a.examples + b.examples,
    tokens: a.tokens + b.tokens,
    targets: a.targets + b.targets,
    rowsTooLong: a.rowsTooLong + b.rowsTooLong,
    rowsWithoutTargets: a.rowsWithoutTargets + b.rowsWithoutTargets,
    rowsTruncated: a.rowsTruncated + b.rowsTruncated,
    tokensLost: a.tokensLost + b.tokensLost,
    skipped,
  };
}

function countsOf({ tokenized }: { readonly tokenized: TokenizedRow }): RowCounts {
  const { pieces, tokens, lost, lostTokens } = tokenized;
  return {
    rows: 1,
    examples: pieces.length,
    tokens,
    targets: pieces.reduce((sum, piece) => sum + countTargets(piece), 0),
    rowsTooLong: lost === "too_long" ? 1 : 0,
    rowsWithoutTargets: lost === "no_targets" ? 1 : 0,
    rowsTruncated: lost === "end" ? 1 : 0,
    tokensLost: lostTokens,
    skipped: {},
  };
}

/** Lays the examples of some rows end to end. */
export function packRows(rows: readonly RowOutcome[]): TokenChunk {
  let counts = NO_ROWS;
  const tasks: string[] = [];
  const pieces: { piece: TokenizedRow["pieces"][number]; task: number; row: number }[] = [];
  for (const [row, outcome] of rows.entries()) {
    if ("skipped" in outcome) {
      const { code, message } = outcome.skipped;
      counts = addCounts(counts, { ...NO_ROWS, skipped: { [code]: { rows: 1, first: message } } });
      continue;
    }
    counts = addCounts(counts, countsOf(outcome));
    const { task: name } = outcome;
    if (name !== undefined && !tasks.includes(name)) tasks.push(name);
    const task = name === undefined ? -1 : tasks.indexOf(name);
    for (const piece of outcome.tokenized.pieces) pieces.push({ piece, task, row });
  }
  const starts = new Int32Array(pieces.length + 1);
  for (const [i, { piece }] of pieces.entries()) starts[i + 1] = starts[i]! + piece.inputIds.length;
  const total = starts.at(-1)!;
  const inputIds = new Int32Array(total);
  const targets = new Int32Array(total);
  const targetWeights = new Float32Array(total);
  const positioned = pieces.some(({ piece }) => piece.positionIds !== undefined);
  const segmented = pieces.some(({ piece }) => piece.segmentIds !== undefined);
  const positionIds = positioned ? new Int32Array(total).fill(NO_POSITIONS) : undefined;
  const segmentIds = segmented ? new Int32Array(total).fill(NO_SEGMENTS) : undefined;
  for (const [i, { piece }] of pieces.entries()) {
    const at = starts[i]!;
    inputIds.set(piece.inputIds, at);
    targets.set(piece.targets, at);
    targetWeights.set(piece.targetWeights, at);
    if (piece.positionIds !== undefined) positionIds!.set(piece.positionIds, at);
    if (piece.segmentIds !== undefined) segmentIds!.set(piece.segmentIds, at);
  }
  return {
    counts,
    tasks,
    taskOf: Int32Array.from(pieces, ({ task }) => task),
    rowOf: Int32Array.from(pieces, ({ row }) => row),
    starts,
    inputIds,
    targets,
    targetWeights,
    ...(positionIds === undefined ? {} : { positionIds }),
    ...(segmentIds === undefined ? {} : { segmentIds }),
  };
}

/** Rows of a chunk, skipped ones counted. */
export function rowsIn({ counts }: TokenChunk): number {
  return Object.values(counts.skipped).reduce((sum, { rows }) => sum + rows, counts.rows);
}

/** Consecutive chunks of one file as one. */
export function joinChunks(chunks: readonly TokenChunk[]): TokenChunk {
  const outcomes: Piece[] = [];
  let counts = NO_ROWS;
  let before = 0;
  for (const chunk of chunks) {
    counts = addCounts(counts, chunk.counts);
    for (let i = 0; i < chunk.rowOf.length; i++) outcomes.push({ ...pieceAt(chunk, i), row: before + chunk.rowOf[i]! });
    before += rowsIn(chunk);
  }
  const packed = packRows(
    outcomes.map(({ piece, task }) => ({
      tokenized: { pieces: [piece], tokens: 0, lostTokens: 0, lost: "nothing" },
      task,
    })),
  );
  return { ...packed, counts, rowOf: Int32Array.from(outcomes, ({ row }) => row) };
}

interface Piece {
  readonly piece: TokenizedRow["pieces"][number];
  readonly task: string | undefined;
  readonly row: number;
}

/** Example i, as views into the chunk. */
function pieceAt(chunk: TokenChunk, i: number): Piece {
  const [start, end] = [chunk.starts[i]!, chunk.starts[i + 1]!];
  const { positionIds, segmentIds } = chunk;
  const task = chunk.taskOf[i]!;
  return {
    task: task < 0 ? undefined : chunk.tasks[task]!,
    row: chunk.rowOf[i]!,
    piece: {
      inputIds: chunk.inputIds.subarray(start, end),
      targets: chunk.targets.subarray(start, end),
      targetWeights: chunk.targetWeights.subarray(start, end),
      ...(positionIds === undefined || positionIds[start] === NO_POSITIONS
        ? {}
        : { positionIds: positionIds.subarray(start, end) }),
      ...(segmentIds === undefined || segmentIds[start] === NO_SEGMENTS
        ? {}
        : { segmentIds: segmentIds.subarray(start, end) }),
    },
  };
}

/**
 * The examples of a chunk; their arrays are views into it.
 * @param firstRow - number of the chunk's first row in the dataset
 */
export function examplesOf(
  chunk: TokenChunk,
  { fileTask, firstRow }: { readonly fileTask: string; readonly firstRow: number },
): Example[] {
  return Array.from(chunk.rowOf, (_, i) => {
    const { piece, task, row } = pieceAt(chunk, i);
    return { ...piece, task: task ?? fileTask, row: firstRow + row };
  });
}
