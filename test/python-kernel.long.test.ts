/** examples/python: the layouts of natsearch_vectors.py, and the kernel of test_kernel.py in each of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describePython, natsearch, runPython } from './support/python.ts';

describePython('natsearch_vectors.py', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'natsearch-layouts-'));
    const only = 'tile-6*,batch,head-5,hidden-nan,chunk-4,window-34';
    const { code, stderr } = natsearch('vectors', '--format', 'npz', '--only', only, '--out', join(folder, 'vectors'));
    expect(code, stderr).toBe(0);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(['paged', 'packed', 'batch', 'padded', 'bnhd'])('gives the same truths as %s', (layout) => {
    const { code, stderr, stdout } = runPython(`
import os
import numpy as np
import natsearch_vectors as vectors
import test_kernel
home, layout = os.environ['HOME_OF_TEST'] + '/outputs-${layout}', '${layout}'
if layout == 'packed':
    groups = vectors.alike(test_kernel.CASES)
    assert max(len(many) for many in groups) == 3, [len(many) for many in groups]  # tile-63, -64, -65 in one call
    for many in groups:
        for case, outputs in test_kernel.run_packed(many):
            case.save(home, **outputs)
else:
    for case in test_kernel.CASES:
        if layout == 'padded':
            x, d = case.inputs(), case.parameters['headDim']
            q, k, v = (vectors.padded(x[name], 16) for name in 'qkv')
            made = [test_kernel.attention(q[b], k[b], v[b], case.last[b], case.parameters['scale']) for b in range(len(q))]
            outputs = {'out': np.stack([out for out, _ in made])[..., :d], 'lse': np.stack([lse for _, lse in made])}
        else:
            outputs = test_kernel.run_paged(case) if layout == 'paged' else test_kernel.run_batch(case)
        if layout == 'bnhd':
            outputs = {name: vectors.tokens_first(x) for name, x in outputs.items()}
        case.save(home, **outputs)
print(len(test_kernel.CASES))
`, { NATSEARCH_VECTORS: join(folder, 'vectors'), HOME_OF_TEST: folder, PYTHONWARNINGS: 'ignore' });
    expect(code, stderr).toBe(0);
    expect(Number(stdout)).toBe(8);
    const judged = natsearch('verify', join(folder, `outputs-${layout}`), '--vectors', join(folder, 'vectors'),
      '--tensors', 'forward', '--dtype', 'f64', ...(layout === 'bnhd' ? ['--layout', 'bnhd'] : []));
    expect(judged.code, judged.stdout + judged.stderr).toBe(0);
    expect(judged.stdout).toContain('8 cases: 8 pass');
  });

  it('says what is wrong in the tests of a kernel: its report has words and places', () => {
    const { code, stderr, stdout } = runPython(`
import os, json
import test_kernel
right = test_kernel.attention
def wrong(q, k, v, last, scale):
    out, lse = right(q, k, v, last, scale)
    out[1::2] *= 2
    return out, lse
test_kernel.attention = wrong
for case in test_kernel.CASES:
    case.save(os.environ['HOME_OF_TEST'] + '/wrong', **test_kernel.run_batch(case))
report = test_kernel.verify(os.environ['HOME_OF_TEST'] + '/wrong')['window-34']
print(json.dumps([report['pass'], report['diagnosis']['words'], report['diagnosis']['where']]))
`, {
      NATSEARCH_VECTORS: join(folder, 'vectors'), HOME_OF_TEST: folder, PYTHONWARNINGS: 'ignore',
      NATSEARCH: `${process.execPath} dist/cli/main.js`,
    });
    expect(code, stderr).toBe(0);
    const [pass, words, where] = JSON.parse(stdout) as [boolean, string, string[]];
    expect(pass).toBe(false);
    expect(words).toContain('every value is off by one factor (2');
    expect(where[0]).toBe('only in odd query heads');
  });
});
