// Starts of an adapter that are computed from the base's weights, on the host, a matrix at a time.
// PiSSA: Meng et al. 2024, https://arxiv.org/abs/2404.02948; OLoRA: Büyükakyüz 2024, https://arxiv.org/abs/2406.01775;
// LoftQ: Li et al. 2023, https://arxiv.org/abs/2310.08659

import { toF32, type TensorSource } from "@tunesmith/safetensors";
import { type LinearSizes, peftNames } from "./adapter.ts";
import { type LoraConfig, moduleRank } from "./config.ts";
import { LoraError } from "./errors.ts";
import { dequantizeFourBit, type FourBitOptions, quantizeFourBit } from "./four-bit/quantize.ts";
import { leadingSvd } from "./linalg/leading-svd.ts";
import { matrix, type Matrix, multiply, scaleColumns, transpose } from "./linalg/matrix.ts";
import { qr } from "./linalg/qr.ts";

/**
 * `pissa`: s·B·A is the best approximation of W of rank r, and the base keeps the rest. `olora`: B is the first r columns
 * of Q and A the first r rows of R, W = Q·R; the base keeps W − s·B·A. `loftq`: s·B·A is the best approximation of what
 * quantizing the base loses.
 */
export type ComputedStart = "pissa" | "olora" | "loftq";

export interface StartOptions {
  readonly config: LoraConfig;
  readonly targets: readonly string[];
  readonly sizes: LinearSizes;
  /** how a module of the base will be quantized; loftq leaves the others out */
  readonly quantize?: ((path: string) => FourBitOptions | undefined) | undefined;
}

/**
 * A and B of every target.
 *
 * @param base - the original, plain checkpoint
 * @returns PEFT name → f32 values
 * @throws LoraError `MERGE_UNSUPPORTED` for a weight that is not plain, `ADAPTER_UNSUPPORTED` for a rank above a layer's sizes
 */
export async function computeStart(
  kind: ComputedStart,
  base: TensorSource,
  { config, targets, sizes, quantize }: StartOptions,
): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const path of targets) {
    const options = quantize?.(path);
    if (kind === "loftq" && !options) continue;
    const weight = await readMatrix(base, path, sizes);
    const { r, scale } = moduleRank(config, path);
    if (r > Math.min(weight.rows, weight.cols))
      throw new LoraError("ADAPTER_UNSUPPORTED", `a start of ${kind} needs no rank above a layer's sizes: ${path}`, {
        received: `r ${r}`,
        expected: `at most ${Math.min(weight.rows, weight.cols)}`,
        fix: "lower r, or give this module another one with rank_pattern",
      });
    const { a, b } =
      kind === "olora"
        ? orthogonal(weight, r)
        : leading(kind === "loftq" ? lost(weight, options!, path) : weight, r, scale);
    values.set(peftNames(path).a, Float32Array.from(a.data));
    values.set(peftNames(path).b, Float32Array.from(b.data));
  }
  return values;
}

/** W `[out, in]`, however it lies. */
async function readMatrix(base: TensorSource, path: string, sizes: LinearSizes): Promise<Matrix> {
  const { in: ins, out: outs, layout } = sizes.get(path)!;
  const info = base.tensors.get(`${path}.weight`);
  if (!info || !["F32", "F16", "BF16"].includes(info.dtype))
    throw new LoraError("MERGE_UNSUPPORTED", `the base's ${path}.weight is ${info?.dtype ?? "missing"}`, {
      received: info?.dtype ?? "no such tensor",
      expected: "F32, F16 or BF16",
      fix: "start from the original 16-bit model folder",
    });
  const values = toF32(await base.read(`${path}.weight`), info.dtype);
  return layout === "in_out" ? transpose(matrix(ins, outs, values)) : matrix(outs, ins, values);
}

/** s·B·A = the best approximation of rank r, its values shared between the two. */
function leading(x: Matrix, r: number, scale: number): { a: Matrix; b: Matrix } {
  const { u, s, v } = leadingSvd(x, r);
  const roots = s.map((value) => Math.sqrt(value / scale));
  return { a: transpose(scaleColumns(v, roots)), b: scaleColumns(u, roots) };
}

/** R's first rows are Q's first columns, transposed, times W; and these are the QR of W's first columns alone. */
function orthogonal(x: Matrix, r: number): { a: Matrix; b: Matrix } {
  const first = matrix(x.rows, r);
  for (let i = 0; i < x.rows; i++) for (let j = 0; j < r; j++) first.data[i * r + j] = x.data[i * x.cols + j]!;
  const { q } = qr(first);
  return { a: multiply(transpose(q), x), b: q };
}

/** What quantizing loses. */
function lost(x: Matrix, options: FourBitOptions, name: string): Matrix {
  const values = Float32Array.from(x.data);
  const stored = dequantizeFourBit(quantizeFourBit(values, options, name), options.type, values.length);
  return { ...x, data: x.data.map((value, i) => value - stored[i]!) };
}
