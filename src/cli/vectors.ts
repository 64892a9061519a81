/**
 * `natsearch vectors`: writes the cases with which kernels written elsewhere are verified.
 * @module
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { FileFormatError, StoppedError, StorageError, ValueError } from '../core/errors.ts';
import { readFileBytes, readText, writeFilesAtomic } from '../files/files.ts';
import { sha256 } from '../formats/sha256.ts';
import {
  type CaseEntry, type FileFormat, formatManifest, type Heading, type Manifest, MANIFEST_FILE, MANIFEST_VERSION,
  readManifest, SUITE_VERSION,
} from '../oracle/cases/manifest.ts';
import { expectRecipe } from '../oracle/cases/expected.ts';
import { checkRecipe } from '../oracle/cases/make-case.ts';
import type { Recipe } from '../oracle/cases/recipes.ts';
import { type SuiteName, SUITES } from '../oracle/cases/suites.ts';
import type { ClaimedDtype } from '../oracle/types.ts';
import { whole } from './options.ts';
import { forceOption, openOut, type OutFolder } from './out.ts';
import { packageRoot } from './paths.ts';
import { matching } from './patterns.ts';
import { createProgress, formatBytes, formatDuration, interruptSignal } from './terminal.ts';
import { CaseMaker } from './vectors-maker.ts';

interface Flags {
  out: string;
  suite: SuiteName;
  seed: number;
  format: FileFormat;
  dtype: ClaimedDtype;
  force: boolean;
  json: boolean;
  only?: string;
  recipes?: string;
}

/** Adds the command. */
export function registerVectors(program: Command): void {
  const choice = (flags: string, text: string, choices: readonly string[]): Option =>
    new Option(flags, text).choices(choices).default(choices[0]);
  program.command('vectors')
    .description('write test vectors for kernels written elsewhere: inputs, and true outputs in float64')
    .requiredOption('--out <dir>', 'a new folder, or one to complete')
    .addOption(choice('--suite <name>', 'small takes a second and 5 MB, tiles a few and 72 MB; fp8 has inputs exact in fp8; full adds long cases to small, and takes a minute and 173 MB', ['small', 'tiles', 'fp8', 'full']))
    .option('--only <patterns>', 'cases of the suite to write, such as tile-*,head-64')
    .option('--recipes <file>', 'a JSON list of recipes of your own, instead of a suite')
    .option('--seed <n>', 'the same seed gives the same files', whole(0), 0)
    .addOption(choice('--format <name>', 'format of the files of tensors', ['safetensors', 'npz']))
    .addOption(choice('--dtype <name>', 'what floats are rounded to', ['f64', 'f32', 'f16', 'bf16']))
    .addOption(forceOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const { out, seed, format: fileFormat, dtype, force, json } = flags;
  const begin = performance.now();
  const { version } = JSON.parse(await readText(join(packageRoot(), 'package.json'))) as { version: string };
  const { suite, recipes } = await chosen(flags);
  const heading: Heading = {
    suite, seed, fileFormat, dtype, packageVersion: version, suiteVersion: SUITE_VERSION,
  };
  const interrupt = interruptSignal();
  const progress = createProgress({ label: 'vectors', total: recipes.length });
  const maker = new CaseMaker();
  const cases: CaseEntry[] = [];
  let [made, bytes] = [0, 0];
  let close: (() => void) | undefined;
  try {
    close = await openOut(out, outFolder(recipes, fileFormat), force);
    const kept = await keptEntries(out, heading, force);
    for (const [index, recipe] of recipes.entries()) {
      if (interrupt.signal.aborted) throw new StoppedError('between two cases', { cause: interrupt.signal.reason });
      progress.update(index, recipe.name);
      const before = kept.get(recipe.name);
      if (before) cases.push(before);
      else {
        const { entry, bytes: content } = await maker.make({ recipe, heading }, interrupt.signal);
        if (!force && !kept.known.has(entry.file)) await refuseOther(join(out, entry.file), content);
        cases.push(entry);
        made++;
        // Kept cases that come later stay in the manifest, or a second interruption would lose them.
        const later = recipes.slice(index + 1).flatMap(({ name }) => kept.get(name) ?? []);
        await write(out, [[entry.file, content]], { ...heading, cases: [...cases, ...later], complete: false });
      }
      bytes += statSync(join(out, cases[index].file)).size;
    }
    await write(out, [], { ...heading, cases, complete: true });
    process.exitCode = 0; // in case a signal came too late to stop anything
  } catch (error) {
    if (!(error instanceof StoppedError)) throw error;
    throw new StoppedError(`stopped after ${cases.length} of ${recipes.length} cases: run the same command to complete ${out}`, { cause: error.cause });
  } finally {
    progress.finish();
    interrupt.dispose();
    await maker.close();
    close?.();
  }
  const seconds = (performance.now() - begin) / 1000;
  if (json) {
    process.stdout.write(`${JSON.stringify({ out, ...heading, cases: cases.length, made, bytes, seconds })}\n`);
    return;
  }
  const there = made < cases.length ? `, ${cases.length - made} of which existed already` : '';
  process.stdout.write(`${cases.length} cases${there}, ${formatBytes(bytes)}, in ${out} after ${formatDuration(seconds)}\n`);
}

/** The recipes to make, and what the manifest calls them: folders of the same name hold the same cases. */
async function chosen({ suite, only, recipes: file }: Flags): Promise<{ suite: string; recipes: readonly Recipe[] }> {
  let [name, recipes]: [string, readonly Recipe[]] = [suite, SUITES[suite]];
  if (file !== undefined) {
    const text = await readText(file);
    recipes = readRecipes(text, file);
    name = `recipes ${(await sha256(new TextEncoder().encode(text))).slice(0, 12)}`;
  }
  if (only === undefined) return { suite: name, recipes };
  const matches = matching(only, recipes.map((recipe) => recipe.name));
  return { suite: `${name} ${only}`, recipes: recipes.filter((recipe) => matches(recipe.name)) };
}

/** @throws {ValueError} If a recipe contradicts itself, or two have one name. */
function readRecipes(text: string, file: string): readonly Recipe[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError(`${file} is not JSON (${(error as Error).message}): write a list of recipes`);
  }
  if (!Array.isArray(list) || list.length === 0) throw new ValueError(`${file} holds no list of recipes: write [{ "name": ..., "queryHeads": ... }]`);
  const recipes = list.map((given: Recipe, n) => {
    const recipe = { ...given, why: given.why ?? 'a case of your own' };
    expectRecipe(`recipe ${n} of ${file}`, recipe);
    checkRecipe(recipe);
    return recipe;
  });
  const names = recipes.map(({ name }) => name);
  const twice = names.find((name, n) => names.indexOf(name) < n);
  if (twice !== undefined) throw new ValueError(`${file} has two recipes named ${twice}: each names a file`);
  return recipes;
}

function outFolder(recipes: readonly { readonly name: string }[], format: FileFormat): OutFolder {
  return {
    what: 'vectors',
    files: [MANIFEST_FILE, ...recipes.map(({ name }) => `${name}.${format}`)],
    isOurs: async (folder, names) => {
      if (!names.includes(MANIFEST_FILE)) return false;
      const path = join(folder, MANIFEST_FILE);
      readManifest(await readText(path), path);
      return true;
    },
  };
}

/** The cases of an earlier run that can be kept, by name, and the files that its manifest lists. */
class Kept extends Map<string, CaseEntry> {
  readonly known = new Set<string>();
}

/** @throws {ValueError} If the folder has other vectors than those requested, unless they may be overwritten. */
async function keptEntries(out: string, heading: Heading, force: boolean): Promise<Kept> {
  const kept = new Kept();
  const manifest = await readEarlier(join(out, MANIFEST_FILE), force);
  for (const key of ['suite', 'seed', 'fileFormat', 'dtype', 'packageVersion', 'suiteVersion'] as const) {
    if (!manifest || manifest[key] === heading[key]) continue;
    if (force) return kept;
    throw new ValueError(`${out} has vectors of ${key} ${manifest[key]}, not ${heading[key]}: request the same, choose another folder, or pass --force to overwrite them`);
  }
  // Written first of all, so that the folder can be recognised from the beginning.
  if (!manifest) await write(out, [], { ...heading, cases: [], complete: false });
  for (const entry of manifest?.cases ?? []) {
    const file = join(out, entry.file);
    kept.known.add(entry.file);
    if (existsSync(file) && await sha256(await readFileBytes(file)) === entry.sha256) kept.set(entry.name, entry);
  }
  return kept;
}

async function readEarlier(path: string, force: boolean): Promise<Manifest | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    return readManifest(await readText(path), path);
  } catch (error) {
    if (force && error instanceof FileFormatError) return undefined; // another program's file, which --force overwrites
    throw error;
  }
}

/** Refuses to overwrite a file that no manifest lists, unless it is this very case, written before a kill. */
async function refuseOther(path: string, content: Uint8Array): Promise<void> {
  if (!existsSync(path) || await sha256(await readFileBytes(path)) === await sha256(content)) return;
  throw new StorageError(`${path} exists and is not one of these vectors: move it away, or pass --force to overwrite it`);
}

async function write(
  out: string, files: readonly (readonly [string, Uint8Array])[], rest: Omit<Manifest, 'format' | 'version'>,
): Promise<void> {
  const { complete, cases, ...heading } = rest;
  const text = formatManifest({ format: 'natsearch-vectors', version: MANIFEST_VERSION, ...heading, complete, cases });
  const all = [...files, [MANIFEST_FILE, text] as const];
  await writeFilesAtomic(all.map(([name, content]) => [join(out, name), content]));
}
