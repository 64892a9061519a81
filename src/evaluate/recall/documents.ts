/**
 * Makes documents of filler with facts in it, which end with a question about the facts.
 * @module
 */
import { type Expected, finite, list, of, oneOf, optional, record, wholeFrom } from '../../core/arguments.ts';
import { ValueError } from '../../core/errors.ts';
import { expectKnown } from '../../core/known-options.ts';
import { type Generator, generator, Stream } from '../../core/random.ts';
import { expectWhole } from '../../core/shape.ts';
import { type RecallKind, recallKinds, type Scene, TASKS, TEMPLATES } from './tasks/index.ts';

/** A text that ends with a question about a fact in it. */
export interface RecallDocument {
  /** Ends where the answer begins. */
  readonly prompt: string;
  readonly answer: string;
  /** The number of characters from the first fact that the answer needs to the answer. */
  readonly distance: number;
}

/** A string, or a text that is read like one, by code units of UTF-16. */
export interface Filler {
  readonly length: number;
  slice(start: number, end: number): string;
}

/** Options of recallDocuments(). */
export interface RecallOptions {
  /**
   * `passkey`: one number to remember. `pairs`: several names with their numbers, one of which is asked for. `needle`:
   * one fact in one of several wordings. `multikey`: several facts of one wording, one of which is asked for. `hops`: a
   * number that is passed on from name to name. `tracking`: the same, with every step of the chain in the answer.
   * `common`: the name that occurs most often.
   */
  readonly kind: RecallKind;
  /** How many documents to make. */
  readonly documents: number;
  /** The approximate number of characters of each. */
  readonly length: number;
  /** How many names a document of kind `pairs`, `multikey` or `common` holds. Default: 4. */
  readonly pairs?: number;
  /** How many times a number is passed on in a document of kind `hops` or `tracking`. Default: 2. */
  readonly hops?: number;
  /** The wordings of kind `needle` and `multikey`, numbers from 0 to 9. Default: all. */
  readonly templates?: readonly number[];
  readonly seed?: number;
  /** The text that filler is cut from. Default: sentences of random words. */
  readonly filler?: Filler;
}

const WORDS = [
  'the', 'a', 'sea', 'wind', 'ship', 'man', 'old', 'grey', 'went', 'came', 'saw', 'over', 'under', 'and', 'then', 'long',
  'water', 'house', 'night', 'day', 'road', 'stone', 'light', 'slow', 'far', 'home', 'again', 'we', 'they', 'he', 'she',
] as const;

/** Characters that a fact or a question may need. */
const FACT_ROOM = 60;

/** A string, or a text that is read like one. */
const expectFiller: Expected = (name, value) => {
  if (typeof value !== 'string') record({ length: wholeFrom(0), slice: of('function') })(name, value);
};

/**
 * Makes documents of filler with facts in it, which end with a question about the facts.
 *
 * @returns The documents. The same seed gives the same ones, and asking for more adds to them at the end.
 * @throws {ValueError} If a document has no room for its facts, there is too little filler, or there are too few words
 * for names.
 * @example
 * ```ts
 * import { recallDocuments } from 'neural-attention-search';
 * const [first] = recallDocuments({ kind: 'passkey', documents: 1, length: 200 });
 * const { prompt, answer } = first!;
 * console.log(prompt.includes(`pass key is ${answer}. `), prompt.endsWith('The pass key is ')); // true true
 * ```
 */
export function recallDocuments(options: RecallOptions): RecallDocument[] {
  record({
    kind: oneOf(...recallKinds), length: finite, seed: optional(wholeFrom(0)), filler: optional(expectFiller),
    templates: optional(list(wholeFrom(0, TEMPLATES.length - 1))),
  })('options', options);
  expectKnown('recallDocuments()', options, [
    'kind', 'documents', 'length', 'pairs', 'hops', 'templates', 'seed', 'filler',
  ]);
  const { kind, documents, length, pairs = 4, hops = 2, seed = 0, filler } = options;
  const { templates = [...TEMPLATES.keys()] } = options;
  expectWhole('documents', documents, 1, 2 ** 24);
  expectWhole('length', length, 1, 2 ** 29);
  expectWhole('pairs', pairs, 1);
  expectWhole('hops', hops, 1);
  if (templates.length === 0) throw new ValueError(`there are no templates: name some from 0 to ${TEMPLATES.length - 1}`);
  const task = TASKS[kind];
  for (const [name, value] of [['pairs', pairs], ['hops', hops]] as const) {
    const most = task.most[name];
    if (most !== undefined && value > most) {
      throw new ValueError(`${name} is ${value}: there are names for at most ${most}`);
    }
  }
  const how = { pairs, hops, templates };
  const facts = task.facts(how);
  const least = FACT_ROOM * (facts + 1);
  if (!(length >= least)) {
    throw new ValueError(`a document of ${length} characters has no room for ${facts} facts: make it ${least} or more`);
  }
  if (filler !== undefined && filler.length < length) {
    throw new ValueError(`the filler has ${filler.length} characters: documents of ${length} need at least as many`);
  }
  return Array.from({ length: documents }, (_, n) => {
    const random = generator(seed, [Stream.RECALL, n]);
    return document(random, task.make(random, how), length, filler);
  });
}

/** Hides the facts of a scene in filler, and asks the question at the end. */
function document(
  random: Generator, { facts, ordered = false, needed, question, answer }: Scene, length: number,
  filler: Filler | undefined,
): RecallDocument {
  const room = length - facts.reduce((sum, fact) => sum + fact.length, 0) - question.length;
  const text = filler === undefined ? sentences(random, room) : piece(random, filler, room);
  // Facts go between sentences, at places drawn uniformly.
  const ends = [0, ...[...text.matchAll(/[.!?]\s+/g)].map((match) => match.index + match[0].length)];
  const drawn = facts.map((_, n) => ({ n, at: ends[random.below(ends.length)] })).sort((a, b) => a.at - b.at);
  const places = drawn.map(({ n, at }, place) => ({ n: ordered ? place : n, at }));
  let [prompt, from, told] = ['', 0, Infinity];
  for (const { n, at } of places) {
    prompt += text.slice(from, at);
    if (needed.includes(n)) told = Math.min(told, prompt.length);
    prompt += facts[n];
    from = at;
  }
  prompt += `${text.slice(from).trimEnd()} ${question}`;
  return { prompt, answer, distance: prompt.length - told };
}

function sentences(random: Generator, room: number): string {
  let text = '';
  while (text.length < room) {
    const words = Array.from({ length: 4 + random.below(6) }, () => WORDS[random.below(WORDS.length)]);
    const sentence = words.join(' ');
    text += `${sentence[0].toUpperCase()}${sentence.slice(1)}. `;
  }
  return text.slice(0, Math.max(0, text.lastIndexOf('. ', room - 2) + 2));
}

function piece(random: Generator, filler: Filler, room: number): string {
  const begin = random.below(Math.max(1, filler.length - room));
  const cut = filler.slice(begin, begin + room);
  of('string')('what the filler\'s slice() returned', cut);
  return cut.replace(/\s+/g, ' ').replaceAll(/[\uD800-\uDBFF]$|^[\uDC00-\uDFFF]/g, '');
}

/** Refuses anything but a list of documents. */
export const expectDocuments: Expected = (name, value) => {
  list(record({ prompt: of('string'), answer: of('string'), distance: optional(finite) }))(name, value);
};

/**
 * The text to train on: every prompt with its answer, one per line.
 *
 * @example
 * ```ts
 * import { recallDocuments, recallText } from 'neural-attention-search';
 * const text = recallText(recallDocuments({ kind: 'pairs', documents: 3, length: 400 }));
 * console.log(text.split('\n').length); // 4
 * ```
 */
export function recallText(documents: readonly RecallDocument[]): string {
  expectDocuments('documents', documents);
  return documents.map(({ prompt, answer }) => `${prompt}${answer}.\n`).join('');
}
