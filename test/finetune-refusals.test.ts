/** What `natsearch finetune` refuses: damaged folders and mistaken paths, in one line, before anything is written. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publishedFiles } from './support/hf-published.ts';
import { some } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SHARD = 'model-00002-of-00002.safetensors';
const SMALL = ['--context', '16', '--batch', '2', '--steps', '2'];

let root: string;
let base: string;
let text: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch refusals-')); // with a space in the path
  base = join(root, 'base');
  mkdirSync(base);
  for (const [file, content] of await publishedFiles()) writeFileSync(join(base, file), content);
  text = join(root, 'text.txt');
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Result { readonly code: number; readonly stdout: string; readonly stderr: string }
const natsearch = (...args: string[]): Promise<Result> => new Promise((resolve) => {
  execFile(process.execPath, [MAIN, ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
    resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
  });
});
const finetune = (model: string, out: string, ...more: string[]): Promise<Result> =>
  natsearch('finetune', '--model', model, '--text', text, '--out', out, ...SMALL, ...more);

function expectRefusal({ code, stdout, stderr }: Result, message: RegExp, expected = 1): void {
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^natsearch: [^\n]*: [^\n]*\n$/);
  expect([code, stdout]).toEqual([expected, '']);
}

const edit = (file: string, change: object) => (folder: string): void => {
  const path = join(folder, file);
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')) as object, ...change }));
};

describe('a folder is refused by finetune', () => {
  it.each(some<[string, (folder: string) => void, RegExp]>(3, [
    ['with a truncated shard', (folder) => {
      writeFileSync(join(folder, SHARD), readFileSync(join(folder, SHARD)).subarray(0, -8));
    }, /bad\/model-00002-of-00002\.safetensors: .* ends at byte \d+ but the data has \d+: .* truncated, copy it again/],
    ['without one of its shards', (folder) => rmSync(join(folder, SHARD)),
      /bad\/model\.safetensors\.index\.json names the shard model-00002.*, which is missing/],
    ['whose index names a tensor that its shard lacks', (folder) => {
      const path = join(folder, 'model.safetensors.index.json');
      const { weight_map } = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: object };
      writeFileSync(path, JSON.stringify({ weight_map: { ...weight_map, 'model.layers.9.mlp.up_proj.weight': SHARD } }));
    }, /bad\/model-00002.* lacks 'model\.layers\.9\.mlp\.up_proj\.weight', which the index places there/],
    ['with a tensor of another shape', edit('config.json', { intermediate_size: 16 }),
      /'model\.layers\.0\.mlp\.\w+\.weight' is \[12,8\] but .* must be \[16,8\]: use .*bad\/model-0000\d-of/],
    ['with a config that contradicts itself', edit('config.json', { num_key_value_heads: 3 }),
      /bad\/config\.json: num_attention_heads \(4\) must be a multiple of num_key_value_heads \(3\)/],
    ['with tokens beyond its vocabulary', (folder) => {
      const path = join(folder, 'tokenizer.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace('"vocab":{', '"vocab":{"beyond":1056,'));
    }, /bad\/tokenizer\.json has ids up to 1056 but the model's vocabulary has 1056 tokens/],
    ['without a tokenizer', (folder) => rmSync(join(folder, 'tokenizer.json')),
      /has 1056 tokens but no tokenizer\.json .*: copy it into .*bad, or make it from tokenizer\.model .*$/m],
  ]))('%s', async (_, damage, message) => {
    const [bad, out] = [join(mkdtempSync(join(root, 'model-')), 'bad'), join(root, 'unmade')];
    cpSync(base, bad, { recursive: true });
    damage(bad);
    expectRefusal(await finetune(bad, out), message);
    expect(existsSync(out)).toBe(false);
  });
});

describe('an output folder is refused by finetune', () => {
  it('if it cannot be made, has an empty name, or is that of the model', async () => {
    const before = readdirSync(base);
    expectRefusal(await finetune(base, text), /text\.txt is a file: name a folder/);
    expectRefusal(await finetune(base, join(text, 'a/b')), /cannot (make the folder|look at) .*: a part of the path is a file/);
    expectRefusal(await finetune(base, ''), /--out .*is empty: name a file or folder/, 2);
    expectRefusal(await finetune(base, `${base}/.`), /is the model's own folder, which must stay unchanged/, 2);
    expect(readdirSync(base)).toEqual(before);
  });

  it.runIf(existsSync('/proc/self'))('if the file system cannot make one, without trying for ever', async () => {
    expectRefusal(await finetune(base, '/proc/natsearch/out'), /cannot make the folder \/proc\/natsearch: no such file/);
  });
});

describe('numbers and text', () => {
  it('are refused by finetune if they leave nothing to learn', async () => {
    const out = join(root, 'unmade');
    expectRefusal(await finetune(base, out, '--chunk', '8'), /a context of 16 tokens has no chunk of 8 between/, 2);
    expectRefusal(await finetune(base, out, '--context', '5000'), /text in .*text\.txt has \d+ tokens but a context of 5000 needs 5001/);
    expect(existsSync(out)).toBe(false);
  });

  it('are refused by finetune if no adapter could hold them', async () => {
    const out = join(root, 'unmade');
    for (const [flag, name] of [['--window', 'window'], ['--local-window', 'localWindow']]) {
      expectRefusal(await finetune(base, out, flag, '2147483648'), new RegExp(`${name} is 2147483648: it must be at most 2147483647`));
    }
    expect(existsSync(out)).toBe(false);
  });
});

describe('a run on a published folder', () => {
  it('continues only with the same options, and its adapter fits only its base', async () => {
    const out = join(root, 'an adapter');
    expect(await finetune(base, out)).toMatchObject({ code: 0 });
    const files = () => readdirSync(out).map((file) => readFileSync(join(out, file), 'utf8'));
    const before = files();
    const other = join(root, 'other');
    cpSync(base, other, { recursive: true });
    edit('config.json', { rope_theta: 5 })(other);
    expectRefusal(await finetune(base, out, '--resume', '--window', '7'), /made with window = 1, not 7: resume with/);
    expectRefusal(await finetune(base, out, '--resume', '--local-window', '7'), /made without --local-window, not with --local-window 7: resume with/);
    expectRefusal(await finetune(other, out, '--resume'), /made with rope_theta = 10000, not 5: resume with/);
    expect(files()).toEqual(before);
    const asked = (model: string, adapter: string) => natsearch('generate', '--model', model, '--adapter', adapter, '--prompt', 'x');
    expectRefusal(await asked(other, out), /made for another base, "base": ropeTheta 10000, here 5: use the model/);
    expectRefusal(await asked(base, `${out}s`), /no such folder .*adapters: did you mean .*an adapter\?/);
    writeFileSync(join(out, 'finetune-state.safetensors'), 'x');
    expectRefusal(await finetune(base, out, '--resume'), /an adapter\/finetune-state\.safetensors: 1 bytes are too few/);
  });
});
