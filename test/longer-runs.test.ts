/** Runs that are extended, or take longer than a user may expect. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Pace } from '../src/cli/pace.ts';
import { createEngine } from '../src/engines.ts';
import { StoppedError } from '../src/core/errors.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { loadCheckpoint, resumed, type RunRecord, saveCheckpoint } from '../src/train/checkpoint.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { DEFAULT_TRAIN_OPTIONS, learningRateAt, type TrainOptions } from '../src/train/options.ts';
import { Trainer } from '../src/train/trainer.ts';

const tokens = tokenizeDocuments(new ByteTokenizer(), ['It was the best of times, it was the worst of times. '.repeat(4)]);

const configOf = (policy: string, lambda = 0.001): ModelConfig => parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
  ...(policy !== 'full' && { nats: { policy, window: 2, lambda } }),
});
const optionsOf = (change: Partial<TrainOptions> = {}): TrainOptions =>
  ({ ...DEFAULT_TRAIN_OPTIONS, seed: 3, batch: 2, context: 24, warmup: 2, steps: 4, ...change });

describe('a finished run', () => {
  it('is extended on the schedule of the larger number of steps, and an interrupted extension ends with the same bits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-longer-'));
    try {
      const config = configOf('nats');
      const record = (steps: number): RunRecord => ({ config, options: optionsOf({ steps }), textHash: 'a' });
      const first = new Trainer(createEngine(), config, optionsOf(), tokens);
      await first.run();
      await saveCheckpoint(folder, await first.state(), record(4));
      const { state, run } = await loadCheckpoint(folder);
      const { run: longer, note } = resumed(run, record(8), state.step);
      expect(note).toMatch(/was planned for 4 steps, has done 4, and continues to 8: from here the learning rate/);
      expect(longer).toEqual({ ...record(8), plans: [{ steps: 4, until: 4 }] });
      const rates: number[] = [];
      const whole = new Trainer(createEngine(), config, longer.options, tokens, { from: state });
      await whole.run({ onStep: ({ learningRate }) => void rates.push(learningRate) });
      expect(rates).toEqual([5, 6, 7, 8].map((step) => learningRateAt(step, optionsOf({ steps: 8 }))));
      // The same extension, stopped after step 6 and resumed from a file.
      const controller = new AbortController();
      const onStep = ({ step }: { step: number }) => void (step === 6 && controller.abort());
      const part = new Trainer(createEngine(), config, longer.options, tokens, { from: state });
      await expect(part.run({ signal: controller.signal, onStep })).rejects.toThrow(StoppedError);
      await saveCheckpoint(folder, await part.state(), longer);
      const again = await loadCheckpoint(folder);
      expect(again.run.plans).toEqual([{ steps: 4, until: 4 }]);
      const same = resumed(again.run, record(8), again.state.step);
      expect(same).toEqual({ run: longer });
      const rest = new Trainer(createEngine(), config, same.run.options, tokens, { from: again.state });
      await rest.run();
      expect(await rest.state()).toEqual(await whole.state());
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('refuses fewer steps than are done, and every other change', () => {
    const run: RunRecord = { config: configOf('nats'), options: optionsOf({ steps: 10 }), textHash: 'a' };
    const wanted = (change: Partial<TrainOptions>) => ({ ...run, options: optionsOf({ steps: 10, ...change }) });
    expect(() => resumed(run, wanted({ steps: 6 }), 7)).toThrow(/has done 7 steps, more than --steps 6/);
    const { note } = resumed(run, wanted({ steps: 8 }), 7);
    expect(note).toMatch(/was planned for 10 steps, has done 7, and continues to 8/);
    expect(() => resumed(run, wanted({ batch: 3 }), 7)).toThrow(/batch = 2, not 3/);
  });
});

describe('a run that takes longer than a user may expect', () => {
  const notes = (secondsPerStep: number, total: number): (string | undefined)[] => {
    let time = 0;
    const pace = new Pace(total, 'fewer --steps', () => time);
    return [1, 2, 3, 4, 5, 6].map((step) => {
      time += 1000 * secondsPerStep;
      return pace.tick(step);
    });
  };

  it('causes one warning, with the time left and what to do', () => {
    const told = notes(2, 500);
    expect(told.map((note) => note !== undefined)).toEqual([false, false, false, true, false, false]);
    expect(told[3]).toBe('natsearch: note: a step takes 2.0 s, so the remaining 496 will take about 16 min 32 s: for a shorter run use fewer --steps; Ctrl-C saves, and --resume continues');
  });

  it('causes the warning after its first step if hours are left, and none if it is short', () => {
    expect(notes(60, 500).map((note) => note !== undefined)).toEqual([true, false, false, false, false, false]);
    expect(notes(1, 500).every((note) => note === undefined)).toBe(true);
  });
});
