/**
 * Training speed of the shipped configuration on one thread: everything kept, and joint search.
 * @module
 */
import { readFileSync } from 'node:fs';
import { ByteTokenizer, DEFAULT_TRAIN_OPTIONS, tokenizeDocuments, Trainer } from '../src/index.ts';
import { median, type Measurement, type Settings, timeInTurns } from './measure.ts';
import { shippedConfig } from './models.ts';

/**
 * The engine of WebAssembly beside the reference, on one thread: the first steps, in turns, in CPU time of this
 * process, to which other load on the machine does not add.
 */
export async function hostTrainingCase(
  { quick, repeats, model, createEngine, openEngine }: Settings,
): Promise<Measurement[]> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 2 };
  const engines = [createEngine(), await openEngine!()];
  const found: Measurement[] = [];
  for (const policy of ['full', 'nats']) {
    const trainers = engines.map((engine) => new Trainer(engine, shippedConfig(model, policy), options, tokens));
    const all = trainers.map((): number[] => []);
    for (let round = -1; round < repeats; round++) {
      for (const [n, trainer] of trainers.entries()) {
        const before = process.cpuUsage();
        await trainer.next();
        const { user, system } = process.cpuUsage(before);
        if (round >= 0) all[n].push((user + system) / 1000);
      }
    }
    const times = all.map(median);
    trainers.forEach((trainer) => trainer.dispose());
    engines.forEach(({ name }, n) => found.push({
      what: `training ${policy}, context ${options.context}: ${name}`, unit: 'tokens/s of CPU time',
      value: (options.batch * options.context * 1000) / times[n],
    }));
    found.push({ what: `training ${policy}: wasm / reference`, value: times[0] / times[1], unit: 'x as fast' });
  }
  engines.forEach((engine) => engine.dispose());
  return found;
}

/** Times the first steps from fresh weights. The two trainings take turns. */
export async function trainingCase({ quick, repeats, model, createEngine }: Settings): Promise<Measurement[]> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 2 };
  const runs = ['full', 'nats'].map((policy) => {
    const engine = createEngine();
    return { policy, engine, trainer: new Trainer(engine, shippedConfig(model, policy), options, tokens), kept: 0 };
  });
  const times = await timeInTurns(runs.map((run) => async () => {
    run.kept = (await run.trainer.next()).kept;
  }), { rounds: repeats });
  return runs.flatMap(({ policy, engine, trainer, kept }, n) => {
    trainer.dispose();
    engine.dispose();
    return [
      { what: `${policy}: context ${options.context}, one thread`, value: (options.batch * options.context * 1000) / times[n], unit: 'tokens/s' },
      { what: `${policy}: kept share in the last of these steps`, value: 100 * kept, unit: '%' },
    ];
  });
}
