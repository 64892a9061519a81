/**
 * Ways to tell a fact about somebody, and to ask for it in other words. In the manner of RULER's needles (Hsieh et al.
 * 2024), with wordings of this project's own.
 * @module
 */
import type { Generator } from '../../../core/random.ts';
import { digits } from './task.ts';

/** A fact and its question in one wording, with {name} and {value} where these go. */
export interface Template {
  /** `number` has four digits, and `word` is one of a list. */
  readonly value: 'number' | 'word';
  readonly fact: string;
  /** The words before the answer. */
  readonly question: string;
}

/** All wordings. Numbers in options are places in this list, so new ones are added at its end. */
export const TEMPLATES: readonly Template[] = [
  {
    value: 'number', fact: 'The secret number of {name} is {value}.',
    question: 'What is the secret number of {name}? It is',
  },
  {
    value: 'word', fact: 'The favourite fruit of {name} is the {value}.',
    question: 'Which fruit does {name} like best? It is the',
  },
  {
    value: 'number', fact: 'Room {value} was given to {name}.',
    question: 'In which room is {name}? In room',
  },
  {
    value: 'word', fact: 'The letter for {name} lies under the {value}.',
    question: 'Where is the letter for {name}? It is under the',
  },
  {
    value: 'number', fact: 'The ship {name} left port with {value} barrels.',
    question: 'How many barrels were on the ship {name}? There were',
  },
  {
    value: 'word', fact: 'Agent {name} goes by the code word {value}.',
    question: 'What is the code word of agent {name}? It is',
  },
  {
    value: 'number', fact: 'In the year {value} the town of {name} was founded.',
    question: 'When was the town of {name} founded? In the year',
  },
  {
    value: 'word', fact: 'The painting in the hall of {name} shows a {value}.',
    question: 'What does the painting in the hall of {name} show? A',
  },
  {
    value: 'number', fact: 'To reach {name}, dial {value}.',
    question: 'Which number reaches {name}? It is',
  },
  {
    value: 'word', fact: 'Every morning {name} carries a {value} to the market.',
    question: 'What does {name} carry to the market? A',
  },
];

/** The fact about a name, with a space after it. */
export const tell = ({ fact }: Template, name: string, value: string): string =>
  `${fact.replace('{name}', name).replace('{value}', value)} `;

/** The question about a name, up to where the answer begins. Words bring their own space. */
export const ask = ({ question, value }: Template, name: string): string =>
  `${question.replace('{name}', name)}${value === 'number' ? ' ' : ''}`;

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

/** Whether a line ends with a question about a template, and its answer. */
export function endsWithTemplate(line: string): boolean {
  return TEMPLATES.some(({ question }) => {
    const [head, tail] = question.replaceAll('?', '\\?').split('{name}');
    return new RegExp(`${head}[a-z]+${tail} (\\d+|[a-z]+)\\.$`).test(line);
  });
}
