/** Fields of config.json with other values: what they change, what is refused, and adapters that bring them along. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, FileFormatError, ValueError } from '../src/core/errors.ts';
import { loadModel } from '../src/load.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { type ConfigOverrides, mergePatch, parseOverridden } from '../src/model/config/config-overrides.ts';
import { baseFields, readAdapter } from '../src/model/folder/adapter.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { initialWeights } from '../src/model/init.ts';
import { expectError } from './support/expect-error.ts';
import { natsearch } from './support/run-command.ts';
import { THOROUGH } from './support/thorough.ts';

const JSON_CONFIG = {
  vocab_size: 258, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
  rope_parameters: { rope_theta: 5000, rope_type: 'default' }, use_cache: true,
};
const YARN = {
  max_position_embeddings: 128,
  rope_parameters: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 },
};
const config = parseConfig(JSON_CONFIG);
/** What a file says that has the overrides written into it by hand. */
const yarned = parseConfig({
  ...JSON_CONFIG, max_position_embeddings: 128, rope_parameters: { rope_theta: 5000, ...YARN.rope_parameters },
});

let root: string;
let base: string;
let written: string;
let text: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-overrides-'));
  [base, written, text] = ['base', 'written', 'text.txt'].map((name) => join(root, name));
  await writeModelFolder(base, config, initialWeights(config, 1));
  await writeModelFolder(written, yarned, initialWeights(config, 1));
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const IDS = Int32Array.from({ length: 40 }, (_, n) => 65 + (n * 7) % 50);
async function logits(folder: string, options: Parameters<typeof loadModel>[1] = {}): Promise<number[]> {
  const model = await loadModel(folder, options);
  try {
    return [...await model.session({ policy: { kind: 'full' } }).step(IDS, { logits: 'last' })];
  } finally {
    model.dispose();
  }
}

describe('overrides of a config', () => {
  it('replace fields one by one, in objects too', () => {
    expect(parseOverridden(JSON_CONFIG, [YARN])).toEqual(yarned);
    expect(parseOverridden(JSON_CONFIG, [{}])).toEqual(config);
    expect(parseOverridden(JSON_CONFIG, [{ rope_parameters: null }, { rope_theta: 700 }]).ropeTheta).toBe(700);
    expect(parseOverridden(JSON_CONFIG, [{ nats: { policy: 'window:8' } }]).nats).toMatchObject({ policy: 'window:8', window: 8 });
    expect(JSON_CONFIG.rope_parameters).toEqual({ rope_theta: 5000, rope_type: 'default' }); // nothing is written to
  });

  it.each<[unknown, unknown, unknown]>([ // RFC 7396, appendix A
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }], [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }], [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }], [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }], [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }], [['a', 'b'], ['c', 'd'], ['c', 'd']], [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null], [{ a: 'foo' }, 'bar', 'bar'], [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }], [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('are merged into %j by %j as the RFC says', (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });

  it.each<[string, ConfigOverrides, RegExp]>([
    ['an unknown field', { rope_thetta: 1 }, /override of "rope_thetta" has no effect/],
    ['a field without effect', { use_cache: false }, /override of "use_cache" has no effect/],
    ['a value that does not fit', { rope_parameters: { factor: -1, rope_type: 'yarn' } }, /factor.*\(with the overrides of rope_parameters\)/],
    ['fields that contradict each other', { rope_parameters: { rope_theta: 7 } }, /rope_theta.*\(with the overrides of rope_parameters\)/],
    ['an architecture that is not supported', { model_type: 'gpt2' }, /gpt2.*\(with the overrides of model_type\)/],
  ])('are refused for %s', async (_, configOverrides, message) => {
    await expectError(() => loadModel(base, { configOverrides }), ConfigError, message);
    await expectError(() => loadModel(base, { configOverrides }), ConfigError, /base\/config\.json/);
  });

  it('are refused if they contradict the weights, or are no object', async () => {
    await expectError(() => loadModel(base, { configOverrides: { num_hidden_layers: 3 } }), ConfigError, /weights/);
    await expectError(() => loadModel(base, { configOverrides: [] as never }), ValueError, /configOverrides/);
    const endless: Record<string, unknown> = {};
    endless['nats'] = endless;
    await expectError(() => loadModel(base, { configOverrides: endless }), ValueError, /configOverrides/);
  });

  it('give a folder and bytes in memory the numbers of a folder with another config.json', async () => {
    const expected = await logits(written);
    expect(await logits(base)).not.toEqual(expected);
    expect(await logits(base, { configOverrides: YARN })).toEqual(expected);
    const bytes = await loadModel({
      config: JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')), weights: readFileSync(join(base, 'model.safetensors')),
    }, { configOverrides: YARN });
    expect(bytes.config).toEqual({ ...yarned, eosTokenIds: bytes.config.eosTokenIds });
    expect([...await bytes.session().step(IDS, { logits: 'last' })]).toEqual(expected);
    bytes.dispose();
  });
});

describe('an adapter that was learned with overrides', () => {
  const overrides = JSON.stringify(YARN);
  let adapter: string;
  beforeAll(async () => {
    adapter = join(root, 'adapter');
    const { code, stderr } = await natsearch(['finetune', '--model', base, '--text', text, '--out', adapter, '--steps', '2',
      '--batch', '1', '--context', '64', '--config-overrides', overrides]);
    expect(stderr).toContain('fine-tuned 2 steps');
    expect(code).toBe(0);
  }, 60_000);

  it('brings them along, and its base has what they say', async () => {
    const learned = await readAdapter(adapter);
    expect(learned.configOverrides).toEqual(YARN);
    expect(learned.base).toEqual(baseFields(yarned));
    const model = await loadModel(base, { adapter });
    expect(model.config).toMatchObject({ maxPositions: 128, ropeTheta: 5000, ropeScaling: { kind: 'yarn', factor: 4 } });
    model.dispose();
    expect(await logits(base, { adapter })).toEqual(await logits(written)); // full attention reads no types
  });

  it('is refused with others, and without its own where it does not have them', async () => {
    const configOverrides = { rope_parameters: { factor: 8 } };
    const different = /ropeScaling .*"factor":4.*, here .*"factor":8/;
    await expectError(() => loadModel(base, { adapter, configOverrides }), ConfigError, different);
    const without = { ...await readAdapter(adapter), configOverrides: undefined };
    const missing = /ropeScaling .*, here nothing.* override these fields/;
    await expectError(() => loadModel(base, { adapter: without }), ConfigError, missing);
    const model = await loadModel(base, { adapter: without, configOverrides: YARN });
    expect(model.config.maxPositions).toBe(128);
    model.dispose();
    const file = join(adapter, 'adapter_config.json');
    const kept = readFileSync(file, 'utf8');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(kept) as object, config_overrides: 3 }));
    await expectError(() => readAdapter(adapter), FileFormatError, /config_overrides is 3, not an object/);
    writeFileSync(file, kept);
  });

  it('resumes with the same overrides, and with no others', async () => {
    const again = (more: string[]) => natsearch(['finetune', '--model', base, '--text', text, '--out', adapter, '--steps', '3',
      '--batch', '1', '--context', '64', '--resume', ...more]);
    const other = await again([]);
    expect(other).toMatchObject({ code: 1 });
    expect(other.stderr).toMatch(/the checkpoint was made with (max_position_embeddings|rope_scaling)/);
    expect((await again(['--config-overrides', overrides])).code).toBe(0);
    expect(await readAdapter(adapter)).toMatchObject({ steps: 3, configOverrides: YARN });
  }, 60_000);

  if (THOROUGH) {
    it('reaches the commands, and an arena asks for the same for everybody', async () => {
      const described = await natsearch(['inspect', '--model', base, '--adapter', adapter, '--json']);
      expect(JSON.parse(described.stdout)).toMatchObject({ config: { maxPositions: 128, ropeScaling: { kind: 'yarn' } } });
      const planned = await natsearch(['plan', '--model', base, '--adapter', adapter, '--json']);
      expect(JSON.parse(planned.stdout)).toMatchObject({ trainedWith: 128 });
      const asked = ['eval', '--text', text, '--context', '60', '--policy', 'full', '--json'];
      const perplexity = async (more: string[]): Promise<number> => {
        const { stdout } = await natsearch([...asked, ...more]);
        return (JSON.parse(stdout) as { results: [{ perplexity: number }] }).results[0].perplexity;
      };
      const expected = await perplexity(['--model', written]);
      expect(await perplexity(['--model', base, '--config-overrides', overrides])).toBe(expected);
      expect(await perplexity(['--model', base, '--adapter', adapter])).toBe(expected);
      const arena = await natsearch(['arena', '--model', base, '--adapter', adapter, '--text', text, '--out', join(root, 'arena')]);
      expect(arena).toMatchObject({ code: 2, stderr: expect.stringContaining('give --config-overrides \'{') as string });
      const wrong = await natsearch(['generate', '--model', base, '--prompt', 'x', '--config-overrides', '[1]']);
      expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('It must be a JSON object') as string });
    }, 60_000);
  }
});
