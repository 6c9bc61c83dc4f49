import { matrix, type Matrix } from "./matrix.ts";

/**
 * Thin QR by Householder reflections (Golub & Van Loan, algorithm 5.2.1): X = Q·R with QᵀQ = 1, R upper triangular.
 * Signs are LAPACK's: a diagonal of R has the sign opposite to its column's pivot.
 *
 * @param x - [m, n], m ≥ n
 * @returns q [m, n] and r [n, n]
 */
export function qr(x: Matrix): { q: Matrix; r: Matrix } {
  const { rows: m, cols: n } = x;
  const a = Float64Array.from(x.data);
  const betas = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    let norm = 0;
    for (let i = j; i < m; i++) norm = Math.hypot(norm, a[i * n + j]!);
    if (norm === 0) continue;
    const pivot = a[j * n + j]!;
    const diagonal = pivot > 0 ? -norm : norm;
    // v = (1, a[j+1:] / (pivot − diagonal)), kept below the diagonal
    for (let i = j + 1; i < m; i++) a[i * n + j]! /= pivot - diagonal;
    betas[j] = (diagonal - pivot) / diagonal;
    a[j * n + j] = diagonal;
    for (let k = j + 1; k < n; k++) reflect(a, n, m, j, k, betas[j]!);
  }
  const r = matrix(n, n);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) r.data[i * n + j] = a[i * n + j]!;
  const q = matrix(m, n);
  for (let j = 0; j < n; j++) q.data[j * n + j] = 1;
  for (let j = n - 1; j >= 0; j--) {
    for (let k = 0; k < n; k++) {
      let sum = q.data[j * n + k]!;
      for (let i = j + 1; i < m; i++) sum += a[i * n + j]! * q.data[i * n + k]!;
      sum *= betas[j]!;
      q.data[j * n + k]! -= sum;
      for (let i = j + 1; i < m; i++) q.data[i * n + k]! -= sum * a[i * n + j]!;
    }
  }
  return { q, r };
}

/** Column k of `a` under the reflection that column j holds. */
function reflect(a: Float64Array, n: number, m: number, j: number, k: number, beta: number): void {
  let sum = a[j * n + k]!;
  for (let i = j + 1; i < m; i++) sum += a[i * n + j]! * a[i * n + k]!;
  sum *= beta;
  a[j * n + k]! -= sum;
  for (let i = j + 1; i < m; i++) a[i * n + k]! -= sum * a[i * n + j]!;
}
