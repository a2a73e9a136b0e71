// What a page about one stream begins with: the stream of its URL, the session at hand with its numbers, the badge that
// says where things stand, and what tests and scripts see of all that.

import { streamOfPage } from './api.js';
import { read } from './stats.js';
import { $ } from './ui.js';

const READ_EVERY_MS = 1000;

/** What is said where the URL names none. */
export const NAMELESS = 'This is no name of a stream: names are letters, digits and . _ -';

/** The stream of the page, or null. */
export const stream = streamOfPage();

let session = null;
/** The last reading of its numbers, which the next one makes rates of. */
let reading;

/** `window.whipstitch`; each page says which states it has. */
export const face = {
  state: undefined,
  error: null,
  get pc() { return session?.pc ?? null; },
  stats: () => (session ? read(session.pc, reading) : Promise.resolve(undefined)),
};
window.whipstitch = face;

/** Shows where things stand. */
export function become(state, label, kind = 'quiet') {
  face.state = state;
  $('state').textContent = label;
  $('state').className = `badge ${kind}`;
}

/** Takes what `keep` tells of the session there is, or is no longer; gives it back. */
export function take(news) {
  session = news.session ?? null;
  reading = undefined;
  face.error = news.error ?? null;
  return session;
}

/** The numbers of the session at hand; undefined if there is none, or another one by now. */
export async function readNow() {
  if (!session) return undefined;
  const { pc } = session;
  const now = await read(pc, reading);
  if (pc !== session?.pc) return undefined;
  reading = now;
  return now;
}

/** Begins with a page that has a stream: its title, and a look at it now and then. */
export function begin(title, look) {
  document.title = `${title} · Whipstitch`;
  $('title').textContent = title;
  setInterval(look, READ_EVERY_MS);
}
