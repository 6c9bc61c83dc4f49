function checkLengths(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (actual.length !== expected.length) {
    throw new RangeError(`comparing ${actual.length} values with ${expected.length} expected ones`);
  }
}

/**
 * `max |actual − expected|`. NaN anywhere gives NaN, so that `toBeLessThan` fails; two equal infinities
 * give NaN too. Both empty: 0.
 * @throws RangeError if the lengths differ
 */
export function maxAbsError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  checkLengths(actual, expected);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  return worst;
}

/**
 * `max |actual − expected| / max |expected|`: the error against the tensor's largest entry, which is how
 * gradients are judged (small entries of a tensor are sums of large ones that cancel).
 * @param floor - smallest denominator; where it and all of `expected` are 0 the absolute error is returned
 * @throws RangeError if the lengths differ
 */
export function relativeMaxError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor: number = 0): number {
  let largest = floor;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  return maxAbsError(actual, expected) / (largest === 0 ? 1 : largest);
}

/**
 * `Σ a·b`. With b = dy it turns an output into the scalar whose gradient is what backward(dy) returns.
 * @throws RangeError if the lengths differ
 */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkLengths(a, b);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
