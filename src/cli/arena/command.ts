/**
 * `natsearch arena`: learned types against every eviction policy at equal memory, on texts and questions.
 * @module
 */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CacheDtype } from '../../core/cache.ts';
import { matchingKinds } from '../../evaluate/match.ts';
import { writeFilesAtomic } from '../../files/files.ts';
import type { ConfigOverrides } from '../../model/config/config-overrides.ts';
import { readAdapter } from '../../model/folder/adapter.ts';
import { UsageError } from '../errors.ts';
import { openEngine } from '../open.ts';
import {
  bosOption, cacheOption, configOverridesOption, engineOption, type EngineFlags, gpuOption, share, threadsOption, whole,
} from '../options.ts';
import { forceOption, openOut } from '../out.ts';
import { checkAdapterFolder, checkModelFolder, packageRoot } from '../paths.ts';
import { interruptSignal } from '../terminal.ts';
import { TEXT_HELP } from '../text-files.ts';
import { standings, standingsText } from './report.ts';
import { ARENA_FOLDER, PAGE_FILE, REPORT_FILE, Results } from './results.ts';
import { Arena } from './run.ts';
import { findSubjects } from './subjects.ts';

interface Flags extends EngineFlags {
  model: string;
  adapter: string[];
  configOverrides?: ConfigOverrides;
  text: string[];
  questions: string[];
  budgets: number[];
  kinds?: string[];
  match: boolean;
  contexts: number;
  context?: number;
  maxDocuments: number;
  step: number;
  cache?: CacheDtype;
  bos: boolean;
  out: string;
  force: boolean;
  json: boolean;
}

/** Shares, separated by commas. */
const shares = (text: string): number[] => [...new Set(text.split(',').map((each) => share(each.trim())))];

/** Adds one kind of policy to those that commander has parsed before. */
function kind(text: string, previous: readonly string[] = []): string[] {
  const all: readonly string[] = matchingKinds();
  if (!all.includes(text)) throw new InvalidArgumentError(`It must be ${all.slice(0, -1).join(', ')} or ${all.at(-1)}.`);
  return [...previous.filter((one) => one !== text), text];
}

/** Adds the command. */
export function registerArena(program: Command): void {
  program.command('arena')
    .description('compare learned types with every eviction policy at equal memory, on texts and questions')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir...>', 'token types that natsearch finetune learned for it', [])
    .addOption(configOverridesOption())
    .option('--text <path...>', `${TEXT_HELP.replace(/, or - for stdin$/, '')}; each path is a text of its own`, [])
    .option('--questions <file...>', 'questions.jsonl of natsearch recall write', [])
    .requiredOption('--out <dir>', 'folder for the results, the report and the page; an interrupted arena goes on there')
    .option('--budgets <shares>', 'shares of the cache that the policies hold, separated by commas', shares, [0.05, 0.1, 0.25])
    .addOption(new Option('--kinds <kind...>', `only these policies (default: ${matchingKinds().join(', ')})`).argParser(kind))
    .option('--match', 'also policies that keep exactly as much as the learned types: mean, end, and both', false)
    .option('--context <n>', 'tokens after which a new cache begins (default: as trained)', whole(1))
    .option('--contexts <n>', 'contexts of each text', whole(1), 64)
    .option('--max-documents <n>', 'questions of each file', whole(1), 200)
    .option('--step <n>', 'tokens fed at once; affects speed, never results', whole(1), 64)
    .addOption(cacheOption())
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .addOption(forceOption())
    .option('--json', 'print the report as one JSON document instead of tables', false)
    .action(run);
}

/** Refuses an adapter whose base was read otherwise than the base is here, with which all policies are measured. */
async function checkOverrides(folder: string, given: ConfigOverrides = {}): Promise<void> {
  checkAdapterFolder(folder);
  const { configOverrides: own } = await readAdapter(folder);
  if (!own || JSON.stringify(own) === JSON.stringify(given)) return;
  throw new UsageError(`the base of ${folder} was read with config overrides: give --config-overrides '${JSON.stringify(own)}', so that all policies read it like that`);
}

async function run(flags: Flags): Promise<void> {
  if (flags.text.length + flags.questions.length === 0) {
    throw new UsageError('there is nothing to compare on: pass --text or --questions');
  }
  checkModelFolder(flags.model);
  for (const adapter of flags.adapter) await checkOverrides(adapter, flags.configOverrides);
  const subjects = await findSubjects(flags.text, flags.questions);
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const close = await openOut(flags.out, ARENA_FOLDER, flags.force);
  const interrupt = interruptSignal();
  try {
    const engine = await openEngine(flags);
    const results = await Results.open(flags.out);
    const arena = new Arena({
      ...flags, adapters: flags.adapter, subjects, version,
    }, engine, results, interrupt.signal);
    try {
      const { rows, absent, context, measured } = await arena.run();
      const all = standings(subjects, rows);
      const about = {
        model: flags.model, adapters: flags.adapter, context, contexts: flags.contexts,
        maxDocuments: flags.maxDocuments, budgets: flags.budgets, engine: engine.name, machine: cpus()[0]?.model ?? 'unknown', node: process.version, version,
        command: `natsearch ${process.argv.slice(2).map(quoted).join(' ')}`,
      };
      const report = { ...about, standings: all, absent };
      const notes = absent.map(({ policy, reason }) => `not measured: ${policy}: ${reason}\n`).join('');
      const text = `${standingsText(all)}${notes === '' ? '' : `\n${notes}`}`;
      const { arenaPage } = await import('./page.ts');
      const page = arenaPage(all, {
        title: `Arena: ${basename(flags.model)}`, command: about.command, tables: text,
        facts: [
          ['model', flags.model], ['learned types', flags.adapter.join(', ') || 'its own, if any'],
          ['engine', about.engine], ['machine', `${about.machine}, Node ${about.node}`], ['version', version],
        ],
      });
      await writeFilesAtomic([
        [join(flags.out, REPORT_FILE), `${JSON.stringify(report, null, 1)}\n`], [join(flags.out, PAGE_FILE), page],
      ]);
      process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : text);
      const reused = rows.length - measured;
      const counts = `${measured} measured, ${reused} known from before`;
      process.stderr.write(`${counts}; ${join(flags.out, PAGE_FILE)} has the plots\n`);
    } finally {
      arena.dispose();
      engine.dispose();
    }
  } finally {
    interrupt.dispose();
    close();
  }
}

const quoted = (text: string): string => (/^[\w./:=,+-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`);
