/**
 * Ways to tell a fact about somebody, and to ask for it in other words. In the manner of RULER's needles (Hsieh et al.
 * 2024), with wordings of this project's own.
 * @module
 */
import type { Generator } from '../../../core/random.ts';
import { digits } from './task.ts';

/** A fact and its question in one wording. */
export interface Template {
  /** `number` has four digits, and `word` is one of a list. */
  readonly value: 'number' | 'word';
  /** The fact, with a space after it. */
  tell(name: string, value: string): string;
  /** The words before the answer. */
  ask(name: string): string;
}

const number = (tell: (name: string, value: string) => string, ask: (name: string) => string): Template =>
  ({ value: 'number', tell: (name, value) => `${tell(name, value)} `, ask: (name) => `${ask(name)} ` });
const word = (tell: (name: string, value: string) => string, ask: (name: string) => string): Template =>
  ({ value: 'word', tell: (name, value) => `${tell(name, value)} `, ask });

/** All wordings. Numbers in options are places in this list, so new ones are added at its end. */
export const TEMPLATES: readonly Template[] = [
  number((name, n) => `The secret number of ${name} is ${n}.`, (name) => `What is the secret number of ${name}? It is`),
  word((name, w) => `The favourite fruit of ${name} is the ${w}.`, (name) => `Which fruit does ${name} like best? It is the`),
  number((name, n) => `Room ${n} was given to ${name}.`, (name) => `In which room is ${name}? In room`),
  word((name, w) => `The letter for ${name} lies under the ${w}.`, (name) => `Where is the letter for ${name}? It is under the`),
  number((name, n) => `The ship ${name} left port with ${n} barrels.`, (name) => `How many barrels were on the ship ${name}? There were`),
  word((name, w) => `Agent ${name} goes by the code word ${w}.`, (name) => `What is the code word of agent ${name}? It is`),
  number((name, n) => `In the year ${n} the town of ${name} was founded.`, (name) => `When was the town of ${name} founded? In the year`),
  word((name, w) => `The painting in the hall of ${name} shows a ${w}.`, (name) => `What does the painting in the hall of ${name} show? A`),
  number((name, n) => `To reach ${name}, dial ${n}.`, (name) => `Which number reaches ${name}? It is`),
  word((name, w) => `Every morning ${name} carries a ${w} to the market.`, (name) => `What does ${name} carry to the market? A`),
];

const VALUES = [
  'lemon', 'cherry', 'plum', 'pear', 'basket', 'carpet', 'candle', 'mirror', 'ladder', 'bottle', 'hammer', 'lantern',
  'wagon', 'barrel', 'violin', 'kettle', 'saddle', 'anchor', 'blanket', 'pigeon', 'rabbit', 'falcon', 'spider', 'donkey',
] as const;

/** A value for a template. A word has the space before it, as tokenizers do. */
export function valueFor({ value }: Template, random: Generator): { said: string; answer: string } {
  if (value === 'number') {
    const said = digits(random, 4);
    return { said, answer: said };
  }
  const said = VALUES[random.below(VALUES.length)];
  return { said, answer: ` ${said}` };
}

/** How a line that ends with a question about a template and its answer looks. */
export const TEMPLATE_ENDING: RegExp = new RegExp(
  `(?:${TEMPLATES.map(({ ask }) => ask('[a-z]+').replace(/\?/g, '\\?')).join('|')}) ?(?:\\d+|[a-z]+)\\.$`,
);
