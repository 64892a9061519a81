/**
 * The tokens before and after a text that is fed to a model, by the post_processor of tokenizer.json, or by
 * tokenizer_config.json if that overrides it.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import { shown } from '../config/config-fields.ts';
import { isObject, type Json, objects, refusal, type TokenizerFile } from './hf-tokenizer-file.ts';

/** The tokens before and after a text. */
export interface Around {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** The classes of tokenizers that honour add_bos_token and add_eos_token; others follow the post_processor. */
const FLAGGED = /^((Code)?Llama|Gemma|Cohere)Tokenizer(Fast)?$/;

/**
 * The tokens around a text. The post_processor decides about them, except that for the classes of Llama, Gemma and
 * Cohere, as in Hugging Face's transformers 4, and if no class is named, `add_bos_token` and `add_eos_token` take
 * precedence if they are true or false. Without a post_processor, those classes put bos_token first.
 *
 * @param config The parsed tokenizer_config.json, if there is one.
 * @param specials The model's own bos and eos, for files that do not name them.
 * @throws {ConfigError} If a file contradicts itself.
 */
export function parseAround(file: TokenizerFile, config: unknown, specials: { bos?: number; eos?: number }): Around {
  const own = file.postProcessor === null ? undefined : around(file.postProcessor, 'post_processor');
  if (config !== undefined && !isObject(config)) throw new ConfigError('tokenizer_config.json: it is not an object: copy it again');
  const name = config?.['tokenizer_class'] ?? null;
  const flagged = name === null || (typeof name === 'string' && FLAGGED.test(name));
  const llama = name !== null && flagged;
  const ids = new Map([...file.bpe.vocabulary, ...file.added.map(({ content, id }) => [content, id] as const)]);
  const side = (which: 'bos' | 'eos', otherwise: readonly number[]): readonly number[] => {
    const add = config?.[`add_${which}_token`] ?? null;
    if (add !== null && typeof add !== 'boolean') throw new ConfigError(`tokenizer_config.json: add_${which}_token is ${shown(add)}: it must be true or false`);
    const wanted = (flagged ? add : null) ?? (which === 'bos' && llama && own === undefined ? true : null);
    if (wanted === null) return otherwise;
    if (!wanted) return [];
    const named = special(config!, which, ids);
    const id = named === undefined ? (llama ? ids.get(which === 'bos' ? '<s>' : '</s>') : undefined) ?? specials[which] : named;
    return id === null || id === undefined || id < 0 ? [] : [id];
  };
  return { starts: side('bos', own?.starts ?? []), ends: side('eos', own?.ends ?? []) };
}

/** The id of bos_token or eos_token; null if it is null, and undefined if it is absent. */
function special(config: Json, which: 'bos' | 'eos', ids: ReadonlyMap<string, number>): number | null | undefined {
  const name = `${which}_token`;
  const value = config[name];
  if (value === undefined) return undefined;
  if (value === null) return null;
  const content = isObject(value) ? value['content'] : value;
  if (typeof content !== 'string') throw new ConfigError(`tokenizer_config.json: ${name} is ${shown(value)}: it must be a string, or an object with content`);
  const id = ids.get(content);
  if (id === undefined) throw new ConfigError(`tokenizer_config.json: ${name} is ${shown(content)}, which tokenizer.json does not have: copy both files again`);
  return id;
}

function around(step: Json, where: string): Around {
  const type = step['type'];
  if (type === 'ByteLevel') return { starts: [], ends: [] };
  if (type === 'TemplateProcessing') return template(step, where);
  if (type === 'BertProcessing' || type === 'RobertaProcessing') return { starts: [pair(step, where, 'cls')], ends: [pair(step, where, 'sep')] };
  if (type !== 'Sequence') throw refusal(`${where}.type is ${shown(type ?? null)}: only Sequence, TemplateProcessing, ByteLevel, BertProcessing and RobertaProcessing are supported`);
  const steps = objects(step, where, 'processors').map((each, n) => around(each, `${where}.processors[${n}]`));
  return { starts: steps.map(({ starts }) => starts).reverse().flat(), ends: steps.flatMap(({ ends }) => ends) };
}

/** The id of a pair such as ["</s>", 2]. */
function pair(step: Json, where: string, name: string): number {
  const value = step[name];
  if (Array.isArray(value) && value.length === 2 && isId(value[1])) return value[1];
  throw refusal(`${where}.${name} is ${shown(value ?? null)}: it must be a token and its id`);
}

/** The tokens that `single` has before and after the text $A. */
function template(step: Json, where: string): Around {
  const sides: [number[], number[]] = [[], []];
  let seen = 0;
  for (const [n, item] of objects(step, where, 'single').entries()) {
    const here = `${where}.single[${n}]`;
    if (isObject(item['Sequence'])) {
      if (item['Sequence']['id'] !== 'A' || ++seen > 1) throw refusal(`${here} is ${shown(item)}: the only text is $A, and it must occur once`);
    } else if (isObject(item['SpecialToken'])) {
      sides[seen].push(...templateIds(step, where, item['SpecialToken']['id'], here));
    } else {
      throw refusal(`${here} is ${shown(item)}: it must be a Sequence or a SpecialToken`);
    }
  }
  if (seen === 0) throw refusal(`${where}.single has no place for the text: it needs {"Sequence":{"id":"A"}}`);
  return { starts: sides[0], ends: sides[1] };
}

function templateIds(step: Json, where: string, name: unknown, here: string): number[] {
  const tokens = step['special_tokens'];
  const token = isObject(tokens) && typeof name === 'string' && Object.hasOwn(tokens, name) ? tokens[name] : undefined;
  const ids = isObject(token) ? token['ids'] : undefined;
  if (Array.isArray(ids) && ids.every(isId)) return ids;
  throw refusal(`${here} names ${shown(name ?? null)}, for which ${where}.special_tokens has no list of ids: copy the file again`);
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}
