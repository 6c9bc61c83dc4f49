// Chat templates by name, for models that have none and for rows in a form of their own. Each renders the text of the
// family's public template and marks what the assistant wrote with {% generation %}.

import { compileTemplate, type ChatTemplate } from "./template.ts";

/** What a template has no form for is an error: public templates leave it out without a word. */
const STRICT = `{%- if tools %}{{ raise_exception('this template has no form for tools') }}{% endif %}
{%- for m in messages %}
{%- if m.tool_calls is defined or m.role == 'tool' %}{{ raise_exception('this template has no form for tool calls') }}{% endif %}
{%- if m.reasoning_content is defined %}{{ raise_exception('this template has no form for reasoning_content') }}{% endif %}
{%- endfor %}`;

const ALTERNATE = `{%- for m in messages[(1 if messages and messages[0].role == 'system' else 0):] %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('after the system message, user and assistant must alternate') }}{% endif %}
{%- endfor %}`;

/** Roles as they are called, between an opening and a closing. */
function turns(role: { open: string; close: string; content?: string; assistant?: string }): string {
  const { open, close, content = "m.content", assistant = "m.role" } = role;
  const opening = open.replace("ROLE", `' + ${assistant} + '`);
  return `{%- for m in messages %}{{ '${opening}' }}
{%- if m.role == 'assistant' %}{% generation %}{{ ${content} + ${close} }}{% endgeneration %}
{%- else %}{{ ${content} + ${close} }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '${open.replace("ROLE", assistant === "m.role" ? "assistant" : "model")}' }}{% endif %}`;
}

export type BuiltInTemplate =
  | "chatml"
  | "llama3"
  | "llama2"
  | "mistral"
  | "gemma"
  | "phi3"
  | "zephyr"
  | "tagged"
  | "alpaca";

const SOURCES: { readonly [T in BuiltInTemplate]: string } = {
  chatml: STRICT + turns({ open: "<|im_start|>ROLE\\n", close: "'<|im_end|>\\n'" }),
  llama3:
    `${STRICT}{{ bos_token }}` +
    turns({ open: "<|start_header_id|>ROLE<|end_header_id|>\\n\\n", close: "'<|eot_id|>'", content: "m.content|trim" }),
  llama2: `${STRICT}${ALTERNATE}
{%- set system = '<<SYS>>\\n' + messages[0].content|trim + '\\n<</SYS>>\\n\\n' if messages[0].role == 'system' else '' %}
{%- for m in messages if m.role != 'system' %}
{%- if m.role == 'user' %}{{ bos_token + '[INST] ' + ((system if loop.first else '') + m.content)|trim + ' [/INST]' }}
{%- else %}{% generation %}{{ ' ' + m.content|trim + ' ' + eos_token }}{% endgeneration %}{% endif %}
{%- endfor %}`,
  mistral: `${STRICT}${ALTERNATE}{{ bos_token }}
{%- set users = messages|selectattr('role', 'equalto', 'user')|list|length %}
{%- set ns = namespace(users=0) %}
{%- for m in messages if m.role != 'system' %}
{%- if m.role == 'user' %}{% set ns.users = ns.users + 1 %}
{{- '[INST] ' + (messages[0].content + '\\n\\n' if messages[0].role == 'system' and ns.users == users else '') + m.content + '[/INST]' }}
{%- else %}{% generation %}{{ ' ' + m.content + eos_token }}{% endgeneration %}{% endif %}
{%- endfor %}`,
  gemma:
    `${STRICT}{%- if messages[0].role == 'system' %}{{ raise_exception('gemma has no system role') }}{% endif %}${ALTERNATE}{{ bos_token }}` +
    turns({
      open: "<start_of_turn>ROLE\\n",
      close: "'<end_of_turn>\\n'",
      content: "m.content|trim",
      assistant: "('model' if m.role == 'assistant' else m.role)",
    }),
  phi3: `${STRICT}{%- for m in messages %}{{ '<|' + m.role + '|>\\n' }}
{%- if m.role == 'assistant' %}{% generation %}{{ m.content + '<|end|>\\n' + (eos_token if loop.last and not add_generation_prompt else '') }}{% endgeneration %}
{%- else %}{{ m.content + '<|end|>\\n' + (eos_token if loop.last and not add_generation_prompt else '') }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}`,
  zephyr: STRICT + turns({ open: "<|ROLE|>\\n", close: "eos_token + '\\n'" }),
  tagged: STRICT + turns({ open: "<|ROLE|>\\n", close: "'<|end|>\\n'" }),
  alpaca: `${STRICT}${ALTERNATE}
{%- set ns = namespace(opening=true) %}
{%- for m in messages %}
{%- if m.role == 'system' %}{% set ns.opening = false %}{{ m.content + '\\n\\n' }}
{%- elif m.role == 'user' %}
{%- set given = m.input is defined and m.input %}
{%- if ns.opening %}{{ 'Below is an instruction that describes a task' + (', paired with an input that provides further context' if given else '') + '. Write a response that appropriately completes the request.\\n\\n' }}{% endif %}
{%- set ns.opening = false %}
{{- '### Instruction:\\n' + (m.instruction if given else m.content) + ('\\n\\n### Input:\\n' + m.input if given else '') + '\\n\\n### Response:\\n' }}
{%- else %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{{ '' if loop.last else '\\n\\n' }}{% endif %}
{%- endfor %}`,
};

/** Names of the built-in templates. */
export const BUILT_IN_TEMPLATES = Object.keys(SOURCES) as readonly BuiltInTemplate[];

/** Special tokens that a built-in template writes, and the one that ends a turn. */
const TOKENS: { readonly [T in BuiltInTemplate]: { readonly tokens: readonly string[]; readonly endOfTurn?: string } } =
  {
    chatml: { tokens: ["<|im_start|>", "<|im_end|>"], endOfTurn: "<|im_end|>" },
    llama3: { tokens: ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], endOfTurn: "<|eot_id|>" },
    llama2: { tokens: [] }, // its brackets are plain text
    mistral: { tokens: ["[INST]", "[/INST]"] },
    gemma: { tokens: ["<start_of_turn>", "<end_of_turn>"], endOfTurn: "<end_of_turn>" },
    phi3: { tokens: ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], endOfTurn: "<|end|>" },
    zephyr: { tokens: ["<|system|>", "<|user|>", "<|assistant|>"] },
    tagged: { tokens: ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], endOfTurn: "<|end|>" },
    alpaca: { tokens: [] },
  };

/** The special tokens of a built-in template; undefined for any other name. */
export function builtInTokens(
  name: string,
): { readonly tokens: readonly string[]; readonly endOfTurn: string | undefined } | undefined {
  if (!Object.hasOwn(TOKENS, name)) return undefined;
  const { tokens, endOfTurn } = TOKENS[name as BuiltInTemplate];
  return { tokens, endOfTurn };
}

/** A built-in template, or undefined for any other name. */
export function builtInTemplate(name: string): ChatTemplate | undefined {
  return Object.hasOwn(SOURCES, name) ? compileTemplate(SOURCES[name as BuiltInTemplate], name) : undefined;
}
