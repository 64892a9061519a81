/**
 * `natsearch recall`: writes documents with pass keys in long filler, and asks a model about them.
 * @module
 */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import type { CpuChoice, GpuChoice } from '../engines.ts';
import { recallDifference } from '../evaluate/recall/difference.ts';
import { recallDocuments, recallText } from '../evaluate/recall/documents.ts';
import { measureRecall, type Recall } from '../evaluate/recall/measure.ts';
import { type RecallKind, recallKinds, TASKS } from '../evaluate/recall/tasks/index.ts';
import { writeFilesAtomic } from '../files/files.ts';
import type { ConfigOverrides } from '../model/config/config-overrides.ts';
import { formatPolicy, kindOf, parsePolicy } from '../policies/index.ts';
import { usage } from './errors.ts';
import { noteIfRepeated } from './notes.ts';
import { openEngine, openModel } from './open.ts';
import {
  bosOption, computeOption, configOverridesOption, engineOption, gpuOption, threadsOption, whole,
} from './options.ts';
import { forceOption, openOut } from './out.ts';
import { checkModelFolder } from './paths.ts';
import {
  absentText, addPolicyOptions, checkPolicyFlags, chosenPolicies, type Matched, policyCount, type PolicyFlags, SAME,
  withMatched,
} from './policies.ts';
import { QUESTIONS_FILE, readQuestions, RECALL_FOLDER, TEXT_FILE } from './recall-files.ts';
import { createProgress, formatCount, formatShare, interruptSignal, table } from './terminal.ts';
import { readPaged } from './text.ts';
import { TEXT_HELP } from './text-files.ts';

interface WriteFlags {
  out: string;
  kind: RecallKind;
  documents: number;
  tests: number;
  length: number;
  pairs: number;
  hops: number;
  templates?: number[];
  seed: number;
  filler?: string[];
  force: boolean;
  json: boolean;
}

interface TestFlags extends PolicyFlags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  bos: boolean;
  questions: string;
  maxDocuments?: number;
  step: number;
  engine?: CpuChoice;
  threads?: number;
  gpu?: GpuChoice;
  compute?: 'f32' | 'f16';
  json: boolean;
}

/** Adds the command and its two parts. */
export function registerRecall(program: Command): void {
  const recall = program.command('recall').description('measure what a model still knows of what it read long ago');
  recall.command('write')
    .description('write train.txt to train on, and questions.jsonl about other documents')
    .requiredOption('--out <dir>', 'folder')
    .addOption(new Option('--kind <name>', 'what is hidden, see below').choices(recallKinds).default('passkey'))
    .option('--documents <n>', 'documents to train on', whole(1), 10_000)
    .option('--tests <n>', 'questions', whole(1), 200)
    .option('--length <n>', 'characters of a document', whole(120), 480)
    .option('--pairs <n>', 'names in a document of pairs, multikey or common', whole(1), 4)
    .option('--hops <n>', 'times that a number of hops or tracking is passed on', whole(1), 2)
    .option('--templates <n...>', 'wordings of needle and multikey, 0 to 9 (default: all)', wholes)
    .option('--seed <n>', 'the same seed writes the same files', whole(0), 0)
    .option('--filler <path...>', `${TEXT_HELP}: filler is cut from them (default: sentences of random words)`)
    .addOption(forceOption())
    .option('--json', 'print one JSON document instead', false)
    .addHelpText('after', `\nKinds:\n${recallKinds.map((kind) => `  ${kind.padEnd(9)}${TASKS[kind].help}`).join('\n')}`)
    .action(write);
  const asking = recall.command('test')
    .description('ask the questions, through the cache of each policy')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .requiredOption('--questions <file>', 'questions.jsonl')
    .option('--max-documents <n>', 'ask only the first n questions', whole(1))
    .option('--step <n>', 'tokens fed at once; affects speed, never results', whole(1), 64)
    .addOption(bosOption())
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(gpuOption())
    .addOption(computeOption())
    .option('--json', 'print one JSON document instead', false)
    .action(test);
  addPolicyOptions(asking);
}

/** Adds one number to those that commander has parsed before. */
const wholes = (text: string, previous: readonly number[] = []): number[] => [...previous, whole(0)(text)];

async function write({ out, filler: paths, tests, force, json, ...options }: WriteFlags): Promise<void> {
  const filler = paths && await readPaged(paths);
  const documents = options.documents + tests;
  const all = filler === undefined
    ? usage(() => recallDocuments({ ...options, documents }))
    : recallDocuments({ ...options, documents, filler });
  const [learned, asked] = [all.slice(tests), all.slice(0, tests)];
  const text = recallText(learned);
  const close = await openOut(out, RECALL_FOLDER, force);
  try {
    const questions = asked.map((each) => `${JSON.stringify(each)}\n`).join('');
    await writeFilesAtomic([[join(out, TEXT_FILE), text], [join(out, QUESTIONS_FILE), questions]]);
  } finally {
    close();
  }
  process.stdout.write(json
    ? `${JSON.stringify({ out, ...options, tests, characters: text.length })}\n`
    : `${formatCount(learned.length)} documents in ${join(out, TEXT_FILE)}, ${tests} questions in ${join(out, QUESTIONS_FILE)}\n`);
}

async function test(flags: TestFlags): Promise<void> {
  checkPolicyFlags(flags);
  checkModelFolder(flags.model);
  const documents = (await readQuestions(flags.questions)).slice(0, flags.maxDocuments);
  const engine = await openEngine(flags);
  const model = await openModel(flags, engine);
  const interrupt = interruptSignal();
  try {
    const chosen = chosenPolicies(flags, model);
    documents.some(({ prompt }) => noteIfRepeated(model.tokenizer, prompt, 'a question'));
    const progress = createProgress({ label: 'recall', total: policyCount(chosen, flags.match) * documents.length });
    let all: { results: Recall[]; matched: Matched<Recall>[] };
    try {
      all = await withMatched(chosen, flags.match, (policy, n) => measureRecall(model, documents, {
        policy, ...(flags.cache && { cache: flags.cache }), step: flags.step, signal: interrupt.signal,
        onProgress: (done) => progress.update(n * documents.length + done, formatPolicy(policy)),
      }), ({ lengths, meanLiveShare, residentShare: endShare }) => ({ lengths, meanLiveShare, endShare }));
    } finally {
      progress.finish();
    }
    const { results, matched } = all;
    const match = matched.map(({ kind, by, policy, absent }) => ({ kind, by, policy, absent }));
    const about = { model: flags.model, documents: documents.length };
    const shown = `${recallTable(results, matched)}\n${absentText(matched)}`;
    process.stdout.write(flags.json
      ? `${JSON.stringify({ ...about, results, ...(flags.match !== false && { match }) })}\n`
      : `${flags.model}: ${documents.length} questions\n\n${shown}`);
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

/** One row per policy. After --match, each is compared with learned types. */
function recallTable(results: readonly Recall[], matched: readonly Matched<Recall>[]): string {
  const learned = matched.length === 0 ? undefined : results.find(({ policy }) => kindOf(parsePolicy(policy)).learned);
  const same = (policy: string): string =>
    matched.filter((one) => one.policy === policy && one.result).map(({ by }) => SAME[by]).join('; ');
  const far = results[0].byDistance.map(({ distance }) => `at ${Math.round(distance)}`);
  const compared = (result: Recall): string[] => {
    if (!learned) return [];
    if (result === learned) return ['', '', ''];
    const { points, standardError } = recallDifference(learned.right, result.right);
    const error = standardError === null ? '' : standardError.toFixed(1);
    return [same(result.policy), `${points < 0 ? '-' : '+'}${Math.abs(points).toFixed(1)}`, error];
  };
  const headers = ['policy', ...(learned ? ['same', `${learned.policy} vs.`, 's.e.'] : []), 'right', 'tokens right'];
  const rows = table([...headers, ...far, 'live, mean', 'kept at the end'], results.map((result) => [
    result.policy, ...compared(result), formatShare(result.accuracy), formatShare(result.tokenAccuracy),
    ...result.byDistance.map(({ accuracy }) => formatShare(accuracy)),
    formatShare(result.meanLiveShare), formatShare(result.residentShare),
  ]));
  if (!learned) return rows;
  return `${rows}\n\n${learned.policy} vs.: how many percentage points ${learned.policy} knows more than the row; ` +
    's.e.: the standard error of that, paired over questions\n';
}
