/** Editors, grading and progress of the page of exercises. */
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { javascript } from '@codemirror/lang-javascript';
import { bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { classHighlighter } from '@lezer/highlight';
import { grade } from '../../src/cli/learn/grade.ts';
import { STEPS } from '../../src/cli/learn/steps/index.ts';
import { functionName, stub } from '../../src/cli/learn/stubs.ts';

const PATIENCE = 10_000;
const KEY = 'natsearch-learn';
const workerUrl = URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));

/** What is kept in this browser: the answers, and which of them are right. Some browsers keep nothing for file:. */
const kept = { answers: {}, right: [] };
try {
  Object.assign(kept, JSON.parse(localStorage.getItem(KEY) ?? '{}'));
} catch { /* begun anew */ }
function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch { /* it is kept as long as the page is open */ }
}

function showProgress() {
  for (const { name } of STEPS) {
    const text = kept.right.includes(name) ? '✓ right' : '';
    for (const mark of document.querySelectorAll(`[data-step="${name}"], #${name} .mark`)) mark.textContent = text;
  }
  const next = STEPS.find(({ name }) => !kept.right.includes(name));
  document.querySelector('#progress').textContent = kept.right.length === 0 ? ''
    : next ? `${kept.right.length} of ${STEPS.length} are right. Next: ${next.title}.` : 'All nine are right.';
}

/** The answers of the code to all cases, or why there are none. */
function run(step, code) {
  return new Promise((done) => {
    const worker = new Worker(workerUrl);
    const end = (said) => {
      clearTimeout(timer);
      worker.terminate();
      done(said);
    };
    const timer = setTimeout(() => end(`It did not finish in ${PATIENCE / 1000} s: does a loop never end?`), PATIENCE);
    worker.onmessage = ({ data }) => end(data);
    worker.onerror = ({ message }) => end(`It ends its worker: ${message}.`);
    worker.postMessage({ code, name: functionName(step, 'js'), calls: step.cases() });
  });
}

for (const step of STEPS) {
  const { name } = step;
  const section = document.getElementById(name);
  const area = section.querySelector('textarea');
  const [button, reset] = [section.querySelector('.run'), section.querySelector('.reset')];
  const verdict = section.querySelector('.verdict');
  const view = new EditorView({
    state: EditorState.create({
      doc: kept.answers[name] ?? stub(step, 'js'),
      extensions: [
        keymap.of([{ key: 'Mod-Enter', run: () => (void submit(), true) }]),
        lineNumbers(), history(), indentOnInput(), bracketMatching(), javascript(),
        syntaxHighlighting(classHighlighter),
        keymap.of([...defaultKeymap, ...historyKeymap]), // Tab moves on, so that the page can be used by keyboard
        EditorView.contentAttributes.of({ 'aria-label': area.getAttribute('aria-label') }),
        EditorView.updateListener.of(({ docChanged, state }) => {
          if (!docChanged) return;
          kept.answers[name] = state.doc.toString();
          keep();
        }),
      ],
    }),
  });
  area.replaceWith(view.dom);

  async function submit() {
    button.disabled = true;
    verdict.className = 'verdict';
    verdict.textContent = 'Running ...';
    const said = await run(step, view.state.doc.toString());
    const { right, text, passed, cases } = typeof said === 'string' ? { right: false, text: said } : grade(step, said);
    const counts = cases === undefined || passed === cases ? '' : ` ${passed} of ${cases} cases are right.`;
    verdict.textContent = right ? `Right, in all ${cases} cases.` : `Wrong. ${text}${counts}`;
    verdict.classList.add(right ? 'right' : 'wrong');
    kept.right = [...kept.right.filter((each) => each !== name), ...(right ? [name] : [])];
    keep();
    showProgress();
    button.disabled = false;
  }
  button.onclick = submit;
  reset.onclick = () => {
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: stub(step, 'js') } });
    verdict.textContent = '';
  };
}
showProgress();
if (location.hash) document.querySelector(location.hash)?.scrollIntoView();
