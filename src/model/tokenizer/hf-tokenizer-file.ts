/**
 * Reads and checks a tokenizer.json before anything is built from it. Every refusal names the place and the value.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';

/** An object of the file. */
export type Json = Readonly<Record<string, unknown>>;

/** A token that is found in a text before any other processing. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether it stands for no text. */
  readonly special: boolean;
  /** Whether its normalised content is searched in normalised text. */
  readonly normalized: boolean;
  /** Whether it is not found within words. */
  readonly singleWord: boolean;
  /** Whether it includes the white space before it. */
  readonly lstrip: boolean;
  /** Whether it includes the white space after it. */
  readonly rstrip: boolean;
}

/** The tables of byte-pair encoding. */
export interface BpeTable {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Pairs of tokens that merge, in the order of their ranks. */
  readonly merges: readonly (readonly [string, string])[];
  /** The token for characters that have no token of their own. */
  readonly unknown: string | undefined;
  /** Whether several unknown characters in a row become one token. */
  readonly fuseUnknown: boolean;
  /** Whether characters without a token become bytes, <0x00> to <0xFF>. */
  readonly byteFallback: boolean;
  /** Whether a word that is a token becomes that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
}

/** The parts of a tokenizer.json. Absent steps are null. */
export interface TokenizerFile {
  readonly bpe: BpeTable;
  readonly added: readonly AddedToken[];
  readonly normalizer: Json | null;
  readonly preTokenizer: Json | null;
  readonly postProcessor: Json | null;
  readonly decoder: Json | null;
}

/** The largest id, as ids are unsigned 32-bit numbers. */
const MAX_ID = 2 ** 32 - 1;

/** An error about the file. */
export function refusal(message: string): ConfigError {
  return new ConfigError(`tokenizer.json: ${message}`);
}

/**
 * @throws {ConfigError} If it does not have the form of a tokenizer.json, or needs something unsupported.
 */
export function parseTokenizerFile(json: unknown): TokenizerFile {
  if (!isObject(json)) throw refusal('it is not an object: copy it again');
  const bpe = parseModel(json['model']);
  const added = parseAdded(json['added_tokens'] ?? [], bpe.vocabulary);
  const step = (name: string) => {
    const value = json[name] ?? null;
    if (value !== null && !isObject(value)) throw refusal(`${name} is ${shown(value)}: it must be an object or null`);
    return value;
  };
  return {
    bpe, added, normalizer: step('normalizer'), preTokenizer: step('pre_tokenizer'),
    postProcessor: step('post_processor'), decoder: step('decoder'),
  };
}

function parseModel(model: unknown): BpeTable {
  if (!isObject(model)) throw refusal(`model ${model === undefined ? 'is missing' : `is ${shown(model)}`}: it must be an object`);
  const type = model['type'] ?? (Array.isArray(model['merges']) ? 'BPE' : undefined);
  if (type !== 'BPE') throw refusal(`the model ${shown(type ?? 'without a type')} is not supported, only "BPE"`);
  for (const name of ['continuing_subword_prefix', 'end_of_word_suffix', 'dropout']) {
    const value = model[name] ?? null;
    if (value !== null && value !== '' && value !== 0) throw refusal(`model.${name} is ${shown(value)}: only null is supported`);
  }
  const unknown = model['unk_token'] ?? undefined;
  if (unknown !== undefined && typeof unknown !== 'string') throw refusal(`model.unk_token is ${shown(unknown)}: it must be a string or null`);
  const vocabulary = parseVocabulary(model['vocab']);
  return {
    vocabulary, unknown,
    merges: parseMerges(model['merges'], vocabulary),
    fuseUnknown: flag(model, 'model', 'fuse_unk'),
    byteFallback: flag(model, 'model', 'byte_fallback'),
    ignoreMerges: flag(model, 'model', 'ignore_merges'),
  };
}

function parseVocabulary(vocab: unknown): Map<string, number> {
  if (!isObject(vocab)) throw refusal(`model.vocab ${vocab === undefined ? 'is missing' : `is ${shown(vocab)}`}: it must be an object of tokens and their ids`);
  const vocabulary = new Map<string, number>();
  const tokens = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    checkId('model.vocab', token, id);
    const other = tokens.get(id);
    if (other !== undefined) throw refusal(`model.vocab gives the id ${id} to both ${shown(other)} and ${shown(token)}: copy the file again`);
    tokens.set(id, token);
    vocabulary.set(token, id);
  }
  return vocabulary;
}

function parseMerges(merges: unknown, vocabulary: ReadonlyMap<string, number>): (readonly [string, string])[] {
  if (!Array.isArray(merges)) throw refusal(`model.merges ${merges === undefined ? 'is missing' : `is ${shown(merges)}`}: it must be a list of pairs`);
  const pairs: (readonly [string, string])[] = [];
  for (const [n, merge] of (merges as unknown[]).entries()) {
    if (typeof merge === 'string' && merge.startsWith('#version')) continue;
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || pair.some((part) => typeof part !== 'string')) {
      throw refusal(`model.merges[${n}] is ${shown(merge)}: it must be two tokens, as "a b" or ["a", "b"]`);
    }
    const [a, b] = pair as [string, string];
    const missing = [a, b, a + b].find((token) => !vocabulary.has(token));
    if (missing !== undefined) throw refusal(`model.merges[${n}] is ${shown(merge)}, but model.vocab has no ${shown(missing)}: copy the file again`);
    pairs.push([a, b]);
  }
  return pairs;
}

function parseAdded(list: unknown, vocabulary: ReadonlyMap<string, number>): AddedToken[] {
  if (!Array.isArray(list)) throw refusal(`added_tokens is ${shown(list)}: it must be a list`);
  const tokens = new Map<number, string>([...vocabulary].map(([token, id]) => [id, token]));
  const ids = new Map<string, number>();
  const added: AddedToken[] = [];
  for (const [n, each] of (list as unknown[]).entries()) {
    const where = `added_tokens[${n}]`;
    if (!isObject(each)) throw refusal(`${where} is ${shown(each)}: it must be an object with id and content`);
    const { id, content } = each;
    if (typeof content !== 'string' || content === '') throw refusal(`${where}.content is ${shown(content ?? null)}: it must be text`);
    checkId(where, content, id);
    const [other, known] = [tokens.get(id), vocabulary.get(content) ?? ids.get(content)];
    if (other !== undefined && other !== content) throw refusal(`${where} gives the id ${id} to ${shown(content)}, but it is that of ${shown(other)}: copy the file again`);
    if (known !== undefined && known !== id) throw refusal(`${where} gives ${shown(content)} the id ${id}, but it has ${known} already: copy the file again`);
    if (ids.has(content)) continue; // listed twice
    tokens.set(id, content);
    ids.set(content, id);
    const special = flag(each, where, 'special');
    added.push({
      id, content, special,
      normalized: flag(each, where, 'normalized', !special),
      singleWord: flag(each, where, 'single_word'),
      lstrip: flag(each, where, 'lstrip'),
      rstrip: flag(each, where, 'rstrip'),
    });
  }
  return added;
}

function checkId(where: string, token: string, id: unknown): asserts id is number {
  const fits = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= MAX_ID;
  if (!fits) throw refusal(`${where} gives ${shown(token)} the id ${shown(id ?? null)}: ids are whole numbers from 0 to ${MAX_ID}`);
}

/** A field that is true or false. */
export function flag(json: Json, where: string, name: string, otherwise = false): boolean {
  const value = json[name] ?? otherwise;
  if (typeof value !== 'boolean') throw refusal(`${where}.${name} is ${shown(value)}: it must be true or false`);
  return value;
}

/** A field that is a string. */
export function text(json: Json, where: string, name: string, otherwise?: string): string {
  const value = json[name] ?? otherwise;
  if (typeof value === 'string') return value;
  throw refusal(`${where}.${name} ${value === undefined ? 'is missing' : `is ${shown(value)}`}: it must be a string`);
}

/** A field that is a list of objects. */
export function objects(json: Json, where: string, name: string): Json[] {
  const value = json[name];
  if (Array.isArray(value) && value.every(isObject)) return value;
  throw refusal(`${where}.${name} ${value === undefined ? 'is missing' : `is ${shown(value)}`}: it must be a list of objects`);
}

/** Whether a value is an object, not null and not a list. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
