// The low-rank terms of projections of one input, together: one product x·Aᵀ with the rows of all A, and one block-diagonal factor
// B, so that the sum of the terms is one product of two matrices. Where all B adjoin and are alike, products take them as they
// are and skip what lies beside the blocks; elsewhere B is written out with its zeros.

import { canBeDiagonal, empty, matmul, MOST_BLOCKS, Tensor } from "@tunesmith/tensor";
import type { Diagonal, MatmulArgs, Weight } from "@tunesmith/tensor";
import { keep } from "../tape.ts";
import type { Want } from "../tape.ts";
import { adjoin, oneView, runs } from "./adjoining.ts";
import { place, take } from "./blocks.ts";
import type { Blocks } from "./blocks.ts";
import type { Magnitude } from "./decomposed.ts";
import { maskInto } from "./dropout.ts";
import type { DropoutKey } from "./dropout.ts";
import { gradientFor } from "./gradient-for.ts";

/** A low-rank term of a projection: `scale · (x·Aᵀ)·Bᵀ`. */
export interface LowRank {
  /** f32 `[rank, in]` */
  readonly a: Tensor;
  /** f32 `[out, rank]` */
  readonly b: Tensor;
  readonly scale: number;
  /** Dropout of the term's input alone, as PEFT does it: `scale · (dropout(x)·Aᵀ)·Bᵀ`; see `dropout` */
  /** weight-decomposed: a magnitude per output; not together with dropout */
  readonly magnitude?: Magnitude | undefined;
  readonly dropout?: { readonly p: number; readonly key: DropoutKey } | undefined;
}

/** One term and its place among the others. */
export interface Term {
  readonly lowRank: LowRank;
  /** columns of the output that it adds to */
  readonly firstOut: number;
  readonly outs: number;
  /** rows of the stacked A that are its own */
  readonly firstRank: number;
  readonly rank: number;
}

interface Gradients {
  readonly dA: readonly (Tensor | undefined)[];
  readonly dB: readonly (Tensor | undefined)[];
  /** what a product that forms dX can add on its way */
  readonly plus: MatmulArgs["plus"];
  /** adds the rest to dX */
  readonly addTo: (dX: Tensor) => void;
}

interface Sum {
  /** the product of the two factors, the sum of all terms: for a product to add on its way */
  readonly joined: Pick<MatmulArgs, "plus" | "diagonal">;
  /** the same as a product of its own */
  readonly alone: Pick<MatmulArgs, "layout" | "a" | "b" | "diagonal">;
  readonly backward: (
    dY: Tensor,
    wants: { readonly x: Want; readonly a: readonly Want[]; readonly b: readonly Want[] },
  ) => Gradients;
}

/**
 * @param x - `[rows, in]`
 * @param outs - columns of the output
 */
export function lowRankSum(x: Tensor, terms: readonly Term[], outs: number): Sum {
  const { device } = x;
  const [rows, ins] = x.shape as [number, number];
  const rank = terms.reduce((sum, t) => sum + t.rank, 0);
  const dropped = terms.some(isDropped);
  const [lone] = terms.length === 1 && terms[0]!.outs === outs ? terms : [];
  const stacked = lone ? { b: lone.lowRank.b, blocks: undefined } : stackedB(terms, outs);
  // placed blocks carry their scale, and are placed again in backward rather than saved
  const scale = stacked ? terms[0]!.lowRank.scale : 1;
  const factorB = (): Tensor => stacked?.b ?? placed(terms, [outs, rank]);
  const diagonal = <Operand extends string>(operand: Operand): { operand: Operand; blocks: Diagonal } | undefined =>
    stacked?.blocks && { operand, blocks: stacked.blocks };

  const a = dropped ? undefined : stackedA(terms, [rank, ins]);
  // narrow, but all of x goes into it: what saves x for backward by making it again keeps this
  const u = keep(() => {
    const out = empty(device, [rows, rank]);
    if (a) matmul({ layout: "nt", a: x, b: a, out, scale });
    else
      for (const [i, term] of terms.entries())
        matmul({
          layout: "nt",
          a: seen(x, term),
          b: ownRows(term, rank),
          out,
          scale,
          unfinished: i + 1 < terms.length,
        });
    return out;
  });

  const b = factorB();
  return {
    joined: { plus: { layout: "nt", a: u, b }, diagonal: diagonal("plus.b") },
    alone: { layout: "nt", a: u, b, diagonal: diagonal("b") },
    backward: (dY, wants) => {
      let v: Tensor | undefined;
      if (wants.x || wants.a.some(Boolean)) {
        v = empty(device, [rows, rank]);
        matmul({ layout: "nn", a: dY, b: factorB(), out: v, scale, diagonal: diagonal("b") });
      }
      return {
        dA: gradientsOfA(terms, wants.a, v, x),
        dB: lone
          ? [
              gradientFor(lone.lowRank.b, wants.b[0], (out, accumulate) =>
                matmul({ layout: "tn", a: dY, b: u, out, accumulate }),
              ),
            ]
          : gradientsOfB(terms, wants.b, dY, u, stacked?.blocks),
        plus: a && v && { layout: "nn", a: v, b: a },
        addTo: (dX) => {
          if (a || !v) return;
          for (const term of terms) {
            const { dropout } = term.lowRank;
            const product = { layout: "nn", a: v, b: ownRows(term, rank) } as const;
            if (!isDropped(term)) matmul({ ...product, out: dX, accumulate: true });
            else {
              const dSeen = empty(device, x.shape);
              matmul({ ...product, out: dSeen });
              maskInto(dX, dSeen, dropout!.p, dropout!.key, true);
              dSeen.dispose();
            }
          }
        },
      };
    },
  };
}

function isDropped({ lowRank }: Term): boolean {
  return (lowRank.dropout?.p ?? 0) > 0;
}

/** What a term sees of x. The mask is drawn again wherever it is needed: nothing is saved. */
function seen(x: Tensor, term: Term): Tensor {
  if (!isDropped(term)) return x;
  const { p, key } = term.lowRank.dropout!;
  const out = empty(x.device, x.shape);
  maskInto(out, x, p, key, false);
  return out;
}

/** A term's A as its rows of the stacked one; a product with it takes part of the columns. */
function ownRows({ lowRank, firstRank, rank }: Term, total: number): Weight {
  return {
    shape: [total, lowRank.a.shape[1]!],
    format: "f32",
    shards: [{ tensor: lowRank.a, firstRow: firstRank, rows: rank }],
  };
}

/** All A, rows below rows: a view where they adjoin, else a copy. */
function stackedA(terms: readonly Term[], shape: readonly [number, number]): Tensor {
  const all = terms.map((t) => t.lowRank.a);
  const view = oneView(all, shape);
  if (view) return view;
  const out = empty(all[0]!.device, shape);
  for (const [i, { lowRank, firstRank, rank }] of terms.entries()) {
    const rows = { sizes: [rank], cols: shape[1], firstRow: firstRank, firstCol: 0, step: 0, scale: 1 };
    place(out, rows, lowRank.a, { unfinished: i + 1 < terms.length });
  }
  return out;
}

/** Terms that one launch can place or take: equal in rank and scale, one after the other everywhere. */
function alike(tensor: (term: Term) => Tensor | undefined): (a: Term, b: Term) => boolean {
  return (a, b) => {
    const [one, other] = [tensor(a), tensor(b)];
    return (
      one !== undefined &&
      other !== undefined &&
      adjoin(one, other) &&
      a.rank === b.rank &&
      a.lowRank.scale === b.lowRank.scale &&
      a.firstOut + a.outs === b.firstOut &&
      a.firstRank + a.rank === b.firstRank
    );
  };
}

const blocksOf = (run: readonly Term[]): Blocks => {
  const [{ firstOut, firstRank, rank, lowRank }] = run as readonly [Term];
  const sizes = run.map((t) => t.outs);
  return { sizes, cols: rank, firstRow: firstOut, firstCol: firstRank, step: rank, scale: lowRank.scale };
};

/** `[outs, rank]`: scale · B of each term at its rows and columns, zeros elsewhere. */
function placed(terms: readonly Term[], [outs, rank]: readonly [number, number]): Tensor {
  const nothing = terms[0]!.lowRank.b;
  const pieces: { from: Tensor; blocks: Blocks }[] = [];
  let next = 0;
  /** outputs without a term: a block without columns */
  const gap = (to: number): void => {
    const blocks = { sizes: [to - next], cols: 0, firstRow: next, firstCol: 0, step: 0, scale: 0 };
    if (to > next) pieces.push({ from: nothing, blocks });
  };
  for (const run of runs(
    terms,
    alike((t) => t.lowRank.b),
    MOST_BLOCKS,
  )) {
    const [first, last] = [run[0]!, run.at(-1)!];
    gap(first.firstOut);
    pieces.push({ from: spanning(run.map((t) => t.lowRank.b)), blocks: blocksOf(run) });
    next = last.firstOut + last.outs;
  }
  gap(outs);
  const out = empty(nothing.device, [outs, rank]);
  for (const [i, { from, blocks }] of pieces.entries()) place(out, blocks, from, { unfinished: i + 1 < pieces.length });
  return out;
}

/** All B as they lie in memory, where products can take them for the block-diagonal factor. */
function stackedB(terms: readonly Term[], outs: number): { b: Tensor; blocks: Diagonal } | undefined {
  const [run, ...others] = runs(
    terms,
    alike((t) => t.lowRank.b),
  );
  if (!run || others.length > 0 || run[0]!.firstOut > 0) return undefined;
  const width = run[0]!.rank;
  const blocks = { ends: run.map((t) => t.firstOut + t.outs), width };
  const b = oneView(
    run.map((t) => t.lowRank.b),
    [outs, width],
  );
  return b && blocks.ends.at(-1) === outs && canBeDiagonal(blocks) ? { b, blocks } : undefined;
}

/** A view over tensors that adjoin. */
function spanning(tensors: readonly Tensor[]): Tensor {
  return tensors.length === 1 ? tensors[0]! : oneView(tensors, [tensors.reduce((n, t) => n + t.size, 0)])!;
}

/** dA = Vᵀ·X, for all terms at once where they see the same x and their gradients adjoin. */
function gradientsOfA(
  terms: readonly Term[],
  wants: readonly Want[],
  v: Tensor | undefined,
  x: Tensor,
): (Tensor | undefined)[] {
  if (!v || !wants.some(Boolean)) return terms.map(() => undefined);
  const sinks = wants.filter((want) => want instanceof Tensor);
  const all =
    terms.some(isDropped) || sinks.length < terms.length ? undefined : oneView(sinks, [v.shape[1]!, x.shape[1]!]);
  if (all) {
    matmul({ layout: "tn", a: v, b: x, out: all, accumulate: true });
    return terms.map(() => undefined);
  }
  return terms.map((term, i) =>
    gradientFor(term.lowRank.a, wants[i], (out, accumulate) =>
      matmul({ layout: "tn", a: v, b: seen(x, term), out, firstRow: term.firstRank, accumulate }),
    ),
  );
}

/**
 * dB: the blocks of dYᵀ·U that belong to a term. They alone are computed where all go to sinks that lie as the factor does; elsewhere
 * what lies beside them is computed in vain, in one launch.
 * @param blocks - of the factor, if it is stacked: U carries the scale of the terms then
 */
function gradientsOfB(
  terms: readonly Term[],
  wants: readonly Want[],
  dY: Tensor,
  u: Tensor,
  blocks: Diagonal | undefined,
): (Tensor | undefined)[] {
  if (!wants.some(Boolean)) return terms.map(() => undefined);
  const sinkOf = new Map(terms.map((term, i) => [term, wants[i]]));
  const sink = (term: Term): Tensor | undefined => {
    const want = sinkOf.get(term);
    return want instanceof Tensor ? want : undefined;
  };
  const sinks = terms.map(sink).filter((tensor) => tensor !== undefined);
  const all = blocks && sinks.length === terms.length ? oneView(sinks, [dY.shape[1]!, blocks.width]) : undefined;
  if (all) {
    matmul({ layout: "tn", a: dY, b: u, out: all, accumulate: true, diagonal: { operand: "out", blocks: blocks! } });
    return terms.map(() => undefined);
  }
  const placesOf = (run: readonly Term[]): Blocks => ({ ...blocksOf(run), ...(blocks ? { scale: 1 } : {}) });
  const matrix = empty(dY.device, [dY.shape[1]!, u.shape[1]!]);
  matmul({ layout: "tn", a: dY, b: u, out: matrix });
  for (const run of runs(terms.filter(sink), alike(sink), MOST_BLOCKS))
    take(matrix, placesOf(run), spanning(run.map((term) => sink(term)!)), { accumulate: true });
  const fresh = terms.map((term, i) => {
    if (wants[i] !== true) return undefined;
    const out = empty(dY.device, term.lowRank.b.shape);
    take(matrix, placesOf([term]), out, { accumulate: false });
    return out;
  });
  matrix.dispose();
  return fresh;
}
