/** Runs one answer with all cases of its exercise. The page ends this worker if it takes too long. */
import { answersOf, textOf } from '../../src/cli/learn/calls.ts';

self.onmessage = ({ data: { code, name, calls } }) => {
  let call;
  try {
    // The answer is a script here, so that it loads from file: as well.
    const script = code.replace(/^\s*export\s+(default\s+)?/gm, '');
    call = new Function(`"use strict";\n${script}\nreturn typeof ${name} === 'function' ? ${name} : undefined;`)();
  } catch (error) {
    return self.postMessage(`The answer does not load: ${textOf(error)}.`);
  }
  self.postMessage(call ? answersOf(call, calls) : `There is no function ${name}.`);
};
