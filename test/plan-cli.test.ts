/** natsearch plan: a config.json is enough to know how much memory a model needs, and whether it fits. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { thisMachine } from '../src/cli/machine.ts';
import { describePlan, type Report } from '../src/cli/plan-text.ts';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { ndarray } from '../src/core/tensor.ts';
import { some } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
/** TinyLlama's sizes, as published. */
const CONFIG = {
  architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 32_000, hidden_size: 2048,
  intermediate_size: 5632, num_hidden_layers: 22, num_attention_heads: 32, num_key_value_heads: 4,
  max_position_embeddings: 2048, torch_dtype: 'bfloat16',
};
/** The number of weights according to its page on Hugging Face. */
const PARAMETERS = 1_100_048_384;

interface Result { readonly code: number; readonly stdout: string; readonly stderr: string }
const plan = (...args: string[]): Promise<Result> => new Promise((resolve) => {
  execFile(process.execPath, [MAIN, 'plan', ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
    resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
  });
});

let folder: string;
const path = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plan-'));
  await writeFile(path('config.json'), JSON.stringify(CONFIG));
  await writeFile(path('broken.json'), '{');
  const base = parseConfig(CONFIG);
  const keptByLayer = Array.from({ length: 22 }, (_, n) => (n < 11 ? 0.1 : 0.3));
  const scorer = (n: number) => `model.layers.${n}.self_attn.proj_layer.weight`;
  await writeAdapter(path('adapter'), {
    baseModel: 'TinyLlama', base: baseFields(base), window: 64, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.2, kept: 0.2, keptByLayer, context: 512, steps: 1, seed: 0, packageVersion: '0.0.0',
    weights: new Map(keptByLayer.map((_, n) => [scorer(n), ndarray(new Float32Array(12 * 2048), [12, 2048])])),
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('natsearch plan', () => {
  it('needs only a config.json, given by its folder or its own name', async () => {
    // 2 x 64 numbers of 8 or 4 bytes, and 9 bytes more, for each of 22 layers of 4 heads.
    for (const [model, engine, each] of [[folder, 'reference', 1033], [path('config.json'), 'wasm', 521]] as const) {
      const named = engine === 'reference' ? ['--engine', engine] : []; // wasm is the default
      const { code, stdout, stderr } = await plan('--model', model, '--json', ...named);
      expect([code, stderr]).toEqual([0, '']);
      const report = JSON.parse(stdout) as Report;
      expect(report).toMatchObject({
        architecture: 'LlamaForCausalLM', dtype: 'bfloat16', trainedWith: 2048, gpu: null, engine,
        kept: { share: 0.25, source: 'assumed' },
        plan: { parameters: PARAMETERS, stored: 2 * PARAMETERS, entryBytes: each, tokenBytes: 88 * each },
      });
      expect(report.plan.policies.map(({ policy }) => policy)).toEqual(['full', 'window:256', 'nats']);
      const entries = 88 * 4096;
      expect(report.plan.policies[0].caches[0]).toMatchObject({ tokens: 4096, entries, bytes: entries * each });
    }
  });

  it('uses what an adapter measured, and plans for --context and for the limits of an engine on gpu.js', async () => {
    const { stdout, stderr, code } = await plan(
      '--model', folder, '--adapter', path('adapter'), '--context', '1600', '--gpu', 'cpu', '--policy', 'nats', 'full', '--json',
    );
    expect([code, stderr]).toEqual([0, '']);
    const report = JSON.parse(stdout) as Report;
    expect(report.kept).toMatchObject({ source: 'measured', context: 512 });
    expect(report.gpu).toMatchObject({ tensorBytes: 2 ** 30, sharesMemory: true });
    const entries = 4 * 11 * (160 + 480);
    const [nats, full] = report.plan.policies;
    expect(nats.caches).toMatchObject([{ tokens: 1600, entries, bytes: entries * (2 * 64 * 4 + 9) }]);
    expect(full.caches).toMatchObject([{ tokens: 1600, entries: 88 * 1600 }]);
    expect(report.plan.parameters).toBe(PARAMETERS + 22 * 12 * 2048);
  });

  it('refuses in one line what is not a config', async () => {
    const wrong: [args: string[], message: RegExp][] = [
      [['--model', path('none')], /no such folder or file/],
      [['--model', path('broken.json')], /not valid JSON/],
      [['--model', path('adapter')], /has no config.json: download it \(no weights are needed\)/],
    ];
    for (const [args, message] of some(1, wrong)) {
      const { code, stdout, stderr } = await plan(...args);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(message);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    }
    expect((await plan('--model', folder, '--context', '0')).code).toBe(2);
  });

  it('prints whether it fits, which limit is reached first, and what is assumed', async () => {
    const { stdout } = await plan('--model', folder, '--context', '2048', '--engine', 'reference', '--json');
    const report = JSON.parse(stdout) as Report;
    const machine = { memory: 2 ** 33, free: 2 ** 32, contained: true, largestArray: 2 ** 32, process: 2 ** 27 };
    const text = (plan: Partial<Report['plan']>, more: Partial<Report> = {}): string =>
      describePlan({ ...report, machine, ...more, plan: { ...report.plan, exceeds: undefined, ...plan } });
    const tight = /^ {2}fits {7}yes, but not beside what runs now: 4\.\d GiB are needed, 4\.0 GiB are free$/m;
    expect(text({})).toMatch(tight);
    expect(text({})).toMatch(/8\.0 GiB that its container allows/);
    expect(text({})).toMatch(/nats: 25\.0% of the cache kept \(assumed: /);
    expect(text({ exceeds: 'memory' })).toMatch(/^ {2}fits {7}no: the weights and a step take 4\.\d GiB$/m);
    const large = /no: model.embed_tokens.weight takes 250\.0 MiB, beyond maxBufferSize/;
    expect(text({ exceeds: 'maxBufferSize' })).toMatch(large);
    const limit = 'maxStorageBufferBindingSize';
    const gpu = { name: 'gpu.js webgpu (X)', tensorBytes: 2 ** 27, limit, sharesMemory: false };
    const said = new RegExp(`X\\): one tensor has at most 128\\.0 MiB \\(${limit}\\); WebGPU does not tell`);
    expect(text({}, { gpu })).toMatch(said);
    expect(text({})).toMatch(/^cache +2k tokens +longest text +its limit\n/m);
  });
});

describe('the memory of this machine', () => {
  it('is what a container allows, if that is less than the machine has', () => {
    const { memory: all } = thisMachine({});
    expect(all).toBeGreaterThan(2 ** 28);
    expect(thisMachine({ constrainedMemory: () => 2 ** 28 })).toMatchObject({ memory: 2 ** 28, contained: true });
    for (const limit of [0, undefined, 2 ** 63]) {
      expect(thisMachine({ constrainedMemory: () => limit })).toMatchObject({ memory: all, contained: false });
    }
    expect(thisMachine({ constrainedMemory: () => 2 ** 28, availableMemory: () => 2 ** 40 }).free).toBe(2 ** 28);
  });
});
