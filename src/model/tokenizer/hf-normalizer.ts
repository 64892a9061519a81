/**
 * The normalizers of tokenizer.json, which change text before it is split into words. Each also says where a text may
 * be cut so that its halves, normalised separately, make the normalised whole.
 * @module
 */
import { shown } from '../config/config-fields.ts';
import { flag, type Json, objects, refusal, text as textOf } from './hf-tokenizer-file.ts';

/** Compiles the pattern of a step into a RegExp that finds all matches. */
export type CompilePattern = (step: Json, where: string) => RegExp;

/** A normalizer of texts or parts of texts. */
export interface Normalizer {
  /** @param begins Whether `text` begins its section, rather than following a cut. */
  apply(text: string, begins: boolean): string;
  /** Whether characters may combine with those before them, as in Unicode's normal forms. */
  readonly composes: boolean;
  /** Characters next to which a text must not be cut, as a pattern has them; undefined if it must not be cut at all. */
  readonly uncuttable: ReadonlySet<string> | undefined;
}

type Step = Normalizer['apply'];

/** A normalizer that leaves a text unchanged. */
export const NO_NORMALIZER: Normalizer = { apply: (text) => text, composes: false, uncuttable: new Set() };

/** @throws {ConfigError} If a step is not supported, or lacks what it needs. */
export function parseNormalizer(json: Json | null, compile: CompilePattern): Normalizer {
  if (json === null) return NO_NORMALIZER;
  const steps: Step[] = [];
  let composes = false;
  let changed = false; // whether an earlier step has changed the text that later patterns match
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
    } else if (type === 'Lowercase') { // character by character, so that a final sigma is treated like any sigma
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
