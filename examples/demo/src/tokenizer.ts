// The tokenizer of the tiny base, written by rule instead of learned: bytes, and the words of the generated
// English with the space before them. It is a byte-level BPE without merges and with `ignore_merges`: a
// pre-token that is in the vocabulary is one token, any other falls into its bytes. A word right after a
// quotation mark, comma or answer sign so stays letter by letter, which is what the tasks work on.
import { LEXICON } from "./english.ts";
import { DEMO_TASKS } from "./tasks.ts";

export const SPECIAL_TOKENS = {
  bos: "<s>",
  eos: "</s>",
  pad: "<pad>",
  system: "<|system|>",
  user: "<|user|>",
  assistant: "<|assistant|>",
} as const;

/** One line per turn kind, no line breaks in the output: `<s><|user|> TEXT<|assistant|>TEXT</s>`. */
export const CHAT_TEMPLATE: string = [
  "{{- bos_token -}}",
  "{%- for message in messages -%}",
  "{%- if message['role'] == 'assistant' -%}",
  "{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}",
  "{%- elif message['role'] in ['system', 'user'] -%}",
  "{{- '<|' + message['role'] + '|> ' + message['content'] -}}",
  "{%- else -%}",
  "{{- raise_exception('the roles of this template are system, user and assistant') -}}",
  "{%- endif -%}",
  "{%- endfor -%}",
  "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}",
].join("");

/**
 * The character that stands for each byte in a byte-level vocabulary: printable Latin-1 bytes stand for
 * themselves, the others for U+0100, U+0101, … in order. Radford et al. 2019, "Language Models are
 * Unsupervised Multitask Learners", section 2.2 and its published `bytes_to_unicode`.
 */
function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** Words that become one token after a space: all of the generated English and the signs of the notation. */
function wholeWords(): string[] {
  const fromWordings = DEMO_TASKS.flatMap((task) =>
    task.wordings.flatMap((wording) => wording.match(/[A-Za-z]+/g) ?? []),
  );
  return [...new Set([...LEXICON, ...fromWordings, '"', "=", ...DEMO_TASKS.flatMap((task) => task.signs)])];
}

/** The value of tokenizer.json. */
export function tinyTokenizer(): Record<string, unknown> {
  const special = Object.values(SPECIAL_TOKENS);
  const characters = byteCharacters();
  const words = wholeWords().map((word) => characters[0x20]! + word);
  const tokens = [...special, ...characters, ...words];
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: SPECIAL_TOKENS.bos, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [
        { SpecialToken: { id: SPECIAL_TOKENS.bos, type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { Sequence: { id: "B", type_id: 0 } },
      ],
      special_tokens: { [SPECIAL_TOKENS.bos]: { id: SPECIAL_TOKENS.bos, ids: [0], tokens: [SPECIAL_TOKENS.bos] } },
    },
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}

/** The value of tokenizer_config.json. */
export function tinyTokenizerConfig(): Record<string, unknown> {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    model_max_length: 256,
    bos_token: SPECIAL_TOKENS.bos,
    eos_token: SPECIAL_TOKENS.eos,
    pad_token: SPECIAL_TOKENS.pad,
    additional_special_tokens: [SPECIAL_TOKENS.system, SPECIAL_TOKENS.user, SPECIAL_TOKENS.assistant],
    clean_up_tokenization_spaces: false,
    add_bos_token: true,
    chat_template: CHAT_TEMPLATE,
  };
}
