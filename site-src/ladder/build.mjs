/** Times the rungs of chapter 12 in the reader's browser, when the reader asks. */
export async function build({ root, bundle, write }) {
  await write('ladder/main.js', await bundle(`${root}site-src/ladder/main.ts`));
}

export const enhance = ({ path }) => (path === 'chapters/12-ladder.html' ? [{ scripts: ['ladder/main.js'] }] : []);
