// Models that do not predict the next token, by their model_type in transformers 5: an error can then say what they are.

const ENCODERS = names(`
  albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm
  esmc eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm longformer luke megatron-bert
  mobilebert modernbert modernvbert mpnet mra nomic_bert nystromformer perceiver rembert roberta
  roberta-prelayernorm roc_bert roformer squeezebert tapas xlm xlm-roberta xlm-roberta-xl xmod yoso
`);
const ENCODER_DECODERS = names(`
  bart bigbird_pegasus blenderbot blenderbot-small encoder-decoder fsmt led longt5 m2m_100 marian mbart
  mt5 mvp nllb-moe pegasus pegasus_x plbart prophetnet switch_transformers t5 t5gemma t5gemma2 umt5
  whisper
`);
const OF_IMAGES = names(`
  beit clip deit dinov2 siglip swin vit vit_mae
`);

function names(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

const TRAINS = "training here is next-token prediction, which takes a decoder-only language model";

/** Why a model of this type cannot be trained here; undefined for a decoder or an unknown name. */
export function whyNoDecoder(modelType: string): string | undefined {
  if (ENCODERS.includes(modelType)) return `it is an encoder: each position sees the whole text, and ${TRAINS}`;
  if (ENCODER_DECODERS.includes(modelType)) return `it has an encoder beside its decoder, and ${TRAINS}`;
  if (OF_IMAGES.includes(modelType)) return `it reads images, and ${TRAINS}`;
  return undefined;
}

/** Heads that transformers names in `architectures` for what is no language model, on any body. */
const OTHER_HEADS: Readonly<Record<string, string>> = {
  ForMaskedLM: "fills in masked tokens",
  ForSequenceClassification: "classifies whole texts",
  ForTokenClassification: "classifies tokens",
  ForQuestionAnswering: "marks spans of answers",
  ForMultipleChoice: "chooses among answers",
};

/** Why a folder whose `architectures` says so cannot be trained here; undefined for a language model. */
export function whyNoLanguageHead(architecture: string): string | undefined {
  const head = Object.keys(OTHER_HEADS).find((name) => architecture.endsWith(name));
  return head && `its head ${OTHER_HEADS[head]!}, and ${TRAINS}`;
}
