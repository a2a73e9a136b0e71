// The page of a proxy: its origins, the streams each has, and the sessions of those through this proxy.
//
// For tests and scripts, `window.whipstitch`: {state: 'loading' | 'listed' | 'denied' | 'unreachable', origins: […],
// streams: […], sessions: […]}, as `/api/v1/…` of the admin listener gives them.

import { Refused, Unreachable, call, token } from './api.js';
import { $, counted, element, fill, needsToken, tokenForm } from './ui.js';

const LOOK_EVERY_MS = 2000;
/** Streams of one origin that are written out. */
const NAMED = 50;

const face = { state: 'loading', origins: [], streams: [], sessions: [] };
window.whipstitch = face;

/** The colour of an origin's badge: green takes streams, amber no new ones or only if need be, red is lost. */
const COLOURS = { up: 'good', suspect: 'warn', draining: 'warn', gone: 'bad' };

/** By id: the elements of an origin. */
const shown = new Map();

async function look() {
  if (document.hidden || face.state === 'denied') return;
  try {
    const [origins, streams, sessions] = await Promise.all(
      ['origins', 'streams', 'sessions'].map(async (what) => (await call('GET', `/api/v1/${what}`)).json()),
    );
    Object.assign(face, { origins: origins.origins, streams: streams.streams, sessions: sessions.sessions, state: 'listed' });
    $('away').hidden = origins.registry_up;
    show();
  } catch (error) {
    Object.assign(face, { origins: [], streams: [], sessions: [] });
    $('map').hidden = true;
    $('note').hidden = false;
    if (needsToken(error)) deny(error);
    else {
      face.state = 'unreachable';
      $('note').textContent = inWords(error);
    }
  }
}

function inWords(error) {
  if (error instanceof Unreachable) return 'The proxy does not answer.';
  if (error instanceof Refused) return error.detail || `The proxy answered with status ${error.status}.`;
  console.error(error);
  return 'This page does not understand what the proxy says.';
}

function deny(error) {
  face.state = 'denied';
  const why = error.status === 403
    ? 'Without --secret this page is for the machine of the proxy itself.'
    : token() ? 'This is not the secret.' : 'The map needs the secret that the proxy was started with.';
  $('note').replaceChildren(element('p', {}, why), tokenForm(() => { face.state = 'loading'; look(); }, 'secret'));
}

function show() {
  const { origins, streams, sessions } = face;
  const publishers = sessions.filter((session) => session.role === 'publisher').length;
  $('summary').textContent =
    `${counted(origins.length, 'origin')} · ${counted(streams.length, 'stream')} · ${counted(publishers, 'publisher')} and `
    + `${counted(sessions.length - publishers, 'viewer')} through this proxy`;
  $('note').hidden = origins.length > 0;
  $('note').textContent = 'No origin has registered yet, and none is given.';
  $('map').hidden = origins.length === 0;
  const ids = new Set(origins.map((origin) => origin.id));
  for (const [id, card] of shown) {
    if (!ids.has(id)) {
      card.root.remove();
      shown.delete(id);
    }
  }
  for (const origin of origins) {
    if (!shown.has(origin.id)) {
      const made = card(origin.id);
      shown.set(origin.id, made);
      $('origins').append(made.root);
    }
    update(shown.get(origin.id), origin);
  }
}

function card(id) {
  const made = { id };
  made.badge = element('span', { class: 'badge' });
  made.facts = element('span', { class: 'quiet small' });
  made.numbers = element('dl', { class: 'numbers' });
  made.streams = element('ul', { class: 'streams' });
  made.trouble = element('p', { class: 'notice', role: 'alert', hidden: true });
  made.drain = element('button', { type: 'button', class: 'small' });
  made.drain.addEventListener('click', () => drain(made));
  made.root = element(
    'li',
    { 'data-id': id },
    element('div', { class: 'row' }, made.badge, element('span', { class: 'name' }, id), made.facts,
      element('span', { class: 'row end' }, made.drain)),
    made.numbers,
    made.streams,
    made.trouble,
  );
  return made;
}

function update(made, origin) {
  const { load } = origin;
  made.drained = origin.drained;
  made.badge.textContent = origin.state;
  made.badge.className = `badge ${COLOURS[origin.state] ?? ''}`;
  made.facts.textContent = [
    origin.kind,
    origin.given && 'given',
    origin.silent_seconds === null ? 'not heard of yet' : `heard ${origin.silent_seconds.toFixed(1)} s ago`,
  ].filter(Boolean).join(' · ');
  made.drain.textContent = origin.drained ? 'Use again' : 'Drain';
  const reports = load.cpu > 0 || load.sessions > 0 || load.egress_bps > 0;
  fill(made.numbers, [
    ['HTTP', origin.http],
    ['Media', origin.rtc ?? undefined],
    ['CPU', reports ? `${(load.cpu * 100).toFixed(0)} %` : undefined],
    ['Sends', reports ? `${(load.egress_bps / 1e6).toFixed(1)} Mbit/s` : undefined],
    ['Sessions', reports ? `${load.sessions}` : undefined],
  ]);
  const its = face.streams.filter((stream) => stream.origin === origin.id);
  made.streams.replaceChildren(...its.slice(0, NAMED).map(line), ...(its.length > NAMED ? [element('li', {}, `and ${its.length - NAMED} more`)] : []));
}

function line(stream) {
  const sessions = face.sessions.filter((session) => session.stream === stream.name);
  const publishers = sessions.filter((session) => session.role === 'publisher').length;
  return element(
    'li',
    {},
    element('span', { class: 'name' }, stream.name),
    element('span', { class: 'quiet small' },
      `${publishers ? 'published' : 'not published'} through this proxy · ${sessions.length - publishers} watching through it`),
  );
}

async function drain(made) {
  made.trouble.hidden = true;
  try {
    await call(made.drained ? 'DELETE' : 'POST', `/api/v1/origins/${encodeURIComponent(made.id)}/drain`);
    await look();
  } catch (error) {
    made.trouble.hidden = false;
    made.trouble.textContent = inWords(error);
  }
}

look();
setInterval(look, LOOK_EVERY_MS);
document.addEventListener('visibilitychange', look);
