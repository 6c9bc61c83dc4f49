import { describe, expect, test } from "vitest";
import { formatBackports, installArguments, isNewEnough, parseMadison, parseUris } from "./apt.mjs";

test.each([
  ["22.3.6-1+deb12u1", false],
  ["23.1.9-1", false],
  ["23.2.1-1ubuntu3.1~22.04.4", true],
  ["24.0.5-1ubuntu1", true],
  ["25.0.7-2~bpo12+1", true],
  ["1:25.0.7-2", true],
  ["9.9", false],
  ["(none)", false],
])("Mesa %s is new enough: %s", (version, enough) => {
  expect(isNewEnough(version)).toBe(enough);
});

test("parseMadison names version and release of each line", () => {
  const text = [
    "mesa-vulkan-drivers | 25.0.7-2~bpo12+1 | http://mirror/debian bookworm-backports/main amd64 Packages",
    "mesa-vulkan-drivers | 22.3.6-1+deb12u2 | http://mirror/debian bookworm/main amd64 Packages",
    "      mesa | 22.3.6-1+deb12u2 | http://mirror/debian bookworm/main Sources",
    "",
  ].join("\n");
  expect(parseMadison(text)).toEqual([
    { version: "25.0.7-2~bpo12+1", release: "bookworm-backports" },
    { version: "22.3.6-1+deb12u2", release: "bookworm" },
    { version: "22.3.6-1+deb12u2", release: "bookworm" },
  ]);
});

describe("formatBackports", () => {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  test("keeps the machine's own mirror and keyring", () => {
    expect(formatBackports("http://mirror/debian/ /etc/apt/keyrings/mine.gpg", "bookworm")).toBe(
      "deb [signed-by=/etc/apt/keyrings/mine.gpg] http://mirror/debian/ bookworm-backports main\n",
    );
  });
  test("takes Debian's keyring where the source names none", () => {
    expect(formatBackports("http://mirror/debian/ $(SIGNED_BY)", "bookworm")).toBe(
      `deb [signed-by=${keyring}] http://mirror/debian/ bookworm-backports main\n`,
    );
  });
  test("is undefined where the machine's sources do not name the release", () => {
    expect(formatBackports("", "bookworm")).toBeUndefined();
  });
});

test("parseUris adds up what apt would download", () => {
  const text =
    "'http://mirror/a_1.deb' a_1.deb 8820 MD5Sum:00\n'http://mirror/b%2b_2.deb' b+_2.deb 11366132 SHA256:00\nReading\n";
  expect(parseUris(text)).toEqual({ packages: 2, bytes: 11374952 });
  expect(parseUris("")).toEqual({ packages: 0, bytes: 0 });
});

test("installArguments names the release only where one was chosen", () => {
  expect(installArguments("")).toEqual([
    "install",
    "--yes",
    "--no-install-recommends",
    "mesa-vulkan-drivers",
    "libvulkan1",
  ]);
  expect(installArguments("bookworm-backports")).toContain("bookworm-backports");
});
