// Watching over WHEP (draft-ietf-wish-whep-04).

import { Session, connection } from './session.js';

/** Watches `url`. Tracks arrive at the returned session's `pc`, and at `onTrack` before anything can be missed. */
export function watch(url, { onTrack, signal } = {}) {
  const pc = connection();
  pc.addEventListener('track', onTrack);
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  return new Session(pc).open(url, { signal, tune: stereo });
}

/** Chrome plays Opus in one channel unless the offer says that two are wanted (RFC 7587 6.1). */
function stereo(sdp) {
  const opus = sdp.match(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/im)?.[1];
  if (!opus) return sdp;
  return sdp.replace(new RegExp(`^(a=fmtp:${opus} (?!.*\\bstereo=).*?)(\\r?)$`, 'm'), '$1;stereo=1$2');
}
