/** Model folders and configs: what is read back, and what is refused before any work starts. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, FileFormatError, StorageError } from '../src/core/errors.ts';
import { appendText, fileExists, writeFileAtomic, writeFilesAtomic } from '../src/files/files.ts';
import { readModelFolder, writeModelFolder } from '../src/model/folder/model-folder.ts';
import { encodeSafetensors } from '../src/formats/safetensors.ts';
import { expectedWeights, type ModelConfig, parseConfig, serializeConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';

const LLAMA = {
  model_type: 'llama', vocab_size: 258, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 32, tie_word_embeddings: true,
};
const NATS = { ...LLAMA, nats: { policy: 'nats', window: 4, chunk: 2, pooling: 'max', lambda: 0.5, temperature: 0.7 } };
const config: ModelConfig = parseConfig(NATS);
const weights = initialWeights(config, 1);

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-folder-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (folder = mkdtempSync(join(root, 'model-'))));

describe('a model folder', () => {
  it('gives back config and weights, rounded to float32', async () => {
    await writeModelFolder(folder, config, weights);
    const read = await readModelFolder(folder);
    expect(read.config).toEqual(config);
    expect([...read.weights.keys()]).toEqual([...weights.keys()]);
    for (const [name, { data }] of weights) {
      expect([...read.weights.get(name)!.data]).toEqual([...data].map(Math.fround));
    }
    expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors']);
  });

  const shards = (places: Record<string, unknown>, files: Record<string, string[]>) => {
    writeFileSync(join(folder, 'config.json'), serializeConfig(config));
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: places }));
    for (const [file, names] of Object.entries(files)) {
      writeFileSync(join(folder, file), encodeSafetensors(names.map((name) => [name, { ...weights.get(name)!, dtype: 'F64' }])));
    }
  };
  const all = [...weights.keys()];
  const [first, second] = [all.slice(0, 5), all.slice(5)];
  const places = Object.fromEntries(all.map((name) => [name, first.includes(name) ? 'a.safetensors' : 'b.safetensors']));

  it('may be sharded', async () => {
    shards(places, { 'a.safetensors': first, 'b.safetensors': second });
    const read = await readModelFolder(folder);
    for (const [name, { data }] of weights) expect([...read.weights.get(name)!.data]).toEqual([...data]);
  });

  it('is refused if its shards are missing, are outside the folder, lack a tensor or hold one too many', async () => {
    shards(places, { 'a.safetensors': first });
    await expect(readModelFolder(folder)).rejects.toThrow(/b\.safetensors, which is missing/);
    shards({ ...places, [first[0]]: '../a.safetensors' }, {});
    await expect(readModelFolder(folder)).rejects.toThrow(FileFormatError);
    shards(places, { 'a.safetensors': first.slice(1), 'b.safetensors': second });
    await expect(readModelFolder(folder)).rejects.toThrow(/lacks 'model\.embed_tokens\.weight'/);
    shards(places, { 'a.safetensors': all, 'b.safetensors': second });
    await expect(readModelFolder(folder)).rejects.toThrow(/which the index does not place there/);
  });

  it('is refused if a file is missing, truncated or not JSON', async () => {
    await expect(readModelFolder(join(folder, 'nowhere'))).rejects.toThrow(StorageError);
    await expect(readModelFolder(folder)).rejects.toThrow(/has no config\.json/);
    writeFileSync(join(folder, 'config.json'), '{"model_type": "llama",\n}\n');
    await expect(readModelFolder(folder)).rejects.toThrow(FileFormatError);
    await expect(readModelFolder(folder)).rejects.toThrow(/^[^\n]*config\.json is not valid JSON[^\n]*$/);
    writeFileSync(join(folder, 'config.json'), serializeConfig(config));
    await expect(readModelFolder(folder)).rejects.toThrow(/neither model\.safetensors nor/);
    await writeModelFolder(folder, config, weights);
    const bytes = readFileSync(join(folder, 'model.safetensors'));
    writeFileSync(join(folder, 'model.safetensors'), bytes.subarray(0, bytes.length - 1));
    await expect(readModelFolder(folder)).rejects.toThrow(/truncated/);
  });

  it('is refused if config and weights contradict each other', async () => {
    await writeModelFolder(folder, config, weights);
    const rewrite = (fields: object) => {
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...JSON.parse(serializeConfig(config)), ...fields }));
    };
    rewrite({ intermediate_size: 16 });
    await expect(readModelFolder(folder)).rejects.toThrow(/gate_proj.* is \[12,8\] but .* it must be \[16,8\]/);
    rewrite({ num_hidden_layers: 3 });
    await expect(readModelFolder(folder)).rejects.toThrow(/10 weights are missing/);
    rewrite({ num_hidden_layers: 1 });
    await expect(readModelFolder(folder)).rejects.toThrow(ConfigError);
    await expect(writeModelFolder(folder, config, new Map([...weights].slice(1)))).rejects.toThrow(ConfigError);
  });
});

describe('appendText()', () => {
  it('appends to a file, makes a new one, and names what it cannot write to', async () => {
    const path = join(folder, 'log');
    for (const line of ['a\n', 'b\n']) await appendText(path, line);
    expect(readFileSync(path, 'utf8')).toBe('a\nb\n');
    await expect(appendText(folder, 'c')).rejects.toThrow(StorageError);
    await expect(appendText(folder, 'c')).rejects.toThrow(/^cannot write .*: it is a folder: name a file$/);
  });
});

describe('writeFileAtomic()', () => {
  it('leaves the old file intact and no temporary one if the disk is full', () => {
    const path = join(folder, 'file');
    writeFileSync(path, 'old');
    // A limit on the size of files stands in for a full disk: the write fails halfway.
    const script = `import { fileExists, writeFileAtomic, writeFilesAtomic } from ${JSON.stringify(fileURLToPath(new URL('../src/files/files.ts', import.meta.url)))};
      process.on('SIGXFSZ', () => {});
      await writeFileAtomic(${JSON.stringify(path)}, new Uint8Array(1 << 20)).catch((e) => console.log(e.name + ': ' + e.message));`;
    writeFileSync(join(folder, 'write.mts'), script);
    execFileSync(fileURLToPath(new URL('../node_modules/.bin/esbuild', import.meta.url)), [
      join(folder, 'write.mts'), '--bundle', '--platform=node', '--format=esm', '--log-level=error',
      `--outfile=${join(folder, 'write.mjs')}`,
    ]);
    const command = `ulimit -f 64; exec "${process.execPath}" "${join(folder, 'write.mjs')}"`;
    const said = execFileSync('bash', ['-c', command], { encoding: 'utf8' });
    expect(said).toMatch(/^StorageError: cannot write .*file: [^\n]+\n$/);
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('replaces none of several files if one of them cannot be written', async () => {
    writeFileSync(join(folder, 'a'), 'old');
    const both = [[join(folder, 'a'), 'new'], [join(folder, 'a', 'below'), 'new']] as const;
    await expect(writeFilesAtomic(both)).rejects.toThrow(/cannot (write|look at) .*below: a part of the path is/);
    expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('names what is wrong with the path', async () => {
    writeFileSync(join(folder, 'file'), 'old');
    await expect(writeFileAtomic(join(folder, 'file', 'below'), 'x')).rejects.toThrow(/is a file, not a folder/);
    await expect(writeFileAtomic(join(folder, 'no', 'where'), 'x')).rejects.toThrow(StorageError);
    await expect(writeFileAtomic(folder, 'x')).rejects.toThrow(StorageError);
    expect(readdirSync(folder)).toEqual(['file']);
  });
});

describe('parseConfig()', () => {
  it('reads what serializeConfig() writes, and a plain Llama config as policy full', () => {
    expect(parseConfig(JSON.parse(serializeConfig(config)))).toEqual(config);
    expect(parseConfig(LLAMA).nats.policy).toBe('full');
    expect(parseConfig(LLAMA)).toMatchObject({ headDim: 2, ropeTheta: 10000, kvHeads: 2 });
    expect([...expectedWeights(parseConfig(LLAMA)).keys()].some((name) => name.includes('proj_layer'))).toBe(false);
    expect(expectedWeights(config).get('model.layers.1.self_attn.proj_layer.weight')).toEqual([6, 8]);
  });

  it.each<[string, object]>([
    ['model_type', { model_type: 'gpt2' }], ['hidden_act', { hidden_act: 'gelu' }], ['attention_bias', { attention_bias: true }],
    ['rope_scaling', { rope_scaling: { factor: 2 } }], ['vocab_size', { vocab_size: 0 }], ['hidden_size', { hidden_size: 2.5 }],
    ['num_hidden_layers', { num_hidden_layers: '2' }], ['num_key_value_heads', { num_key_value_heads: 3 }],
    ['head_dim', { head_dim: 3 }], ['rms_norm_eps', { rms_norm_eps: -1 }], ['tie_word_embeddings', { tie_word_embeddings: 1 }],
    ['nats.window', { nats: { window: -1 } }], ['nats.window', { nats: { window: 1.5 } }], ['nats.chunk', { nats: { window: 1, chunk: 0 } }],
    ['nats.policy', { nats: { policy: 'best', window: 1 } }], ['nats.pooling', { nats: { window: 1, pooling: 'sum' } }],
    ['nats.lambda', { nats: { window: 1, lambda: -1 } }], ['nats', { nats: 3 }],
    ['num_hidden_layers', { num_hidden_layers: 2_000_000_000 }], ['eos_token_id', { eos_token_id: 2.5 }],
    ['eos_token_id', { eos_token_id: [1, '2'] }], ['bos_token_id', { bos_token_id: [1, 2] }], ['rope_theta', { rope_theta: Infinity }],
    ['nats.lambda', { nats: { window: 1, lambda: Infinity } }], ['nats.temperature', { nats: { window: 1, temperature: NaN } }],
    ['widnow', { nats: { policy: 'nats', window: 1, widnow: 2 } }], ['nats.window', { nats: { policy: 'nats' } }],
    ['rope_parameters.rope_type', { rope_parameters: { rope_type: 'longrope', rope_theta: 5e5 } }],
    ['rope_parameters.factor', { rope_parameters: { rope_type: 'llama3', rope_theta: 5e5 } }],
    ['rope_parameters.rope_theta', { rope_parameters: { rope_theta: 0 } }],
    ['hidden_act', { hidden_act: 'line\nbreak' }], ['nats.policy', { nats: { policy: 'line\nbreak', window: 1 } }],
  ])('refuses a wrong %s: %j', (field, change) => {
    expect(() => parseConfig({ ...LLAMA, ...change })).toThrow(ConfigError);
    expect(() => parseConfig({ ...LLAMA, ...change })).toThrow(new RegExp(`^[^\\n]*${field.replace('.', '\\.')}[^\\n]*$`));
  });

  it('reads rope_theta where newer files keep it', () => {
    expect(parseConfig({ ...LLAMA, rope_theta: 5e5 }).ropeTheta).toBe(5e5);
    expect(parseConfig({ ...LLAMA, rope_parameters: { rope_type: 'default', rope_theta: 1e6 } }).ropeTheta).toBe(1e6);
    expect(parseConfig({ ...LLAMA, rope_theta: 5e5, rope_parameters: null }).ropeTheta).toBe(5e5);
  });

  it('takes the window of a fixed policy from its name', () => {
    expect(parseConfig({ ...LLAMA, nats: { policy: 'streaming:4+16' } }).nats.window).toBe(16);
    expect(parseConfig({ ...LLAMA, nats: { policy: 'full' } }).nats.window).toBe(0);
  });

  it('refuses a number such as 1e999, and shows that it is read as Infinity', () => {
    expect(() => parseConfig({ ...LLAMA, rope_theta: JSON.parse('1e999') })).toThrow(/rope_theta is Infinity/);
  });

  it('refuses what is not an object', () => {
    for (const json of [null, 3, 'x', []]) expect(() => parseConfig(json)).toThrow(ConfigError);
  });
});

describe('fileExists()', () => {
  it('says whether a file exists, and throws if that cannot be known', async () => {
    writeFileSync(join(folder, 'file'), '');
    expect(await fileExists(join(folder, 'file'))).toBe(true);
    expect(await fileExists(folder)).toBe(true);
    expect(await fileExists(join(folder, 'nowhere'))).toBe(false);
    expect(await fileExists(join(folder, 'file', 'below'))).toBe(false);
    await expect(fileExists(join(folder, 'x'.repeat(300)))).rejects.toThrow(StorageError);
  });
});
