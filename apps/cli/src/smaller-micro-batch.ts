// What a run does when its device is lost or out of memory: the same steps in smaller micro-batches, from its newest checkpoint.

import { join } from "node:path";
import { isTunesmithError } from "@tunesmith/core";
import { nodeFiles } from "@tunesmith/node";
import { newestCheckpoint } from "@tunesmith/sft";
import { type Device, TensorError } from "@tunesmith/tensor";
import type { LoadedConfig } from "./config/load.ts";
import { openGpu } from "./device.ts";
import type { RunRequest } from "./run-prepare.ts";

/** How often a run's micro-batch is halved. */
const HALVINGS = 3;

/** A run and what it is asked for. */
export interface Attempt {
  readonly written: LoadedConfig;
  readonly request: RunRequest;
}

/** What an attempt had come to when it failed. */
export interface Tried {
  /** set once the run was prepared */
  microBatchSize?: number;
  device?: Device;
}

/**
 * The attempt after one that failed for its device; the effective batch stays, as micro-batches share one objective.
 * @param halvings - so far
 * @throws the failure, if it is another one or nothing is left to halve: then with advice
 */
export async function nextAttempt(
  { written, request }: Attempt,
  failure: unknown,
  { microBatchSize, device }: Tried,
  halvings: number,
): Promise<Attempt> {
  const code = isTunesmithError(failure) ? failure.code : undefined;
  if (microBatchSize === undefined || (code !== "OUT_OF_MEMORY" && code !== "DEVICE_LOST")) throw failure;
  const { message } = failure as TensorError;
  if (microBatchSize === 1 || halvings === HALVINGS)
    throw new TensorError(
      code,
      `${message}; ${halvings === 0 ? "" : `the micro-batch was halved ${halvings} times, and `}it holds ${microBatchSize} of ${written.config.train.batch_size} examples`,
      {
        cause: failure,
        fix: "close what else uses the GPU, or lower data.max_length, set train.recompute: layer, train.cross_entropy_rows: 64 or tune.method: qlora; --resume goes on from the newest checkpoint",
      },
    );
  const { context, files = nodeFiles(), reopen = openGpu } = request;
  const half = Math.floor(microBatchSize / 2);
  context.say(
    `${message}: going on with micro-batches of ${half} instead of ${microBatchSize}; the effective batch stays`,
  );
  const { config } = written;
  const resume = (await newestCheckpoint(files, join(config.output, "checkpoints"), () => {})) !== undefined;
  if (code === "OUT_OF_MEMORY") {
    device!.workspace.release();
    device!.trim();
  }
  return {
    written: { ...written, config: { ...config, train: { ...config.train, micro_batch_size: half } } },
    request: {
      ...request,
      device: code === "DEVICE_LOST" ? await reopen(context) : device!,
      resume,
      overwrite: !resume,
      smaller: true,
    },
  };
}
