/** --out: foreign files are kept, links stay links, devices stay devices. */
import { execFile, execFileSync } from 'node:child_process';
import {
  existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lockFile, lockFolder } from '../src/cli/lock.ts';
import { openOut, writeOut } from '../src/cli/out.ts';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { temporaryName, writeFileAtomic, writeFilesAtomic } from '../src/files/atomic.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { decodeSafetensors } from '../src/formats/safetensors.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { some } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 64, bos_token_id: 256, eos_token_id: 257, tie_word_embeddings: true,
});

let root: string;
let folder: string;
const at = (...names: string[]): string => join(folder, ...names);
const text = (...names: string[]): string => readFileSync(at(...names), 'utf8');
const isLink = (path: string): boolean => lstatSync(path).isSymbolicLink();

/** Every file below `path`, with its bytes. */
function contents(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(names.filter((name) => statSync(join(path, name)).isFile())
    .map((name) => [name, readFileSync(join(path, name), 'base64')]));
}

function natsearch(...args: string[]): Promise<{ code: number; stdout: Buffer; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: folder, encoding: 'buffer' as const };
    execFile(process.execPath, [main, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr: stderr.toString() });
    });
  });
}

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-out-'));
  await writeModelFolder(join(root, 'llama'), config, initialWeights(config, 1));
  writeFileSync(join(root, 'llama', 'tokenizer_config.json'), '{}');
  const weights = new Map([['model.layers.0.self_attn.proj_layer.weight', { data: new Float64Array(24), shape: [3, 8] }]]);
  await writeAdapter(join(root, 'adapter'), {
    baseModel: 'llama', base: baseFields(config), window: 8, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.3, kept: 0.3, keptByLayer: [0.3], context: 64, steps: 1, seed: 0, packageVersion: '0', weights,
  });
  writeFileSync(join(root, 'text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (folder = mkdtempSync(join(root, 'case-'))));

describe('a file that is written atomically', () => {
  it('is written through symbolic links, which stay links, to a file that exists or not', async () => {
    mkdirSync(at('far'));
    writeFileSync(at('far/old'), 'old', { mode: 0o640 });
    symlinkSync('far/old', at('link'));
    symlinkSync('link', at('second'));
    symlinkSync('far/new', at('dangling'));
    await writeFilesAtomic([[at('second'), 'one'], [at('dangling'), 'two']]);
    expect([text('far/old'), text('far/new')]).toEqual(['one', 'two']);
    expect([readlinkSync(at('second')), readlinkSync(at('link')), readlinkSync(at('dangling'))])
      .toEqual(['link', 'far/old', 'far/new']);
    expect(statSync(at('far/old')).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder).concat(readdirSync(at('far'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('resolves links from the folder that contains them, however it was reached', async () => {
    mkdirSync(at('a/b'), { recursive: true });
    symlinkSync('a/b', at('short'));
    symlinkSync('../sibling', at('a/b/up')); // means a/sibling, not the sibling of `short`
    await writeFileAtomic(at('short/up'), 'x');
    expect(text('a/sibling')).toBe('x');
    expect(existsSync(at('sibling'))).toBe(false);
  });

  it('is refused if links form a circle, or if its path is that of a folder', async () => {
    symlinkSync('b', at('a'));
    symlinkSync('a', at('b'));
    await expect(writeFileAtomic(at('a'), 'x')).rejects.toThrow(/links lead round in a circle/);
    await expect(writeFileAtomic(folder, 'x')).rejects.toThrow(/it is a folder: name a file/);
  });

  it('is written into a pipe, which stays a pipe', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    symlinkSync('pipe', at('link'));
    const reading = new Promise((resolve) => execFile('cat', [at('pipe')], (_, stdout) => resolve(stdout)));
    await writeFileAtomic(at('link'), 'through');
    expect(await reading).toBe('through');
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
    expect(isLink(at('link'))).toBe(true);
  });

  it('is written into a device, which stays a device', async (context) => {
    try {
      execFileSync('mknod', [at('null'), 'c', '1', '3'], { stdio: 'ignore' }); // like /dev/null
      writeFileSync(at('null'), 'x');
    } catch {
      context.skip(); // only root may do this, and not everywhere
    }
    await writeFileAtomic(at('null'), 'gone');
    expect(lstatSync(at('null')).isCharacterDevice()).toBe(true);
    expect(readdirSync(folder)).toEqual(['null']);
  });

  it('removes what a killed process left of it, but not what another process is writing', async () => {
    const dead = Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
    const named = (pid: number, name = 'file') => temporaryName(at(name)).replace(`-${process.pid}-`, `-${pid}-`);
    const [left, other, live] = [named(dead), named(dead, 'file2'), named(process.pid)];
    for (const path of [left, other, live]) writeFileSync(path, 'half');
    await writeFileAtomic(at('file'), 'whole');
    expect(readdirSync(folder).map((name) => at(name)).sort()).toEqual([at('file'), other, live].sort());
    (await openOut(folder, { what: 'run', files: [], isOurs: async () => true }, false))();
    expect(readdirSync(folder).map((name) => at(name)).sort()).toEqual([at('file'), live].sort());
  });

  it('never shares its temporary file with another write', async () => {
    const writes = Array.from({ length: 20 }, (_, n) => writeFileAtomic(at('file'), String(n).repeat(100_000)));
    await Promise.all(writes);
    expect(new Set(text('file').match(/^(\d\d?)\1*$/) ? [1] : [0])).toEqual(new Set([1]));
    expect(readdirSync(folder)).toEqual(['file']);
  });
});

describe('a folder --out', () => {
  const kind = {
    what: 'run', files: ['state', 'config.json'],
    isOurs: async (_: string, names: readonly string[]) => names.includes('state'),
  };

  it('that holds other things is refused with their names, and the message says what --force would overwrite', async () => {
    mkdirSync(at('other'));
    for (const name of ['config.json', 'model.safetensors']) writeFileSync(at('other', name), name);
    const before = contents(at('other'));
    await expect(openOut(at('other'), kind, false)).rejects
      .toThrow(/other holds config\.json and model\.safetensors and no run: .*--force to overwrite config\.json$/);
    expect(contents(at('other'))).toEqual(before);
    (await openOut(at('other'), kind, true))();
    expect(contents(at('other'))).toEqual(before);
  });

  it('is accepted if it is new, empty except for hidden files, or ours', async () => {
    mkdirSync(at('empty'));
    writeFileSync(at('empty/.gitignore'), '*');
    mkdirSync(at('ours'));
    for (const name of ['state', 'notes.txt']) writeFileSync(at('ours', name), name);
    for (const name of ['new/below', 'empty', 'ours']) (await openOut(at(name), kind, false))();
    expect(readdirSync(folder).sort()).toEqual(['empty', 'ours']); // nothing was written into new/below
  });

  it('is refused if it is a file, a pipe or anything else, even with --force', async () => {
    writeFileSync(at('file'), 'x');
    execFileSync('mkfifo', [at('pipe')]);
    for (const force of [false, true]) {
      await expect(openOut(at('file'), kind, force)).rejects.toThrow(/file is a file: name a folder/);
      await expect(openOut(at('pipe'), kind, force)).rejects.toThrow(/pipe is a pipe: name a folder/);
      await expect(openOut(at('file/below'), kind, force)).rejects.toThrow(/is a file, not a folder/);
    }
  });

  it('is refused if it is -, which means stdout elsewhere', async () => {
    const { code, stderr } = await natsearch('recall', 'write', '--out', '-', '--documents', '1', '--tests', '1');
    expect(stderr).toBe('natsearch: --out is -, which stands for stdout: name a folder, or ./- if that is its name\n');
    expect([code, readdirSync(folder)]).toEqual([2, []]);
  });

  it('may be a link, even to a folder that does not exist yet', async () => {
    mkdirSync(at('far'));
    symlinkSync('far', at('link'));
    symlinkSync('far/new', at('dangling'));
    for (const name of ['link', 'dangling']) {
      const close = await openOut(at(name), kind, false);
      await writeFileAtomic(at(name, 'state'), name);
      close();
      expect(isLink(at(name))).toBe(true);
    }
    expect([text('far/state'), text('far/new/state')]).toEqual(['link', 'dangling']);
  });
});

describe('a downloaded model', () => {
  const sizes = ['--hidden', '8', '--heads', '1', '--kv-heads', '1', '--layers', '1', '--intermediate', '8'];
  const small = ['--text', '../text.txt', '--steps', '1', '--batch', '1', '--context', '16', '--threads', '1'];
  it.each(some(2, [
    ['train', [...small, ...sizes], /overwrite config\.json and model\.safetensors/],
    ['finetune', ['--model', '../llama', ...small], /write beside it/],
    ['recall write', ['--documents', '1', '--tests', '1'], /write beside it/],
    ['vectors', [], /write beside it/],
  ] as const))('is no --out of %s', async (command, args, force) => {
    await writeModelFolder(at('mine'), config, initialWeights(config, 2));
    const before = contents(at('mine'));
    const { code, stderr } = await natsearch(...command.split(' '), ...args, '--out', 'mine');
    expect(stderr).toMatch(/^natsearch: mine holds config\.json and model\.safetensors and no [^\n]*\n$/);
    expect(stderr).toMatch(force);
    expect(code).toBe(1);
    expect(contents(at('mine'))).toEqual(before);
    expect(readdirSync(at('mine')).length).toBe(2);
  });

  it('is overwritten by train --force, but only in the files that train writes', async () => {
    await writeModelFolder(at('mine'), config, initialWeights(config, 2));
    writeFileSync(at('mine/tokenizer.model'), 'mine');
    const { code, stderr } = await natsearch('train', ...small, ...sizes, '--out', 'mine', '--force');
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(readdirSync(at('mine')).sort())
      .toEqual(['config.json', 'log.jsonl', 'model.safetensors', 'tokenizer.model', 'training-state.safetensors']);
    expect(text('mine/tokenizer.model')).toBe('mine');
  });
});

describe('recall write', () => {
  const write = (...args: string[]) =>
    natsearch('recall', 'write', '--out', 'out', '--documents', '2', '--tests', '1', ...args);

  it('overwrites its own files, but neither another train.txt nor one that was changed', async () => {
    expect((await write()).code).toBe(0);
    const first = text('out/train.txt');
    expect((await write('--seed', '1')).code).toBe(0);
    expect(text('out/train.txt')).not.toBe(first);
    writeFileSync(at('out/train.txt'), `${first}And a line of mine.\n`);
    const { code, stderr } = await write();
    expect(stderr).toMatch(/out holds questions\.jsonl and train\.txt and no files of recall write: /);
    expect(stderr).toMatch(/--force to overwrite train\.txt and questions\.jsonl\n$/);
    expect(code).toBe(1);
    expect(text('out/train.txt')).toContain('a line of mine');
  });
});

describe('export', () => {
  const scorers = (...args: string[]) => natsearch('export', '--adapter', '../adapter', ...args);

  it('overwrites its own file, through a link too, but no other without --force', async () => {
    writeFileSync(at('theirs.safetensors'), 'theirs');
    const refused = await scorers('--out', 'theirs.safetensors');
    expect(refused.stderr).toMatch(/^natsearch: theirs\.safetensors exists and is no earlier export: [^\n]*--force/);
    expect([refused.code, text('theirs.safetensors')]).toEqual([1, 'theirs']);
    // The adapter's own weights are the same tensors, but not an export.
    const own = join(root, 'adapter', 'adapter_model.safetensors');
    expect((await scorers('--out', own)).code).toBe(1);
    symlinkSync('theirs.safetensors', at('link'));
    expect((await scorers('--out', 'link', '--force')).code).toBe(0);
    expect((await scorers('--out', 'link')).code).toBe(0);
    expect(isLink(at('link'))).toBe(true);
    expect(decodeSafetensors(readFileSync(at('theirs.safetensors'))).tensors.size).toBe(1);
  });

  it.each([['-', 'stdout'], ['/dev/stdout', '/dev/stdout']])('writes to stdout if %s is given, and its messages to stderr', async (out, said) => {
    const { code, stdout, stderr } = await scorers('--out', out);
    expect(decodeSafetensors(new Uint8Array(stdout)).tensors.size).toBe(1);
    expect([code, stderr]).toEqual([0, `1 scorers in ${said}\n`]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('appends to the file to which stdout is redirected', () => {
    const shell = `"$0" "$1" export --adapter ../adapter --out /dev/stdout`;
    execFileSync('sh', ['-c', `echo first > kept; ${shell} >> kept 2>/dev/null`, process.execPath, main], { cwd: folder });
    expect(readFileSync(at('kept')).subarray(0, 6).toString()).toBe('first\n');
    expect(decodeSafetensors(readFileSync(at('kept')).subarray(6)).tensors.size).toBe(1);
  });

  it('is not written, even with --force, while another process writes it or works in its folder', async () => {
    const write = () => writeOut(at('one'), new Uint8Array(1), { force: true, what: 'export', isOurs: async () => true });
    const unlock = [lockFolder(folder)];
    await expect(write()).rejects.toThrow(new RegExp(`^${folder} is in use by process ${process.pid} of `));
    unlock.pop()!();
    unlock.push(lockFile(at('one')));
    await expect(write()).rejects.toThrow(new RegExp(`one is in use by process ${process.pid} of `));
    await writeOut(at('two'), new Uint8Array(1), { force: false, what: 'export', isOurs: async () => false });
    unlock.pop()!();
    expect(await write()).toBe(false);
    expect(readdirSync(folder).sort()).toEqual(['one', 'two']);
  });

  it('refuses a folder', async () => {
    mkdirSync(at('folder'));
    await expect(writeOut(at('folder'), new Uint8Array(1), { force: true, what: 'export', isOurs: async () => true }))
      .rejects.toThrow(/folder is a folder: name a file/);
  });
});
