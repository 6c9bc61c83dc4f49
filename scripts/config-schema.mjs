// Writes docs/config.schema.json from the zod schema of the CLI (run `npm run build` first).
import { writeFileSync } from "node:fs";
import { configJsonSchema } from "../apps/cli/dist/config/schema.js";

writeFileSync(
  new URL("../docs/config.schema.json", import.meta.url),
  `${JSON.stringify(configJsonSchema(), null, 2)}\n`,
);
