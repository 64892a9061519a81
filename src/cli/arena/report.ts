/**
 * What an arena found: every entrant beside full attention, with paired errors, as data and as tables.
 * @module
 */
import { basename } from 'node:path';
import { perplexityDifference } from '../../evaluate/difference.ts';
import { recallDifference } from '../../evaluate/recall/difference.ts';
import { SAME } from '../policies.ts';
import { formatBytes, formatShare, table } from '../terminal.ts';
import type { Row } from './run.ts';
import type { Result } from './results.ts';
import type { Subject } from './subjects.ts';

/** One entrant on one subject. */
export interface Standing extends Omit<Row, 'result'> {
  readonly policy: string;
  /** The folder whose types or scores were used. */
  readonly learner: string | null;
  /** Perplexity, or the share of right answers. */
  readonly value: number;
  /** Perplexity relative to that with full attention, in per cent, or right answers in percentage points. */
  readonly difference: number;
  /** The standard error of the difference, paired over contexts or questions. Null for a single one. */
  readonly standardError: number | null;
  /** Entries held over those of a full cache, in the mean over time and at the end. */
  readonly meanLiveShare: number;
  readonly endLiveShare: number;
  /** Resident bytes at the end of the longest context of a text. */
  readonly residentBytes?: number;
}

/** All entrants on one subject. The first is full attention. */
export interface Standings {
  readonly subject: string;
  readonly kind: Subject['kind'];
  /** How many contexts or questions. */
  readonly count: number;
  /** Whether full attention answers so little that the questions say nothing about caches. */
  readonly saysNothing: boolean;
  readonly rows: readonly Standing[];
}

/** The accuracy of full attention from which questions say something about caches. */
const TELLING = 0.8;

/** Compares all rows with full attention on the same subject. */
export function standings(subjects: readonly Subject[], rows: readonly Row[]): Standings[] {
  return subjects.map(({ name, kind }) => {
    const own = rows.filter(({ result }) => result.subject === name);
    const full = own.find(({ result }) => result.policy === 'full')!.result;
    return {
      subject: name, kind,
      count: full.kind === 'text' ? full.measured.contexts.length : full.measured.documents,
      saysNothing: full.kind === 'questions' && full.measured.accuracy < TELLING,
      rows: own.map((row) => standing(row, full)),
    };
  });
}

function standing({ result, ...how }: Row, full: Result): Standing {
  const { policy, learner } = result;
  if (result.kind === 'text' && full.kind === 'text') {
    const { perplexity: value, contexts, meanLiveShare, endLiveShare, residentBytes } = result.measured;
    const { percent, standardError } = perplexityDifference(contexts, full.measured.contexts);
    return {
      policy, learner, ...how, value, difference: percent, standardError, meanLiveShare, endLiveShare, residentBytes,
    };
  }
  if (result.kind === 'questions' && full.kind === 'questions') {
    const { accuracy: value, right, meanLiveShare, residentShare: endLiveShare } = result.measured;
    const { points, standardError } = recallDifference(right, full.measured.right);
    return { policy, learner, ...how, value, difference: points, standardError, meanLiveShare, endLiveShare };
  }
  throw new Error('a result is of another kind than that of full attention');
}

const signed = (x: number, digits: number): string => `${x < 0 ? '-' : '+'}${Math.abs(x).toFixed(digits)}`;

/** A policy, and whose types or scores it used. */
export const nameOf = ({ policy, learner }: Pick<Standing, 'policy' | 'learner'>): string =>
  (learner === null ? policy : `${policy} (${basename(learner)})`);

/** Why an entrant took part. */
const reasonOf = ({ budget, match }: Standing): string =>
  (budget !== undefined ? formatShare(budget) : match !== undefined ? `same ${SAME[match]}` : '');

/** One table per subject. */
export function standingsText(all: readonly Standings[]): string {
  return all.map(({ subject, kind, count, saysNothing, rows }) => {
    const text = kind === 'text';
    const headers = ['policy', 'budget', text ? 'perplexity' : 'right', 'vs. full', 's.e.', 'live, mean', 'live, end'];
    const lines = rows.map((row) => [
      nameOf(row), reasonOf(row), text ? row.value.toFixed(3) : formatShare(row.value),
      row.policy === 'full' ? '' : text ? `${signed(row.difference, 2)}%` : signed(row.difference, 1),
      row.policy === 'full' || row.standardError === null ? '' : row.standardError.toFixed(text ? 2 : 1),
      formatShare(row.meanLiveShare), formatShare(row.endLiveShare),
      ...(row.residentBytes === undefined ? [] : [formatBytes(row.residentBytes)]),
    ]);
    const about = `${subject}: ${count} ${text ? 'contexts' : 'questions'}`;
    const warning = saysNothing
      ? '\nFull attention itself answers less than 80%, so these questions say nothing about caches.\n' : '';
    return `${about}\n\n${table([...headers, ...(text ? ['resident'] : [])], lines)}\n${warning}`;
  }).join('\n');
}
