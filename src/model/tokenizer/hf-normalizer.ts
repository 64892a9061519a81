/**
 * Normalizers of tokenizer.json: what is done to text before it becomes words. Each says also where a text may be cut
 * so that the halves normalise to the halves of the whole.
 * @module
 */
import { shown } from '../config/config-fields.ts';
import { flag, type Json, objects, refusal, text as textOf } from './hf-tokenizer-file.ts';

/** Compiles the pattern of a step: a RegExp that finds all matches. */
export type CompilePattern = (step: Json, where: string) => RegExp;

/** A normalizer of texts, whole or going on. */
export interface Normalizer {
  /** @param begins Whether `text` is the beginning of its section, and not what follows a cut. */
  apply(text: string, begins: boolean): string;
  /** Whether characters combine with those before them (Unicode's normal forms). */
  readonly composes: boolean;
  /** Characters of patterns longer than one: never cut beside one of them. Undefined: never cut at all. */
  readonly uncuttable: ReadonlySet<string> | undefined;
}

type Step = Normalizer['apply'];

/** A step that leaves a text as it is. */
export const NO_NORMALIZER: Normalizer = { apply: (text) => text, composes: false, uncuttable: new Set() };

/** @throws {ConfigError} If a step is not supported, or lacks what it needs. */
export function parseNormalizer(json: Json | null, compile: CompilePattern): Normalizer {
  if (json === null) return NO_NORMALIZER;
  const steps: Step[] = [];
  let composes = false;
  let changed = false; // by a step before: what patterns look at is no longer the text
  let uncuttable: Set<string> | undefined = new Set();
  const add = (step: Json, where: string): void => {
    const type = step['type'];
    if (type === 'Sequence') {
      objects(step, where, 'normalizers').forEach((each, n) => add(each, `${where}.normalizers[${n}]`));
    } else if (type === 'Prepend') {
      const prepend = textOf(step, where, 'prepend');
      steps.push((text, begins) => (begins && text !== '' ? prepend + text : text));
    } else if (type === 'Replace') {
      const content = textOf(step, where, 'content');
      const pattern = compile(step, where);
      const from = (step['pattern'] as Json)['String'];
      if (typeof from !== 'string' || content === '' || ([...from].length > 1 && changed)) uncuttable = undefined;
      else if ([...from].length > 1) for (const character of from) uncuttable?.add(character);
      steps.push((text) => text.replace(pattern, () => content));
      changed = true;
    } else if (type === 'NFC' || type === 'NFD' || type === 'NFKC' || type === 'NFKD') {
      [composes, changed] = [true, true];
      steps.push((text) => text.normalize(type));
    } else if (type === 'Lowercase') { // character by character: a final sigma is a sigma
      steps.push((text) => text.replace(/[^\0-\x7f]|[A-Z]+/gu, (some) => some.toLowerCase()));
      changed = true;
    } else if (type === 'Strip') {
      const [left, right] = [flag(step, where, 'strip_left'), flag(step, where, 'strip_right')];
      if (left) steps.push((text, begins) => (begins ? text.replace(/^\p{White_Space}+/u, '') : text));
      if (right) steps.push((text) => text.slice(0, endOfText(text)));
      uncuttable = undefined;
    } else {
      throw refusal(`${where}.type is ${shown(type ?? null)}: only Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase and Strip are supported`);
    }
  };
  add(json, 'normalizer');
  const apply: Step = (text, begins) => steps.reduce((now, step) => step(now, begins), text);
  return { apply, composes, uncuttable };
}

/** Where the white space at the end of a text begins. */
function endOfText(text: string): number {
  let end = text.length;
  while (end > 0 && /\p{White_Space}/u.test(text[end - 1])) end--;
  return end;
}
