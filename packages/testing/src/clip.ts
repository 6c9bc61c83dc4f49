/**
 * Global-norm clipping as torch.nn.utils.clip_grad_norm_ does it: all gradients are multiplied by
 * `min(1, maxNorm / (norm + 1e-6))`, so a norm equal to maxNorm still shrinks a little (Pascanu et al. 2013,
 * arXiv:1211.5063).
 * @returns the norm before clipping, the factor, and clipped copies
 */
export function clipGradNorm(
  gradients: readonly ArrayLike<number>[],
  maxNorm: number,
): { norm: number; factor: number; clipped: Float64Array[] } {
  let squares = 0;
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) squares += gradient[i]! ** 2;
  const norm = Math.sqrt(squares);
  const factor = Math.min(1, maxNorm / (norm + 1e-6));
  return { norm, factor, clipped: gradients.map((gradient) => Float64Array.from(gradient, (g) => g * factor)) };
}
