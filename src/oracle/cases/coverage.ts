/**
 * Which values of the parameters the cases of a suite have, and which pairs of values meet in a case whose gradients
 * are judged. A kernel that is wrong only where two of them meet is caught by such a case.
 * @module
 */
import { parametersOf, type Recipe } from './recipes.ts';

/** A value, or range of values, that kernels may treat in a way of its own. */
export interface Level {
  readonly text: string;
  readonly has: (recipe: Recipe) => boolean;
}
/** A parameter and its interesting values, of which every recipe has at most one. */
export interface Factor {
  readonly name: string;
  readonly levels: readonly Level[];
}

const level = (text: string, has: Level['has']): Level => ({ text, has });
const powerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n));
const inside = ({ window, tokens }: Recipe): boolean => window < tokens - 1;
const scored = ({ types }: Recipe): boolean => 'scores' in types;

/** The parameters whose pairs of values are covered. */
export const FACTORS: readonly Factor[] = [
  { name: 'N', levels: [
    level('N <= 33', ({ tokens }) => tokens <= 33),
    level('34 to 256, whole tiles of 16', ({ tokens }) => tokens > 33 && tokens <= 256 && tokens % 16 === 0),
    level('34 to 256, a partial tile', ({ tokens }) => tokens > 33 && tokens <= 256 && tokens % 16 > 0),
    level('N > 256', ({ tokens }) => tokens > 256),
  ] },
  { name: 'd', levels: [
    level('d <= 8, a power of two', ({ headDim }) => headDim <= 8 && powerOfTwo(headDim)),
    level('d < 64, no power of two', ({ headDim }) => headDim < 64 && !powerOfTwo(headDim)),
    level('d = 16, 32, 64', ({ headDim }) => headDim >= 16 && headDim <= 64 && powerOfTwo(headDim)),
    level('d > 64', ({ headDim }) => headDim > 64),
  ] },
  { name: 'heads', levels: [
    level('H = G', ({ queryHeads, kvHeads }) => queryHeads === kvHeads),
    level('G = 1, H > 1', ({ queryHeads, kvHeads }) => kvHeads === 1 && queryHeads > 1),
    level('G > 1, H > G', ({ queryHeads, kvHeads }) => kvHeads > 1 && queryHeads > kvHeads),
  ] },
  { name: 'B', levels: [level('B = 1', ({ batch = 1 }) => batch === 1), level('B > 1', ({ batch = 1 }) => batch > 1)] },
  { name: 'W', levels: [
    level('W = 0, 1', ({ window }) => window < 2),
    level('2 to 32, ends inside', (each) => each.window > 1 && each.window <= 32 && inside(each)),
    level('W > 32, ends inside', (each) => each.window > 32 && inside(each)),
    level('reaches past N', (each) => each.window > 1 && !inside(each)),
  ] },
  { name: 'C', levels: [
    level('C = 1', ({ chunk = 1 }) => chunk === 1),
    level('C = 2 to 8', ({ chunk = 1 }) => chunk > 1 && chunk <= 8),
    level('C > 8', ({ chunk = 1 }) => chunk > 8),
  ] },
  { name: 'types', levels: [
    level('given', (each) => !scored(each)),
    level('by scores and noise', ({ types }) => 'scores' in types && types.noise),
    level('by scores', ({ types }) => 'scores' in types && !types.noise),
  ] },
  { name: 'logits', levels: [
    level('some units', ({ logits = 'normal' }) => logits === 'normal'),
    level('far apart', ({ logits = 'normal' }) => ['sharp', 'rising', 'falling', 'large', 'close'].includes(logits)),
    level('equal', ({ logits = 'normal' }) => ['flat', 'equal-keys', 'equal-queries'].includes(logits)),
  ] },
  { name: 'rule', levels: [
    level('bounded', ({ rule = 'bounded' }) => rule === 'bounded'), level('exact', ({ rule }) => rule === 'exact'),
  ] },
  { name: 'scale', levels: [
    level('1 / sqrt(d)', (each) => parametersOf(each).scale === 1 / Math.sqrt(each.headDim)),
    level('another', (each) => parametersOf(each).scale !== 1 / Math.sqrt(each.headDim)),
  ] },
  { name: 'cache', levels: [
    level('no cache', ({ steps }) => !steps?.length), level('a cache', ({ steps }) => (steps?.length ?? 0) > 0),
  ] },
];

/** Whether the gradients of a recipe's case are judged. */
export const judgesGradients = ({ backward, poison }: Recipe): boolean => backward ?? !poison;

/** Why two values cannot meet, or do not in the small suite. */
export function apart(one: Level, other: Level): 'never' | 'tiles' | undefined {
  const texts = [one.text, other.text];
  const both = (a: string, b: string): boolean => texts.includes(a) && texts.includes(b);
  if (both('N <= 33', 'W > 32, ends inside')) return 'never';
  // Each would be a quarter of a megabyte and more.
  if (both('N > 256', 'd > 64') || both('N > 256', 'd = 16, 32, 64')) return 'tiles';
  if (both('d > 64', 'W > 32, ends inside') || (texts.includes('d > 64') && texts.some((text) => text.startsWith('34 to')))) return 'tiles';
  return undefined;
}

/** Two values, and the recipes in which they meet. */
export interface Pair {
  readonly one: Level;
  readonly other: Level;
  readonly recipes: readonly Recipe[];
}

/** Every pair of values of two parameters. */
export function pairsOf(recipes: readonly Recipe[]): Pair[] {
  const judged = recipes.filter(judgesGradients);
  return FACTORS.flatMap((first, n) => FACTORS.slice(n + 1).flatMap((second) => first.levels.flatMap((one) => {
    const having = judged.filter(one.has);
    return second.levels.map((other) => ({ one, other, recipes: having.filter(other.has) }));
  })));
}

/** A Markdown table of how many cases with gradients have each pair of values. */
export function coverageTable(recipes: readonly Recipe[]): string {
  const judged = recipes.filter(judgesGradients);
  const rows = FACTORS.flatMap(({ name, levels }) => levels.map((one) => {
    const own = judged.filter(one.has);
    const cells = FACTORS.map(({ name: other, levels: others }) => (other === name ? ''
      : others.map((each) => (apart(one, each) === 'never' ? '-' : String(own.filter(each.has).length))).join(' ')));
    return `| ${name}: ${one.text} | ${own.length} | ${cells.join(' | ')} |`;
  }));
  const heads = FACTORS.map(({ name }) => name);
  return [
    `| | cases | ${heads.join(' | ')} |`, `|---|---|${heads.map(() => '---|').join('')}`, ...rows, '',
    ...FACTORS.map(({ name, levels }) => `- **${name}**: ${levels.map(({ text }) => text).join('; ')}`),
  ].join('\n');
}
