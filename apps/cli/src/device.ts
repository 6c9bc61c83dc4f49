import { isTunesmithError } from "@tunesmith/core";
import { NodeError, openDevice } from "@tunesmith/node";
import type { Device } from "@tunesmith/tensor";
import type { Context } from "./context.ts";

/**
 * Opens the GPU that `--device` names, or the fastest one; it is closed when the command has ended.
 * @throws NodeError `NO_DEVICE`, also where an adapter is there and gives no device
 */
export async function openGpu({ device: { name, debug }, onEnd }: Pick<Context, "device" | "onEnd">): Promise<Device> {
  try {
    const device = await openDevice({ debug, ...(name === undefined ? {} : { device: name }) });
    onEnd(() => device.destroy());
    return device;
  } catch (cause) {
    if (isTunesmithError(cause)) throw cause;
    const because = cause instanceof Error ? cause.message : String(cause);
    throw new NodeError("NO_DEVICE", `the GPU gave no device: ${because}`, {
      cause,
      fix: "run `tunesmith doctor`: it says what is missing and how to get it",
    });
  }
}
