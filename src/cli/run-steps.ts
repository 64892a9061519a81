/**
 * Runs the steps of `train` and `finetune`, with progress, log, checkpoints and validation, and saves interrupted runs.
 * @module
 */
import { DeviceLostError, StoppedError } from '../core/errors.ts';
import type { TrainOptions } from '../train/options.ts';
import type { TokenSource } from '../train/token-store.ts';
import type { Validation } from '../train/validation.ts';
import { Meter } from './meter.ts';
import { Pace, shorterRun } from './pace.ts';
import type { RunFlags } from './run-flags.ts';
import type { RunLog } from './run-log.ts';
import { createProgress, formatDuration, interruptSignal } from './terminal.ts';
import { Trial, type ValidationPlan } from './validation.ts';

/** A Trainer or a Finetuner. */
interface Steps<Report> {
  readonly options: Pick<TrainOptions, 'steps' | 'batch' | 'context'>;
  run(callbacks: { onStep?: (report: Report) => Promise<void>; signal?: AbortSignal }): Promise<void>;
  validate(tokens: TokenSource): Promise<Validation>;
}

/** One command's run. */
interface Run<Report, Saved> {
  /** The label of the progress bar, and the verb in the message at the end. */
  readonly words: { readonly label: string; readonly done: string };
  readonly steps: Steps<Report>;
  readonly log: RunLog;
  readonly validation: ValidationPlan | undefined;
  /** The last line of the log, if the run is resumed. */
  readonly last: object | undefined;
  /** Writes a checkpoint. */
  save(): Promise<Saved>;
  /** The line beside the progress bar. */
  line(report: Report, meter: Meter): string;
  /** What to add to the messages at the end about the last checkpoint. */
  result?(saved: Saved): { readonly text: string; readonly json: object };
}

/**
 * Does all steps.
 *
 * @throws {StoppedError} On Ctrl-C, after saving what was done.
 */
export async function runSteps<Report extends { readonly step: number }, Saved>(
  flags: RunFlags, run: Run<Report, Saved>,
): Promise<void> {
  const { steps, log, words } = run;
  const { options } = steps;
  const progress = createProgress({ label: words.label, total: options.steps });
  const interrupt = interruptSignal();
  const meter = new Meter(options.batch * options.context);
  const pace = new Pace(options.steps, shorterRun(flags.gpu));
  const tell = (line: string) => progress.finish(line);
  const trial = new Trial(run.validation, options.steps, (held) => steps.validate(held), tell);
  let { last } = run;
  const save = async () => {
    const saved = await run.save();
    await log.saved();
    return saved;
  };
  try {
    await steps.run({
      signal: interrupt.signal,
      onStep: async (report) => {
        const tooLong = pace.tick(report.step);
        if (tooLong !== undefined) tell(tooLong);
        meter.tick();
        last = { ...report, ...await trial.after(report.step) };
        meter.skip();
        await log.add({ ...last, seconds: meter.seconds });
        progress.update(report.step, run.line(report, meter));
        if (report.step % flags.saveEvery === 0 && report.step < options.steps) await save();
      },
    });
    const saved = await save();
    const result = run.result?.(saved);
    const held = await trial.end();
    const took = `${words.done} ${options.steps} steps into ${flags.out} in ${formatDuration(meter.seconds)}`;
    progress.finish(result ? `${took}: ${result.text}` : took);
    if (!flags.json) return;
    const all = { out: flags.out, ...last, ...held, ...result?.json, seconds: meter.seconds };
    process.stdout.write(`${JSON.stringify(all)}\n`);
  } catch (error) {
    progress.finish();
    if (error instanceof DeviceLostError) {
      const lost = error.message.replace(/: create a new engine.*/, '');
      throw new DeviceLostError(`${lost}: the same command with --resume continues from the last checkpoint in ${flags.out}, if there is one yet`);
    }
    if (!(error instanceof StoppedError)) throw error;
    await save();
    throw new StoppedError(`${error.message}; saved in ${flags.out}: continue with the same command and --resume`, { cause: error.cause });
  } finally {
    interrupt.dispose();
  }
}
