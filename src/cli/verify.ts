/**
 * `natsearch verify`: checks the outputs of kernels written elsewhere against the vectors.
 * @module
 */
import { type Command, Option } from 'commander';
import { isNamedError, StoppedError, ValueError } from '../core/errors.ts';
import { diagnose } from '../oracle/diagnose/diagnose.ts';
import { claimOf, outputNames } from '../oracle/judge/outputs.ts';
import type { CaseEntry } from '../oracle/cases/manifest.ts';
import type { CaseReport, ClaimedDtype, Products } from '../oracle/types.ts';
import { verdictsOf } from '../oracle/judge/verdict.ts';
import { commonOf } from '../oracle/judge/common.ts';
import { errorMaps } from '../oracle/judge/error-map.ts';
import { pairCount, verifyCase } from '../oracle/judge/verify.ts';
import { writeFilesAtomic } from '../files/files.ts';
import { oneLine, UsageError } from './errors.ts';
import { createProgress } from './terminal.ts';
import { findOutputs, readOutputs } from './verify-paths.ts';
import { type PageCase, pageOf } from './verify-html.ts';
import { inOrder } from './verify-layout.ts';
import { BudgetPool } from './verify-pool.ts';
import { matching } from './patterns.ts';
import {
  legend, likeliestWords, printAllMissing, printBroken, printCase, printCommon, printLikeliest, printMissing,
  printPassing,
} from './verify-text.ts';

interface Flags {
  vectors?: string;
  dtype?: ClaimedDtype;
  tensors?: string;
  all: boolean;
  quiet: boolean;
  json: boolean;
  only?: string;
  layout: 'bhnd' | 'bnhd';
  html?: string;
  products?: Products;
}

/** What --json prints per case. */
type Verdict = CaseReport
  | { readonly case: string; readonly pass: false; readonly missing: true }
  | { readonly case: string; readonly pass: false; readonly error: string };

/** Adds the command. */
export function registerVerify(program: Command): void {
  program.command('verify')
    .description('check the outputs of a kernel written elsewhere against the vectors')
    .argument('<path>', 'folder of outputs, named <case>.safetensors, <case>.npz or <case>/<tensor>.npy, or one such file')
    .option('--vectors <dir>', 'folder of the vectors (default: the path, or the folder above it)')
    .addOption(new Option('--dtype <name>', 'arithmetic claimed (default: that of `out` if f16 or bf16, else f32)')
      .choices(['f32', 'f16', 'bf16', 'f64']))
    .addOption(new Option('--products <name>', 'what P and dS are rounded to before products, if coarser than that')
      .choices(['tf32', 'e4m3', 'e5m2']))
    .option('--tensors <list>', 'outputs to check, by name or group: search, life, forward, backward, types, cache')
    .option('--only <patterns>', 'cases to judge, such as tile-*,head-64')
    .addOption(new Option('--layout <name>', 'order of the axes of out, lse and the gradients').choices(['bhnd', 'bnhd']).default('bhnd'))
    .option('--html <file>', 'write a page with a picture of the errors of every failing case')
    .option('--all', 'show every case in full, passing ones too, and where budgets come from', false)
    .option('--quiet', 'show only failing cases and the verdict', false)
    .option('--json', 'print one JSON document instead', false)
    .addHelpText('after', `
A file that cannot be read fails its case; the others are still judged.
Exit codes: 0 every case passes, 1 something is wrong, 2 there was nothing to judge.`)
    .action((path: string, flags: Flags) => run(path, flags).catch((error: unknown) => {
      if (!isNamedError(error) || error instanceof StoppedError) throw error;
      // Exit code 1 would say that a kernel failed, but there was nothing to judge.
      process.stderr.write(`natsearch: ${oneLine(error.message)}\n`);
      process.exitCode = 2;
    }));
}

async function run(path: string, flags: Flags): Promise<void> {
  const { vectors: home, dtype, tensors: list, all, quiet, json, only, layout, html, products } = flags;
  if (all && quiet) throw new UsageError('--all shows more and --quiet less: pass one of them');
  const tensors = list?.split(',').map((name) => name.trim());
  const asked = tensors && outputNames(tensors);
  const { vectors, files, refused, strays, folder } = await findOutputs(path, home);
  for (const stray of strays) process.stderr.write(`natsearch: ${stray}; it is left out\n`);
  const chosen = only === undefined ? () => true : matching(only, vectors.manifest.cases.map(({ name }) => name));
  const cases = vectors.manifest.cases.filter(({ name, expected }) => (folder !== undefined || files.has(name)) &&
    chosen(name) && (!asked || asked.some((each) => expected[each])));
  if (cases.length === 0) throw new ValueError(`no case has any of ${list}: there is nothing to verify`);
  if (files.size === 0) throw new ValueError(`${folder} has no .safetensors or .npz: write <case>.safetensors there`);
  const total = cases.reduce((sum, { name, parameters }) => sum + (files.has(name) ? pairCount(parameters) : 0), 0);
  const progress = createProgress({ label: 'verify', total });
  const pool = new BudgetPool();
  const verdicts: Verdict[] = [];
  const pages: PageCase[] = [];
  let done = 0;
  const judge = async (entry: CaseEntry, file: string): Promise<Verdict> => {
    try {
      const refusal = refused.get(entry.name);
      if (refusal !== undefined) throw new ValueError(refusal);
      const oracleCase = await vectors.read(entry);
      const outputs = inOrder(await readOutputs(file), layout, oracleCase);
      const claim = dtype ?? claimOf(outputs);
      const onPairs = (pairs: number): void => progress.update(done += pairs, entry.name);
      const budgets = await pool.compute(oracleCase, claim, onPairs, products);
      const report = verifyCase(oracleCase, outputs, {
        dtype: claim, budgets, truths: vectors.manifest.dtype, diagnose,
        ...(tensors && { tensors }), ...(products && { products }),
      });
      const { parameters, why } = entry;
      pages.push({ report, parameters, why, maps: errorMaps(oracleCase, outputs, report.tensors) });
      return report;
    } catch (error) {
      // A file that cannot be judged fails its case, unless it was named itself: then the usage was wrong.
      const ofFile = isNamedError(error) || (error instanceof Error && 'code' in error);
      if (!ofFile || (folder === undefined && error instanceof ValueError)) throw error;
      return { case: entry.name, pass: false, error: oneLine(error.message) };
    }
  };
  try {
    for (const entry of cases) {
      const file = files.get(entry.name);
      const verdict = file ? await judge(entry, file) : { case: entry.name, pass: false, missing: true } as const;
      verdicts.push(verdict);
      if (json || (!all && (verdict.pass || 'missing' in verdict))) continue;
      progress.finish();
      process.stdout.write('missing' in verdict ? printMissing(entry.name, folder!)
        : 'error' in verdict ? printBroken(entry.name, verdict.error) : printCase(verdict, entry.why, pages.at(-1)?.maps));
    }
  } finally {
    progress.finish();
    await pool.close();
  }
  if (html !== undefined) {
    const reports = pages.map(({ report }) => report);
    const likeliest = likeliestWords(verdictsOf(reports), reports.filter(({ pass }) => !pass).length).map((each) => each.join(': '));
    await writeFilesAtomic([[html, pageOf(pages, likeliest)]]);
  }
  process.stdout.write(json ? jsonOf(verdicts, pages) : summary(verdicts, { all, quiet, folder, pages }));
  if (verdicts.some(({ pass }) => !pass)) process.exitCode = 1;
}

/** How many cases passed, failed, and had no file. */
function countsOf(verdicts: readonly Verdict[]): { cases: number; passed: number; failed: number; missing: number } {
  const passed = verdicts.filter(({ pass }) => pass).length;
  const missing = verdicts.filter((verdict) => 'missing' in verdict).length;
  return { cases: verdicts.length, passed, failed: verdicts.length - passed - missing, missing };
}

const isReport = (verdict: Verdict): verdict is CaseReport => 'tensors' in verdict;

/** What is printed, and of what. */
interface Shown {
  readonly all: boolean;
  readonly quiet: boolean;
  readonly folder: string | undefined;
  readonly pages: readonly PageCase[];
}

/** What to print after the cases: what they have in common, and as the last line, the verdict. */
function summary(
  verdicts: readonly Verdict[], { all, quiet, folder, pages }: Shown,
): string {
  const { cases, passed, failed, missing } = countsOf(verdicts);
  const reports = verdicts.filter(isReport);
  const parts = [`${passed} pass`, `${failed} fail`, `${missing} missing`];
  const verdict = `${cases} cases: ${parts.slice(0, missing > 0 ? 3 : 2).join(', ')}`;
  if (all) return `${legend(reports)}${printLikeliest(verdictsOf(reports), failed)}${printCommon(pages)}${verdict}\n`;
  const without = printAllMissing(verdicts.filter((each) => 'missing' in each).map((each) => each.case), folder ?? '');
  if (quiet) return `${without}${verdict}\n`;
  const failing = reports.filter(({ pass }) => !pass);
  return [
    printPassing(reports.filter(({ pass }) => pass)), without,
    failing.length > 0 ? legend(failing) : '', printLikeliest(verdictsOf(reports), failed), printCommon(pages),
    `${verdict}${passed > 0 ? ' (--all shows each case in full)' : ''}\n`,
  ].join('');
}

function jsonOf(verdicts: readonly Verdict[], pages: readonly PageCase[]): string {
  const { cases, passed, failed, missing } = countsOf(verdicts);
  const likeliest = verdictsOf(verdicts.filter(isReport));
  const totals = { pass: passed === cases, cases, passed, failed, missing, likeliest, common: commonOf(pages) };
  return `${JSON.stringify({ ...totals, reports: verdicts }, plain)}\n`;
}

/** Turns infinities and NaN, which JSON lacks, into strings. */
function plain(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
