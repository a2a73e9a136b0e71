// Publishing over WHIP (RFC 9725).

import { Session, connection } from './session.js';

/** The codecs a person may choose from, by the name in the page's URL; null leaves it to the browser. */
export const CODECS = { default: null, H264: 'video/H264', VP8: 'video/VP8', VP9: 'video/VP9', AV1: 'video/AV1' };

/** Kbit/s to begin with, by the lines of the picture: below about two thirds of that, Chromium begins with fewer. */
const START_RATES = [[360, 1000], [540, 1600], [720, 2400], [Infinity, 4000]];

/** How long a publisher keeps the size it begins with. */
const KEEPS_SIZE_MS = 3000;

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
      limit(transceiver.sender, maxBitrate);
      if (prefer !== 'sharp') smoothLater(pc, transceiver.sender);
    }
  }
  return new Session(pc).open(url, { signal, tuneAnswer: (sdp) => startAt(startRate(media, maxBitrate), sdp) });
}

/** Half of what the person allows is enough in any case: the browser then finds out whether the network takes more. */
function startRate(media, maxBitrate = Infinity) {
  const lines = media.getVideoTracks()[0]?.getSettings().height ?? 720;
  const [, usual] = START_RATES.find(([most]) => lines <= most);
  return Math.round(Math.min(usual, maxBitrate / 2000));
}

/**
 * Chromium begins with 300 kbit/s, hence a picture of a quarter of the size, and takes half a minute to find out that
 * more is possible. Where the answer's video has this parameter of its own, it begins there. Congestion control goes on
 * as ever; other browsers do not know the parameter.
 */
function startAt(rate, sdp) {
  const parameter = `x-google-start-bitrate=${rate}`;
  return sdp.split(/^(?=m=)/m).map((section) => {
    if (!section.startsWith('m=video ')) return section;
    return [...section.matchAll(/^a=rtpmap:(\d+) (?!rtx\/).*$/gm)].reduce((text, [line, format]) => {
      const existing = new RegExp(`^a=fmtp:${format} [^\\r\\n]*`, 'm');
      if (existing.test(text)) return text.replace(existing, (whole) => `${whole};${parameter}`);
      return text.replace(line, `${line}\r\na=fmtp:${format} ${parameter}`);
    }, section);
  }).join('');
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

/** The size is kept at first in any case: see `smoothLater`. */
function limit(sender, maxBitrate) {
  const parameters = sender.getParameters();
  // Firefox has no encodings before negotiation.
  if (maxBitrate && parameters.encodings?.[0]) parameters.encodings[0].maxBitrate = maxBitrate;
  parameters.degradationPreference = 'maintain-resolution';
  sender.setParameters(parameters).catch(() => {});
}

/**
 * Lets the size go down when something is short, from a moment after the start. Chromium judges the first pictures by
 * what it thought of the network before there was one, makes them smaller, and then takes long to come back.
 */
function smoothLater(pc, sender) {
  pc.addEventListener('connectionstatechange', () => {
    if (pc.connectionState !== 'connected') return;
    setTimeout(() => {
      const parameters = sender.getParameters();
      parameters.degradationPreference = 'maintain-framerate';
      if (pc.connectionState === 'connected') sender.setParameters(parameters).catch(() => {});
    }, KEEPS_SIZE_MS);
  });
}

function groupByType(codecs) {
  return Object.fromEntries(codecs.map((one) => [one.mimeType.replace(/^\w+/, (kind) => kind.toLowerCase()), one]));
}
