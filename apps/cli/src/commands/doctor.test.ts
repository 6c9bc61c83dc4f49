// Needs a WebGPU device; software counts.
import { expect, test } from "vitest";
import { runCli } from "../../../../tests/support/cli.ts";

test("the device is described and multiplies rightly", async () => {
  const result = await runCli(["doctor", "--json"]);
  expect(result.exitCode).toBe(0);
  expect(result.document()).toMatchObject({
    ok: true,
    device: { name: expect.any(String), software: expect.any(Boolean) },
    limits: { max_storage_buffer_binding_size: expect.any(Number) },
    immediates: expect.any(Boolean),
    matmul: { ok: true, seconds: expect.any(Number) },
  });
  const { max_error: error, tolerance } = result.document()["matmul"] as { max_error: number; tolerance: number };
  expect(error).toBeGreaterThan(0); // an f32 sum of 321 products is never exact: zero would mean nothing was compared
  expect(error).toBeLessThan(tolerance);
});

test("a device that is not there is exit code 4 with what to do", async () => {
  const result = await runCli(["doctor", "--device", "no such GPU", "--json"]);
  expect(result.exitCode).toBe(4);
  expect(result.document()).toMatchObject({
    ok: false,
    error: { code: "NO_DEVICE", fix: expect.stringContaining("--device") },
  });
});
