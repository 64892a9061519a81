/**
 * What generation needs of a model.
 * @module
 */
import type { Engine, Tensor } from '../../core/engine.ts';
import type { ModelConfig } from '../config/config.ts';
import type { GenerationDefaults } from '../config/generation-config.ts';
import type { Session } from '../session/session.ts';
import type { SessionOptions } from '../session/session-options.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { ChatTemplate } from './chat-template.ts';

/** The part of a `Model` that generation uses. */
export interface TextModel {
  readonly config: ModelConfig;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** A session recognises its model by these. */
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly generationDefaults: GenerationDefaults | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  /** The tokens at which generation stops. */
  readonly ends: readonly number[];
  session(options?: SessionOptions): Session;
}
