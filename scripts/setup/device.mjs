// Makes sure that there is a WebGPU device, and remembers which driver gave it.
import { mkdirSync, writeFileSync } from "node:fs";
import { runtimeFolder, unpackedDriver } from "./driver-env.mjs";
import { CACHE, DEVICE_RECORD } from "./paths.mjs";
import { probeDevice } from "./probe.mjs";
import { say, SetupError } from "./report.mjs";
import { installDriver, unpackDriver } from "./software-driver.mjs";

export async function ensureDevice() {
  // compiled by the build step; kept apart from the package's main entry, which loads Dawn
  const { diagnose, platformFacts } = await import("@tunesmith/node/driver-help");
  const facts = platformFacts();
  let outcome = await look();
  if (outcome.kind !== "device") {
    const diagnosis = diagnose(facts, outcome);
    const { os } = facts;
    const isDebianLike = os !== undefined && [os.id, ...os.idLike].some((id) => id === "debian" || id === "ubuntu");
    if (!diagnosis.softwareDriverHelps || !isDebianLike || !facts.hasApt) throw noDevice(diagnosis);
    say(`no WebGPU device: ${diagnosis.message}`);
    await (facts.isRoot ? installDriver : unpackDriver)(os.codename);
    outcome = await look();
    if (outcome.kind !== "device") throw noDevice(diagnose(platformFacts(), outcome));
  }
  say(`WebGPU device: ${outcome.adapter}`);
  if (outcome.software && facts.hasNvidiaGpu) {
    say(
      "  there is an NVIDIA GPU, but no Vulkan driver for it: this is the processor, and slow. In a container, set NVIDIA_DRIVER_CAPABILITIES=all",
    );
  }
}

/** The system's drivers first: a real GPU that came later wins over the unpacked software driver. */
async function look() {
  const base = runtimeFolder();
  const system = await probeDevice(base);
  if (system.kind === "device") return record("system", system);
  const unpacked = unpackedDriver();
  if (unpacked === undefined || process.env["VK_DRIVER_FILES"] || process.env["VK_ICD_FILENAMES"]) return system;
  const outcome = await probeDevice({ ...base, ...unpacked });
  return outcome.kind === "device" ? record("unpacked", outcome) : system;
}

/**
 * @param {"system" | "unpacked"} driver
 * @param {Extract<import("@tunesmith/node/driver-help").ProbeOutcome, { kind: "device" }>} outcome
 */
function record(driver, outcome) {
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(DEVICE_RECORD, JSON.stringify({ driver, adapter: outcome.adapter }));
  return outcome;
}

/** @param {import("@tunesmith/node/driver-help").Diagnosis} diagnosis */
function noDevice({ code, message, fix }) {
  return new SetupError(code, `no WebGPU device: ${message}`, { fix, exitCode: 4 });
}
