const EXPONENTS = 7;

/**
 * The 8-bit "dynamic" map of bitsandbytes (`create_dynamic_map`): 256 sorted f32 values with a growing number of steps per
 * decade. Decade i holds ± the midpoints of 2^i equal parts of [0.1, 1], times 10^(i − 6); 0 and 1 complete it. Unsigned,
 * for what is never negative, decade i has twice the parts.
 * @see Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", https://arxiv.org/abs/2110.02861
 */
export function dynamicMap({ signed = true }: { readonly signed?: boolean } = {}): Float32Array {
  const values = [0, 1];
  for (let i = 0; i < EXPONENTS; i++) {
    const parts = 2 ** (signed ? i : i + 1);
    const edges = linspace(Math.fround(0.1), 1, parts + 1);
    const power = Math.fround(10 ** (i - (EXPONENTS - 1)));
    for (let j = 0; j < parts; j++) {
      const value = Math.fround(power * Math.fround(Math.fround(edges[j]! + edges[j + 1]!) / 2));
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}

/** f32 as torch computes it: up from the start in the first half, down from the end in the second, one rounding each. */
function linspace(from: number, to: number, count: number): number[] {
  const step = Math.fround(Math.fround(to - from) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    Math.fround(i < Math.floor(count / 2) ? from + step * i : to - step * (count - 1 - i)),
  );
}
