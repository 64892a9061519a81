/** Slow tests of `natsearch finetune`: what is resumed and extended, and what is not. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { bytes, natsearch, steps } from './support/run-command.ts';

const FILES = ['adapter_config.json', 'adapter_model.safetensors', 'finetune-state.safetensors', 'log.jsonl'];
const config = parseConfig({
  vocab_size: 258, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
});

let root: string;
let base: string;
let out: string;
let text: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-finetune-'));
  text = join(root, 'text.txt');
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
  base = join(root, 'base');
  await writeModelFolder(base, config, initialWeights(config, 1));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (out = join(mkdtempSync(join(root, 'run-')), 'out')));

const finetune = (folder: string, ...more: string[]): string[] =>
  ['finetune', '--model', base, '--text', text, '--out', folder, '--batch', '2', ...more];

describe('natsearch finetune', () => {
  it('refuses to overwrite a run, and to resume one with other options or without a checkpoint', async () => {
    expect(await natsearch(finetune(out, '--steps', '1'))).toMatchObject({ code: 0 });
    const before = FILES.map((file) => bytes(out, file));
    expect((await natsearch(finetune(out, '--steps', '1'))).stderr).toMatch(/already holds a fine-tuning.*--resume/);
    const other = await natsearch(finetune(out, '--steps', '1', '--resume', '--keep', '0.5'));
    expect(other).toMatchObject({ code: 1 });
    expect(other.stderr).toMatch(/keep = 0\.25, not 0\.5/);
    expect(FILES.map((file) => bytes(out, file))).toEqual(before);
    const swapped = join(mkdtempSync(join(root, 'swapped-')), 'base');
    await writeModelFolder(swapped, config, initialWeights(config, 2));
    const elsewhere = finetune(out, '--steps', '1', '--resume').map((word) => (word === base ? swapped : word));
    const refused = await natsearch(elsewhere);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toMatch(/other weights of the base than those in .*swapped.*resume with the same base/);
    expect(FILES.map((file) => bytes(out, file))).toEqual(before);
    const generate = ['generate', '--model', swapped, '--adapter', out, '--prompt', 'a', '--max-new-tokens', '1'];
    const warned = await natsearch(generate);
    expect(warned).toMatchObject({ code: 0 });
    expect(warned.stderr).toMatch(/^natsearch: warning: the adapter was made for "base" with other weights/m);
    expect((await natsearch(finetune(`${out}-none`, '--resume'))).stderr).toMatch(/no finetune-state\.safetensors to resume from/);
    expect(existsSync(`${out}-none`)).toBe(false);
  }, 60_000);

  it('prints and logs the loss on held-out text, and extends a finished run without changing its steps', async () => {
    const first = await natsearch(finetune(out, '--steps', '2', '--validation', text, '--validation-tokens', '40', '--json'));
    expect(first.stderr).toMatch(/step 2: validation loss \d+\.\d\d% over 40 tokens, kept \d+\.\d%/);
    const lines = () => readFileSync(join(out, 'log.jsonl'), 'utf8').trim().split('\n');
    const done = lines();
    const { validationLoss, validationRelativeLoss } = JSON.parse(done[1]) as Record<string, number>;
    expect([validationLoss, validationRelativeLoss]).toEqual([expect.any(Number), expect.any(Number)]);
    expect(JSON.parse(first.stdout)).toMatchObject({ step: 2, validationLoss, validationRelativeLoss });
    const more = await natsearch(finetune(out, '--steps', '4', '--resume'));
    expect(more.stderr).toMatch(/^natsearch: note: the run was planned for 2 steps, has done 2, and continues to 4/);
    expect(lines().slice(0, 2)).toEqual(done);
    expect(steps(out)).toEqual([1, 2, 3, 4]);
    expect(await natsearch(finetune(out, '--steps', '3', '--resume'))).toMatchObject({ code: 1 });
  }, 60_000);
});
