/**
 * `natsearch vectors`: writes the cases that kernels written elsewhere are verified on.
 * @module
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { createEngine } from '../engines.ts';
import { StoppedError, StorageError, ValueError } from '../errors.ts';
import { makeFolder, readFileBytes, readText, writeFilesAtomic } from '../io/files.ts';
import { sha256 } from '../io/sha256.ts';
import { makeCase } from '../oracle/make-case.ts';
import {
  type CaseEntry, type FileFormat, formatManifest, type Heading, type Manifest, MANIFEST_FILE, MANIFEST_VERSION,
  readManifest,
} from '../oracle/manifest.ts';
import { type SuiteName, SUITES } from '../oracle/suites.ts';
import type { ClaimedDtype } from '../oracle/types.ts';
import { packCase } from '../oracle/vector-files.ts';
import { whole } from './options.ts';
import { find, packageRoot } from './paths.ts';
import { createProgress, formatBytes, formatDuration, interruptSignal } from './terminal.ts';

interface Flags {
  out: string;
  suite: SuiteName;
  seed: number;
  format: FileFormat;
  dtype: ClaimedDtype;
  json: boolean;
}

/** Adds the command. */
export function registerVectors(program: Command): void {
  const choice = (flags: string, text: string, choices: readonly string[]): Option =>
    new Option(flags, text).choices(choices).default(choices[0]);
  program.command('vectors')
    .description('write test vectors for kernels written elsewhere: inputs, and truths in float64')
    .requiredOption('--out <dir>', 'new folder, or one to complete')
    .addOption(choice('--suite <name>', 'small: a second, 3 MB; full: also long cases, a minute, 171 MB', ['small', 'full']))
    .option('--seed <n>', 'the same seed gives the same files', whole(0), 0)
    .addOption(choice('--format <name>', 'files of tensors', ['safetensors', 'npz']))
    .addOption(choice('--dtype <name>', 'what reals are rounded to', ['f64', 'f32', 'f16', 'bf16']))
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run({ out, suite, seed, format: fileFormat, dtype, json }: Flags): Promise<void> {
  const begin = performance.now();
  const { version } = JSON.parse(await readText(join(packageRoot(), 'package.json'))) as { version: string };
  const heading: Heading = { suite, seed, fileFormat, dtype, packageVersion: version };
  const kept = await keptEntries(out, heading);
  await makeFolder(out);
  const recipes = SUITES[suite];
  const cases: CaseEntry[] = [];
  const progress = createProgress({ label: 'vectors', total: recipes.length });
  const engine = createEngine();
  let [made, bytes] = [0, 0];
  try {
    for (const [n, recipe] of recipes.entries()) {
      progress.update(n, recipe.name);
      const before = kept.get(recipe.name);
      if (before) cases.push(before);
      else {
        const packed = await packCase(await makeCase(engine, recipe, seed), heading);
        cases.push(packed.entry);
        made++;
        // Those kept that are still to come stay in the manifest, or a second stop would lose them.
        const later = recipes.slice(n + 1).flatMap(({ name }) => kept.get(name) ?? []);
        const known = { ...heading, cases: [...cases, ...later], complete: false };
        await write(out, [[packed.entry.file, packed.bytes]], known);
      }
      bytes += readFileSync(join(out, cases[n]!.file)).length;
    }
    await write(out, [], { ...heading, cases, complete: true });
  } finally {
    progress.finish();
    engine.dispose();
  }
  const seconds = (performance.now() - begin) / 1000;
  if (json) {
    process.stdout.write(`${JSON.stringify({ out, ...heading, cases: cases.length, made, bytes, seconds })}\n`);
    return;
  }
  const there = made < cases.length ? `, ${cases.length - made} of which were there` : '';
  process.stdout.write(`${cases.length} cases${there}, ${formatBytes(bytes)}, in ${out} after ${formatDuration(seconds)}\n`);
}

/** The cases of an earlier run that can stay. @throws {StorageError} If the folder is something else's. */
async function keptEntries(out: string, heading: Heading): Promise<Map<string, CaseEntry>> {
  const kept = new Map<string, CaseEntry>();
  if (!existsSync(out)) return kept;
  if (!find(out, 'folder', '').isDirectory()) throw new StorageError(`${out} is a file: name a folder`);
  const path = join(out, MANIFEST_FILE);
  if (!existsSync(path)) {
    const other = readdirSync(out).find((name) => !name.endsWith('.tmp'));
    if (other !== undefined) throw new StorageError(`${out} holds ${other} and no vectors: choose a new or empty folder`);
    return kept;
  }
  const manifest = readManifest(await readText(path), path);
  for (const key of ['suite', 'seed', 'fileFormat', 'dtype', 'packageVersion'] as const) {
    if (manifest[key] !== heading[key]) {
      throw new ValueError(`${out} has vectors of ${key} ${manifest[key]}, not ${heading[key]}: ask for the same, or choose another folder`);
    }
  }
  for (const entry of manifest.cases) {
    const file = join(out, entry.file);
    if (existsSync(file) && await sha256(await readFileBytes(file)) === entry.sha256) kept.set(entry.name, entry);
  }
  return kept;
}

/** Ctrl-C ends the process at once, but not amid this: files appear whole, and the manifest knows them. */
async function write(
  out: string, files: readonly (readonly [string, Uint8Array])[], rest: Omit<Manifest, 'format' | 'version'>,
): Promise<void> {
  const { complete, cases, ...heading } = rest;
  const text = formatManifest({ format: 'natsearch-vectors', version: MANIFEST_VERSION, ...heading, complete, cases });
  const interrupt = interruptSignal();
  try {
    const all = [...files, [MANIFEST_FILE, text] as const];
    await writeFilesAtomic(all.map(([name, content]) => [join(out, name), content]));
    // A signal that came meanwhile is heard when the loop next polls: between two immediates, but not before a timer
    // that is due already.
    for (let n = 0; n < 2; n++) await new Promise((resolve) => setImmediate(resolve));
  } finally {
    interrupt.dispose();
  }
  if (interrupt.signal.aborted && !complete) throw new StoppedError(`stopped after ${cases.length} cases: run the same command to complete ${out}`, { cause: interrupt.signal.reason });
}
