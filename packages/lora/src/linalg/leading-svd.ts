import { hash32, normal } from "@tunesmith/core";
import { matrix, type Matrix, multiply, transpose } from "./matrix.ts";
import { jacobiSvd, type Svd } from "./svd.ts";

const TOLERANCE = 1e-10;

/**
 * The `count` largest singular values of a matrix and their vectors, without the others: Golub-Kahan-Lanczos with full
 * reorthogonalisation (Golub & Van Loan, section 10.4). Of values that are equal it finds one direction after the other.
 *
 * @param count - at most the smaller of rows and columns
 * @returns u [rows, count], s [count], v [cols, count]; each triple to 1e-10 of the largest value
 */
export function leadingSvd(x: Matrix, count: number): Svd {
  if (x.rows < x.cols) {
    const { u, s, v } = leadingSvd(transpose(x), count);
    return { u: v, s, v: u };
  }
  const most = x.cols; // steps after which nothing is left
  const [us, vs]: [Float64Array[], Float64Array[]] = [[], []];
  const [alphas, betas]: [number[], number[]] = [[], []];
  let v = unit(randomVector(x.cols, 0), vs)!.vector;
  for (let check = Math.min(most, 2 * count + 10); ; check = Math.min(most, Math.ceil(1.5 * check))) {
    while (us.length < check) {
      vs.push(v);
      const k = us.length;
      const ahead = timesVector(x, v);
      if (k > 0) subtract(ahead, us[k - 1]!, betas[k - 1]!);
      const left = nextOf(ahead, us, x.rows, k);
      us.push(left.vector);
      alphas.push(left.norm);
      const back = timesTransposed(x, left.vector);
      subtract(back, v, left.norm);
      const right = nextOf(back, vs, x.cols, k);
      betas.push(right.norm);
      v = right.vector;
    }
    const inner = jacobiSvd(bidiagonal(alphas, betas));
    const k = us.length;
    const left = (i: number): number => Math.abs(inner.u.data[(k - 1) * k + i]!);
    const errors = Array.from({ length: count }, (_, i) => betas[k - 1]! * left(i));
    if (k < most && errors.some((error) => error > TOLERANCE * inner.s[0]!)) continue;
    return { u: combined(us, inner.u, count), s: inner.s.slice(0, count), v: combined(vs, inner.v, count) };
  }
}

/** Alphas on the diagonal, betas above it. */
function bidiagonal(alphas: readonly number[], betas: readonly number[]): Matrix {
  const k = alphas.length;
  const b = matrix(k, k);
  for (let i = 0; i < k; i++) {
    b.data[i * k + i] = alphas[i]!;
    if (i + 1 < k) b.data[i * k + i + 1] = betas[i]!;
  }
  return b;
}

/** The first columns of [w_0 w_1 …]·inner. */
function combined(ws: readonly Float64Array[], inner: Matrix, count: number): Matrix {
  const [k, n] = [ws.length, ws[0]!.length];
  const first = matrix(k, count);
  for (let i = 0; i < k; i++)
    for (let j = 0; j < count; j++) first.data[i * count + j] = inner.data[i * inner.cols + j]!;
  const stacked = matrix(k, n);
  for (const [i, w] of ws.entries()) stacked.data.set(w, i * n);
  return multiply(transpose(stacked), first);
}

/** A unit vector along w, or, where nothing of w is left, any that is orthogonal to the others, with the norm 0. */
function nextOf(
  w: Float64Array,
  others: readonly Float64Array[],
  n: number,
  step: number,
): { vector: Float64Array; norm: number } {
  const found = unit(w, others);
  if (found) return found;
  for (let draw = 1; ; draw++) {
    const other = unit(randomVector(n, step * 8 + draw), others);
    if (other) return { vector: other.vector, norm: 0 };
    if (others.length >= n || draw > 7) return { vector: new Float64Array(n), norm: 0 };
  }
}

/** w without its parts along the others, as a unit vector; undefined where rounding is all that is left. */
function unit(w: Float64Array, others: readonly Float64Array[]): { vector: Float64Array; norm: number } | undefined {
  const before = Math.sqrt(dot(w, w));
  const vector = w.slice();
  // twice is enough (Parlett, "The Symmetric Eigenvalue Problem", section 6.9)
  for (let pass = 0; pass < 2; pass++) for (const other of others) subtract(vector, other, dot(other, vector));
  const norm = Math.sqrt(dot(vector, vector));
  if (!(norm > 1e-12 * before)) return undefined;
  for (let i = 0; i < vector.length; i++) vector[i]! /= norm;
  return { vector, norm };
}

function randomVector(n: number, draw: number): Float64Array {
  const site = hash32("leading singular values");
  return Float64Array.from({ length: n }, (_, i) => normal(0, site, draw, i));
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function subtract(from: Float64Array, w: Float64Array, factor: number): void {
  for (let i = 0; i < from.length; i++) from[i]! -= factor * w[i]!;
}

function timesVector({ rows, cols, data }: Matrix, v: Float64Array): Float64Array {
  const out = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += data[i * cols + j]! * v[j]!;
    out[i] = sum;
  }
  return out;
}

function timesTransposed({ rows, cols, data }: Matrix, u: Float64Array): Float64Array {
  const out = new Float64Array(cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j]! += data[i * cols + j]! * u[i]!;
  return out;
}
