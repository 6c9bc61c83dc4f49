/**
 * Gradient of a scalar function by central differences: `(f(x + h·eᵢ) − f(x − h·eᵢ)) / 2h`.
 *
 * Take it of a float64 reference, never of a float32 kernel: there the difference is mostly rounding. The
 * error is about h²·f‴/6 + 1e-16·|f|/h, near 1e-10 for the default h and values of size one.
 *
 * @param f - must not keep or change its argument, which is reused between calls
 * @param x - where; not changed
 * @param h - step in units of x
 * @returns as long as `x`
 */
export function finiteDifference(f: (x: Float64Array) => number, x: ArrayLike<number>, h: number = 1e-5): Float64Array {
  const moved = Float64Array.from(x);
  return Float64Array.from({ length: x.length }, (_, i) => {
    const before = moved[i]!;
    moved[i] = before + h;
    const above = f(moved);
    moved[i] = before - h;
    const below = f(moved);
    moved[i] = before;
    return (above - below) / (2 * h);
  });
}
