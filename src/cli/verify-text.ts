/**
 * The text that `natsearch verify` prints.
 * @module
 */
import { roundoffs } from '../oracle/judge/budget.ts';
import { DIAGNOSES, type DiagnosisName } from '../oracle/diagnose/diagnoses.ts';
import { type CaseReport, type Divergence, type ErrorMap, OUTPUT_ORDER, type TensorReport } from '../oracle/types.ts';
import { mapText } from '../oracle/judge/error-map.ts';
import { commonWords, type Judged } from '../oracle/judge/common.ts';
import type { Verdict } from '../oracle/judge/verdict.ts';
import { colours, table } from './terminal.ts';

const say = (x: number): string => (x === 0 ? '0' : x.toExponential(1));

/** One case: its verdict, one row per tensor, and where it first goes wrong. */
export function printCase(report: CaseReport, why: string, maps: readonly ErrorMap[] = []): string {
  const { case: name, pass, dtype, tensors, divergence, diagnosis } = report;
  const { green, red, bold, dim } = colours(process.stdout);
  const verdict = (status: TensorReport['status']): string =>
    status === 'pass' ? green(status) : red(status);
  const headers = ['tensor', '', 'max abs', 'max rel', 'ULPs', 'budget', 'error/budget', ''];
  const rows = tensors.filter(({ status }) => status !== 'skipped').map((report) => {
    const { status, maxAbsolute, maxRelative, maxUlps, worst } = report;
    const numbers = report.compared === 0 ? ['', '', '', '', ''] :
      [say(maxAbsolute), say(maxRelative), say(maxUlps), say(worst?.budget ?? 0), say(worst?.ratio ?? 0)];
    return [report.name, verdict(status), ...numbers, remark(report)];
  });
  const align = headers.map((_, n) => (n < 2 || n === headers.length - 1 ? 'left' as const : 'right' as const));
  const lines = [`${pass ? green('PASS') : red('FAIL')} ${bold(name)} as ${dtype}: ${why}`, table(headers, rows, { align })];
  const skipped = tensors.filter(({ status }) => status === 'skipped').map(({ name }) => name);
  if (skipped.length > 0) lines.push(dim(`not asked for: ${skipped.join(', ')}`));
  if (divergence) lines.push(`first divergence: ${place(divergence)}`);
  if (diagnosis) lines.push(`${diagnosis.cause}: ${diagnosis.words}`);
  if (diagnosis) lines.push(...placesOf(report));
  // The diagnosis knows the pairs, which says more than where errors may come from.
  const pairs = diagnosis?.pairs && diagnosis.pairs.cells.length > 1 ? [diagnosis.pairs] : [];
  for (const each of [...maps.filter(({ shows }) => shows !== 'shares' || pairs.length === 0), ...pairs]) lines.push(dim(mapText(each)));
  return `${lines.join('\n')}\n\n`;
}

/** Where the first failing output fails, and which others do. */
export function placesOf({ tensors, divergence, diagnosis }: CaseReport): readonly string[] {
  if (!divergence || !diagnosis) return [];
  const where = diagnosis.where?.length ? `${diagnosis.where.join(', ')}: ` : '';
  const other = tensors.filter(({ name, status }) => status === 'fail' && name !== divergence.tensor).map(({ name }) => name);
  const right = tensors.filter(({ status }) => status === 'pass').map(({ name }) => name);
  const also = other.length > 0 ? `; so do${other.length > 1 ? '' : 'es'} ${other.join(', ')}` : '';
  return [
    `${divergence.tensor} fails ${where}${diagnosis.spread ?? ''}${also}${right.length > 0 ? `; ${right.join(', ')} ${right.length > 1 ? 'are' : 'is'} right` : ''}`,
  ];
}

/** A case without a file. */
export function printMissing(name: string, folder: string): string {
  const { red, bold } = colours(process.stdout);
  return `${red('MISSING')} ${bold(name)}: no ${name}.safetensors or .npz in ${folder}\n\n`;
}

/** A case whose file cannot be judged. */
export function printBroken(name: string, why: string): string {
  const { red, bold } = colours(process.stdout);
  return `${red('FAIL')} ${bold(name)}: ${why}\n\n`;
}

/** All cases without a file, on one line. */
export function printAllMissing(names: readonly string[], folder: string): string {
  if (names.length === 0) return '';
  const [shown, more] = [names.slice(0, 3).join(', '), names.length - 3];
  return `${colours(process.stdout).red('MISSING')} in ${folder}: ${shown}${more > 0 ? ` and ${more} more` : ''}\n`;
}

/** The passing cases, one row per output: how many cases judged it, and which came nearest to its budget. */
export function printPassing(reports: readonly CaseReport[]): string {
  if (reports.length === 0) return '';
  const rows = OUTPUT_ORDER.flatMap((name) => {
    const judged = reports.flatMap(({ case: of, tensors }) => tensors.filter((each) => {
      return each.name === name && each.status === 'pass';
    }).map((each) => ({ of, ratio: each.worst?.ratio ?? 0 })));
    if (judged.length === 0) return [];
    const { ratio, of } = judged.reduce((a, b) => (b.ratio > a.ratio ? b : a));
    return [[name, String(judged.length), ratio === 0 ? 'exact' : say(ratio), ratio === 0 ? '' : of]];
  });
  const claims = [...new Set(reports.map(({ dtype }) => dtype))].join(', ');
  const headers = [`passing as ${claims}`, 'cases', 'worst error/budget', 'in case'];
  return `${table(headers, rows, { align: ['left', 'right', 'right', 'left'] })}\n`;
}

/** Where all failing cases fail, and which parameters they share. */
export function printCommon(judged: readonly Judged[]): string {
  const lines = judged.filter(({ report }) => !report.pass).length < 2 ? [] : commonWords(judged);
  return lines.length === 0 ? '' : `In common:\n${lines.map((line) => `  ${line}`).join('\n')}\n`;
}

/** The verdicts that count, each with its evidence. One that explains far fewer cases than another is a coincidence. */
export function likeliestWords(
  verdicts: readonly Verdict[], failed: number,
): readonly (readonly [words: string, evidence: string])[] {
  const [first, ...others] = verdicts;
  if (!first) return [];
  const said = ({ name, detail }: Verdict): string =>
    `${DIAGNOSES[name as DiagnosisName]}${detail === undefined ? '' : ` (${detail})`}`;
  const shown = (most: number): Verdict[] => others.filter(({ cases }) => 2 * cases >= most).slice(0, 2);
  if (first.name !== 'unknown') {
    return [first, ...shown(first.cases)].map((each) => [said(each), `explains ${each.cases} of ${failed} failing cases`]);
  }
  return [
    [said(first), 'no name explains half of the failing cases, and where they fail says more'],
    ...shown(others[0]?.cases ?? 0).map((each) => [`also like ${said(each)}`, `in ${each.cases} of ${failed} failing cases`] as const),
  ];
}

/** What most failing cases have in common. A mistake shows in many cases, a coincidence in few. */
export function printLikeliest(verdicts: readonly Verdict[], failed: number): string {
  if (failed < 2 || verdicts.length === 0) return '';
  const { bold } = colours(process.stdout);
  const lines = likeliestWords(verdicts, failed).map(([words, evidence], n) => `  ${n === 0 ? bold(words) : words}: ${evidence}`);
  return `Most likely:\n${lines.join('\n')}\n`;
}

function remark({ status, note, compared, failed, nan, first }: TensorReport): string {
  const parts = note ? [note] : [];
  if (nan > 0) parts.push(`${nan} NaN`);
  if (status === 'fail') parts.push(`${failed} of ${compared}, first at ${first}`);
  return parts.join('; ');
}

function place({ tensor, index, expected, actual, ...rest }: Divergence): string {
  const names = [
    ['batch', 'batch'], ['head', 'query head'], ['kvHead', 'KV head'], ['step', 'step'], ['query', 'query'], ['key', 'key'],
  ] as const;
  const where = names.flatMap(([key, word]) => (rest[key] === undefined ? [] : [`${word} ${rest[key]}`]));
  return `${tensor}[${index}] (${where.join(', ')}) is ${actual} and must be ${expected}`;
}

/** Where the budgets of these reports come from, said once for all of them. */
export function legend(reports: readonly CaseReport[]): string {
  const asked = reports.flatMap(({ tensors }) => tensors.filter(({ status }) => status !== 'skipped'));
  const origins = new Map(asked.map(({ name, budget }) => [name, budget ?? ''] as const));
  const claims = [...new Set(reports.map(({ dtype }) => dtype))];
  const power = (x: number): string => `2^${Math.round(Math.log2(x))}`;
  const units = claims.map((dtype) => `${dtype}: ${power(roundoffs(dtype).u)} an operation, ${power(roundoffs(dtype).s)} stored`);
  const rows = [...origins].map(([name, origin]) => [name, origin]);
  const lines = [`Where budgets come from (${units.join('; ')}; and the rounding of each value as stored):`];
  if (rows.length > 0) lines.push(table(['tensor', 'bound'], rows, { align: ['left', 'left'] }), '');
  return rows.length > 0 ? `${lines.join('\n')}\n` : '';
}
