/**
 * What generation needs of a model.
 * @module
 */
import type { Engine, Tensor } from '../../core/engine.ts';
import type { ModelConfig } from '../config/config.ts';
import type { GenerationDefaults } from '../config/generation-config.ts';
import type { Session, SessionOptions } from '../session/session.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { ChatTemplate } from './chat-template.ts';

/** A model as generation sees it; `Model` is one. */
export interface TextModel {
  readonly config: ModelConfig;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** By these a session knows its own model. */
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly generationDefaults: GenerationDefaults | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  /** Tokens at which generation stops. */
  readonly ends: readonly number[];
  session(options?: SessionOptions): Session;
}
