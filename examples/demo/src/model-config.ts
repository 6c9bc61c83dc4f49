// The shape of the tiny base: a Llama of 0.7 million parameters.
import { SPECIAL_TOKENS, tinyTokenizer } from "./tokenizer.ts";

const tokenId = (token: string): number => Object.values<string>(SPECIAL_TOKENS).indexOf(token);

/** The value of config.json. A small `rope_theta` because no text is longer than a few dozen tokens. */
export function tinyConfig(): Record<string, unknown> {
  const { vocab } = tinyTokenizer()["model"] as { vocab: Record<string, number> };
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: Object.keys(vocab).length,
    hidden_size: 128,
    intermediate_size: 256,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    head_dim: 32,
    hidden_act: "silu",
    max_position_embeddings: 256,
    rope_theta: 500,
    rms_norm_eps: 1e-5,
    initializer_range: 0.02,
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: true,
    bos_token_id: tokenId(SPECIAL_TOKENS.bos),
    eos_token_id: tokenId(SPECIAL_TOKENS.eos),
    pad_token_id: tokenId(SPECIAL_TOKENS.pad),
    torch_dtype: "float32",
  };
}

/** The value of generation_config.json. */
export function tinyGenerationConfig(): Record<string, unknown> {
  return {
    bos_token_id: tokenId(SPECIAL_TOKENS.bos),
    eos_token_id: tokenId(SPECIAL_TOKENS.eos),
    pad_token_id: tokenId(SPECIAL_TOKENS.pad),
  };
}
