// What there is to compute on, whether it computes rightly, and what to do where there is nothing.

import { uniform } from "@tunesmith/core";
import { diagnose, platformFacts } from "@tunesmith/node/driver-help";
import type { Diagnosis, ProbeOutcome } from "@tunesmith/node/driver-help";
import { empty, matmul, upload } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import type { Context, Outcome } from "../context.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { typedError } from "../failure.ts";

/** Rows, columns and depth of the check: three different sizes, none a multiple of a tile. */
const CHECK = { m: 193, n: 257, k: 321 };
/** Rows, columns and depth of the timing. */
const TIMED = 512;
/** Worst error of a sum of k products in f32, relative to the sum of their magnitudes, is about k · 2⁻²⁴. */
const TOLERANCE = CHECK.k * 2 ** -24;
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

interface MatmulCheck {
  readonly ok: boolean;
  /** largest |error| over the sum of the magnitudes of the products */
  readonly max_error: number;
  readonly tolerance: number;
  /** seconds of one product of `size`³, compiled */
  readonly seconds: number;
  readonly size: number;
  readonly gflops: number;
}

export async function run(_: readonly string[], __: object, context: Context): Promise<Outcome> {
  const system = { node: process.version, platform: process.platform, arch: process.arch };
  try {
    const { openGpu } = await import("../device.ts"); // loads Dawn, which may be what is missing
    const device = await openGpu(context);
    const check = await matmulCheck(device);
    const advice = adviceFor(device);
    const report = { ok: check.ok, ...deviceReport(device), matmul: check, advice, ...system };
    if (check.ok) return { document: report, text: reportText(report) };
    const message = `the GPU multiplies matrices wrongly: error ${check.max_error}, at most ${check.tolerance} expected`;
    const fix = "update the GPU's driver; until then use another device with --device";
    return {
      document: { ...report, error: { code: "DEVICE_WRONG", message, fix } },
      text: `${reportText(report)}\n\nerror DEVICE_WRONG: ${message}\nfix: ${fix}`,
      exitCode: 4,
    };
  } catch (thrown) {
    const error = typedError(thrown);
    if (exitCodeOf(error) !== 4) throw thrown;
    const { code, message, fix } = explain(error.code, error.message, context);
    return {
      document: { ok: false, error: { code: error.code, message, fix }, cause: code, ...system },
      text: `error ${error.code}: ${message}\nfix: ${fix.replaceAll("\n", "\n     ")}`,
      exitCode: 4,
    };
  }
}

/** What would make a device that works a better one. */
function adviceFor({ facts }: Device): string[] {
  if (!facts.software || !platformFacts().hasNvidiaGpu) return [];
  return [
    "there is an NVIDIA GPU, but no Vulkan driver for it. In a container, start it with NVIDIA_DRIVER_CAPABILITIES=all; else install the libnvidia-gl package of your driver's version",
  ];
}

/** The cause behind a failure to open a device, in the words that set-up uses too. */
function explain(
  code: string,
  message: string,
  context: Context,
): Pick<Diagnosis, "message" | "fix"> & { code: string } {
  const { name } = context.device;
  if (name !== undefined)
    return { code: "DEVICE_NOT_FOUND", message, fix: "leave out --device, or name a part of the GPU's name" };
  const probe: ProbeOutcome =
    code === "DAWN_UNLOADABLE"
      ? { kind: "load_failed", reason: message }
      : code === "NO_DEVICE"
        ? { kind: "no_adapter" }
        : { kind: "refused", adapter: "the GPU", reason: message };
  return diagnose(platformFacts(), probe);
}

function deviceReport({ facts, gpu }: Device) {
  return {
    device: {
      name: facts.description,
      vendor: facts.vendor,
      architecture: facts.architecture,
      software: facts.software,
    },
    limits: Object.fromEntries(LIMITS.map((name) => [snakeCase(name), gpu.limits[name]])),
    features: [...gpu.features].toSorted(),
    subgroups: facts.subgroups ? { min: facts.subgroupMinSize, max: facts.subgroupMaxSize } : null,
    immediates: facts.immediates,
  };
}

/** A product of odd sizes against float64 on the processor, then the time of a larger one. */
async function matmulCheck(device: Device): Promise<MatmulCheck> {
  const { m, n, k } = CHECK;
  const [a, b] = [numbers(m * k, 0), numbers(k * n, 1)];
  const product = await multiply(device, [m, k, a], [k, n, b]);
  let worst = 0;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let magnitude = 0;
      for (let l = 0; l < k; l++) {
        const term = a[i * k + l]! * b[l * n + j]!;
        sum += term;
        magnitude += Math.abs(term);
      }
      const error = Math.abs(product[i * n + j]! - sum) / magnitude;
      if (!(error <= worst)) worst = error; // NaN must not pass for small
    }
  const [x, y] = [numbers(TIMED ** 2, 2), numbers(TIMED ** 2, 3)];
  let seconds = Infinity;
  for (let i = 0; i < 3; i++) {
    const before = performance.now();
    await multiply(device, [TIMED, TIMED, x], [TIMED, TIMED, y]);
    seconds = Math.min(seconds, (performance.now() - before) / 1000);
  }
  return {
    ok: worst <= TOLERANCE,
    max_error: worst,
    tolerance: TOLERANCE,
    seconds,
    size: TIMED,
    gflops: (2 * TIMED ** 3) / seconds / 1e9,
  };
}

type Matrix = readonly [rows: number, cols: number, data: Float32Array];

async function multiply(device: Device, [m, k, a]: Matrix, [, n, b]: Matrix): Promise<Float32Array> {
  const out = empty(device, [m, n], "f32");
  const tensors: Tensor[] = [upload(device, [m, k], "f32", a), upload(device, [k, n], "f32", b), out];
  matmul({ layout: "nn", a: tensors[0]!, b: tensors[1]!, out });
  const product = await out.read();
  for (const tensor of tensors) tensor.dispose();
  device.check();
  return product;
}

function numbers(count: number, site: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => 2 * uniform(0, site, 0, i) - 1);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function reportText(
  report: ReturnType<typeof deviceReport> & {
    matmul: MatmulCheck;
    advice: string[];
    node: string;
    platform: string;
    arch: string;
  },
): string {
  const { device, limits, features, subgroups, immediates, matmul: check, advice } = report;
  const rows: [string, string][] = [
    ["device", `${device.name} (${[device.vendor, device.architecture].filter(Boolean).join(", ")})`],
    ["kind", device.software ? "software: the processor pretends to be a GPU; right, but slow" : "GPU"],
    ["node", `${report.node} on ${report.platform} ${report.arch}`],
    [
      "subgroups",
      subgroups === null
        ? "none"
        : subgroups.min === subgroups.max
          ? `${subgroups.min} lanes`
          : `${subgroups.min} to ${subgroups.max} lanes`,
    ],
    ["immediates", immediates ? "yes" : "no (a uniform buffer takes their place)"],
    ["features", features.join(", ")],
    ...Object.entries(limits).map(([name, value]): [string, string] => [name, String(value)]),
    [
      "matmul",
      `${check.ok ? "right" : "WRONG"}: error ${check.max_error.toExponential(1)}; ${check.size}³ in ${(check.seconds * 1000).toFixed(1)} ms with upload and download, ${check.gflops.toFixed(1)} GFLOP/s`,
    ],
    ...advice.map((line): [string, string] => ["advice", line]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}
