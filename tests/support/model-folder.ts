// A whole Hugging Face model folder for tests: a golden's config and weights (random numbers, 300 ids, 128 positions) with a
// tokenizer whose tokens are bytes, so that ids can be told by hand: byte b is id b + 3.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const EOS = 2;
export const CHAT_TEMPLATE =
  "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

/** Ids of a text whose characters are ASCII. */
export function idsOf(text: string): number[] {
  return Array.from(new TextEncoder().encode(text), (byte) => byte + 3);
}

/** The characters by which byte-level BPE writes bytes (OpenAI's gpt-2 `encoder.py`). */
function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

function tokenizerJson(): string {
  const specials = ["<unk>", "<s>", "</s>"];
  const vocab = Object.fromEntries([...specials, ...byteCharacters()].map((token, id) => [token, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return JSON.stringify({
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: { type: "BPE", dropout: null, unk_token: null, vocab, merges: [] },
  });
}

/** Files of the folder by name, under `at/`; without weights it serves all that needs no device. */
export function modelFolder(
  at: string,
  options: { weights?: boolean; template?: string | null; config?: Record<string, unknown> } = {},
): Record<string, string | Uint8Array> {
  const { weights = false, template = CHAT_TEMPLATE } = options;
  const golden = fileURLToPath(new URL("../../fixtures/goldens/models/llama-untied/", import.meta.url));
  const config = { ...JSON.parse(readFileSync(`${golden}config.json`, "utf8")), ...options.config };
  return {
    [`${at}/config.json`]: JSON.stringify(config),
    [`${at}/tokenizer.json`]: tokenizerJson(),
    [`${at}/tokenizer_config.json`]: JSON.stringify({
      bos_token: "<s>",
      eos_token: "</s>",
      ...(template === null ? {} : { chat_template: template }),
    }),
    ...(weights ? { [`${at}/model.safetensors`]: readFileSync(`${golden}model.safetensors`) } : {}),
  };
}
