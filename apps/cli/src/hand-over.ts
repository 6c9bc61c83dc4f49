// What a run hands to a later stage: sft.json, which `openHandOver` of @tunesmith/sft reads.

import { join } from "node:path";
import { hashFile } from "@tunesmith/data";
import { hashAdapterFolder, type HandOverDocument, hashModelFolder } from "@tunesmith/sft";
import type { RunFolder } from "./run-folder.ts";
import type { PreparedRun } from "./run-prepare.ts";
import { tunedKind } from "./tuned-folder.ts";

/** Of a run whose folder has been written. */
export async function handOverOf(
  { files, loaded, data, tuning, identity }: PreparedRun,
  folder: RunFolder,
  outcome: Pick<HandOverDocument, "steps" | "kept_step" | "eval" | "test">,
): Promise<HandOverDocument> {
  const { config } = loaded;
  const { method, quant } = config.tune;
  const { bosId, eosIds, padToken } = data.tokenizer.special;
  const kind = tunedKind(tuning);
  const template = data.templates === undefined ? null : `${kind}/chat_template.jinja`;
  const hash = (...path: string[]): Promise<string> =>
    hashFile(files, join(folder.path, ...path)).then(({ sha256 }) => sha256);
  const padId = padToken === undefined ? undefined : data.tokenizer.tokenToId(padToken);
  const { ids } = await data.tokenizer.encode("a", { addSpecialTokens: true });
  return {
    method,
    base: {
      path: config.model,
      sha256: identity["base"]!,
      quantization: method === "qlora" ? quant : null,
    },
    adapter: kind === "adapter" ? kind : null,
    model: kind === "model" ? kind : null,
    sha256: await (kind === "adapter" ? hashAdapterFolder : hashModelFolder)(files, join(folder.path, kind)),
    tokenizer_sha256: await hash(kind, "tokenizer.json"),
    chat_template: template,
    chat_template_sha256: template === null ? null : await hash(kind, "chat_template.jinja"),
    pad_id: padId === undefined || eosIds.includes(padId) ? null : padId,
    eos_ids: eosIds,
    bos_id: bosId ?? null,
    add_bos: bosId !== undefined && ids[0] === bosId,
    max_length: data.maxLength,
    seed: config.seed,
    ...outcome,
    config_sha256: await hash("config.resolved.yaml"),
  };
}
