/**
 * Chat templates: the Jinja template that came with a model turns messages into the text that the model was trained on.
 * @module
 */
import { described } from '../../core/described.ts';
import { ConfigError, ValueError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';

/** One message of a conversation. Templates may read other fields than role and content too. */
export interface ChatMessage {
  /** 'system', 'user', 'assistant', or another role that the template knows. */
  readonly role: string;
  readonly content: string;
  readonly [name: string]: unknown;
}

/** A template, and the texts of the special tokens that it may write. */
export interface ChatTemplate {
  readonly template: string;
  /** bos_token, eos_token and so on, if the tokenizer has them. */
  readonly specials: Readonly<Record<string, string>>;
}

const SPECIALS = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/**
 * The template among a model's files; undefined if there is none.
 *
 * @param tokenizerConfig The parsed tokenizer_config.json, whose `chat_template` is a text, or several with names.
 * @param file The text of chat_template.jinja, which takes precedence.
 * @throws {ConfigError} If there are several and none is named default, or `chat_template` is something else.
 */
export function chatTemplateOf(tokenizerConfig: unknown, file: string | undefined): ChatTemplate | undefined {
  const config = (tokenizerConfig ?? {}) as Record<string, unknown>;
  const template = file ?? namedDefault(config['chat_template'] ?? undefined);
  if (template === undefined) return undefined;
  const specials: Record<string, string> = {};
  for (const name of SPECIALS) {
    const token = config[name] as string | { content?: unknown } | null | undefined;
    const text = typeof token === 'object' ? token?.content : token;
    if (typeof text === 'string') specials[name] = text;
  }
  return { template, specials };
}

function namedDefault(value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  const all = Array.isArray(value) ? value as { name?: unknown; template?: unknown }[] : [];
  const found = all.find((each) => each?.name === 'default')?.template;
  if (typeof found === 'string') return found;
  const names = all.map((each) => each?.name).filter((name) => typeof name === 'string');
  throw new ConfigError(`tokenizer_config.json: chat_template is ${names.length > 0 ? `${names.join(', ')}, of which none is named default` : shown(value)}: it must be a text, or several of which one is named default`);
}

/**
 * The text of a conversation, as Hugging Face's `apply_chat_template` writes it.
 *
 * @param options.variables Additional variables for the template, such as `enable_thinking` or `tools`.
 * @throws {ValueError} If a message is not valid, or the template refuses the conversation.
 * @throws {ConfigError} If the template cannot be read or fails.
 */
export async function renderChat(
  { template, specials }: ChatTemplate, messages: readonly ChatMessage[],
  options: { readonly addGenerationPrompt?: boolean; readonly variables?: Readonly<Record<string, unknown>> } = {},
): Promise<string> {
  checkMessages(messages);
  const { Environment, Interpreter, Template } = await import('@huggingface/jinja');
  let parsed: InstanceType<typeof Template>;
  try {
    parsed = new Template(template);
  } catch (error) {
    throw new ConfigError(`the chat template cannot be read (${reason(error)}): check its Jinja`);
  }
  const refused: string[] = [];
  const scope = new Environment();
  const known: Record<string, unknown> = {
    ...globals(refused), tools: null, documents: null, ...specials, ...options.variables, messages,
    add_generation_prompt: options.addGenerationPrompt ?? true,
  };
  try {
    for (const [name, value] of Object.entries(known)) scope.set(name, value);
    return String(new Interpreter(scope).run(parsed.parsed).value);
  } catch (error) {
    if (refused.length > 0) throw new ValueError(`the model's chat template refuses these messages: ${reason(refused[0])}`);
    throw new ConfigError(`the chat template fails on these messages (${reason(error)}): check its Jinja`);
  }
}

/** What Jinja and Hugging Face provide to every template. */
function globals(refused: string[]): Record<string, unknown> {
  return {
    true: true, True: true, false: false, False: false, none: null, None: null,
    raise_exception: (message: unknown) => {
      refused.push(String(message));
      throw new Error(String(message));
    },
    strftime_now: (format: string) => formatTime(new Date(), format),
    range: (first: number, second?: number, step = 1) => {
      const [begin, end] = second === undefined ? [0, first] : [first, second];
      return Array.from({ length: Math.max(0, Math.ceil((end - begin) / step)) }, (_, n) => begin + n * step);
    },
  };
}

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').trim().slice(0, 300);
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new ValueError('there are no messages: pass a list such as [{ role: \'user\', content: \'Hello\' }]');
  }
  for (const [n, message] of (messages as readonly unknown[]).entries()) {
    const { role, content } = (message ?? {}) as Partial<ChatMessage>;
    if (typeof role !== 'string' || typeof content !== 'string') {
      const wrong = typeof role === 'string' ? `the content is ${described(content)}` : `the role is ${described(role)}`;
      throw new ValueError(`message ${n} is not a message (${wrong}): it must have a role and a content, both strings`);
    }
  }
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  'January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November',
  'December',
];

/** Python's strftime for the dates and times of day that templates use. Unknown directives are left unchanged. */
export function formatTime(time: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const parts: Record<string, string> = {
    'Y': String(time.getFullYear()), 'y': two(time.getFullYear() % 100), 'm': two(time.getMonth() + 1),
    'd': two(time.getDate()), 'H': two(time.getHours()), 'I': two((time.getHours() + 11) % 12 + 1),
    'M': two(time.getMinutes()), 'S': two(time.getSeconds()), 'p': time.getHours() < 12 ? 'AM' : 'PM',
    'A': DAYS[time.getDay()], 'a': DAYS[time.getDay()].slice(0, 3), 'B': MONTHS[time.getMonth()],
    'b': MONTHS[time.getMonth()].slice(0, 3), '-d': String(time.getDate()), '-m': String(time.getMonth() + 1), '%': '%',
  };
  return format.replace(/%(-?[A-Za-z%])/g, (whole, name: string) => parts[name] ?? whole);
}
