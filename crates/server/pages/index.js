// The start page: what is live, and how to publish and watch.
//
// For tests and scripts, `window.whipstitch`: {state: 'loading' | 'listed' | 'denied' | 'unreachable', streams: […]},
// the streams as `/api/v1/streams` gives them.

import { call, isStreamName, token } from './api.js';
import { shownRate } from './stats.js';
import { $, copyable, element, inWords, needsToken, tokenForm } from './ui.js';

const LOOK_EVERY_MS = 2000;
/** Who is still typing need not be told yet. */
const TYPING_MS = 300;

const face = { state: 'loading', streams: [] };
window.whipstitch = face;
/** Whether the server said that it has no token at all, so that none can be asked for. */
let tokenless = false;

async function look() {
  // What was denied once stays denied until there is another token.
  if (document.hidden || face.state === 'denied') return;
  try {
    const response = await call('GET', '/api/v1/streams');
    face.streams = (await response.json()).streams;
    face.state = 'listed';
    show();
  } catch (error) {
    face.streams = [];
    $('streams').replaceChildren();
    if (needsToken(error)) deny(error);
    else {
      face.state = 'unreachable';
      $('note').replaceChildren(inWords(error, 'see the list'));
    }
  }
}

function show() {
  const live = face.streams.filter((stream) => stream.live);
  $('streams').replaceChildren(...live.map(line));
  $('note').replaceChildren(...(live.length ? [] : ['Nobody is publishing.']));
}

function line(stream) {
  const { video, audio } = stream.publisher ?? {};
  const facts = [
    video?.width && `${video.width}×${video.height}`,
    video && `${video.codec} ${shownRate(video.bitrate)}`,
    audio && audio.codec,
    `${stream.subscribers.length} watching`,
    video?.b_frames && 'plays jerkily: the publisher should turn B-frames off',
  ];
  return element(
    'li',
    {},
    element('span', { class: 'badge live' }, 'live'),
    element('span', { class: 'name' }, stream.name),
    element('span', { class: 'quiet small' }, facts.filter(Boolean).join(' · ')),
    element('a', { class: 'button end', href: page('watch', stream.name) }, 'Watch'),
  );
}

/** Not permitted is not broken: everything else on the page works. */
function deny(error) {
  face.state = 'denied';
  tokenless = error.detail.includes('without --token');
  $('note').replaceChildren(
    ...whyDenied(error).map((text) => element('p', {}, text)),
    tokenForm(() => { face.state = 'loading'; look(); explain(); }),
  );
  explain();
}

function whyDenied(error) {
  const known = 'You can open a stream below when you know its name.';
  if (tokenless) {
    const here = `http://localhost${location.port ? `:${location.port}` : ''}`;
    return [
      `No token is set on this server: the list is shown on the server itself only (${here}), or with the admin token.`,
      `To publish from other machines and see the list there, start the server with --token SECRET. ${known}`,
    ];
  }
  if (!token()) return [`The list needs the token. ${known}`];
  if (error.status === 403) return [`This token does not allow you to see the list. ${known}`];
  return [`The token is wrong. ${known}`];
}

/** A page of ours; a token in this page's URL is meant to go along. */
function page(kind, name) {
  const inUrl = new URLSearchParams(location.search).get('token');
  return `/${kind}/${encodeURIComponent(name)}${inUrl ? `?token=${encodeURIComponent(inUrl)}` : ''}`;
}

/** What OBS wants as its token. From elsewhere than the server itself, publishing needs one. */
function bearer() {
  if (token() && !tokenless) return copyable(token(), 'token');
  if (tokenless) return 'the token the server was started with (--token SECRET)';
  return face.state === 'denied' ? 'the token of the server' : 'leave it empty';
}

/** The same for FFmpeg. */
function authorization() {
  if (token() && !tokenless) return ` -authorization ${token()}`;
  return face.state === 'denied' ? ' -authorization TOKEN' : '';
}

let asking;

/** A server may have other streams than that (`stream_names`), and says so to who may watch. */
function askFor(name) {
  clearTimeout(asking);
  $('unserved').hidden = true;
  asking = setTimeout(async () => {
    const { status } = await call('HEAD', `/whep/${name}`).catch((error) => error);
    if ($('name').value.trim() === name) $('unserved').hidden = status !== 404;
  }, TYPING_MS);
}

function explain() {
  const name = $('name').value.trim();
  const legal = isStreamName(name);
  $('illegal').hidden = legal;
  $('unserved').hidden = true;
  for (const kind of ['publish', 'watch']) {
    $(kind).toggleAttribute('aria-disabled', !legal);
    if (legal) $(kind).href = page(kind, name);
    else $(kind).removeAttribute('href');
  }
  if (!legal) return;
  askFor(name);
  const whip = `${location.origin}/whip/${name}`;
  const auth = authorization();
  const encode = '-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -pix_fmt yuv420p '
    + '-bf 0 -g 60 -b:v 2500k -c:a libopus -ar 48000 -ac 2 -b:a 128k';
  $('obs').replaceChildren(
    element('dt', {}, 'Server'), element('dd', {}, copyable(whip, 'server')),
    element('dt', {}, 'Bearer token'), element('dd', {}, bearer()),
  );
  $('ffmpeg-file').replaceChildren(
    copyable(`ffmpeg -re -i FILE ${encode} -f whip${auth} ${whip}`, 'FFmpeg command for a file'),
  );
  $('ffmpeg-test').replaceChildren(copyable(
    `ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -re -f lavfi -i sine=frequency=440 ${encode} -f whip${auth} ${whip}`,
    'FFmpeg command for a test picture',
  ));
  $('whep').replaceChildren(copyable(`${location.origin}/whep/${name}`, 'WHEP URL'));
}

$('choose').addEventListener('submit', (event) => {
  event.preventDefault();
  if (isStreamName($('name').value.trim())) location.href = page('watch', $('name').value.trim());
});
$('name').addEventListener('input', explain);
explain();
look();
setInterval(look, LOOK_EVERY_MS);
addEventListener('visibilitychange', look);
