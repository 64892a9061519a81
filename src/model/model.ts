/**
 * A model that is ready to use, with its configuration, its weights on an engine, and its tokenizer.
 * @module
 */
import { type Expected, of, optional, record } from '../core/arguments.ts';
import { expectCacheDtype } from '../core/checks.ts';
import type { Engine, Tensor } from '../core/engine.ts';
import { ConfigError, DisposedError, ShapeError } from '../core/errors.ts';
import type { NDArray } from '../core/tensor.ts';
import { bytesOf } from '../formats/bytes.ts';
import { expectPolicy, parsePolicy, type Policy } from '../policies/index.ts';
import { checkWeights, type ModelConfig } from './config/config.ts';
import { uploadWeights } from './decoder.ts';
import { chat, type ChatOptions } from './generate/chat.ts';
import type { ChatMessage, ChatTemplate } from './generate/chat-template.ts';
import { generate, type Prompt } from './generate/generate.ts';
import type { GenerateOptions } from './generate/generate-options.ts';
import type { GenerationDefaults } from './config/generation-config.ts';
import { modelHash } from './model-hash.ts';
import { checkPolicy } from './policy.ts';
import { expectKnown } from '../core/known-options.ts';
import type { GeneratedPiece } from './generate/sequence.ts';
import type { TextModel } from './generate/text-model.ts';
import { Session } from './session/session.ts';
import { SESSION_OPTIONS, type SessionModel, type SessionOptions } from './session/session-options.ts';
import { ByteTokenizer, type Tokenizer } from './tokenizer/tokenizer.ts';

/** A decoder of Llama, Mistral, Qwen2 or Qwen3, perhaps with learned token types. Make one with `loadModel`. */
export class Model implements TextModel {
  readonly config: ModelConfig;
  readonly engine: Engine;
  /** What its generation_config.json says, if it came with one. */
  readonly generationDefaults: GenerationDefaults | undefined;
  /** How it reads conversations, if it came with a chat template. */
  readonly chatTemplate: ChatTemplate | undefined;
  readonly #tokenizer: Tokenizer | undefined;
  #weights: Map<string, Tensor> | undefined;
  #hash: Promise<string> | undefined;

  /**
   * @param weights By Hugging Face's names: host arrays, which are uploaded, or tensors of the engine, which the model
   *   takes over. They are checked against the config.
   * @param tokenizer Default: that of bytes, if the vocabulary is of bytes.
   * @param extras.generation What its generation_config.json says.
   * @param extras.chatTemplate How it reads conversations.
   */
  constructor(
    engine: Engine,
    config: ModelConfig,
    weights: ReadonlyMap<string, NDArray | Tensor>,
    tokenizer: Tokenizer | undefined = defaultTokenizer(config),
    extras: {
      readonly generation?: GenerationDefaults | undefined;
      readonly chatTemplate?: ChatTemplate | undefined;
    } = {},
  ) {
    checkWeights(config, weights);
    if (tokenizer && tokenizer.vocabSize > config.vocabSize) {
      throw new ShapeError(`the tokenizer has ${tokenizer.vocabSize} tokens but the model's vocabulary has ${config.vocabSize}: use the model's own tokenizer`);
    }
    this.engine = engine;
    this.config = config;
    this.generationDefaults = extras.generation;
    this.chatTemplate = extras.chatTemplate;
    this.#tokenizer = tokenizer;
    this.#weights = uploadWeights(engine, weights);
  }

  /** Turns text into tokens and back. @throws {ConfigError} If the model has none; then it takes only token ids. */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer) return this.#tokenizer;
    throw noTokenizer(this.config);
  }

  /** The number of weights. */
  get parameters(): number {
    return [...this.weights.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  }

  /** The weights on the engine, by name. */
  get weights(): ReadonlyMap<string, Tensor> {
    if (!this.#weights) throw new DisposedError('the model was used after dispose(): load it again');
    return this.#weights;
  }

  /** The policy that the model was trained with. */
  get policy(): Policy {
    return parsePolicy(this.config.nats.policy);
  }

  /** A new session: the decoding state of one or more sequences. */
  session(options: SessionOptions = {}): Session {
    record({ policy: optional(expectPolicy), cache: optional(expectCacheDtype) })('options', options);
    expectKnown('session()', options, SESSION_OPTIONS);
    const policy = options.policy ?? this.policy;
    checkPolicy(policy, this.config, this.weights);
    return new Session(this.#sessionModel, { ...options, policy });
  }

  /**
   * Restores the session of a snapshot. It continues where that session was, to the same bits on the same engine and
   * runtime.
   *
   * @param snapshot What `session.snapshot()` returned, in this runtime or another.
   * @throws {FileFormatError} If it is damaged, of another version, of another model, or not a snapshot at all.
   * @throws {DeviceError} If the engine lacks the memory.
   */
  async restore(snapshot: Uint8Array | ArrayBuffer): Promise<Session> {
    return Session.restore(this.#sessionModel, bytesOf(snapshot, 'the snapshot'));
  }

  /** The SHA-256, in hexadecimal, of the weights and of all that logits depend on in the config. Computed once. */
  hash(): Promise<string> {
    const weights = this.weights;
    this.#hash ??= modelHash(this.engine, this.config, weights).catch((error: unknown) => {
      this.#hash = undefined;
      throw error;
    });
    return this.#hash;
  }

  get #sessionModel(): SessionModel {
    return { engine: this.engine, config: this.config, weights: this.weights, hash: () => this.hash() };
  }

  /** The tokens at which generation stops: those of generation_config.json, or else of config.json. */
  get ends(): readonly number[] {
    return this.generationDefaults?.eosTokenIds ?? [...this.config.eosTokenIds ?? [], this.tokenizer.eos];
  }

  /**
   * Streams a continuation of `prompt`.
   *
   * Options that are left out are taken from the model's generation_config.json, or else have their defaults; see
   * {@linkcode GenerateOptions} for all of them.
   *
   * @param prompt Text with at least one token, or tokens, which are fed unchanged.
   * @param options.maxNewTokens The most tokens to generate. Default: 128.
   * @param options.temperature 0 always takes the most likely token. Default: 1.
   * @param options.topK Sample among the k most likely tokens. Default: all.
   * @param options.seed Seeds the random numbers. Default: 0.
   * @param options.policy What the cache keeps. Default: what the model was trained with.
   * @param options.cache The dtype of keys and values in the cache, such as 'f16'. Default: chosen by the engine.
   * @param options.session Continues in this session, and leaves it open.
   * @param options.signal Aborting it ends with a StoppedError, whose cause is the signal's reason.
   * @returns Pieces of text, as soon as they are complete characters that cannot belong to a stop.
   * @throws {ValueError} If the prompt has no tokens, or an option is unknown, of the wrong type or out of range.
   * @example
   * ```ts
   * import { loadModel } from 'neural-attention-search';
   * const model = await loadModel('models/nats');
   * const session = model.session();
   * const options = { session, maxNewTokens: 8, temperature: 0 };
   * let text = '';
   * for await (const piece of model.generate('My fellow', options)) text += piece;
   * for await (const piece of model.generate(' And', options)) text += piece; // nothing is read twice
   * console.log(text.length > 0, session.lengths[0] === 1 + 'My fellow'.length + 8 + ' And'.length + 8); // true true
   * model.dispose();
   * ```
   */
  async *generate(prompt: Prompt, options: GenerateOptions = {}): AsyncGenerator<string> {
    for await (const { text } of generate(this, [prompt], options)) if (text !== '') yield text;
  }

  /**
   * Streams an answer to a conversation, which the model's chat template turns into a prompt.
   *
   * To use a `session`, pass the whole conversation and the same session every time; it reads only what is new. If the
   * conversation does not begin with what the session has read, because a message was changed or the template rewrites
   * earlier answers, it is refused: pass a new session then.
   *
   * @param messages Who said what, in order.
   * @param options Those of `generate()`, and also `template`, a Jinja template instead of the model's own, and
   *   `variables` for it.
   * @returns Pieces of text, as `generate()` returns them.
   * @throws {ConfigError} If the model has no chat template, or the template fails.
   * @throws {ValueError} If the template refuses the messages, or an option is unknown or out of range.
   * @example
   * ```ts
   * import { loadModel } from 'neural-attention-search';
   * const model = await loadModel('models/nats'); // it was not trained on conversations, so it needs a template
   * const template = '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:';
   * let text = '';
   * const messages = [{ role: 'user', content: 'Who are you?' }];
   * for await (const piece of model.chat(messages, { template, maxNewTokens: 8, temperature: 0 })) text += piece;
   * console.log(text.length > 0); // true
   * model.dispose();
   * ```
   */
  async *chat(messages: readonly ChatMessage[], options: ChatOptions = {}): AsyncGenerator<string> {
    for await (const { text } of chat(this, messages, options)) if (text !== '') yield text;
  }

  /**
   * Continues several prompts at once. Every piece says which sequence it belongs to, and the last of each sequence why
   * it ended.
   */
  generateBatch(prompts: readonly Prompt[], options: GenerateOptions = {}): AsyncGenerator<GeneratedPiece> {
    return generate(this, prompts, options);
  }

  /** Frees the weights, but not the engine. Idempotent. */
  dispose(): void {
    for (const tensor of this.#weights?.values() ?? []) tensor.dispose();
    this.#weights = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Refuses anything but a model. */
export const expectModel: Expected = (name, model) => {
  record({ config: record(), tokenizer: record(), session: of('function') })(name, model);
};

/** The tokenizer of models without tokenizer.json, as this project trains them: bytes and two specials, 258 tokens. */
export function defaultTokenizer({ vocabSize }: ModelConfig): Tokenizer | undefined {
  const bytes = new ByteTokenizer();
  return bytes.vocabSize === vocabSize ? bytes : undefined;
}

/** The error if text is needed and there is no tokenizer. */
export function noTokenizer({ vocabSize }: ModelConfig, folder = 'the model\'s folder'): ConfigError {
  const remedy = `copy it into ${folder}, or make it from tokenizer.model or vocab.json: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) in transformers`;
  return new ConfigError(`the model has ${vocabSize} tokens but no tokenizer.json that says what they stand for: ${remedy}`);
}
