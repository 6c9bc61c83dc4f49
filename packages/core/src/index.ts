/**
 * What every tunesmith package shares: typed errors, the file interface, strict JSON and
 * counter-based random numbers. Depends on nothing and runs anywhere.
 *
 * @packageDocumentation
 */
export { BugError, InputError, isTunesmithError, TunesmithError } from "./errors.ts";
export type { ErrorDetails, ErrorJson, InputErrorCode } from "./errors.ts";
export type { FileSource, Files } from "./files.ts";
export { nearest } from "./nearest.ts";
export { normal, philox4x32, uniform, uniformInt } from "./philox.ts";
export { hash32, siteId } from "./site.ts";
export { parseStrictJson } from "./strict-json.ts";
export type { JsonObject, JsonValue } from "./strict-json.ts";
