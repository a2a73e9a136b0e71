// Watching over WHEP (draft-ietf-wish-whep-04).

import { Session, connection } from './session.js';

/**
 * Watches `url`. Tracks arrive at the returned session's `pc`, and at `onTrack` before anything can be missed.
 *
 * With the bundle policy "max-bundle" Chromium refuses an answer without the first section of the offer, which is what a
 * stream without video gets.
 */
export function watch(url, { onTrack, signal } = {}) {
  const pc = connection({ bundlePolicy: 'balanced' });
  pc.addEventListener('track', onTrack);
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  return new Session(pc).open(url, { signal, tune: (sdp) => roundTrip(stereo(sdp)) });
}

/**
 * Why a session at `url` got no video, or audio, although one was offered: what the server says to an offer of that alone,
 * such as "the stream has no video"; '' if it would get one now, undefined if the server does not say.
 */
export async function whyNot(kind, url, signal) {
  const pc = connection();
  pc.addTransceiver(kind, { direction: 'recvonly' });
  try {
    const session = await new Session(pc).open(url, { signal });
    session.close();
    return '';
  } catch (error) {
    pc.close();
    return error.status === 422 ? error.detail : undefined;
  }
}

/** Chrome plays Opus in one channel unless the offer says that two are wanted (RFC 7587 6.1). */
function stereo(sdp) {
  const opus = sdp.match(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/im)?.[1];
  if (!opus) return sdp;
  return sdp.replace(new RegExp(`^(a=fmtp:${opus} (?!.*\\bstereo=).*?)(\\r?)$`, 'm'), '$1;stereo=1$2');
}

/**
 * Who only receives learns the round trip by asking for it (RFC 3611 4.4). Chromium does so where a format says it, and makes
 * its jitter buffer longer by what a repair takes; without, each loss on a long path freezes the picture.
 */
function roundTrip(sdp) {
  return sdp.replace(/^a=rtcp-fb:(\d+) nack(\r?)$/gm, '$&\na=rtcp-fb:$1 rrtr$2');
}
