/**
 * Training with raw kernels, checked like inference.
 * @module
 */
import { finite, list, type Expected, oneOf, optional, positive, record } from '../arguments.ts';
import { checkIds, checkTargets } from '../checks.ts';
import type { TokenTypesOptions } from '../engine.ts';
import type { TrainingKernels } from '../kernels.ts';
import { expectKnown } from '../known-options.ts';
import type { LifetimeOptions } from '../lifetime.ts';
import { attentionSizes, expectShape, expectWhole } from '../shape.ts';
import {
  checkForward, embeddingGradientSizes, lastSizes, linearInputGradientSizes, linearWeightGradientSizes, logitsSizes,
  rowSizes,
  normSizes, sameSizes, scoresSizes,
} from '../sizes.ts';
import { type Shaped, sizeOf, type Tensor } from '../tensor.ts';
import type { AdamWOptions, AttentionBackwardInputs, TrainingEngine } from '../training-engine.ts';
import { CheckedEngine, expectSize } from './inference.ts';

/** Expects the numbers of AdamW, except for the step. */
const expectAdamW: Expected = (name, value) => record({
  learningRate: finite, beta1: finite, beta2: finite, epsilon: finite, weightDecay: finite,
  clip: optional(record({ maxNorm: finite, scale: optional(positive) })),
})(name, value);

/** Checked inference and training. */
export class CheckedTrainingEngine<A extends Shaped> extends CheckedEngine<A> implements TrainingEngine {
  readonly #kernels: TrainingKernels<A>;

  constructor(kernels: TrainingKernels<A>) {
    super(kernels);
    this.#kernels = kernels;
  }

  accumulate(sum: Tensor, x: Tensor): void {
    const [a, b] = [this.on.float('sum', sum), this.on.float('x', x)];
    const same = sameSizes('x', b, a, 'accumulate takes equal shapes');
    this.on.run('accumulate', () => this.#kernels.accumulate(a, b, same));
  }

  // ---- layers -----------------------------------------------------------------------------------
  embeddingBackward(dOut: Tensor, ids: Tensor, vocabulary: number): Tensor {
    expectSize('vocabulary', vocabulary);
    const [dy, list] = [this.on.float('dOut', dOut), this.on.integer('ids', ids)];
    const sized = { ...embeddingGradientSizes(dy, list), V: vocabulary };
    this.on.values(list, (values) => checkIds(values, vocabulary));
    return this.on.real('embeddingBackward', () => this.#kernels.embeddingBackward(dy, list, sized));
  }
  linearBackwardInput(dOut: Tensor, weight: Tensor): Tensor {
    const [dy, w] = [this.on.float('dOut', dOut), this.on.float('weight', weight)];
    const layer = linearInputGradientSizes(dy, w);
    return this.on.real('linearBackwardInput', () => this.#kernels.linearBackwardInput(dy, w, layer));
  }
  linearBackwardWeight(dOut: Tensor, x: Tensor): Tensor {
    const [dy, a] = [this.on.float('dOut', dOut), this.on.float('x', x)];
    const layer = linearWeightGradientSizes(dy, a);
    return this.on.real('linearBackwardWeight', () => this.#kernels.linearBackwardWeight(dy, a, layer));
  }
  linearBackwardBias(dOut: Tensor): Tensor {
    const dy = this.on.float('dOut', dOut);
    const { rows, D: M } = rowSizes(dy);
    return this.on.real('linearBackwardBias', () => this.#kernels.linearBackwardBias(dy, { rows, M }));
  }
  rmsNormBackward(dOut: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dWeight: Tensor } {
    const [dy, a, w] = [this.on.float('dOut', dOut), this.on.float('x', x), this.on.float('weight', weight)];
    finite('epsilon', epsilon);
    const norm = normSizes(a, w);
    expectShape('dOut', dy, a.shape, 'it is the cotangent of a result shaped like x');
    const { dx, dWeight } = this.on.run('rmsNormBackward', () =>
      this.#kernels.rmsNormBackward(dy, a, w, epsilon, norm));
    return { dx: this.on.realOf(dx), dWeight: this.on.realOf(dWeight) };
  }
  swigluBackward(dOut: Tensor, gate: Tensor, up: Tensor): { dGate: Tensor; dUp: Tensor } {
    const [dy, x, u] = [this.on.float('dOut', dOut), this.on.float('gate', gate), this.on.float('up', up)];
    const same = sameSizes('up', u, x, 'gate and up must have the same shape');
    expectShape('dOut', dy, x.shape, 'it is the cotangent of a result shaped like gate');
    const { dGate, dUp } = this.on.run('swigluBackward', () => this.#kernels.swigluBackward(dy, x, u, same));
    return { dGate: this.on.realOf(dGate), dUp: this.on.realOf(dUp) };
  }
  crossEntropy(logits: Tensor, targets: Tensor): Tensor {
    const { z, t, sized } = this.#targeted(logits, targets);
    return this.on.real('crossEntropy', () => this.#kernels.crossEntropy(z, t, sized));
  }
  crossEntropyBackward(logits: Tensor, targets: Tensor, weight: number): Tensor {
    const { z, t, sized } = this.#targeted(logits, targets);
    finite('weight', weight);
    return this.on.real('crossEntropyBackward', () => this.#kernels.crossEntropyBackward(z, t, weight, sized));
  }
  #targeted(logits: Tensor, targets: Tensor): { z: A; t: A; sized: { rows: number; V: number } } {
    const [z, t] = [this.on.float('logits', logits), this.on.integer('targets', targets)];
    const sized = logitsSizes(z, t);
    this.on.values(t, (values) => checkTargets(values, sized.V));
    return { z, t, sized };
  }

  // ---- optimiser --------------------------------------------------------------------------------
  sumOfSquares(tensors: readonly Tensor[]): Tensor {
    list(() => undefined)('tensors', tensors);
    const arrays = Array.from(tensors, (each, n) => this.on.float(`tensors[${n}]`, each)); // Array.from() visits holes too
    const lengths = arrays.map(({ shape }) => sizeOf(shape));
    return this.on.real('sumOfSquares', () => this.#kernels.sumOfSquares(arrays, { lengths }));
  }
  adamW(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, options: AdamWOptions): void {
    const theta = this.on.float('parameter', parameter);
    const [dy, mean, square] = [this.on.float('gradient', gradient), this.on.float('m', m), this.on.float('v', v)];
    expectKnown('adamW()', options, ['learningRate', 'beta1', 'beta2', 'epsilon', 'weightDecay', 'step', 'clip', 'guard']);
    expectAdamW('options', options);
    const { clip, guard, ...rest } = options;
    for (const [name, x] of [['gradient', dy], ['m', mean], ['v', square]] as const) {
      expectShape(name, x, theta.shape, 'it must match the parameter');
    }
    expectWhole('step', options.step, 1);
    const how: AdamWOptions<A> = {
      ...rest,
      ...(clip && { clip: { ...clip, squaredNorm: this.on.float('squaredNorm', clip.squaredNorm) } }),
      ...(guard && { guard: this.#guard(guard) }),
    };
    this.on.run('adamW', () => this.#kernels.adamW(theta, dy, mean, square, how, { n: sizeOf(theta.shape) }));
  }

  #guard(guard: Tensor): A {
    const one = this.on.float('guard', guard);
    expectShape('guard', one, [1], 'it is a single number');
    return one;
  }

  // ---- token types and attention ----------------------------------------------------------------
  tokenTypesBackward(dTypes: Tensor, probabilities: Tensor, options: Omit<TokenTypesOptions, 'noise'>): Tensor {
    const [dt, y] = [this.on.float('dTypes', dTypes), this.on.float('probabilities', probabilities)];
    const how = this.chosen(options);
    const sized = scoresSizes(y, dt, how.forceGlobal);
    return this.on.real('tokenTypesBackward', () => this.#kernels.tokenTypesBackward(dt, y, how, sized));
  }
  keptShare(last: Tensor): Tensor {
    const ends = this.on.integer('last', last);
    const sized = lastSizes(ends);
    return this.on.real('keptShare', () => this.#kernels.keptShare(ends, sized));
  }
  addMemoryPrice(
    dTypes: Tensor, types: Tensor, length: number, options: LifetimeOptions & { weight: number },
  ): Tensor {
    const dt = this.on.float('dTypes', dTypes);
    record({ weight: finite })('options', options);
    const { array, sized } = this.typed(types, length, options);
    expectShape('dTypes', dt, [sized.B, sized.G, sized.chunks, 3], `types is [${array.shape}]`);
    return this.on.real('addMemoryPrice', () => this.#kernels.addMemoryPrice(dt, array, options, sized));
  }
  attentionBackward(
    inputs: AttentionBackwardInputs,
  ): { dq: Tensor; dk: Tensor; dv: Tensor; dTypes?: Tensor } {
    const given = this.attended(inputs);
    const sized = attentionSizes(given.q, given.k, given.v, given.last);
    const { types } = inputs;
    const forward = {
      out: this.on.float('out', inputs.out), lse: this.on.float('lse', inputs.lse),
      dOut: this.on.float('dOut', inputs.dOut),
    };
    checkForward(forward.out, forward.lse, forward.dOut, sized);
    optional(record({ rule: oneOf('bounded', 'exact') }))('types', types);
    const typed = types && { types: { ...types, types: this.typed(types.types, sized.N, types).array } };
    const { dq, dk, dv, dTypes } = this.on.run('attentionBackward', () =>
      this.#kernels.attentionBackward({ ...given, ...forward, ...typed }, sized));
    return {
      dq: this.on.realOf(dq), dk: this.on.realOf(dk), dv: this.on.realOf(dv),
      ...(dTypes && { dTypes: this.on.realOf(dTypes) }),
    };
  }
}
