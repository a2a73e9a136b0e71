// The player. Plays by itself, muted as browsers demand, and comes back by itself.
//
// Options in the URL: `muted=0` starts with sound where the browser allows that, `token=…`.
//
// For tests and scripts, `window.whipstitch`:
//   state    'connecting' | 'waiting' (nobody publishes) | 'playing' | 'stalled' (connected, no media any more) |
//            'retrying' | 'failed' (see the page) | 'paused' (page is in the browser's cache)
//   pc       the RTCPeerConnection, or null
//   stats()  resolves with the reading of stats.js, read now: {rtt, video: {frames, width, height, fps, codec,
//            bitrate, packets, lost, loss, delay, behind, …}, audio: {energy, samples, …}}
//   error    the last error, or null

import { Refused } from './api.js';
import { NAMELESS, become, begin, face, readNow, stream, take } from './face.js';
import { keep } from './keep.js';
import { Ended } from './session.js';
import { shown, shownRate } from './stats.js';
import { $, codecsIn, element, endInWords, fill, inWords, needsToken, tokenForm } from './ui.js';
import { watch, whyNot } from './whep.js';

/** Media that pauses longer than this has stopped: the publisher is gone or changing. */
const STALLED_MS = 2500;
const HIDE_CONTROLS_MS = 3000;
/** Nothing of the stream can be played: the next publisher may send something else. */
const PASSING = [422];
/** How often a page that plays the sound alone asks whether it could play the picture, too. */
const ASK_AGAIN_MS = 10_000;

const video = $('video');
let session = null;
let frames = { count: 0, at: 0 };
/** Whether anything of the stream has been played since the page was opened. */
let seen = false;
/** What remains to be said while the stream plays. */
let remark = [];
let control = new AbortController();

/** Says something over the picture; nothing takes it away. */
function say(...parts) {
  $('message').replaceChildren(...parts);
  $('over').hidden = parts.length === 0;
}

function paragraph(text) {
  return element('p', {}, text);
}

function start() {
  control.abort();
  control = new AbortController();
  keep((signal) => watch(`/whep/${stream}`, { onTrack: attach, signal }), hear, control.signal, PASSING);
}

function attach(event) {
  const media = event.streams[0] ?? new MediaStream();
  if (!media.getTracks().includes(event.track)) media.addTrack(event.track);
  // Both tracks of one publisher come in one stream; of two, the first is enough to add to.
  if (!video.srcObject?.active) video.srcObject = media;
  else if (video.srcObject !== media) video.srcObject.addTrack(event.track);
  play();
  showSound();
}

/** Browsers refuse sound before the first click or key; then it plays without. */
function play() {
  video.play().catch((error) => {
    if (error.name !== 'NotAllowedError' || video.muted) return;
    setMuted(true);
  });
}

function hear(news) {
  session = take(news);
  switch (news.what) {
    case 'connecting':
      if (face.state !== 'waiting') become('connecting', 'connecting');
      break;
    case 'open':
      frames = { count: 0, at: performance.now() };
      remark = [];
      if (!session.has('video')) explainNoPicture(session);
      explainNoSound(session);
      break;
    case 'pause': {
      const seconds = Math.ceil(news.seconds);
      if (news.error instanceof Refused && news.error.status === 409) {
        become('waiting', 'waiting');
        say(paragraph(seen ? 'The stream has ended. It starts here by itself.' : inWords(news.error, 'watch')));
      } else {
        become('retrying', PASSING.includes(news.error?.status) ? 'cannot play' : 'reconnecting', 'warn');
        const words = news.error ? inWords(news.error, 'watch') : endInWords(news.ended);
        say(paragraph(words), paragraph(`Trying again in ${seconds} s.`));
      }
      break;
    }
    case 'final': {
      const asks = needsToken(news.error);
      become('failed', asks ? 'needs a token' : 'stopped', 'warn');
      const again = element('button', { type: 'button' }, 'Try again');
      again.addEventListener('click', () => { say(); start(); });
      say(paragraph(inWords(news.error, 'watch')), asks ? tokenForm(() => { say(); start(); }) : again);
      break;
    }
    default:
  }
}

/**
 * A stream may be without video, which is no news; or this browser cannot play it, which is. A session without video stays
 * so; when the publisher changes to what this browser can play, a new one gets the picture as well.
 */
async function explainNoPicture(of) {
  if (of !== session) return;
  const why = await whyNot('video', `/whep/${stream}`, control.signal);
  if (of !== session) return;
  if (why === '') {
    of.close(Ended.OUTGROWN);
    return;
  }
  const codecs = codecsIn(why ?? '');
  if (codecs.length > 0) remark = [paragraph(`This browser cannot play the picture of this stream (${codecs.join(', ')}).`)];
  if (remark.length === 0) return;
  if (face.state === 'playing') say(...remark);
  setTimeout(() => explainNoPicture(of), ASK_AGAIN_MS);
}

/** A stream may be without sound, which is no news; or browsers have no such codec, as with AAC, and the server says so. */
async function explainNoSound(of) {
  const why = of.has('audio') ? '' : (await whyNot('audio', `/whep/${stream}`, control.signal)) ?? '';
  if (of !== session) return;
  const codecs = codecsIn(why);
  $('silent').hidden = codecs.length === 0;
  $('silent').textContent = `no sound: browsers cannot play ${codecs.join(', ')}`;
  $('silent').title = why;
}

async function look() {
  if (!session?.connected) return;
  const now = await readNow();
  if (!now) return;
  const count = (now.video?.frames ?? 0) + (now.audio?.packets ?? 0);
  if (count > frames.count) {
    frames = { count, at: performance.now() };
    if (face.state !== 'playing') {
      seen = true;
      become('playing', 'live', 'live');
      say(...remark);
    }
  } else if (performance.now() - frames.at > STALLED_MS) {
    if (!seen && face.state !== 'waiting') {
      // The server lets viewers wait; nothing is wrong.
      become('waiting', 'waiting');
      say(paragraph('Nobody is publishing this stream yet. It starts here by itself.'));
    } else if (seen && face.state !== 'stalled') {
      become('stalled', 'no picture', 'warn');
      say(paragraph('The publisher sends nothing at the moment. It goes on here by itself.'));
    }
    session.check();
  }
  showSound();
  if (!$('panel').hidden) showNumbers(now);
}

function showNumbers({ rtt, video: picture, audio: sound }) {
  const size = picture?.width ? `${picture.width}×${picture.height}` : undefined;
  const loss = (track) => (track?.loss === undefined ? undefined : shown(100 * track.loss, '%', 1));
  fill($('numbers'), [
    ['Delay', shown(picture?.delay ?? sound?.delay, 'ms')],
    ['Behind the publisher', shown(picture?.behind ?? sound?.behind, 'ms')],
    ['Round trip', shown(rtt, 'ms')],
    ['Picture', size && [size, `${shown(picture.fps)} fps`, picture.codec].filter(Boolean).join(', ')],
    ['Video', picture && shownRate(picture.bitrate)],
    ['Video lost', loss(picture)],
    ['Freezes', picture?.freezes?.toString()],
    ['Audio', sound && `${shownRate(sound.bitrate)}${sound.codec ? `, ${sound.codec}` : ''}`],
    ['Audio lost', loss(sound)],
  ]);
}

function showSound() {
  const sounds = (video.srcObject?.getAudioTracks().length ?? 0) > 0;
  $('unmute').hidden = !sounds || !video.muted;
  $('mute').hidden = !sounds || video.muted;
}

function setMuted(muted) {
  video.muted = muted;
  play();
  showSound();
}

function togglePanel() {
  $('panel').hidden = !$('panel').hidden;
  $('statistics').setAttribute('aria-pressed', String(!$('panel').hidden));
  fill($('numbers'), [['Statistics', 'one moment']]);
  look();
}

function toggleFullscreen() {
  // iPhones show only the video itself on the full screen.
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => {});
  else video.webkitEnterFullscreen?.();
}

let hiding;
function wake() {
  document.body.classList.remove('idle');
  clearTimeout(hiding);
  hiding = setTimeout(() => document.body.classList.toggle('idle', face.state === 'playing'), HIDE_CONTROLS_MS);
}

$('unmute').addEventListener('click', () => setMuted(false));
$('mute').addEventListener('click', () => setMuted(true));
$('statistics').addEventListener('click', togglePanel);
$('fullscreen').addEventListener('click', toggleFullscreen);
for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(event, wake);
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
  if (event.key === 's') togglePanel();
  else if (event.key === 'm') setMuted(!video.muted);
  else if (event.key === 'f') toggleFullscreen();
});
addEventListener('pagehide', () => {
  control.abort();
  session?.close();
  face.state = 'paused';
});
addEventListener('pageshow', (event) => { if (event.persisted && stream) start(); });

if (stream) {
  become('connecting', 'connecting');
  begin(stream, look);
  video.muted = new URLSearchParams(location.search).get('muted') !== '0';
  start();
  wake();
} else {
  become('failed', 'stopped', 'warn');
  say(paragraph(NAMELESS));
}
