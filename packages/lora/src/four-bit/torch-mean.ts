// The mean of a vector as torch computes it on a CPU in f32, bit for bit: the offset of double quantization is this
// number, and files written elsewhere must be met exactly. Reference: aten/src/ATen/native/cpu/SumKernel.cpp,
// `vectorized_inner_sum`, for one thread: 8 lanes, 4 accumulators per lane, each a cascade of 4 levels.

const LANES = 8;
const ROWS = 4;
const LEVELS = 4;

/** Σ values / n in f32; NaN for an empty vector. */
export function torchMean(values: Float32Array): number {
  return Math.fround(torchSum(values) / values.length);
}

function torchSum(values: Float32Array): number {
  const vectors = Math.floor(values.length / LANES);
  const lanes = laneSums(values, vectors);
  let sum = 0;
  for (let i = vectors * LANES; i < values.length; i++) sum = Math.fround(sum + values[i]!);
  for (const lane of lanes) sum = Math.fround(sum + lane);
  return sum;
}

/** The sum of each lane over whole vectors. */
function laneSums(values: Float32Array, vectors: number): Float32Array {
  const steps = Math.floor(vectors / ROWS);
  const width = ROWS * LANES;
  const sums = cascade(values, steps);
  const lanes = sums.subarray(0, LANES); // row 0
  for (let v = steps * ROWS; v < vectors; v++) for (let l = 0; l < LANES; l++) lanes[l]! += values[v * LANES + l]!;
  for (let at = LANES; at < width; at += LANES) for (let l = 0; l < LANES; l++) lanes[l]! += sums[at + l]!;
  return lanes;
}

/** Sums of `steps` rows of 4 × 8 values: every 2^p steps a level is added to the next one and starts again. */
function cascade(values: Float32Array, steps: number): Float32Array {
  const width = ROWS * LANES;
  const power = Math.max(4, Math.floor(ceilLog2(steps) / LEVELS));
  const stride = 2 ** power;
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
  const addStep = (step: number): void => {
    for (let w = 0; w < width; w++) levels[0]![w]! += values[step * width + w]!;
  };
  const whole = Math.floor(steps / stride) * stride;
  for (let i = 1; i <= whole; i++) {
    addStep(i - 1);
    if (i % stride !== 0) continue;
    for (let level = 1; level < LEVELS; level++) {
      const [from, to] = [levels[level - 1]!, levels[level]!];
      for (let w = 0; w < width; w++) to[w]! += from[w]!;
      from.fill(0);
      if (Math.floor(i / stride ** level) % stride !== 0) break;
    }
  }
  for (let i = whole; i < steps; i++) addStep(i);
  for (let level = 1; level < LEVELS; level++) for (let w = 0; w < width; w++) levels[0]![w]! += levels[level]![w]!;
  return levels[0]!;
}

function ceilLog2(n: number): number {
  return n <= 2 ? 1 : Math.ceil(Math.log2(n));
}
