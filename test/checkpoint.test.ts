/** Checkpoints: the files from which a run resumes, and what is refused. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { FileFormatError, ValueError } from '../src/core/errors.ts';
import { fingerprint, loadCheckpoint, readLog, resumed, saveCheckpoint } from '../src/train/checkpoint.ts';
import { Trainer } from '../src/train/trainer.ts';
import { configOf, optionsOf, tokens } from './support/train-setup.ts';

describe('a checkpoint', () => {
  it('has the state of a run of learned types, bit for bit, and says what run it is', async () => {
    const [config, options] = [configOf('nats'), optionsOf()];
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-training-'));
    try {
      const trainer = new Trainer(createEngine(), config, options, tokens);
      for (let n = 0; n < 3; n++) await trainer.next();
      const saved = await trainer.state();
      await saveCheckpoint(folder, saved, { config, options, textHash: fingerprint(tokens) });
      const { state, run } = await loadCheckpoint(folder);
      expect(run).toEqual({ config, options, textHash: fingerprint(tokens) });
      expect(state).toEqual(saved);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is refused by a run with other options, which it names', () => {
    const run = { config: configOf('nats'), options: optionsOf(), textHash: 'a' };
    expect(resumed(run, run, 1)).toEqual({ run });
    expect(() => resumed(run, { ...run, options: optionsOf({ seed: 12 }) }, 1)).toThrow(/seed = 11, not 12/);
    expect(() => resumed(run, { ...run, textHash: 'b' }, 1)).toThrow(/text \(tokens-fingerprint\) = "a", not "b"/);
    expect(() => resumed(run, { ...run, config: configOf('nats', 0.5) }, 1)).toThrow(ValueError);
  });

  it('is refused by name, too, where one of the runs lacks an option', () => {
    const config = configOf('nats');
    const run = { config, options: optionsOf(), textHash: 'a' };
    const second = { ...run, config: { ...config, nats: { ...config.nats, localWindow: 7 } } };
    const mixed = { ...run, options: optionsOf({ precision: 'mixed' }) };
    const sliding = { ...run, config: { ...config, modelType: 'mistral', slidingWindow: 8 } as const };
    const plain = { ...sliding, config: { ...config, modelType: 'mistral' } as const };
    for (const [saved, wanted, told] of [
      [run, second, 'without --local-window, not with --local-window 7'],
      [second, run, 'with --local-window 7, not without --local-window'],
      [run, mixed, 'without --compute f16, not with --compute f16'],
      [mixed, run, 'with --compute f16, not without --compute f16'],
      [sliding, plain, 'with sliding_window = 8, not null'],
    ] as const) {
      expect(() => resumed(saved, wanted, 1)).toThrow(`the checkpoint was made ${told}: resume with the same options, or choose another --out`);
    }
    // A fine-tuning may learn changes of q and k, too.
    const [scorers, changed] = [run.options, { ...run.options, rank: 4 }].map((options) => ({ ...run, options }));
    expect(() => resumed(scorers, changed, 1)).toThrow('made without --low-rank, not with --low-rank 4: resume');
  });

  it('whose file is damaged is refused by name, and a log is cut at its step', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-checkpoint-'));
    try {
      const [config, options] = [configOf('full'), optionsOf()];
      const trainer = new Trainer(createEngine(), config, options, tokens);
      await saveCheckpoint(folder, await trainer.state(), { config, options, textHash: '' });
      expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors', 'training-state.safetensors']);
      writeFileSync(join(folder, 'log.jsonl'), '{"step":1}\n{"step":2}\n{"step":3}\n{"ste');
      expect(await readLog(folder, 2)).toEqual([{ step: 1 }, { step: 2 }]);
      const path = join(folder, 'training-state.safetensors');
      writeFileSync(path, readFileSync(path).subarray(0, -100));
      await expect(loadCheckpoint(folder)).rejects.toThrow(FileFormatError);
      writeFileSync(path, readFileSync(join(folder, 'model.safetensors')));
      await expect(loadCheckpoint(folder)).rejects.toThrow(FileFormatError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
