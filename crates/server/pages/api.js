// Requests to this server, and what goes wrong with them, as values the pages can put into words.

const TOKEN_KEY = 'whipstitch-token';

/** The server answered with an error. */
export class Refused extends Error {
  constructor(status, detail, retryAfter) {
    super(detail || `status ${status}`);
    this.status = status;
    /** What the server says, a sentence without capital or full stop. */
    this.detail = detail;
    /** Seconds to wait before the next try, if the server asked for that. */
    this.retryAfter = retryAfter;
  }
}

/** No answer came at all. */
export class Unreachable extends Error {}

/** The token of the page's URL, else the one entered in this tab, else ''. */
export function token() {
  return new URLSearchParams(location.search).get('token') || sessionStorage.getItem(TOKEN_KEY) || '';
}

/** Keeps a token for this tab. One in the URL is replaced there, or it would win again. */
export function rememberToken(text) {
  sessionStorage.setItem(TOKEN_KEY, text);
  const url = new URL(location.href);
  if (url.searchParams.has('token')) {
    url.searchParams.set('token', text);
    history.replaceState(null, '', url);
  }
}

/** One request. Resolves with the response when it is a success, else throws Refused or Unreachable. */
export async function call(method, url, { headers = {}, body, keepalive = false, signal } = {}) {
  const fields = new Headers(headers);
  if (token()) fields.set('Authorization', `Bearer ${token()}`);
  let response;
  try {
    response = await fetch(url, { method, headers: fields, body, keepalive, signal, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Unreachable();
  }
  if (response.ok) return response;
  const retryAfter = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  throw new Refused(response.status, await detail(response), Number.isNaN(retryAfter) ? undefined : retryAfter);
}

async function detail(response) {
  try {
    const { detail: said, message, details } = await response.json();
    // The API of processes has the shape of datarhei Core.
    return said ?? [message, ...(details ?? [])].filter(Boolean).join(': ');
  } catch {
    return '';
  }
}

/** The stream named by the page's path, `/watch/{stream}` or `/publish/{stream}`; null when it is no legal name. */
export function streamOfPage() {
  let name;
  try {
    name = decodeURIComponent(location.pathname.replace(/\/+$/, '').split('/').pop());
  } catch {
    return null;
  }
  return isStreamName(name) ? name : null;
}

/** Whether a stream may have this name. */
export function isStreamName(name) {
  return /^[A-Za-z0-9._-]{1,128}$/.test(name) && name !== '.' && name !== '..';
}
