// Keeps a session going: opens it, and opens it again when it ends, not too often and not for ever in vain.

import { Refused, Unreachable } from './api.js';
import { Ended } from './session.js';

const FIRST_PAUSE_S = 0.5;
const LONGEST_PAUSE_S = 15;
/** Between tries that only somebody else's change can make good. */
const PASSING_PAUSE_S = 10;
/** A session that held this long was a good one; the next failure is a new story. */
const GOOD_SESSION_MS = 10_000;
/** Trying again changes nothing about these: the page, the token or the browser must change first. */
const FINAL = [400, 401, 403, 404, 405, 413, 415, 422];

/**
 * Runs `open(signal)`, which resolves with a Session, until `signal` aborts or an answer is final. `passing` are statuses
 * that are not final for whoever calls, because a change of the stream undoes them: they are tried again, slowly.
 * `tell` hears what happens: {what: 'connecting'}, {what: 'open', session}, {what: 'pause', seconds, error | ended},
 * {what: 'final', error}.
 */
export async function keep(open, tell, signal, passing = []) {
  let pause = FIRST_PAUSE_S;
  while (!signal.aborted) {
    tell({ what: 'connecting' });
    let cause;
    let wait;
    try {
      const session = await open(signal);
      const since = Date.now();
      const stop = () => session.close();
      signal.addEventListener('abort', stop);
      tell({ what: 'open', session });
      const ended = await session.ended;
      signal.removeEventListener('abort', stop);
      if (session.connected && Date.now() - since > GOOD_SESSION_MS) pause = FIRST_PAUSE_S;
      cause = { ended };
    } catch (error) {
      if (signal.aborted) return;
      const passes = passing.includes(error.status);
      if (!(error instanceof Refused || error instanceof Unreachable) || (FINAL.includes(error.status) && !passes)) {
        tell({ what: 'final', error });
        return;
      }
      cause = { error };
      wait = error.retryAfter ?? (passes ? PASSING_PAUSE_S : undefined);
      // Waiting for a publisher is no failure: it goes on at the pace the server asks for.
      if (error.status === 409) pause = FIRST_PAUSE_S;
    }
    if (signal.aborted || cause.ended === Ended.CLOSED) return;
    const seconds = Math.max(wait ?? 0, pause * (0.75 + Math.random() / 4));
    tell({ what: 'pause', seconds, ...cause });
    await sleep(seconds, signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE_S);
  }
}

/** Ends early when the page comes back to the front or the network returns. */
function sleep(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    addEventListener('online', done);
    signal.addEventListener('abort', done);
  });
}
