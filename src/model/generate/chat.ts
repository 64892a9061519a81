/**
 * Conversations: the model's chat template turns messages into tokens, of which a session reads only the new ones.
 * @module
 */
import { record } from '../../core/arguments.ts';
import { described } from '../../core/described.ts';
import { ConfigError, ValueError } from '../../core/errors.ts';
import { type ChatMessage, type ChatTemplate, renderChat } from './chat-template.ts';
import { generate } from './generate.ts';
import type { GeneratedToken, GenerateOptions } from './generate-options.ts';
import type { TextModel } from './text-model.ts';
import type { GeneratedPiece } from './sequence.ts';
import type { Session } from '../session/session.ts';
import { ByteTokenizer } from '../tokenizer/tokenizer.ts';

/** Options of chat(). */
export interface ChatOptions extends GenerateOptions {
  /** A Jinja template to use instead of the model's own. */
  readonly template?: string;
  /** Additional variables for the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The text that sessions have read of conversations, including special tokens, and its length in tokens. */
const reads = new WeakMap<Session, { readonly length: number; readonly text: string }>();

/** A conversation as text and as tokens. */
export interface ChatPrompt {
  readonly text: string;
  readonly tokens: Int32Array;
}

/**
 * The conversation as the model reads it, up to where its answer begins. Templates themselves write the tokens that
 * begin a text, so none is put before it, except that of models that read bytes, which no template can write.
 *
 * @throws {ConfigError} If the model has no chat template.
 */
export async function chatPrompt(
  model: TextModel, messages: readonly ChatMessage[], { template, variables }: ChatOptions = {},
): Promise<ChatPrompt> {
  const { tokenizer } = model;
  if (variables !== undefined && (typeof variables !== 'object' || variables === null)) {
    throw new ValueError(`variables is ${described(variables)}: pass an object of variables for the template`);
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
 * The tokens of a conversation that a session has not read yet; undefined if the conversation does not begin with what
 * it has read. The tokens that were picked may differ from those that their text is split into. In that case the texts
 * are compared, and the rest is split separately, which makes no difference next to a special token.
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

/** The tokens of a text that follows `last`; undefined if the two might have been merged into one token. */
function splitApart({ tokenizer }: TextModel, last: number, text: string): Int32Array | undefined {
  if (tokenizer.byteLength(last) === 0) {
    // Splits the text together with the special token, as some tokenizers put a space at the beginning of a text.
    const [special, ...rest] = tokenizer.encode(tokenizer.decoder({ specials: true }).push(last) + text);
    if (special === last) return Int32Array.from(rest);
  }
  const rest = tokenizer.encode(text);
  const apart = tokenizer instanceof ByteTokenizer || rest.length === 0 || tokenizer.byteLength(rest[0]) === 0;
  return apart ? rest : undefined;
}

/** Answers the last message, and remembers what `options.session` has read. */
export async function* chat(
  model: TextModel, messages: readonly ChatMessage[], options: ChatOptions = {},
): AsyncGenerator<GeneratedPiece> {
  record()('options', options);
  const { template: _, variables: __, ...others } = options;
  const { session } = options;
  if (session && session.batch !== 1) throw new ValueError(`the session has ${session.batch} sequences: a conversation needs exactly one`);
  const prompt = await chatPrompt(model, messages, options);
  const unread = session ? unreadTokens(model, session, prompt) : prompt.tokens;
  if (!unread) {
    throw new ValueError(`the session has read ${session!.lengths[0]} tokens, with which this conversation does not begin: pass a new session`);
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
    // Not if the prompt was read only in part.
    if (session?.lengths[0] === whole + picked.length) remember(model, session, prompt, picked);
  }
}

function remember(model: TextModel, session: Session, prompt: ChatPrompt, picked: readonly number[]): void {
  const decoder = model.tokenizer.decoder({ specials: true });
  const text = picked.map((token) => decoder.push(token)).join('') + decoder.end();
  reads.set(session, { length: session.lengths[0], text: prompt.text + text });
}
