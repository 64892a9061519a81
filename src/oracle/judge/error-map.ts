/**
 * A map of the errors of one output by tiles: of queries and keys where the output has both, or where lifetimes say
 * which pairs are wrong; else of rows, against heads.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { failingOf } from './compare.ts';
import { AXES } from './outputs.ts';
import type { ErrorMap, OracleCase, OutputName, TensorReport, Tensors } from '../types.ts';

/** The most tiles along one side. */
const MOST = 32;
const tileOf = (N: number): number => Math.max(16, 2 ** Math.ceil(Math.log2(N / MOST)));

/**
 * Tiles of queries and keys of one head: 9 where a pair is wrong, 0 where some pair is visible and none wrong, else -1.
 */
export function pairMap(
  N: number, right: (i: number, j: number) => boolean, made: (i: number, j: number) => boolean,
): ErrorMap {
  const tile = tileOf(N);
  const cells = emptyCells(Math.ceil(N / tile));
  for (let i = 0; i < N; i++) {
    const row = cells[Math.floor(i / tile)];
    for (let j = 0; j < N; j++) {
      const seen = right(i, j);
      const level = made(i, j) !== seen ? 9 : seen ? 0 : -1;
      const at = Math.floor(j / tile);
      if (level > row[at]) row[at] = level;
    }
  }
  return { tensor: 'mask', tile, down: 'queries', across: 'keys', cells };
}

const emptyCells = (tiles: number): number[][] =>
  Array.from({ length: tiles }, () => new Array<number>(tiles).fill(-1));

/** The map of the first output that fails. */
export function errorMap(
  oracleCase: OracleCase, outputs: Tensors, reports: readonly TensorReport[],
): ErrorMap | undefined {
  const report = reports.find(({ status }) => status === 'fail');
  const failing = report && failingOf(report);
  if (!report || !failing) return undefined;
  const name = report.name as OutputName;
  const { tokens: N, batch: B, kvHeads: G } = oracleCase.parameters;
  const tile = tileOf(N);
  const last = (oracleCase.expected.last as IntegerTensor).data;
  if (name === 'mask' || name === 'last') {
    const cells = emptyCells(Math.ceil(N / tile));
    const made = name === 'last' ? outputs.last.data : undefined;
    for (let head = 0; head < B * G; head++) {
      for (let i = 0; i < N; i++) {
        for (let j = 0; j < N; j++) {
          const right = j <= i && i <= last[head * N + j];
          const wrong = made ? j <= i && (i <= made[head * N + j]) !== right : failing[(head * N + i) * N + j] > 0;
          const row = cells[Math.floor(i / tile)];
          const at = Math.floor(j / tile);
          row[at] = Math.max(row[at], wrong ? 9 : right ? 0 : -1);
        }
      }
    }
    return { tensor: name, tile, down: 'queries', across: 'keys', cells };
  }
  const axes = AXES[name];
  const { shape } = oracleCase.expected[name];
  const rowAxis = axes.findIndex((axis) => axis === 'query' || axis === 'key');
  if (rowAxis < 0) return undefined;
  const rows = shape[rowAxis];
  const size = Math.max(rows === N ? tile : Math.ceil(rows / MOST), 1);
  const width = shape.slice(rowAxis + 1).reduce((a, b) => a * b, 1);
  const heads = shape.slice(0, rowAxis).reduce((a, b) => a * b, 1);
  const cells = Array.from({ length: Math.ceil(rows / size) }, () => new Array<number>(heads).fill(0));
  failing.forEach((level, n) => {
    const at = Math.floor(n / width);
    const row = cells[Math.floor((at % rows) / size)];
    const head = Math.floor(at / rows);
    row[head] = Math.max(row[head], level);
  });
  const down = axes[rowAxis] === 'query' ? 'queries' : rows === N ? 'keys' : 'chunks';
  const across = axes.includes('step') ? 'steps and KV heads' : axes.includes('head') ? 'query heads' : 'KV heads';
  return { tensor: name, tile: size, down, across: B > 1 ? `${across} of each sequence` : across, cells };
}

/** The map in letters. */
export function mapText({ tensor, tile, down, across, cells }: ErrorMap): string {
  const letters = cells.map((row) => row.map((level) => (level < 0 ? ' ' : level === 0 ? '.' : level > 9 ? 'N' : String(level))).join(''));
  const last = (cells.length - 1) * tile;
  const rows = (line: string, n: number): string => `${String(n * tile).padStart(String(last).length + 2)} |${line}|`;
  if (across === 'keys') {
    const title = `by tiles of ${tile} queries (down) and ${tile} keys (across): # holds wrong pairs, . none, blanks are hidden`;
    return [`the mask ${title}`, ...letters.map((line, n) => rows(line.replace(/\d/g, '#'), n))].join('\n');
  }
  return [
    `${tensor} by tiles of ${tile} ${down} (down) and ${across} (across): . passes, 1 to 9 is an error of up to 10^n budgets, N is NaN`,
    ...letters.map(rows),
  ].join('\n');
}
