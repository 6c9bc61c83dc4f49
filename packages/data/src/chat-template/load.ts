// Where a chat template comes from: the model folder, or a file the user names.

import { type Files, type JsonValue, nearest } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { readConfig, readTextFile } from "../tokenizer/model-folder.ts";
import { BUILT_IN_TEMPLATES, builtInTemplate } from "./built-in.ts";
import { type ChatTemplate, compileTemplate } from "./template.ts";

/** The templates of one model: some have another one for conversations with tools. */
export interface ChatTemplates {
  readonly default: ChatTemplate;
  readonly toolUse?: ChatTemplate;
}

/** The template for a conversation, as transformers picks it: `tool_use` where tools are given and it exists. */
export function templateFor(templates: ChatTemplates, tools: readonly JsonValue[] | undefined): ChatTemplate {
  return tools === undefined ? templates.default : (templates.toolUse ?? templates.default);
}

/**
 * Loads the chat template of a run.
 *
 * @param options.spec - `auto`: the model's own (`chat_template.jinja`, else `chat_template` of tokenizer_config.json);
 *   a built-in name; anything else is the path of a template file
 * @returns undefined where `auto` finds none: only rows that need a template make that an error
 * @throws DataError `TEMPLATE_MISSING` if `spec` names no file, `TEMPLATE_INVALID` for a template that does not parse
 */
export async function loadChatTemplates(
  files: Files,
  options: { folder: string; spec: string },
): Promise<ChatTemplates | undefined> {
  const { folder, spec } = options;
  if (spec !== "auto") {
    const builtIn = builtInTemplate(spec);
    if (builtIn !== undefined) return { default: builtIn };
    if (!(await files.exists(spec))) {
      const name = spec.split(/[/\\]/).at(-1)!;
      const near = nearest(name, BUILT_IN_TEMPLATES);
      throw new DataError("TEMPLATE_MISSING", `chat template ${spec}: there is no such file`, {
        path: spec,
        expected: `auto, ${BUILT_IN_TEMPLATES.join(", ")} or the path of a Jinja file`,
        received: spec,
        fix: near === undefined ? "check `chat_template:`" : `did you mean ${near}?`,
      });
    }
    return { default: compileTemplate(await readTextFile(files, spec), spec) };
  }
  const own = files.join(folder, "chat_template.jinja");
  if (await files.exists(own)) {
    const byName = compileTemplate(await readTextFile(files, own), own);
    // what transformers writes beside it for a model with several
    const tools = files.join(files.join(folder, "additional_chat_templates"), "tool_use.jinja");
    if (!(await files.exists(tools))) return { default: byName };
    return { default: byName, toolUse: compileTemplate(await readTextFile(files, tools), tools) };
  }
  const configPath = files.join(folder, "tokenizer_config.json");
  const value = (await readConfig(files, configPath))?.["chat_template"];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return { default: compileTemplate(value, configPath) };
  return namedTemplates(value, configPath);
}

function namedTemplates(value: unknown, path: string): ChatTemplates {
  const byName = new Map<string, string>();
  for (const entry of (Array.isArray(value) ? value : [value]) as unknown[]) {
    const { name, template } = (entry ?? {}) as { name?: unknown; template?: unknown };
    if (typeof name !== "string" || typeof template !== "string") {
      throw new DataError(
        "TEMPLATE_INVALID",
        `${path}: chat_template is neither a string nor a list of {name, template}`,
        { path },
      );
    }
    byName.set(name, template);
  }
  const source = byName.get("default");
  if (source === undefined) {
    throw new DataError("TEMPLATE_INVALID", `${path}: no chat template is called "default"`, {
      path,
      expected: "default",
      received: [...byName.keys()].join(", ") || "an empty list",
      fix: "name the file of the template with `chat_template:`",
    });
  }
  const toolUse = byName.get("tool_use");
  return {
    default: compileTemplate(source, `${path} (default)`),
    ...(toolUse === undefined ? {} : { toolUse: compileTemplate(toolUse, `${path} (tool_use)`) }),
  };
}
