/**
 * Neural Attention Search: learned token types, the attention they hide keys from, and the cache they empty.
 *
 * Typed arrays go in and out as {@linkcode NDArray}. Everything runs in Node, Deno and browsers.
 * @module neural-attention-search
 */
export {
  type CpuChoice, createEngine, type GpuChoice, type GpuEngineOptions, type GpuJsBackend, type ReferenceEngineOptions,
  type WasmEngineOptions,
} from './engines.ts';
export { loadModel, type LoadOptions, type ModelBytes } from './load.ts';
export type { ConfigOverrides } from './model/config/config-overrides.ts';

// Token types and what follows from them (§2, §5, §6, §7)
export { FOREVER, TOKEN_TYPE_NAMES, TokenType } from './core/lifetime.ts';
export {
  addMemoryPrice, attentionMask, keptShare, lifetime, relaxedMask, selectTokenTypes, tokenTypesBackward,
} from './engines.ts';

// Attention and its cache (§3, §4, §8, §11)
export { attention, attentionBackward, KVCache, massAttention, MassCache, maskGradient } from './engines.ts';
export type { AttentionArguments, AttentionBackwardArguments, MassArguments, MassStepInputs, StepInputs } from './engines.ts';
export type { AttentionScore, Budget, MassOptions, MassRule, MassScore } from './core/mass.ts';

// Models: reading, decoding, measuring, training
export { formatPolicy, parsePolicy, type Policy } from './policies/index.ts';
export { type ModelConfig, type NatsConfig, parseConfig } from './model/config/config.ts';
export type { Recency } from './model/config/recency.ts';
export type { LinearScaling, Llama3Scaling, RopeScaling, YarnScaling } from './model/config/rope-config.ts';
export type { ModelType } from './model/arch/index.ts';
export { type Adapter, type AdapterSettings, type BaseFields, parseAdapter } from './model/folder/adapter.ts';
export type { LowRank } from './model/low-rank.ts';
export type { ChatOptions } from './model/generate/chat.ts';
export type { ChatMessage, ChatTemplate } from './model/generate/chat-template.ts';
export type { Prompt } from './model/generate/generate.ts';
export type { FinishReason, GeneratedPiece } from './model/generate/sequence.ts';
export type { GeneratedToken, GenerateOptions, TokenLogprob } from './model/generate/generate-options.ts';
export type { GenerationDefaults } from './model/config/generation-config.ts';
export type { Model } from './model/model.ts';
export type { TextModel } from './model/generate/text-model.ts';
export type { Weights } from './model/decoder.ts';
export { type MemoryPlan, type PlannedEngine, planMemory, type PlanOptions, type PolicyPlan } from './model/plan.ts';
export type { KeptShares } from './model/plan-cache.ts';
export type { Session } from './model/session/session.ts';
export type { LogitsWanted, SessionModel, SessionOptions, StepOptions } from './model/session/session-options.ts';
export { ByteTokenizer, type EncodeOptions, type TextStream, type Tokenizer, withStarts } from './model/tokenizer/tokenizer.ts';
export { type Difference, perplexityDifference } from './evaluate/difference.ts';
export { type ContextEvaluation, evaluate, type EvaluateOptions, type Evaluation } from './evaluate/evaluate.ts';
export { evaluateShuffled } from './evaluate/shuffled.ts';
export { type KeptOf, type MatchedBy, matchedPolicies, type MatchedPolicy } from './evaluate/match.ts';
export { recallDifference, type RecallDifference } from './evaluate/recall/difference.ts';
export {
  type Filler, type RecallDocument, recallDocuments, type RecallOptions, recallText,
} from './evaluate/recall/documents.ts';
export { measureRecall, type Recall } from './evaluate/recall/measure.ts';
export { decodeTrace, encodeTrace } from './evaluate/trace/codec.ts';
export { type Ending, type EndingKind, endingOf } from './evaluate/trace/ending.ts';
export { recordTrace, type TraceOptions } from './evaluate/trace/record.ts';
export { type HeadTrace, type Mark, type PolicyTrace, type Trace } from './evaluate/trace/trace.ts';
export type { RecallKind } from './evaluate/recall/tasks/index.ts';
export { tokenizeDocuments } from './train/data.ts';
export type { TokenSource } from './train/token-store.ts';
export { type DocumentPieces, type TokenizeOptions, tokenizeStream } from './train/token-stream.ts';
export { Finetuner, type FinetuneReport, type FinetuneState } from './train/finetune.ts';
export type { FinetuneGradients, FinetunePassOptions, FinetuneSource } from './train/finetune-gradients.ts';
export { DEFAULT_FINETUNE_OPTIONS, type FinetuneOptions, type Price } from './train/finetune-options.ts';
export type { LossScale } from './train/loss-scale.ts';
export { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from './train/options.ts';
export type { Begun, Gradients, SearchOptions } from './train/gradients.ts';
export type { Validation } from './train/validation.ts';
export { type GradientSource, type StepReport, Trainer, type TrainingState } from './train/trainer.ts';

// Arrays, randomness, errors, the contract of engines
export type { Bytes } from './formats/bytes.ts';
export { type FloatArray, ndarray, type NDArray, type TypedArray } from './core/tensor.ts';
export { gumbelNoise } from './core/random.ts';
export {
  ConfigError, DeviceError, DeviceLostError, DisposedError, FileFormatError, isNamedError, NumericError, ShapeError,
  StoppedError, StorageError, UnsupportedError, ValueError,
} from './core/errors.ts';
export type { CacheDtype, CacheStep } from './core/cache.ts';
export type { Stores } from './core/engine.ts';
export type {
  DecoderLayer, Drawing, FeedForwardInputs, Forms, LayersInputs, LayersMade, Norm, Projected, ProjectInputs, Projection,
} from './core/forms.ts';
export type { Dtype, WeightDtype } from './core/tensor.ts';
export type {
  AttentionInputs, Cache, CacheOptions, CacheSnapshot, CacheStats, ChunkPool, ChunkPoolSnapshot, Engine,
  LifetimeOptions, MassCacheOptions, Pooling, Tensor, TokenTypesOptions,
} from './core/engine.ts';
export type {
  AdamWOptions, AttentionBackwardInputs, MaskGradientRule, TrainingEngine,
} from './core/training-engine.ts';
