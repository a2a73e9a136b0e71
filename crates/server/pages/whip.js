// Publishing over WHIP (RFC 9725).

import { Session, connection } from './session.js';

/** The codecs a person may choose from, by the name in the page's URL; null leaves it to the browser. */
export const CODECS = { default: null, H264: 'video/H264', VP8: 'video/VP8', VP9: 'video/VP9', AV1: 'video/AV1' };

/** Whether this browser can send a codec of CODECS. */
export function canSend(codec) {
  const wanted = CODECS[codec];
  return !wanted || wanted in groupByType(RTCRtpSender.getCapabilities('video')?.codecs ?? []);
}

/**
 * Publishes the tracks of `media` to `url`.
 * `codec` is a name of CODECS, `maxBitrate` bits a second or undefined, `prefer` 'smooth' or 'sharp': what to give up
 * last when the network or the processor is short.
 */
export function publish(url, media, { codec = 'default', maxBitrate, prefer = 'smooth', signal } = {}) {
  const pc = connection({ bundlePolicy: 'max-bundle' });
  for (const track of media.getTracks()) {
    const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    if (track.kind === 'video') {
      choose(transceiver, codec);
      limit(transceiver.sender, maxBitrate, prefer);
    }
  }
  return new Session(pc).open(url, { signal });
}

/** Leaves the chosen codec, and what carries its repairs, as the only one. */
function choose(transceiver, codec) {
  const wanted = CODECS[codec]?.toLowerCase();
  if (!wanted || !transceiver.setCodecPreferences) return;
  const keep = new Set([wanted, 'video/rtx', 'video/red', 'video/ulpfec', 'video/flexfec-03']);
  const codecs = RTCRtpSender.getCapabilities('video').codecs;
  const kept = codecs.filter((one) => keep.has(one.mimeType.toLowerCase()));
  if (kept.some((one) => one.mimeType.toLowerCase() === wanted)) transceiver.setCodecPreferences(kept);
}

function limit(sender, maxBitrate, prefer) {
  const parameters = sender.getParameters();
  // Firefox has no encodings before negotiation.
  if (maxBitrate && parameters.encodings?.[0]) parameters.encodings[0].maxBitrate = maxBitrate;
  parameters.degradationPreference = prefer === 'sharp' ? 'maintain-resolution' : 'maintain-framerate';
  sender.setParameters(parameters).catch(() => {});
}

function groupByType(codecs) {
  return Object.fromEntries(codecs.map((one) => [one.mimeType.replace(/^\w+/, (kind) => kind.toLowerCase()), one]));
}
