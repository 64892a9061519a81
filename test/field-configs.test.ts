/**
 * Configurations in the style of published models: all are read, and mean the same as in transformers 5
 * (test/field/make-configs.py).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { architectureOf } from '../src/model/arch/index.ts';
import { expectedWeights, type ModelConfig, parseConfig, serializeConfig } from '../src/model/config/config.ts';
import { rotaryFrequencies, rotaryTables } from '../src/model/rotary.ts';
import { Tape } from '../src/core/tape.ts';

const root = fileURLToPath(new URL('./field/', import.meta.url));
const json = (path: string): unknown => JSON.parse(readFileSync(root + path, 'utf8'));

/** What transformers computes with. */
interface Facts extends Pick<ModelConfig,
  'layers' | 'heads' | 'kvHeads' | 'headDim' | 'maxPositions' | 'rmsNormEpsilon' | 'tieWordEmbeddings'> {
  readonly class: string;
  readonly slidingWindow: number | null;
  readonly bos: number | null;
  readonly eos: number | number[] | null;
  readonly frequencies: readonly number[];
  readonly sharpness: number;
  readonly weights: Readonly<Record<string, readonly number[]>>;
}
const { models } = json('configs-expected.json') as { models: Record<string, Facts> };
const files = readdirSync(`${root}configs`).map((file) => file.replace(/\.json$/, ''));

const read = (path: string): ModelConfig => parseConfig(json(path));

/** The factor by which YaRN multiplies cosines, which is the cosine at position 0. */
async function sharpnessOf(config: ModelConfig): Promise<number> {
  const engine = referenceEngine();
  const tape = new Tape(engine, false);
  const { cos } = rotaryTables(tape, config, [0], 1, 1);
  return (await engine.read(cos))[0];
}

describe.each(['configs', 'configs-5'])('of test/field/%s,', (folder) => {
  it('there is one for each of the expected results', () => {
    expect(files.sort()).toEqual(Object.keys(models).sort());
    expect(files.length).toBeGreaterThan(25);
  });

  it.each(files)('%s is read, and means the same as in transformers', async (name) => {
    const config = read(`${folder}/${name}.json`);
    const facts = models[name];
    const { frequencies, sharpness, weights, bos, eos, class: className, ...same } = facts;
    expect({ slidingWindow: null, ...config }).toMatchObject(same);
    expect(architectureOf(config).className).toBe(className);
    const own = rotaryFrequencies(config);
    expect(own.length).toBe(frequencies.length);
    const gaps = frequencies.map((frequency, n) => Math.abs(own[n] / frequency - 1));
    expect(Math.max(...gaps)).toBeLessThan(1e-14);
    expect(await sharpnessOf(config)).toBeCloseTo(sharpness, 14);
    expect(Object.fromEntries(expectedWeights({ ...config, layers: 1 }))).toEqual(weights);
    const ends = Array.isArray(eos) ? eos : [eos];
    if (eos !== null) expect(config.eosTokenIds ?? [config.eosTokenId]).toEqual(ends);
    if (bos !== null) expect(config.bosTokenId).toBe(bos);
  });

  it.each(files)('%s means the same after it was written and read again', (name) => {
    const config = read(`${folder}/${name}.json`);
    expect(parseConfig(JSON.parse(serializeConfig(config)))).toEqual(config);
  });
});
