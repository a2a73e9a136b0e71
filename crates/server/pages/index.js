// The start page: what is live, and how to publish and watch.
//
// For tests and scripts, `window.whipstitch`: {state: 'loading' | 'listed' | 'denied' | 'unreachable', streams: […]},
// the streams as `/api/v1/streams` gives them.

import { call, isStreamName, token } from './api.js';
import { shownRate } from './stats.js';
import { $, copyable, element, inWords, tokenForm } from './ui.js';

const LOOK_EVERY_MS = 2000;

const face = { state: 'loading', streams: [] };
window.whipstitch = face;

async function look() {
  if (document.hidden) return;
  try {
    const response = await call('GET', '/api/v1/streams');
    face.streams = (await response.json()).streams;
    face.state = 'listed';
    show();
  } catch (error) {
    face.streams = [];
    $('streams').replaceChildren();
    if (error.status === 401 || error.status === 403) deny();
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
function deny() {
  if (face.state === 'denied') return;
  face.state = 'denied';
  const why = token()
    ? 'This token does not allow you to see the list of streams.'
    : 'The list of streams is shown on the server itself (http://localhost), or with a token.';
  $('note').replaceChildren(
    element('p', {}, `${why} You can open a stream below when you know its name.`),
    tokenForm(() => { face.state = 'loading'; look(); explain(); }),
  );
  explain();
}

/** A page of ours; a token in this page's URL is meant to go along. */
function page(kind, name) {
  const inUrl = new URLSearchParams(location.search).get('token');
  return `/${kind}/${encodeURIComponent(name)}${inUrl ? `?token=${encodeURIComponent(inUrl)}` : ''}`;
}

/** What OBS wants as its token. From elsewhere than the server itself, publishing needs one. */
function bearer() {
  if (token()) return copyable(token(), 'token');
  return face.state === 'denied' ? 'the token of the server' : 'leave it empty';
}

function explain() {
  const name = $('name').value.trim();
  const legal = isStreamName(name);
  $('illegal').hidden = legal;
  for (const kind of ['publish', 'watch']) {
    $(kind).toggleAttribute('aria-disabled', !legal);
    if (legal) $(kind).href = page(kind, name);
    else $(kind).removeAttribute('href');
  }
  if (!legal) return;
  const whip = `${location.origin}/whip/${name}`;
  const auth = token() ? ` -authorization ${token()}` : '';
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
