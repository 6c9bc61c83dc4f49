/**
 * Why a machine offers no WebGPU device, and how to change it. Kept apart from the package's main entry so that it
 * loads where Dawn does not.
 *
 * @packageDocumentation
 */
export { diagnose, type Diagnosis, type DiagnosisCode, type ProbeOutcome } from "./diagnose.ts";
export { type PlatformFacts, platformFacts, type VulkanDriver } from "./facts.ts";
export { type OsRelease, parseOsRelease } from "./os-release.ts";
