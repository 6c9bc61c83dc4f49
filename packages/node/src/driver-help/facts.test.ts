import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { platformFacts } from "./facts.ts";
import { parseOsRelease } from "./os-release.ts";

describe("parseOsRelease", () => {
  test("reads quoted, unquoted and escaped values and skips the rest", () => {
    const text = `# comment\nPRETTY_NAME="A \\"B\\" \\$C"\n\nID=Pop\nID_LIKE='ubuntu debian'\nVERSION_ID=22.04\nnot a line\nVERSION_CODENAME=jammy\r\n`;
    expect(parseOsRelease(text)).toEqual({
      id: "pop",
      idLike: ["ubuntu", "debian"],
      versionId: "22.04",
      codename: "jammy",
      prettyName: 'A "B" $C',
    });
  });

  test("an empty file is some Linux", () => {
    expect(parseOsRelease("")).toEqual({ id: "linux", idLike: [], versionId: "", codename: "", prettyName: "linux" });
  });
});

describe.runIf(process.platform === "linux")("platformFacts", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "tunesmith-facts-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const put = (path: string, text: string): string => {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, text);
    return full;
  };
  const facts = (env: NodeJS.ProcessEnv = {}): ReturnType<typeof platformFacts> =>
    platformFacts({ root, env: { HOME: join(root, "home"), ...env } });

  test("an empty machine has nothing", () => {
    expect(facts()).toMatchObject({
      os: undefined,
      loader: undefined,
      drivers: [],
      driverChoice: undefined,
      hasNvidiaGpu: false,
      hasApt: false,
    });
  });

  test("finds the distribution, the loader, apt and an NVIDIA GPU", () => {
    put("usr/lib/os-release", "ID=arch\n");
    put("etc/os-release", "ID=debian\n");
    put("usr/bin/apt-get", "");
    put("dev/nvidiactl", "");
    const loader = put("usr/lib64/libvulkan.so.1", "");
    expect(facts()).toMatchObject({ os: { id: "debian" }, loader, hasNvidiaGpu: true, hasApt: true });
  });

  test("reads the manifests of every folder the loader reads, also broken ones", () => {
    const system = put(
      "usr/share/vulkan/icd.d/lvp_icd.json",
      '{"ICD":{"library_path":"/x/libvulkan_lvp.so","api_version":"1.4.305"}}',
    );
    const local = put(
      "etc/vulkan/icd.d/nvidia_icd.json",
      '{"ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.4.312"}}',
    );
    const broken = put("home/.local/share/vulkan/icd.d/broken.json", "{");
    put("usr/share/vulkan/icd.d/notes.txt", "");
    expect(facts().drivers).toEqual([
      { manifest: local, library: "libGLX_nvidia.so.0", apiVersion: "1.4.312" },
      { manifest: broken, library: "", apiVersion: "" },
      { manifest: system, library: "libvulkan_lvp.so", apiVersion: "1.4.305" },
    ]);
  });

  test("a driver of the user's choice hides the others", () => {
    put("usr/share/vulkan/icd.d/lvp_icd.json", "{}");
    const chosen = put("mine.json", '{"ICD":{"library_path":"libmine.so","api_version":"1.3.0"}}');
    expect(facts({ VK_DRIVER_FILES: `${chosen}:/nowhere.json` })).toMatchObject({
      driverChoice: "VK_DRIVER_FILES",
      drivers: [{ manifest: chosen, library: "libmine.so", apiVersion: "1.3.0" }],
    });
  });

  test("a loader in LD_LIBRARY_PATH counts", () => {
    const loader = put("opt/vulkan/libvulkan.so.1", "");
    expect(facts({ LD_LIBRARY_PATH: `:${dirname(loader)}` }).loader).toBe(loader);
  });
});
