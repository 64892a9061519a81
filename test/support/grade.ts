/**
 * How right a verdict is on a broken kernel, by answers that were put down beforehand.
 * @module
 */
import { type Answers, NO_CLAIM } from '../mutants/sixth-names.ts';
import type { Judged } from './judge.ts';

/**
 * - `named`: the name that explains most failing cases is true.
 * - `located`: no name, but a true place.
 * - `outputs`: no name and no place, but which outputs are wrong and which are right in every case.
 * - `no`: a false name, or nothing that helps.
 */
export type Grade = 'named' | 'located' | 'outputs' | 'no';

/** The grade of a verdict on a mutant that was judged with `answers.places` as its `where`. */
export function gradeOf({ name, detail = '', common, located }: Judged, { names }: Answers): Grade {
  const right = names.some((each) => (typeof each === 'string' ? each === name : each[0] === name && each[1].test(detail)));
  if (right) return 'named';
  if (!NO_CLAIM.includes(name)) return 'no';
  if (located) return 'located';
  return common.some((line) => line.endsWith('in every case')) ? 'outputs' : 'no';
}

/** The table of a page: a row for each, with the first places in common, and the one that is true. */
export function gradesOf(
  judged: readonly Judged[], answers: Readonly<Record<string, Answers>>, words: Readonly<Record<string, string>>,
): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = judged.map((each) => {
    const { id, what, failing, name, detail, explains, common } = each;
    const grade = gradeOf(each, answers[id]);
    const lines = common.map((line) => line.replace(/ \(.*|; .*/, '').replace('fails only ', ''));
    const { places } = answers[id];
    const shown = [...new Set([...lines.slice(0, 2), ...lines.filter((line) => places?.test(line)).slice(0, 1)])];
    const said = `${words[name]}${detail ? ` (${detail})` : ''}`;
    const verdict = grade === 'no' ? '**no**' : grade;
    return `| ${cell(what)} | ${failing.length} | ${cell(said)} | ${explains} | ${cell(shown.join('; '))} | ${verdict} |`;
  });
  const head = `| mistake | cases that fail, of ${judged[0].cases} | looks like | explains | in common: only | right |`;
  return [head, '|---|---|---|---|---|---|', ...rows, ''].join('\n');
}
