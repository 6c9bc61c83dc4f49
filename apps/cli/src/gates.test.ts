import { expect, test } from "vitest";
import { checkConfig } from "./config/load.ts";
import { readConfigSource } from "./config/source.ts";

const MINIMAL = "model: m\noutput: o\ndata:\n  train:\n    - {path: a.jsonl}\n";
const gate = (text: string): number =>
  checkConfig(readConfigSource(MINIMAL + text, { path: "c.yaml", sets: [] }), "/").config.gates.max_lost;

test("gates.max_lost is 0.05 unless written, and a share", () => {
  expect(gate("")).toBe(0.05);
  expect(gate("gates: {max_lost: 0.3}\n")).toBe(0.3);
  expect(() => gate("gates: {max_lost: 1.5}\n")).toThrow(/max_lost/);
});
