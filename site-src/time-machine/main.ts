/** The time machine: plays back the trace that the page carries, or those that the reader records. */
import { decodeTrace } from '../../src/evaluate/trace/codec.ts';
import { connectLive } from './live-form.ts';
import { byId } from './dom.ts';
import { fail, show } from './show.ts';

const carried = byId('trace').textContent!;
decodeTrace(Uint8Array.from(atob(carried), (character) => character.charCodeAt(0))).then(show).catch(fail);
connectLive(show);
