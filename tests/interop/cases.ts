// What the tier tries: small bases with odd sizes, and every kind of adapter, in PEFT's own words.

const COMMON = { vocab_size: 96, max_position_embeddings: 64, initializer_range: 0.2 };
const LLAMA = {
  ...COMMON,
  hidden_size: 48,
  intermediate_size: 80,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 0,
};

/** By name: the arguments of transformers' config. */
export const BASES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: { ...LLAMA, model_type: "llama", tie_word_embeddings: false },
  // bitsandbytes' CPU kernel takes each row to begin a block of 64
  llama64: {
    ...LLAMA,
    model_type: "llama",
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    tie_word_embeddings: false,
  },
  qwen2: { ...LLAMA, model_type: "qwen2", tie_word_embeddings: true },
  phi3: { ...LLAMA, model_type: "phi3", tie_word_embeddings: false },
  gpt2: {
    ...COMMON,
    model_type: "gpt2",
    n_positions: 64,
    n_embd: 48,
    n_layer: 2,
    n_head: 4,
    bos_token_id: 1,
    eos_token_id: 2,
  },
};

/** Bases in four bits, by name, and what they are quantized from. */
export const QUANTIZED: Readonly<Record<string, string>> = { llama4bit: "llama64" };

export interface AdapterCase {
  readonly base: string;
  /** arguments of PEFT's LoraConfig */
  readonly config: Readonly<Record<string, unknown>>;
}

const ATTENTION = { target_modules: ["q_proj", "k_proj", "v_proj", "o_proj"] };

export const ADAPTERS: Readonly<Record<string, AdapterCase>> = {
  plain: { base: "llama", config: { r: 4, lora_alpha: 8, target_modules: ["q_proj", "v_proj"] } },
  rslora: { base: "llama", config: { r: 4, lora_alpha: 8, use_rslora: true, ...ATTENTION } },
  dora: { base: "llama", config: { r: 4, lora_alpha: 8, use_dora: true, ...ATTENTION } },
  patterns: {
    base: "llama",
    config: {
      r: 4,
      lora_alpha: 8,
      target_modules: ["q_proj", "v_proj", "up_proj", "down_proj"],
      rank_pattern: { down_proj: 2, "layers.1.self_attn.*": 6 },
      alpha_pattern: { up_proj: 3 },
      layers_to_transform: [1, 2],
    },
  },
  regex: { base: "llama", config: { r: 3, lora_alpha: 5, target_modules: ".*layers\\.[02]\\.mlp\\..*_proj" } },
  exclusions: {
    base: "llama",
    config: { r: 3, lora_alpha: 5, target_modules: "all-linear", exclude_modules: ["k_proj", "gate_proj"] },
  },
  tied: { base: "qwen2", config: { r: 4, lora_alpha: 8, target_modules: "all-linear" } },
  fused: { base: "phi3", config: { r: 4, lora_alpha: 8, target_modules: "all-linear" } },
  conv1d: { base: "gpt2", config: { r: 4, lora_alpha: 8, target_modules: "all-linear", fan_in_fan_out: true } },
  conv1d_dora: {
    base: "gpt2",
    config: { r: 4, lora_alpha: 8, target_modules: ["c_attn", "c_proj"], use_dora: true, fan_in_fan_out: true },
  },
  whole: {
    base: "llama",
    config: { r: 4, lora_alpha: 8, target_modules: ["q_proj"], modules_to_save: ["lm_head", "embed_tokens"] },
  },
  whole_head_tied: {
    base: "qwen2",
    config: { r: 4, lora_alpha: 8, target_modules: ["q_proj"], modules_to_save: ["lm_head"] },
  },
  whole_embedding_tied: {
    base: "gpt2",
    config: { r: 4, lora_alpha: 8, target_modules: ["c_attn"], modules_to_save: ["wte"], fan_in_fan_out: true },
  },
  token_rows: {
    base: "llama",
    config: {
      r: 4,
      lora_alpha: 8,
      target_modules: ["q_proj"],
      trainable_token_indices: { embed_tokens: [94, 5, 7, 12], lm_head: [95, 17] },
    },
  },
  // IDS hold 12 and 19; the head has the embedding's rows
  token_rows_tied: {
    base: "qwen2",
    config: { r: 4, lora_alpha: 8, target_modules: ["q_proj"], trainable_token_indices: [95, 12, 19] },
  },
  token_rows_conv1d: {
    base: "gpt2",
    config: {
      r: 4,
      lora_alpha: 8,
      target_modules: ["c_attn"],
      trainable_token_indices: { wte: [12, 0] },
      fan_in_fan_out: true,
    },
  },
  token_rows_of_both_tied: {
    base: "qwen2",
    config: {
      r: 4,
      lora_alpha: 8,
      target_modules: ["q_proj"],
      trainable_token_indices: { embed_tokens: [12], lm_head: [12] },
    },
  },
  biases: { base: "qwen2", config: { r: 4, lora_alpha: 8, target_modules: ["q_proj", "o_proj"], bias: "lora_only" } },
  all_biases: { base: "qwen2", config: { r: 4, lora_alpha: 8, target_modules: ["q_proj", "o_proj"], bias: "all" } },
  conv1d_all_biases: {
    base: "gpt2",
    config: { r: 4, lora_alpha: 8, target_modules: ["c_attn"], bias: "all", fan_in_fan_out: true },
  },
  conv1d_biases: {
    base: "gpt2",
    config: { r: 4, lora_alpha: 8, target_modules: ["c_attn", "c_fc"], bias: "lora_only", fan_in_fan_out: true },
  },
  qlora_whole: {
    base: "llama4bit",
    config: { r: 4, lora_alpha: 8, target_modules: "all-linear", modules_to_save: ["lm_head"] },
  },
  qlora: { base: "llama4bit", config: { r: 4, lora_alpha: 8, target_modules: "all-linear" } },
};

/** Starts that are computed from the base's weights. */
export const STARTS: Readonly<Record<string, AdapterCase & { readonly kind: "pissa" | "olora" | "loftq" }>> = {
  "start pissa": { base: "llama", kind: "pissa", config: { r: 5, lora_alpha: 7, target_modules: "all-linear" } },
  "start pissa rslora": {
    base: "llama",
    kind: "pissa",
    config: {
      r: 5,
      lora_alpha: 7,
      use_rslora: true,
      target_modules: ["q_proj", "down_proj"],
      rank_pattern: { q_proj: 3 },
    },
  },
  "start pissa conv1d": {
    base: "gpt2",
    kind: "pissa",
    config: { r: 4, lora_alpha: 8, target_modules: ["c_attn", "c_fc"], fan_in_fan_out: true },
  },
  "start olora": { base: "llama", kind: "olora", config: { r: 5, lora_alpha: 7, target_modules: "all-linear" } },
  // there scale is left out of account: with alpha = r it is 1
  "start loftq": { base: "llama64", kind: "loftq", config: { r: 6, lora_alpha: 6, target_modules: "all-linear" } },
};

/** One row of tokens, less than any vocabulary. */
export const IDS: readonly number[] = Array.from({ length: 24 }, (_, i) => 3 + ((i * i * 7 + i * 5) % 90));
