/**
 * Section 10: the layers of the model, and the optimiser.
 * @module
 */
import type { Equation } from './equation.ts';

export const LAYERS: readonly Equation[] = [
  {
    id: 'linear', section: 10, title: 'Linear layer',
    expressions: ['y[c] = total(r, weight[c, r] * x[r])'],
    ranges: { c: 'M', r: 'D' },
    symbols: {
      y: 'output', c: 'an output feature', weight: 'a matrix, one row per output feature',
      D: 'number of input features', M: 'number of output features',
    },
    excerpt: ['return {', 'return {'],
    file: 'reference/linear.ts', function: 'linear',
  },
  {
    id: 'rmsnorm', section: 10, title: 'RMSNorm',
    expressions: [
      'rstd = 1 / sqrt(total(r, x[r]^2) / D + eps)',
      'y[c] = x[c] * rstd * weight[c]',
    ],
    ranges: { c: 'D', r: 'D' },
    symbols: {
      rstd: 'one over the root mean square', y: 'output', c: 'a feature', D: 'number of features',
      weight: 'a learned gain',
    },
    excerpt: ['const r = inverseRoot', 'out[at + n]'],
    file: 'reference/rmsnorm.ts', function: 'rmsNorm',
  },
  {
    id: 'rmsnorm-backward', section: 10, title: 'RMSNorm, backward',
    expressions: [
      'rstd = 1 / sqrt(total(r, x[r]^2) / D + eps)',
      'dx[c] = rstd * (weight[c] * dy[c] - x[c] * rstd^2 * total(r, weight[r] * dy[r] * x[r]) / D)',
    ],
    ranges: { c: 'D', r: 'D' },
    symbols: {
      rstd: 'one over the root mean square', dy: 'cotangent of the output', dx: 'cotangent of the input',
      c: 'a feature', D: 'number of features', weight: 'a learned gain',
    },
    file: 'reference/rmsnorm.ts', function: 'rmsNormBackward',
  },
  {
    id: 'rope', section: 10, title: 'Rotary embedding',
    expressions: ['aNew = a * cos - b * sin', 'bNew = b * cos + a * sin'],
    symbols: {
      a: 'a number of the head\'s first half', b: 'its partner in the second half', aNew: 'the first, rotated',
      bNew: 'the second, rotated', cos: 'cosine of the position times a frequency', sin: 'its sine',
    },
    excerpt: ['const c = cos', 'second * c'],
    file: 'reference/rope.ts', function: 'rope',
  },
  {
    id: 'swiglu', section: 10, title: 'SwiGLU',
    expressions: ['y = gate / (1 + exp(-gate)) * up'],
    symbols: { gate: 'a number', up: 'a number', y: 'output' },
    excerpt: ['for (let n', 'out[n] ='],
    file: 'reference/swiglu.ts', function: 'swiglu',
  },
  {
    id: 'swiglu-backward', section: 10, title: 'SwiGLU, backward',
    expressions: [
      'sigma = 1 / (1 + exp(-gate))',
      'dgate = dy * up * sigma * (1 + gate * (1 - sigma))',
      'dup = dy * gate * sigma',
    ],
    symbols: {
      sigma: 'the logistic function of the gate', gate: 'a number', up: 'a number', dy: 'cotangent of the output',
      dgate: 'cotangent of the gate', dup: 'cotangent of up',
    },
    file: 'reference/swiglu.ts', function: 'swigluBackward',
  },
  {
    id: 'cross-entropy', section: 10, title: 'Cross-entropy',
    expressions: ['loss = log(total(r, exp(x[r]))) - x[target]'], ranges: { r: 'V' },
    symbols: {
      x: 'logits of one token', target: 'the token that follows', loss: 'in nats', V: 'size of the vocabulary',
    },
    excerpt: ['if (target >= 0)', 'if (target >= 0)'],
    file: 'reference/cross-entropy.ts', function: 'crossEntropy',
  },
  {
    id: 'cross-entropy-backward', section: 10, title: 'Cross-entropy, backward',
    expressions: ['dx[c] = weight * (exp(x[c]) / total(r, exp(x[r])) - (c == target))'], ranges: { c: 'V', r: 'V' },
    symbols: {
      x: 'logits of one token', dx: 'their cotangent', c: 'an entry of the vocabulary',
      target: 'the token that follows', weight: 'weight of the loss',
      V: 'size of the vocabulary',
    },
    file: 'reference/cross-entropy.ts', function: 'crossEntropyBackward',
  },
  {
    id: 'adamw', section: 10, title: 'AdamW',
    expressions: [
      'mNew = beta1 * m + (1 - beta1) * grad',
      'vNew = beta2 * v + (1 - beta2) * grad^2',
      'mHat = mNew / (1 - beta1^step)',
      'vHat = vNew / (1 - beta2^step)',
      'thetaNew = theta - eta * (mHat / (sqrt(vHat) + eps) + omega * theta)',
    ],
    symbols: {
      grad: 'gradient, after clipping', m: 'running mean of the gradient', v: 'running mean of its square',
      mNew: 'the next $m$', vNew: 'the next $v$', mHat: '$m\'$ without its bias to 0',
      vHat: '$v\'$ without its bias to 0', beta1: 'memory of $m$', beta2: 'memory of $v$', step: 'counted from 1',
      theta: 'parameter', thetaNew: 'the next parameter', eta: 'learning rate', omega: 'weight decay',
    },
    excerpt: ['const g = factor', 'theta[n] ='],
    file: 'reference/adamw.ts', function: 'adamW',
  },
];
