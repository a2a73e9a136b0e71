// Numbers of a peer connection, the same for watching and publishing: read twice, they give rates.

/** From the NTP era (1900) to the Unix epoch, in milliseconds. */
const NTP_TO_UNIX_MS = 2_208_988_800_000;

/**
 * Reads `pc` and, with the reading before it, rates. Every number is a Number or undefined when the browser does not
 * tell; times in milliseconds, rates in bits a second.
 */
export async function read(pc, before) {
  const report = await pc.getStats();
  const reading = { at: performance.now(), rtt: undefined, audio: undefined, video: undefined };
  const remote = new Map();
  report.forEach((entry) => {
    if (entry.type === 'remote-inbound-rtp') remote.set(entry.localId, entry);
  });
  report.forEach((entry) => {
    if (entry.type === 'candidate-pair' && (entry.nominated || entry.selected) && entry.state === 'succeeded') {
      reading.rtt = ms(entry.currentRoundTripTime) ?? reading.rtt;
    } else if (entry.type === 'inbound-rtp') {
      reading[entry.kind] = inbound(entry, report, before?.[entry.kind], reading.at - before?.at);
    } else if (entry.type === 'outbound-rtp') {
      const answer = remote.get(entry.id);
      reading[entry.kind] = outbound(entry, report, answer, before?.[entry.kind], reading.at - before?.at);
      reading.rtt ??= ms(answer?.roundTripTime);
    }
  });
  for (const kind of ['audio', 'video']) {
    const track = reading[kind];
    if (track?.buffer !== undefined && reading.rtt !== undefined) track.delay = track.buffer + reading.rtt / 2;
  }
  return reading;
}

function inbound(entry, report, before, elapsed) {
  const emitted = entry.jitterBufferEmittedCount;
  const track = {
    ...common(entry, report, entry.bytesReceived, before, elapsed),
    packets: entry.packetsReceived,
    lost: entry.packetsLost,
    frames: entry.framesDecoded,
    dropped: entry.framesDropped,
    freezes: entry.freezeCount,
    energy: entry.totalAudioEnergy,
    samples: entry.totalSamplesReceived,
    concealed: entry.concealedSamples,
    total: { delay: entry.jitterBufferDelay, emitted },
  };
  const played = emitted - (before?.total?.emitted ?? 0);
  if (played > 0) {
    track.buffer = (1000 * (entry.jitterBufferDelay - (before?.total?.delay ?? 0))) / played;
  } else {
    track.buffer = before?.buffer;
  }
  const news = track.packets - (before?.packets ?? 0);
  const gone = track.lost - (before?.lost ?? 0);
  track.loss = news + gone > 0 ? Math.max(gone, 0) / (news + gone) : before?.loss;
  track.behind = behind(entry.estimatedPlayoutTimestamp);
  return track;
}

function outbound(entry, report, answer, before, elapsed) {
  return {
    ...common(entry, report, entry.bytesSent, before, elapsed),
    packets: entry.packetsSent,
    lost: answer?.packetsLost,
    loss: answer?.fractionLost,
    frames: entry.framesEncoded,
    limited: entry.qualityLimitationReason,
  };
}

function common(entry, report, bytes, before, elapsed) {
  const rate = (now, then) => (elapsed > 0 && then !== undefined ? (1000 * (now - then)) / elapsed : undefined);
  const frames = entry.framesDecoded ?? entry.framesEncoded;
  return {
    codec: report.get(entry.codecId)?.mimeType?.split('/')[1],
    bytes,
    bitrate: rate(8 * bytes, before?.bytes === undefined ? undefined : 8 * before.bytes),
    width: entry.frameWidth,
    height: entry.frameHeight,
    fps: entry.framesPerSecond ?? rate(frames, before?.frames),
  };
}

/** How old the picture on screen is by the publisher's clock; nothing if the clocks plainly disagree. */
function behind(playout) {
  if (!playout) return undefined;
  const at = playout > NTP_TO_UNIX_MS ? playout - NTP_TO_UNIX_MS : playout;
  const age = Date.now() - at;
  return age > -100 && age < 60_000 ? Math.max(age, 0) : undefined;
}

function ms(seconds) {
  return seconds === undefined ? undefined : 1000 * seconds;
}

/** A number for people, or '–'. */
export function shown(value, unit = '', digits = 0) {
  return value === undefined || Number.isNaN(value) ? '–' : `${value.toFixed(digits)}${unit && ` ${unit}`}`;
}

/** A bitrate for people. */
export function shownRate(bits) {
  if (bits === undefined) return '–';
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(2)} Mbit/s` : `${(bits / 1e3).toFixed(0)} kbit/s`;
}
