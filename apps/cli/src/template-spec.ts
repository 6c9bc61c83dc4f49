import { resolve } from "node:path";
import { BUILT_IN_TEMPLATES } from "@tunesmith/data";

/** What a `chat_template` stands for: `auto` and built-in names stay, anything else is a path below `folder`. */
export function templateSpec(spec: string | undefined, folder: string): string {
  if (spec === undefined || spec === "auto") return "auto";
  return isTemplateName(spec) ? spec : resolve(folder, spec);
}

/** True where no file is meant. */
export function isTemplateName(spec: string): boolean {
  return spec === "auto" || (BUILT_IN_TEMPLATES as readonly string[]).includes(spec);
}
