/**
 * Conversations: messages through the model's chat template to tokens, of which a session reads only the new ones.
 * @module
 */
import { record } from '../../core/arguments.ts';
import { ConfigError, ValueError } from '../../core/errors.ts';
import { type ChatMessage, type ChatTemplate, renderChat } from './chat-template.ts';
import { generate } from './generate.ts';
import type { GeneratedToken, GenerateOptions } from './generate-options.ts';
import type { TextModel } from './text-model.ts';
import type { GeneratedPiece } from './sequence.ts';
import type { Session } from '../session/session.ts';
import { ByteTokenizer } from '../tokenizer/tokenizer.ts';

/** How to answer. */
export interface ChatOptions extends GenerateOptions {
  /** A Jinja template instead of the model's own. */
  readonly template?: string;
  /** More for the template to see, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** What sessions have read of conversations as templates write it, special tokens included, at a length in tokens. */
const reads = new WeakMap<Session, { readonly length: number; readonly text: string }>();

/** A conversation as text and as tokens. */
export interface ChatPrompt {
  readonly text: string;
  readonly tokens: Int32Array;
}

/**
 * The conversation as the model reads it, up to where its answer begins. Templates write the tokens that start a text
 * themselves: none is put before them, but the start of models that read bytes, which no template can write.
 *
 * @throws {ConfigError} If the model has no chat template.
 */
export async function chatPrompt(
  model: TextModel, messages: readonly ChatMessage[], { template, variables }: ChatOptions = {},
): Promise<ChatPrompt> {
  const { tokenizer } = model;
  if (variables !== undefined && (typeof variables !== 'object' || variables === null)) {
    throw new ValueError(`variables is ${variables === null ? 'null' : `a ${typeof variables}`}: pass an object of what the template may see`);
  }
  const text = await renderChat(templateOf(model, template), messages, { ...(variables && { variables }) });
  const starts = tokenizer instanceof ByteTokenizer ? tokenizer.starts : [];
  return { text, tokens: Int32Array.from([...starts, ...tokenizer.encode(text)]) };
}

function templateOf({ chatTemplate }: TextModel, template: string | undefined): ChatTemplate {
  if (template !== undefined) {
    if (typeof template !== 'string') throw new ValueError(`template is a ${typeof template}: pass a Jinja template as text`);
    return { template, specials: chatTemplate?.specials ?? {} };
  }
  if (chatTemplate) return chatTemplate;
  throw new ConfigError('the model has no chat template (chat_template in tokenizer_config.json, or chat_template.jinja): take a model that was made for conversations, or give a template; a base model continues text with generate');
}

/**
 * The tokens of a conversation that a session has not read yet; undefined if what it has read is no beginning of it.
 * What was picked may be other tokens than those that its text is split into: then the texts are compared, and the
 * rest is split apart, which changes nothing at a special token.
 */
export function unreadTokens(model: TextModel, session: Session, { text, tokens }: ChatPrompt): Int32Array | undefined {
  if (session.lengths[0] === 0) return tokens;
  const seen = session.tokens[0];
  if (seen.length < tokens.length && seen.every((token, n) => token === tokens[n])) return tokens.subarray(seen.length);
  const read = reads.get(session);
  if (!read || read.length !== seen.length) return undefined;
  if (!text.startsWith(read.text) || text.length === read.text.length) return undefined;
  return splitApart(model, seen.at(-1)!, text.slice(read.text.length));
}

/** The tokens of a text that stands behind `last`; undefined where the two might have become one token. */
function splitApart({ tokenizer }: TextModel, last: number, text: string): Int32Array | undefined {
  if (tokenizer.byteLength(last) === 0) {
    // Split along with the special token: alone, the text would be a beginning, where some tokenizers put a space.
    const [special, ...rest] = tokenizer.encode(tokenizer.decoder({ specials: true }).push(last) + text);
    if (special === last) return Int32Array.from(rest);
  }
  const rest = tokenizer.encode(text);
  const apart = tokenizer instanceof ByteTokenizer || tokenizer.byteLength(rest[0]) === 0;
  return apart ? rest : undefined;
}

/** Answers the last message, and remembers what `options.session` has read by then. */
export async function* chat(
  model: TextModel, messages: readonly ChatMessage[], options: ChatOptions = {},
): AsyncGenerator<GeneratedPiece> {
  record()('options', options);
  const { template: _, variables: __, ...others } = options;
  const { session } = options;
  if (session && session.batch !== 1) throw new ValueError(`the session has ${session.batch} sequences: a conversation is one`);
  const prompt = await chatPrompt(model, messages, options);
  const unread = session ? unreadTokens(model, session, prompt) : prompt.tokens;
  if (!unread) {
    throw new ValueError(`the session has read ${session!.lengths[0]} tokens, which are no beginning of this conversation: pass a new session`);
  }
  const whole = (session?.lengths[0] ?? 0) + unread.length;
  const picked: number[] = [];
  const onToken = (token: GeneratedToken) => {
    picked.push(token.token);
    options.onToken?.(token);
  };
  try {
    yield* generate(model, [unread], { ...others, onToken });
  } finally {
    // A prompt that was read in part is no text.
    if (session?.lengths[0] === whole + picked.length) remember(model, session, prompt, picked);
  }
}

function remember(model: TextModel, session: Session, prompt: ChatPrompt, picked: readonly number[]): void {
  const decoder = model.tokenizer.decoder({ specials: true });
  const text = picked.map((token) => decoder.push(token)).join('') + decoder.end();
  reads.set(session, { length: session.lengths[0], text: prompt.text + text });
}
