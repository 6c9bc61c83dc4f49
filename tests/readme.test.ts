// The TypeScript examples of the packages' READMEs, run as they stand: what they log must be what their comments say.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { format } from "node:util";
import { expect, test, vi } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const examples = readdirSync(`${root}packages`)
  .filter((name) => existsSync(`${root}packages/${name}/README.md`))
  .flatMap((name) => {
    const text = readFileSync(`${root}packages/${name}/README.md`, "utf8");
    return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code], i) => ({
      name: `${name} ${i + 1}`,
      code: code!,
    }));
  })
  .filter(({ code }) => code.includes("// prints "));

test("there are examples", () => expect(examples.length).toBeGreaterThan(1));

test.each(examples)("$name", async ({ name, code }) => {
  const folder = `${root}.cache/readme`;
  mkdirSync(folder, { recursive: true });
  const file = `${folder}/${name.replace(" ", "-")}.ts`;
  writeFileSync(file, code);
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  await import(pathToFileURL(file).href);
  const printed = log.mock.calls.map((args) => format(...args));
  log.mockRestore();
  expect(printed).toEqual([...code.matchAll(/\/\/ prints (.*)/g)].map(([, text]) => text));
});
