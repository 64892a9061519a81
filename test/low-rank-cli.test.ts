/** `natsearch finetune --low-rank` and what `export` and `inspect` make of it, as processes. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeSafetensors } from '../src/formats/safetensors.ts';
import { loadModel } from '../src/load.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { readAdapter } from '../src/model/folder/adapter.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { initialWeights } from '../src/model/init.ts';
import { bytes, natsearch, steps } from './support/run-command.ts';
import { some, THOROUGH } from './support/thorough.ts';

const FILES = ['adapter_config.json', 'adapter_model.safetensors', 'finetune-state.safetensors'];
const config = parseConfig({
  vocab_size: 258, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
});

let root: string;
let base: string;
let text: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-low-rank-'));
  text = join(root, 'text.txt');
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
  base = join(root, 'base');
  await writeModelFolder(base, config, initialWeights(config, 1));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const finetune = (out: string, ...more: string[]): string[] =>
  ['finetune', '--model', base, '--text', text, '--out', out, '--batch', '2', '--low-rank', '2', ...more];

describe('natsearch finetune --low-rank', () => {
  it('writes the same bytes on any number of threads, and export the weights as they are loaded', async () => {
    const out = join(root, 'one');
    const many = ['--steps', '2', '--low-rank-alpha', '3'];
    const runs = [finetune(out, ...many, '--threads', '1'), finetune(`${out}-2`, ...many, '--threads', '2')];
    for (const { code, stderr } of await Promise.all(runs.map((args) => natsearch(args)))) expect(code, stderr).toBe(0);
    for (const file of FILES) expect(bytes(`${out}-2`, file).equals(bytes(out, file)), file).toBe(true);
    const { lowRank, weights } = await readAdapter(out);
    expect(lowRank).toMatchObject({ rank: 2, alpha: 3 });
    expect([...lowRank!.weights.values()].every(({ data }) => data.some((x) => x !== 0))).toBe(true);

    const file = join(root, 'merged.safetensors');
    const exported = await natsearch(['export', '--adapter', out, '--model', base, '--out', file]);
    expect(exported).toMatchObject({ code: 0, stdout: `2 scorers and 4 merged weights in ${file}\n` });
    const { tensors } = decodeSafetensors(readFileSync(file));
    const model = await loadModel(base, { adapter: out });
    const merged = [0, 1].flatMap((n) => ['q', 'k'].map((letter) => `model.layers.${n}.self_attn.${letter}_proj.weight`));
    expect([...tensors.keys()].sort()).toEqual([...weights.keys(), ...merged].sort());
    for (const [name, { data, dtype }] of tensors) {
      expect(dtype).toBe('F32');
      expect([...data], name).toEqual([...await model.engine.read(model.weights.get(name)!)]);
    }
    if (!THOROUGH) return;
    const { stdout } = await natsearch(['inspect', '--model', base, '--adapter', out]);
    expect(stdout).toMatch(/ {2}low rank {6}2, alpha 3: queries and keys are changed/);
  }, 60_000);

  it('refuses what cannot be, in one line, before anything is written', async () => {
    const out = join(root, 'refused');
    const one = (...more: string[]) => ['finetune', '--model', base, '--text', text, '--out', out, ...more];
    const cases: [string[], RegExp, number][] = [
      [one('--low-rank', '17'), /rank is 17, but the query projection of this model has only rank 16/, 2],
      [one('--low-rank', '1.5'), /--low-rank/, 2],
      [one('--low-rank-alpha', '2'), /--low-rank-alpha 2 multiplies changes of q and k, but there are none/, 2],
      [finetune(join(root, 'one'), '--steps', '2', '--resume'), /the checkpoint was made with alpha = 3, not 2/, 1],
      [['export', '--adapter', join(root, 'one'), '--out', join(root, 'x')], /also changes q and k, .* pass --model/, 2],
    ];
    const chosen = some(2, cases);
    const ended = await Promise.all(chosen.map(([args]) => natsearch(args)));
    for (const [n, { code, stderr }] of ended.entries()) {
      const [args, message, wanted] = chosen[n];
      expect(stderr, args.join(' ')).toMatch(message);
      expect(code, stderr).toBe(wanted);
    }
    for (const path of [out, join(root, 'x')]) expect(existsSync(path)).toBe(false);
  }, 60_000);

  if (THOROUGH) it('resumes after Ctrl-C with the bytes of an uninterrupted run', async () => {
    const out = join(root, 'stopped');
    const options = ['--steps', '40', '--save-every', '1000'];
    const log = join(out, 'log.jsonl');
    const interruptWhen = () => existsSync(log) && readFileSync(log, 'utf8').split('\n').length > 3;
    expect((await natsearch(finetune(out, ...options, '--threads', '2'), { interruptWhen })).code).toBe(130);
    expect(steps(out).length).toBeLessThan(40);
    expect(await natsearch(finetune(out, ...options, '--threads', '1', '--resume'))).toMatchObject({ code: 0 });
    expect(await natsearch(finetune(`${out}-whole`, ...options))).toMatchObject({ code: 0 });
    for (const file of FILES) expect(bytes(out, file).equals(bytes(`${out}-whole`, file)), file).toBe(true);
  }, 120_000);
});
