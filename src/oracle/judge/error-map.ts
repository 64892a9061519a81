/**
 * A map of the errors of one output by tiles: of queries and keys where the output has both, or where lifetimes say
 * which pairs are wrong; else of rows, against heads.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { failingOf } from './compare.ts';
import { AXES } from './outputs.ts';
import { worstMaps } from './worst-maps.ts';
import type { ErrorMap, OracleCase, OutputName, TensorReport, Tensors } from '../types.ts';

/** The most tiles along one side. */
const MOST = 32;
/** The size of tiles of N queries or keys. */
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
  return { tensor: 'mask', shows: 'pairs', tile, tileAcross: tile, down: 'queries', across: 'keys', cells };
}

/** Cells of a map in which nothing is visible yet. */
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
    return { tensor: name, shows: 'pairs', tile, tileAcross: tile, down: 'queries', across: 'keys', cells };
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
  return { tensor: name, shows: 'errors', tile: size, down, across: B > 1 ? `${across} of each sequence` : across, cells };
}

/**
 * The maps of a failing case: of the first output that fails, by rows and heads, and of the worst, in its worst head,
 * by rows and channels and by queries and keys.
 */
export function errorMaps(
  oracleCase: OracleCase, outputs: Tensors, reports: readonly TensorReport[],
): readonly ErrorMap[] {
  const first = errorMap(oracleCase, outputs, reports);
  return [...first ? [first] : [], ...worstMaps(oracleCase, reports)]
    .filter(({ cells }) => cells.length * cells[0].length > 1);
}

/** What a map shows, in a sentence. */
export function captionOf({ tensor, shows, tile, tileAcross, down, across, of }: ErrorMap): string {
  const columns = tileAcross === undefined ? across : `${tileAcross} ${across}`;
  const place = `${of ? `${of}, ` : ''}by tiles of ${tile} ${down} (down) and ${columns} (across)`;
  const levels = '. passes, 1 to 9 is an error of up to 10^n budgets, N is NaN';
  if (shows === 'pairs') return `the mask ${place}: # holds wrong pairs, . none, blanks are hidden`;
  if (shows === 'errors') return `${tensor} ${place}: ${levels}`;
  return `where the errors of ${tensor} may come from, ${place}: each is shared among its pairs by their true probabilities; ${levels}, blanks are hidden`;
}

/** The map in letters. */
export function mapText(map: ErrorMap): string {
  const { shows, tile, cells } = map;
  const letter = (level: number): string =>
    (level < 0 ? ' ' : level === 0 ? '.' : shows === 'pairs' ? '#' : level > 9 ? 'N' : String(level));
  const last = (cells.length - 1) * tile;
  const rows = cells.map((row, n) => `${String(n * tile).padStart(String(last).length + 2)} |${row.map(letter).join('')}|`);
  return [captionOf(map), ...rows].join('\n');
}
