/** Parameter and moments, all of one length; `adamwStep` changes them in place. */
export interface AdamwState {
  readonly param: Float64Array;
  /** first moment, torch's `exp_avg` */
  readonly m: Float64Array;
  /** second moment, torch's `exp_avg_sq` */
  readonly v: Float64Array;
}

export interface AdamwOptions {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** 1 for the first update */
  readonly step: number;
}

/**
 * One step of torch.optim.AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101): decay the parameter by
 * `1 − lr·weightDecay` first, then `param −= lr/(1−β1^t) · m / (sqrt(v)/sqrt(1−β2^t) + eps)`.
 */
export function adamwStep(state: AdamwState, gradient: ArrayLike<number>, options: AdamwOptions): void {
  const { lr, beta1, beta2, eps, weightDecay, step } = options;
  const { param, m, v } = state;
  if (gradient.length !== param.length) {
    throw new RangeError(`adamwStep: ${gradient.length} gradients for ${param.length} parameters`);
  }
  for (let i = 0; i < param.length; i++) {
    const g = gradient[i]!;
    m[i] = beta1 * m[i]! + (1 - beta1) * g;
    v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
    const denominator = Math.sqrt(v[i]!) / Math.sqrt(1 - beta2 ** step) + eps;
    param[i] = param[i]! * (1 - lr * weightDecay) - ((lr / (1 - beta1 ** step)) * m[i]!) / denominator;
  }
}
