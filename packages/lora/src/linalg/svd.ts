import { matrix, type Matrix, multiply, transpose } from "./matrix.ts";
import { qr } from "./qr.ts";

/** X = U·diag(s)·Vᵀ, s descending and ≥ 0. */
export interface Svd {
  /** [m, k] */
  readonly u: Matrix;
  /** [k] */
  readonly s: Float64Array;
  /** [n, k] */
  readonly v: Matrix;
}

const SWEEPS = 60;

/**
 * One-sided Jacobi (Hestenes 1958): columns are rotated in pairs until all are orthogonal. Accurate to the last digits
 * and short, at O(n³) a sweep: for matrices of a few hundred columns.
 */
export function jacobiSvd(x: Matrix): Svd {
  if (x.rows < x.cols) {
    const { u, s, v } = jacobiSvd(transpose(x));
    return { u: v, s, v: u };
  }
  const { rows: m, cols: n } = x;
  const a = Float64Array.from(x.data);
  const v = matrix(n, n);
  for (let j = 0; j < n; j++) v.data[j * n + j] = 1;
  for (let sweep = 0, rotated = true; rotated && sweep < SWEEPS; sweep++) {
    rotated = false;
    for (let p = 0; p < n - 1; p++)
      for (let q = p + 1; q < n; q++) {
        let [pp, qq, pq] = [0, 0, 0];
        for (let i = 0; i < m; i++) {
          const [x1, x2] = [a[i * n + p]!, a[i * n + q]!];
          pp += x1 * x1;
          qq += x2 * x2;
          pq += x1 * x2;
        }
        if (Math.abs(pq) <= 1e-15 * Math.sqrt(pp * qq) || pq === 0) continue;
        rotated = true;
        const zeta = (qq - pp) / (2 * pq);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(a, m, n, p, q, c, c * t);
        rotate(v.data, n, n, p, q, c, c * t);
      }
  }
  const norms = Float64Array.from({ length: n }, (_, j) => {
    let norm = 0;
    for (let i = 0; i < m; i++) norm = Math.hypot(norm, a[i * n + j]!);
    return norm;
  });
  const order = Array.from(norms.keys()).sort((i, j) => norms[j]! - norms[i]! || i - j);
  const u = matrix(m, n);
  const sorted = matrix(n, n);
  for (const [k, j] of order.entries()) {
    for (let i = 0; i < m; i++) u.data[i * n + k] = norms[j] === 0 ? 0 : a[i * n + j]! / norms[j]!;
    for (let i = 0; i < n; i++) sorted.data[i * n + k] = v.data[i * n + j]!;
  }
  return { u, s: Float64Array.from(order, (j) => norms[j]!), v: sorted };
}

function rotate(a: Float64Array, m: number, n: number, p: number, q: number, c: number, s: number): void {
  for (let i = 0; i < m; i++) {
    const [x, y] = [a[i * n + p]!, a[i * n + q]!];
    a[i * n + p] = c * x - s * y;
    a[i * n + q] = s * x + c * y;
  }
}

/** The exact SVD of B·A, for b [m, k] and a [k, n]: QR of both, then a k × k SVD. */
export function productSvd(b: Matrix, a: Matrix): Svd {
  if (b.cols > Math.min(b.rows, a.cols)) return jacobiSvd(multiply(b, a));
  const left = qr(b);
  const right = qr(transpose(a));
  const { u, s, v } = jacobiSvd(multiply(left.r, transpose(right.r)));
  return { u: multiply(left.q, u), s, v: multiply(right.q, v) };
}
