/**
 * `natsearch recall`: pass keys in long filler, to learn from and to be asked about.
 * @module
 */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import type { GpuChoice } from '../engines.ts';
import { FileFormatError } from '../errors.ts';
import {
  measureRecall, type Recall, type RecallDocument, recallDocuments, type RecallKind, recallText,
} from '../evaluate/recall.ts';
import { makeFolder, readText, writeFilesAtomic } from '../io/files.ts';
import { formatPolicy } from '../model/config.ts';
import { usage } from './errors.ts';
import { openEngine, openModel } from './open.ts';
import { gpuOption, whole } from './options.ts';
import { checkModelFolder, find } from './paths.ts';
import { checkPolicyFlags, chosenPolicies, policyCount, type PolicyFlags, policyOptions, withMatched } from './policies.ts';
import { createProgress, formatCount, formatShare, interruptSignal, table } from './terminal.ts';
import { readDocuments } from './text.ts';
import { TEXT_HELP } from './text-files.ts';

interface WriteFlags {
  out: string;
  kind: RecallKind;
  documents: number;
  tests: number;
  length: number;
  pairs: number;
  seed: number;
  filler?: string[];
  json: boolean;
}

interface TestFlags extends PolicyFlags {
  model: string;
  adapter?: string;
  questions: string;
  maxDocuments?: number;
  step: number;
  gpu?: GpuChoice;
  json: boolean;
}

/** Adds the command and its two parts. */
export function registerRecall(program: Command): void {
  const recall = program.command('recall').description('what a model still knows of what it read long ago');
  recall.command('write')
    .description('write train.txt to learn from, and questions.jsonl that it does not hold')
    .requiredOption('--out <dir>', 'folder')
    .addOption(new Option('--kind <name>', 'one pass key, or names with keys').choices(['passkey', 'pairs']).default('passkey'))
    .option('--documents <n>', 'documents to learn from', whole(1), 10_000)
    .option('--tests <n>', 'questions', whole(1), 200)
    .option('--length <n>', 'characters of a document', whole(120), 480)
    .option('--pairs <n>', 'names in a document of pairs', whole(1), 4)
    .option('--seed <n>', 'the same seed writes the same files', whole(0), 0)
    .option('--filler <path...>', `${TEXT_HELP}: filler is cut from them (default: sentences of random words)`)
    .option('--json', 'print one JSON document instead', false)
    .action(write);
  const asking = recall.command('test')
    .description('ask the questions, through the cache of each policy')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .requiredOption('--questions <file>', 'questions.jsonl')
    .option('--max-documents <n>', 'ask only the first n', whole(1))
    .option('--step <n>', 'tokens fed at once; changes the time, not the answers', whole(1), 64)
    .addOption(gpuOption())
    .option('--json', 'print one JSON document instead', false)
    .action(test);
  for (const option of policyOptions()) asking.addOption(option);
}

async function write({ out, filler: paths, tests, json, ...options }: WriteFlags): Promise<void> {
  const filler = paths && (await readDocuments(paths)).join('\n');
  const documents = options.documents + tests;
  const all = filler === undefined
    ? usage(() => recallDocuments({ ...options, documents }))
    : recallDocuments({ ...options, documents, filler });
  const [learnt, asked] = [all.slice(tests), all.slice(0, tests)];
  const text = recallText(learnt);
  await makeFolder(out);
  await writeFilesAtomic([
    [join(out, 'train.txt'), text], [join(out, 'questions.jsonl'), asked.map((each) => `${JSON.stringify(each)}\n`).join('')],
  ]);
  process.stdout.write(json
    ? `${JSON.stringify({ out, ...options, tests, characters: text.length })}\n`
    : `${formatCount(learnt.length)} documents in ${join(out, 'train.txt')}, ${tests} questions in ${join(out, 'questions.jsonl')}\n`);
}

async function test(flags: TestFlags): Promise<void> {
  checkPolicyFlags(flags);
  checkModelFolder(flags.model);
  const documents = (await readQuestions(flags.questions)).slice(0, flags.maxDocuments);
  const engine = await openEngine(flags.gpu);
  const model = await openModel(flags.model, engine, flags.adapter);
  const interrupt = interruptSignal();
  try {
    const chosen = chosenPolicies(flags, model);
    const progress = createProgress({ label: 'recall', total: policyCount(chosen, flags.match) * documents.length });
    let results: Recall[];
    try {
      results = await withMatched(chosen, flags.match, (policy, n) => measureRecall(model, documents, {
        policy, step: flags.step, signal: interrupt.signal,
        onProgress: (done) => progress.update(n * documents.length + done, formatPolicy(policy)),
      }), ({ meanTokens: length, meanLiveShare, residentShare: endShare }) => ({ length, meanLiveShare, endShare }));
    } finally {
      progress.finish();
    }
    if (flags.json) process.stdout.write(`${JSON.stringify({ model: flags.model, documents: documents.length, results })}\n`);
    else process.stdout.write(`${flags.model}: ${documents.length} questions\n\n${recallTable(results)}\n`);
  } finally {
    interrupt.dispose();
    model.dispose();
    engine.dispose();
  }
}

async function readQuestions(path: string): Promise<RecallDocument[]> {
  find(path, 'file', 'pass the questions.jsonl of `natsearch recall write`');
  const lines = (await readText(path)).split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new FileFormatError(`${path} is empty: write the file again with natsearch recall write`);
  return lines.map((line, n) => {
    const damaged = new FileFormatError(`${path} line ${n + 1} is no question: write the file again with natsearch recall write`);
    let value: Partial<RecallDocument> | null;
    try {
      value = JSON.parse(line) as Partial<RecallDocument> | null;
    } catch {
      throw damaged;
    }
    const { prompt, answer, distance } = value ?? {};
    if (typeof prompt !== 'string' || typeof answer !== 'string' || answer === '' || typeof distance !== 'number') throw damaged;
    return { prompt, answer, distance };
  });
}

/** One row per policy. */
function recallTable(results: readonly Recall[]): string {
  const far = results[0]!.byDistance.map(({ distance }) => `at ${Math.round(distance)}`);
  const headers = ['policy', 'right', 'tokens right', ...far, 'live, mean', 'kept at the end'];
  return table(headers, results.map((result) => [
    result.policy, formatShare(result.accuracy), formatShare(result.tokenAccuracy),
    ...result.byDistance.map(({ accuracy }) => formatShare(accuracy)),
    formatShare(result.meanLiveShare), formatShare(result.residentShare),
  ]));
}
