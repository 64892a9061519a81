/** The memory of a WebAssembly module never shrinks, so it must not grow either: over tokens, loads and trainings. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadModel, parsePolicy } from '../src/index.ts';
import { Allocator } from '../wasm/allocator.ts';
import { wasmEngineOn } from '../wasm/index.ts';
import { Machine } from '../wasm/machine.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { cases } from './support/thorough.ts';

describe('the memory of the engine of WebAssembly', () => {
  it.each(['streaming:2+30', 'window:20', 'h2o:20'])('is flat over decoded tokens under %s', async (policy) => {
    const machine = new Machine('float32');
    const model = livelyModel(wasmEngineOn(machine), livelyConfig('nats', {}, { max_position_embeddings: 2 ** 21 }));
    const session = model.session({ policy: parsePolicy(policy) });
    const decode = async (count: number): Promise<void> => {
      for (const id of livelyIds(count, count)) await session.next([id]);
    };
    const tokens = cases(800, 40_000);
    await decode(tokens / 4);
    const { held } = machine.use;
    await decode((tokens * 3) / 4);
    expect(machine.use.held).toBe(held);
    session.dispose();
    model.dispose();
    expect(machine.use.used).toBe(0);
  }, 3_600_000);

  it('is flat over loads of a model', async () => {
    const machine = new Machine('float32');
    const engine = wasmEngineOn(machine);
    const once = async (): Promise<void> => {
      const model = await loadModel('models/nats', { engine });
      const session = model.session();
      await session.step(Int32Array.from({ length: 40 }, (_, n) => n), { logits: 'none' });
      session.dispose();
      model.dispose();
      expect(machine.use.used).toBe(0);
    };
    await once();
    const { held } = machine.use;
    for (let n = 0; n < cases(4, 100); n++) await once();
    expect(machine.use.held).toBe(held);
  }, 600_000);
});

describe('the allocator', () => {
  it('gives parts that do not overlap, joins what is freed, and reuses all of it', () =>
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(200)), { maxLength: 60 }), (commands) => {
      let held = 0;
      const allocator = new Allocator(1, (end) => (held = Math.max(held, end)));
      const parts: { at: number; bytes: number }[] = [];
      for (const [command, bytes] of commands) {
        if (command === 0 && parts.length > 0) allocator.free(parts.splice(bytes % parts.length, 1)[0].at);
        else if (command === 1 && parts.length > 0) {
          const part = parts[bytes % parts.length];
          if (allocator.resize(part.at, bytes)) part.bytes = bytes;
        } else parts.push({ at: allocator.take(bytes), bytes });
        const sorted = parts.toSorted((a, b) => a.at - b.at);
        sorted.forEach((part, n) => {
          expect(part.at % 16).toBe(0);
          expect(part.at + part.bytes).toBeLessThanOrEqual(sorted[n + 1]?.at ?? held);
        });
      }
      for (const { at } of parts) allocator.free(at);
      expect(allocator.bytes).toBe(0);
      const whole = held - 16;
      if (whole > 0) expect(allocator.take(whole)).toBe(16);
      expect(held).toBe(Math.max(held, whole + 16));
    })));

  it('refuses to free a part twice', () => {
    const allocator = new Allocator(16, () => undefined);
    const at = allocator.take(1);
    allocator.free(at);
    expect(() => allocator.free(at)).toThrow('it was freed twice');
  });
});
