import { TunesmithError } from "@tunesmith/core";

/** What can be wrong with a command line, a config file, or the place a command should write to. */
export type CliErrorCode =
  | "COMMAND_UNKNOWN"
  | "FLAG_UNKNOWN"
  | "FLAG_INVALID"
  | "FLAG_MISSING"
  | "FLAG_CONFLICT"
  | "INPUT_INVALID" // a file named on the command line is not what the command needs
  | "CONFIG_SYNTAX"
  | "CONFIG_KEY_UNKNOWN"
  | "CONFIG_KEY_MISSING"
  | "CONFIG_VALUE_INVALID"
  | "CONFIG_CONFLICT"
  | "OUTPUT_EXISTS"
  | "OUTPUT_NOT_A_RUN" // --overwrite would delete a folder that no run made
  | "NOT_SUPPORTED" // a key, value or command of the contract that this version does not have
  | "SYSTEM_ERROR" // the operating system refused: permission, space, too many open files
  | "DISK_FULL" // no room for a checkpoint or a result
  | "DAWN_UNLOADABLE" // Node cannot load the native WebGPU module here
  | "INTERRUPTED";

/** A mistake in how the command line or the config was written, or a refusal by the operating system. */
export class CliError extends TunesmithError<CliErrorCode> {}
