// `--profile`: where the GPU's time goes, as a table for people and as files for tools (docs/cli.md, "Profile").

import type { Device, Profile } from "@tunesmith/tensor";
import { type ChromeTrace, Profiler } from "@tunesmith/tensor";
import type { Context } from "./context.ts";
import type { RunFolder } from "./run-folder.ts";

/**
 * Measures what the device can reach and starts timing its programs.
 * @throws TensorError `PROFILER_UNAVAILABLE`
 */
export async function startProfile(device: Device, { say }: Pick<Context, "say">): Promise<Profiler> {
  const profiler = await Profiler.start(device, { now: () => performance.now() });
  const { copy_bytes_per_second: copy, matmul_flops_per_second: matmul } = profiler.roof;
  say(`profiling; this device copies ${giga(copy)} GB/s and multiplies matrices with ${giga(matmul)} GFLOP/s`);
  return profiler;
}

export async function saveProfile(
  { profile, trace }: { readonly profile: Profile; readonly trace: ChromeTrace },
  folder: Pick<RunFolder, "path" | "writeJson" | "writeText">,
  { say }: Pick<Context, "say">,
): Promise<void> {
  await folder.writeJson("profile.json", profile);
  // a format of others: readers skip keys they do not know. Without line breaks: it is large
  await folder.writeText("trace.json", `${JSON.stringify({ format_version: 1, ...trace })}\n`);
  for (const line of profileTable(profile)) say(line);
  say(`profile.json and trace.json (open in ui.perfetto.dev) are in ${folder.path}`);
}

const COLUMNS = ["kernel", "launches", "ms", "time", "GFLOP/s", "GB/s", "of roof"] as const;

/** Lines of a table: programs, then kernels, slowest first. */
export function profileTable(profile: Profile): string[] {
  const programs = profile.programs.map(
    ({ program, replays, launches, seconds, first_seconds: first }) =>
      `${program}: ${launches} dispatches, ${ms(seconds / Math.max(1, replays))} ms on the GPU (mean of ${replays}), the first ${ms(first)} ms`,
  );
  const rows = profile.kernels.map((kernel) => [
    kernel.kernel,
    String(kernel.launches),
    ms(kernel.seconds),
    percent(kernel.time_share),
    kernel.flops > 0 ? giga(kernel.flops / kernel.seconds) : "–",
    giga(kernel.bytes / kernel.seconds),
    percent(kernel.roof_share),
  ]);
  const widths = COLUMNS.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  return [...programs, line(COLUMNS), ...rows.map(line)];
}

function ms(seconds: number): string {
  return digits(seconds * 1e3);
}

function giga(rate: number): string {
  return digits(rate / 1e9);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
