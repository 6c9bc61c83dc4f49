// Writes the files of the tiny base that are not trained: tokenizer, chat template and configs (run `npm run build` first).
import { writeFileSync } from "node:fs";
import { tinyConfig, tinyGenerationConfig, tinyTokenizer, tinyTokenizerConfig } from "../demo/dist/index.js";

const files = {
  "config.json": tinyConfig(),
  "generation_config.json": tinyGenerationConfig(),
  "tokenizer.json": tinyTokenizer(),
  "tokenizer_config.json": tinyTokenizerConfig(),
};
for (const [name, value] of Object.entries(files)) {
  writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(value, null, 1)}\n`);
}
