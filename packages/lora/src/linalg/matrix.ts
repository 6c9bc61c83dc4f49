// The little dense algebra that adapters need on the host, in float64: products, thin QR, and the SVD of small matrices.

/** Row-major. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

export function matrix(rows: number, cols: number, values?: ArrayLike<number>): Matrix {
  return { rows, cols, data: values ? Float64Array.from(values) : new Float64Array(rows * cols) };
}

export function transpose({ rows, cols, data }: Matrix): Matrix {
  const out = matrix(cols, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out.data[j * rows + i] = data[i * cols + j]!;
  return out;
}

/** X·Y */
export function multiply(x: Matrix, y: Matrix): Matrix {
  const out = matrix(x.rows, y.cols);
  for (let i = 0; i < x.rows; i++)
    for (let k = 0; k < x.cols; k++) {
      const value = x.data[i * x.cols + k]!;
      if (value === 0) continue;
      for (let j = 0; j < y.cols; j++) out.data[i * y.cols + j]! += value * y.data[k * y.cols + j]!;
    }
  return out;
}

/** Each column j times `factors[j]`. */
export function scaleColumns(x: Matrix, factors: ArrayLike<number>): Matrix {
  return { ...x, data: x.data.map((value, i) => value * factors[i % x.cols]!) };
}
