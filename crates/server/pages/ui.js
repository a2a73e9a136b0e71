// What the pages share of what people see: elements, errors in words, the token form, buttons that copy.

import { Refused, Unreachable, rememberToken, token } from './api.js';
import { Ended, Misfit } from './session.js';

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** A new element with attributes and children (texts or elements). */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

/** Whether another token is what would help. */
export function needsToken(error) {
  return error.status === 401 || error.status === 403;
}

/** What went wrong, in words, for someone who `verb`s ('watch', 'publish') a stream. */
export function inWords(error, verb) {
  if (error instanceof Unreachable) return 'The server does not answer.';
  if (!(error instanceof Refused)) {
    console.error(error);
    return unfit(verb, error instanceof Misfit ? error.codecs : []);
  }
  switch (error.status) {
    case 401:
      if (token()) return sentence(error.detail || 'the token is wrong');
      return `To ${verb} here you need a token${tail(error.detail)}.`;
    case 403: return `This token does not allow you to ${verb} this stream.`;
    case 404: return 'There is no such stream here.';
    case 409:
      return verb === 'watch'
        ? 'Nobody is publishing this stream yet. It starts here by itself.'
        : 'Somebody else is publishing this stream. Choose another name, or wait until they stop.';
    case 422: return verb === 'watch' ? unfit(verb, codecsIn(error.detail)) : sentence(`this cannot be published: ${error.detail}`);
    case 429: return 'Too many requests from here; a short pause.';
    case 503: return sentence(error.detail || 'the server is busy');
    default: return sentence(error.detail || `the server answered with status ${error.status}`);
  }
}

function unfit(verb, codecs) {
  const which = codecs.length ? ` (${codecs.join(', ')})` : '';
  return verb === 'watch'
    ? `This browser cannot play this stream${which}.`
    : 'This browser cannot publish here. Try another codec or another browser.';
}

/** The codecs of a stream in what the server says about an offer that lacks them. */
export function codecsIn(detail) {
  return [...detail.matchAll(/the stream's (?:audio|video) is ([\w.]+)/g)].map((found) => found[1]);
}

/** Why a session ended, in words. */
export function endInWords(ended) {
  switch (ended) {
    case Ended.BY_SERVER: return 'The server ended the session.';
    case Ended.NEVER:
      return 'The server answers, but media does not get through. A firewall may block its UDP port, '
        + 'or the server announces an address you cannot reach.';
    case Ended.OUTGROWN: return 'This browser can play the picture now.';
    default: return 'The connection was lost.';
  }
}

function sentence(text) {
  const trimmed = text.trim();
  const end = /[.!?]$/.test(trimmed) ? '' : '.';
  return capital(trimmed) + end;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** How many of what: `1 stream`, `2 streams`. */
export function counted(number, what) {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** What the server adds after "a token is needed". */
function tail(detail) {
  const more = detail?.split('; ').slice(1).join('; ');
  return more ? ` (${more})` : '';
}

/** A form that takes a token (or what else is called for), keeps it and calls `then`. */
export function tokenForm(then, what = 'token') {
  const input = element('input', {
    type: 'password', name: 'token', placeholder: capital(what), 'aria-label': capital(what), autocomplete: 'off', required: true,
  });
  const form = element('form', { class: 'row' }, input, element('button', { type: 'submit' }, `Use ${what}`));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    rememberToken(input.value.trim());
    then();
  });
  return form;
}

/** A line of text with a button that copies it. */
export function copyable(text, label) {
  const button = element('button', { type: 'button', class: 'small', 'aria-label': `Copy ${label}` }, 'Copy');
  button.addEventListener('click', async () => {
    button.textContent = (await copy(text)) ? 'Copied' : 'Press Ctrl+C';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  return element('div', { class: 'copy' }, element('code', {}, text), button);
}

/** Copies where the browser allows it. Pages that are neither https nor localhost have no clipboard. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element('textarea', { class: 'offscreen', readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/** Rows of a description list; values that are undefined are left out. */
export function fill(list, rows) {
  const shown = rows.filter(([, value]) => value !== undefined && value !== '–');
  list.replaceChildren(...shown.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
}
