import { isTunesmithError } from "@tunesmith/core";
import { NodeError, openDevice } from "@tunesmith/node";
import type { Device } from "@tunesmith/tensor";
import type { Context } from "./context.ts";

/**
 * Opens the GPU that `--device` names, or the fastest one.
 * @throws NodeError `NO_DEVICE`, also where an adapter is there and gives no device
 */
export async function openGpu({ device }: Pick<Context, "device">): Promise<Device> {
  try {
    return await openDevice({ debug: device.debug, ...(device.name === undefined ? {} : { device: device.name }) });
  } catch (cause) {
    if (isTunesmithError(cause)) throw cause;
    const because = cause instanceof Error ? cause.message : String(cause);
    throw new NodeError("NO_DEVICE", `the GPU gave no device: ${because}`, {
      cause,
      fix: "run `tunesmith doctor`: it says what is missing and how to get it",
    });
  }
}
