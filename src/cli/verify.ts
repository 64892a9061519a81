/**
 * `natsearch verify`: outputs of kernels written elsewhere against the vectors.
 * @module
 */
import { type Command, Option } from 'commander';
import { isNamedError, StoppedError, ValueError } from '../errors.ts';
import { diagnose } from '../oracle/diagnose.ts';
import { claimOf, outputNames } from '../oracle/outputs.ts';
import type { CaseReport, ClaimedDtype } from '../oracle/types.ts';
import { verdictsOf } from '../oracle/verdict.ts';
import { pairCount, verifyCase } from '../oracle/verify.ts';
import { oneLine } from './errors.ts';
import { createProgress } from './terminal.ts';
import { findOutputs, readOutputs } from './verify-paths.ts';
import { BudgetPool } from './verify-pool.ts';
import { legend, printCase, printLikeliest, printMissing } from './verify-text.ts';

interface Flags {
  vectors?: string;
  dtype?: ClaimedDtype;
  tensors?: string;
  json: boolean;
}

/** What --json prints per case. */
type Verdict = CaseReport | { readonly case: string; readonly pass: false; readonly missing: true };

/** Adds the command. */
export function registerVerify(program: Command): void {
  program.command('verify')
    .description('check what a kernel written elsewhere makes of the vectors')
    .argument('<path>', 'folder of outputs, <case>.safetensors or .npz each, or one such file')
    .option('--vectors <dir>', 'the vectors (default: at the path, or above it)')
    .addOption(new Option('--dtype <name>', 'arithmetic claimed (default: of `out`, if f16 or bf16; else f32)')
      .choices(['f32', 'f16', 'bf16', 'f64']))
    .option('--tensors <list>', 'outputs to check, by name or group: search, life, forward, backward, types, cache')
    .option('--json', 'print one JSON document instead', false)
    .action((path: string, flags: Flags) => run(path, flags).catch((error: unknown) => {
      if (!isNamedError(error) || error instanceof StoppedError) throw error;
      // Exit code 1 says that a kernel failed; this, that there was nothing to judge.
      process.stderr.write(`natsearch: ${oneLine(error.message)}\n`);
      process.exitCode = 2;
    }));
}

async function run(path: string, { vectors: home, dtype, tensors: list, json }: Flags): Promise<void> {
  const tensors = list?.split(',').map((name) => name.trim());
  const asked = tensors && outputNames(tensors);
  const { vectors, files, folder } = await findOutputs(path, home);
  const cases = vectors.manifest.cases.filter(({ name, expected }) => (folder !== undefined || files.has(name)) &&
    (!asked || asked.some((each) => expected[each])));
  if (cases.length === 0) throw new ValueError(`no case has any of ${list}: there is nothing to verify`);
  if (files.size === 0) throw new ValueError(`${folder} has no .safetensors or .npz: write <case>.safetensors there`);
  const total = cases.reduce((sum, { name, parameters }) => sum + (files.has(name) ? pairCount(parameters) : 0), 0);
  const progress = createProgress({ label: 'verify', total });
  const pool = new BudgetPool();
  const verdicts: Verdict[] = [];
  let done = 0;
  const print = (text: string): void => {
    if (json) return;
    progress.finish();
    process.stdout.write(text);
  };
  try {
    for (const entry of cases) {
      const file = files.get(entry.name);
      if (!file) {
        verdicts.push({ case: entry.name, pass: false, missing: true });
        print(printMissing(entry.name, folder!));
        continue;
      }
      const outputs = await readOutputs(file);
      const oracleCase = await vectors.read(entry);
      const claim = dtype ?? claimOf(outputs);
      const budgets = await pool.compute(oracleCase, claim, (pairs) => progress.update(done += pairs, entry.name));
      const report = verifyCase(oracleCase, outputs, {
        dtype: claim, budgets, truths: vectors.manifest.dtype, diagnose, ...(tensors && { tensors }),
      });
      verdicts.push(report);
      print(printCase(report, entry.why));
    }
  } finally {
    progress.finish();
    await pool.close();
  }
  const failed = verdicts.filter(({ pass }) => !pass).length;
  const missing = verdicts.filter((verdict) => 'missing' in verdict).length;
  const reports = verdicts.filter((verdict): verdict is CaseReport => !('missing' in verdict));
  const likeliest = verdictsOf(reports);
  if (json) {
    const totals = { cases: verdicts.length, passed: verdicts.length - failed, failed: failed - missing, missing };
    process.stdout.write(`${JSON.stringify({ pass: failed === 0, ...totals, likeliest, reports: verdicts }, plain)}\n`);
  } else {
    process.stdout.write(legend(reports));
    process.stdout.write(printLikeliest(likeliest, failed - missing));
    const parts = [`${verdicts.length - failed} pass`, `${failed - missing} fail`, `${missing} missing`];
    process.stdout.write(`${verdicts.length} cases: ${parts.slice(0, missing > 0 ? 3 : 2).join(', ')}\n`);
  }
  if (failed > 0) process.exitCode = 1;
}

/** JSON has no infinities and no NaN: they become strings. */
function plain(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
