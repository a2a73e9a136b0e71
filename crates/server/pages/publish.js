// Publishes camera, screen or microphone.
//
// Options in the URL: `auto=1` starts without a click, `source=camera|screen|microphone`,
// `codec=H264|VP8|VP9|AV1`, `size=1280x720`, `bitrate=2500000`, `prefer=smooth|sharp`, `token=…`.
//
// For tests and scripts, `window.whipstitch`:
//   state    'idle' | 'asking' (for camera and microphone) | 'connecting' | 'live' | 'retrying' | 'failed' | 'stopped'
//   pc       the RTCPeerConnection, or null
//   stats()  resolves with the reading of stats.js, read now: {rtt, video: {frames, width, height, fps, codec,
//            bitrate, packets, lost, loss, limited}, audio: {…}}
//   error    the last error, or null

import { NAMELESS, become as show, begin, face, readNow, stream, take } from './face.js';
import { keep } from './keep.js';
import { shown, shownRate } from './stats.js';
import { $, element, endInWords, fill, inWords, needsToken, tokenForm } from './ui.js';
import { CODECS, canSend, publish } from './whip.js';

/** A browser begins small and finds out what the network takes; until then the network is not to blame. */
const FINDING_OUT_MS = 10_000;

const settings = $('settings').elements;
let media = null;
let session = null;
let control = null;
let liveSince = 0;

/** The one place that says where things stand; badge and table cannot disagree, and old figures do not stay. */
function become(state, label, kind = 'quiet') {
  if (state === 'live' && face.state !== 'live') liveSince = performance.now();
  show(state, label, kind);
  fill($('numbers'), [['State', label]]);
  const running = ['asking', 'connecting', 'live', 'retrying'].includes(state);
  $('start').hidden = running;
  $('stop').hidden = !running;
  $('mute').hidden = !running || !media?.getAudioTracks().length;
  for (const field of settings) field.disabled = running || field.dataset.never === '1';
}

function say(...parts) {
  $('notice').replaceChildren(...parts.map((part) => (typeof part === 'string' ? element('p', {}, part) : part)));
  $('notice').hidden = parts.length === 0;
}

/** Browsers keep camera and microphone from pages that came over an open network. Says what to do about it. */
function tellWhyNoDevices() {
  const here = `http://localhost${location.port ? `:${location.port}` : ''}${location.pathname}`;
  say(
    'This browser gives camera and microphone only to pages from https:// or from http://localhost.',
    `You opened ${location.origin}. Open this page on the server itself as ${here}, put the server behind HTTPS, `
      + 'or publish with OBS or FFmpeg (their settings are on the start page).',
  );
}

async function capture() {
  const [width, height] = settings.size.value.split('x').map(Number);
  const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  const chosen = (name) => (settings[name].value ? { deviceId: { exact: settings[name].value } } : {});
  if (settings.source.value === 'screen') {
    return navigator.mediaDevices.getDisplayMedia({ video: size, audio: true });
  }
  const audio = { ...chosen('microphone') };
  if (settings.source.value === 'microphone') return navigator.mediaDevices.getUserMedia({ audio });
  const video = { ...size, ...chosen('camera') };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio, video });
  } catch (error) {
    // A camera without a microphone is still worth publishing.
    if (error.name !== 'NotFoundError') throw error;
    return navigator.mediaDevices.getUserMedia({ video });
  }
}

async function start() {
  if (!stream || control) return;
  control = new AbortController();
  const { signal } = control;
  say();
  if (!window.isSecureContext || !navigator.mediaDevices) {
    stop('failed', 'not possible');
    tellWhyNoDevices();
    return;
  }
  become('asking', 'asking for devices');
  try {
    media = await capture();
  } catch (error) {
    face.error = error;
    stop('failed', 'no source');
    say(deviceError(error));
    return;
  }
  if (signal.aborted) {
    release();
    return;
  }
  $('preview').srcObject = media;
  // The browser's own "stop sharing" button.
  for (const track of media.getTracks()) track.addEventListener('ended', () => stop());
  const [picture] = media.getVideoTracks();
  if (picture && settings.source.value === 'screen') picture.contentHint = 'detail';
  listDevices();
  const options = {
    codec: settings.codec.value,
    maxBitrate: Number(settings.bitrate.value) || undefined,
    prefer: settings.prefer.value,
  };
  keep((abort) => publish(`/whip/${stream}`, media, { ...options, signal: abort }), hear, signal);
}

function hear(news) {
  session = take(news);
  switch (news.what) {
    case 'connecting':
      if (face.state !== 'retrying') become('connecting', 'connecting');
      break;
    case 'open':
      look();
      break;
    case 'pause':
      become('retrying', news.error?.status === 409 ? 'name is taken' : 'reconnecting', 'warn');
      say(
        news.error ? inWords(news.error, 'publish') : endInWords(news.ended),
        `Trying again in ${Math.ceil(news.seconds)} s.`,
      );
      break;
    case 'final': {
      const asks = needsToken(news.error);
      stop('failed', asks ? 'needs a token' : 'stopped');
      say(inWords(news.error, 'publish'), ...(asks ? [tokenForm(start)] : []));
      break;
    }
    default:
  }
}

function stop(state = 'stopped', label = 'stopped') {
  control?.abort();
  control = null;
  session?.close();
  session = take({ error: face.error });
  release();
  become(state, label, state === 'failed' ? 'warn' : 'quiet');
}

function release() {
  for (const track of media?.getTracks() ?? []) track.stop();
  media = null;
  $('preview').srcObject = null;
  setMuted(false);
}

function setMuted(muted) {
  for (const track of media?.getAudioTracks() ?? []) track.enabled = !muted;
  $('mute').setAttribute('aria-pressed', String(muted));
  $('mute').textContent = muted ? 'Unmute microphone' : 'Mute microphone';
}

async function look() {
  if (!session) return;
  if (session.connected && face.state !== 'live') {
    become('live', 'live', 'live');
    say();
  }
  const now = await readNow();
  if (now && face.state === 'live') showNumbers(now);
}

function showNumbers({ rtt, video: picture, audio: sound }) {
  const limits = { bandwidth: 'the network', cpu: 'this computer', other: 'something else' };
  const settled = performance.now() - liveSince > FINDING_OUT_MS;
  const size = picture?.width ? `${picture.width}×${picture.height}, ${shown(picture.fps)} fps` : undefined;
  fill($('numbers'), [
    ['State', $('state').textContent],
    ['Picture', size],
    ['Video', picture && `${shownRate(picture.bitrate)}${picture.codec ? `, ${picture.codec}` : ''}`],
    ['Audio', sound && `${shownRate(sound.bitrate)}${sound.codec ? `, ${sound.codec}` : ''}`],
    ['Round trip', shown(rtt, 'ms')],
    ['Lost', picture?.loss === undefined ? undefined : shown(100 * picture.loss, '%', 1)],
    ['Held back by', settled || picture?.limited !== 'bandwidth' ? limits[picture?.limited] : undefined],
  ]);
}

function deviceError(error) {
  switch (error.name) {
    case 'NotAllowedError':
      return 'The browser was not allowed to use them. Allow camera, microphone or screen for this page and start again.';
    case 'NotFoundError': return 'No camera or microphone was found.';
    case 'NotReadableError': return 'The camera or microphone is in use by another program.';
    case 'OverconstrainedError': return 'The chosen device is gone, or cannot do that size.';
    case 'InvalidStateError': return 'The browser wants a click first: press "Start publishing".';
    default: return `The source could not be opened (${error.name}).`;
  }
}

/** Browsers name devices only once one was allowed. */
async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  for (const [kind, select] of [['videoinput', settings.camera], ['audioinput', settings.microphone]]) {
    const before = select.value;
    const named = devices.filter((device) => device.kind === kind && device.deviceId && device.label);
    select.replaceChildren(
      element('option', { value: '' }, 'Default'),
      ...named.map((device) => element('option', { value: device.deviceId }, device.label)),
    );
    if (named.some((device) => device.deviceId === before)) select.value = before;
  }
}

function showChoices() {
  $('cameras').hidden = settings.source.value !== 'camera';
  $('microphones').hidden = settings.source.value === 'screen';
}

/** What may stand in the URL without being in a menu, and how the menu then shows it. */
const own = {
  size: (value) => {
    const [, width, height] = value.match(/^([1-9]\d{1,3})x([1-9]\d{1,3})$/) ?? [];
    return width && `${width}×${height}`;
  },
  bitrate: (value) => (/^[1-9]\d{4,7}$/.test(value) ? shownRate(Number(value)) : undefined),
};
/** Options of the URL that mean nothing. */
const ignored = [];

function readOptions() {
  const options = new URLSearchParams(location.search);
  const menus = ['source', 'codec', 'size', 'bitrate', 'prefer'];
  ignored.push(...[...options.keys()].filter((name) => ![...menus, 'auto', 'token'].includes(name)));
  for (const name of menus) {
    const value = options.get(name);
    const field = settings[name];
    if (!value) continue;
    const known = [...field.options].filter((option) => option.value);
    if (known.some((option) => option.value === value && !option.disabled)) field.value = value;
    else if (own[name]?.(value)) field.append(element('option', { value, selected: true }, own[name](value)));
    else if (known.some((option) => option.value === value)) ignored.push(`${name}=${value} (not in this browser)`);
    else ignored.push(`${name}=${value}`);
  }
  if (settings.source.value === 'screen' && !options.has('prefer')) settings.prefer.value = 'sharp';
  $('ignored').textContent = `Ignored, because unknown: ${ignored.join(', ')}.`;
  $('ignored').hidden = ignored.length === 0;
  return options.get('auto') === '1';
}

settings.source.addEventListener('change', () => {
  settings.prefer.value = settings.source.value === 'screen' ? 'sharp' : 'smooth';
  showChoices();
});
$('settings').addEventListener('submit', (event) => event.preventDefault());
$('start').addEventListener('click', start);
$('stop').addEventListener('click', () => stop());
$('mute').addEventListener('click', () => setMuted($('mute').getAttribute('aria-pressed') !== 'true'));
addEventListener('pagehide', () => { if (control) stop(); });

if (stream) {
  begin(`Publish ${stream}`, look);
  $('watch').href = `/watch/${stream}${location.search.includes('token=') ? `?token=${encodeURIComponent(new URLSearchParams(location.search).get('token'))}` : ''}`;
  for (const option of settings.codec.options) {
    option.disabled = !(option.value in CODECS) || !canSend(option.value);
    if (option.disabled) option.textContent += ' (not in this browser)';
  }
  const auto = readOptions();
  showChoices();
  become('idle', 'not started');
  if (!window.isSecureContext || !navigator.mediaDevices) tellWhyNoDevices();
  else listDevices();
  if (auto) start();
} else {
  $('start').disabled = true;
  show('failed', 'stopped', 'warn');
  say(NAMELESS);
}
