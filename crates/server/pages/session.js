// One WHIP or WHEP session: offer and answer over HTTP, trickle, and the end. whip.js and whep.js add what differs.

import { Unreachable, call } from './api.js';

const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
/** Candidates come in bursts; one PATCH takes them all. */
const TRICKLE_PAUSE_MS = 50;
/** A media path that is not there by then will not come: a firewall drops UDP. */
const CONNECT_MS = 15_000;
/** From one search for another path to the next: the first may still find one. */
const RESTART_PAUSE_MS = 5_000;

/** Why a session ended, for `ended`. */
export const Ended = Object.freeze({
  CLOSED: 'closed', // by this page
  BY_SERVER: 'by_server', // the server said goodbye
  LOST: 'lost', // the network went away
  NEVER: 'never', // HTTP worked and media never did
  OUTGROWN: 'outgrown', // by this page, because a new one gets more of the stream
});

/**
 * STUN and TURN servers of the last answer, for `RTCPeerConnection`. They come too late for the connection that asked,
 * whose candidates are being gathered by then; the next one has them, so where media did not get through, the page's
 * next attempt goes over TURN.
 */
let iceServers = [];

/** A connection for a session. */
export function connection(options) {
  return new RTCPeerConnection({ ...options, iceServers });
}

/** The servers in the `Link` fields of an answer (RFC 9725 4.6); the server puts no comma into a value. */
function iceServersOf(response) {
  const links = (response.headers.get('Link') ?? '').split(', ');
  const server = (link) => {
    const urls = link.match(/^<([^>]+)>; rel="ice-server"/)?.[1];
    const value = (name) => link.match(new RegExp(`; ${name}="([^"]*)"`))?.[1];
    return urls && { urls, username: value('username'), credential: value('credential') };
  };
  return links.map(server).filter(Boolean);
}

/** The browser does not take the server's answer. */
export class Misfit extends Error {
  constructor(answer, cause) {
    super('the browser refused the answer', { cause });
    /** The codecs of the answer, video first. */
    this.codecs = ['video', 'audio'].flatMap((kind) => codecsOf(answer, kind));
  }
}

function codecsOf(sdp, kind) {
  const section = sdp.split(/^(?=m=)/m).find((part) => part.startsWith(`m=${kind} `)) ?? '';
  const names = [...section.matchAll(/^a=rtpmap:\d+ ([^/\s]+)/gm)].map((found) => found[1]);
  return [...new Set(names)].filter((name) => name !== 'rtx');
}

/** An open session. */
export class Session {
  #etag;
  #url;
  #answer;
  #candidates = [];
  #tune;
  #tuneAnswer;
  /** Fragments go one after the other: a new one must not be overtaken by one of the old credentials. */
  #patches = Promise.resolve();
  #trickling = false;
  #checking = false;
  #restarted = -Infinity;
  #finish;
  #timer;

  constructor(pc) {
    this.pc = pc;
    /** Resolves with one of `Ended`. */
    this.ended = new Promise((resolve) => { this.#finish = resolve; });
    /** Whether media could flow at some time. */
    this.connected = false;
    pc.addEventListener('icecandidate', (event) => this.#candidate(event.candidate));
    pc.addEventListener('connectionstatechange', () => this.#connection());
  }

  /**
   * Offers `pc`, whose transceivers are set up, to the endpoint `url`. `tune` may change the SDP of the offer, and
   * `tuneAnswer` that of the answer; where a browser does not take the change, it gets what there was before.
   */
  async open(url, { signal, tune = (sdp) => sdp, tuneAnswer = (sdp) => sdp } = {}) {
    this.#tune = tune;
    this.#tuneAnswer = tuneAnswer;
    await this.#offer();
    try {
      const headers = { 'Content-Type': SDP };
      const response = await call('POST', url, { headers, body: this.pc.localDescription.sdp, signal });
      this.#url = new URL(response.headers.get('Location'), response.url).href;
      this.#etag = response.headers.get('ETag');
      iceServers = iceServersOf(response);
      const answer = await response.text();
      signal?.throwIfAborted();
      await this.#take(answer);
    } catch (error) {
      this.close();
      throw error;
    }
    this.#watchTransport();
    this.#timer = setTimeout(() => this.#end(Ended.NEVER), CONNECT_MS);
    this.#connection();
    this.#trickle();
    return this;
  }

  async #offer(options) {
    const offer = await this.pc.createOffer(options);
    try {
      await this.pc.setLocalDescription({ type: 'offer', sdp: this.#tune(offer.sdp) });
    } catch {
      await this.pc.setLocalDescription(offer);
    }
  }

  async #take(answer, tuned = this.#tuneAnswer(answer)) {
    try {
      await this.pc.setRemoteDescription({ type: 'answer', sdp: tuned });
      this.#answer = answer;
    } catch (error) {
      if (tuned === answer) throw new Misfit(answer, error);
      await this.#take(answer, answer);
    }
  }

  /** Whether the answer has media of this kind. */
  has(kind) {
    const directions = this.pc.getTransceivers().filter((one) => one.receiver.track.kind === kind);
    return directions.some((one) => ['sendonly', 'recvonly', 'sendrecv'].includes(one.currentDirection));
  }

  /** Ends the session here and at the server. Good for a page that is going away: the request outlives it. */
  close(reason = Ended.CLOSED) {
    clearTimeout(this.#timer);
    this.pc.close();
    if (this.#url) {
      // The server forgets the session by itself if this does not arrive.
      call('DELETE', this.#url, { keepalive: true }).catch(() => {});
      this.#url = undefined;
    }
    this.#finish(reason);
  }

  /**
   * Asks the server whether it still has this session, and ends it here if not. A server that was killed says no
   * goodbye, and browsers take a quarter of a minute to notice.
   */
  async check() {
    if (!this.#url || this.#checking) return;
    this.#checking = true;
    try {
      await call('GET', this.#url);
    } catch (error) {
      if (error.status === 404 || error instanceof Unreachable) this.#end(Ended.LOST);
    }
    this.#checking = false;
    if (this.pc.connectionState === 'disconnected') await this.#restart();
  }

  /**
   * Looks for another path by an ICE restart (RFC 9725 4.3.3): from another network, or over TCP where UDP is blocked from
   * now on. Browsers let go of the paths they do not use, so they find it in no other way. Keys and media go on as they were.
   */
  async #restart() {
    if (!this.#etag || performance.now() - this.#restarted < RESTART_PAUSE_MS) return;
    this.#restarted = performance.now();
    this.#patches = this.#patches.then(async () => {
      // What was gathered until now is of the old path.
      this.#candidates = [];
      await this.#offer({ iceRestart: true });
      const response = await this.#patch([]);
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      await this.#take(renewed(this.#answer, await response.text()));
    }).catch(() => {
      // The old path may come back, and where it does not the connection fails and the session ends.
    });
    await this.#patches;
    this.#trickle();
  }

  #end(reason) {
    if (this.pc.signalingState !== 'closed') this.close(reason);
  }

  #connection() {
    switch (this.pc.connectionState) {
      case 'connected':
        this.connected = true;
        clearTimeout(this.#timer);
        break;
      case 'disconnected':
        this.check();
        break;
      case 'failed':
        this.#end(this.connected ? Ended.LOST : Ended.NEVER);
        break;
      case 'closed':
        this.#end(Ended.BY_SERVER);
        break;
      default:
    }
  }

  /** A server that says goodbye closes DTLS; of that, browsers do not all tell through `connectionState`. */
  #watchTransport() {
    const ends = [...this.pc.getReceivers(), ...this.pc.getSenders()];
    for (const transport of new Set(ends.map((end) => end.transport).filter(Boolean))) {
      transport.addEventListener('statechange', () => {
        if (transport.state === 'closed' || transport.state === 'failed') this.#end(Ended.BY_SERVER);
      });
    }
  }

  #candidate(candidate) {
    // An empty candidate is Firefox's way to say that a generation is complete; null ends them all.
    this.#candidates.push(candidate?.candidate ? candidate : null);
    this.#trickle();
  }

  async #trickle() {
    if (this.#trickling || !this.#url || this.#candidates.length === 0) return;
    this.#trickling = true;
    await new Promise((resolve) => { setTimeout(resolve, TRICKLE_PAUSE_MS); });
    this.#patches = this.#patches.then(() => {
      const batch = this.#candidates.splice(0);
      return this.#url && batch.length > 0 && this.#patch(batch);
    }).catch(() => {
      // The server listens on an address it told; it can do without ours.
    });
    await this.#patches;
    this.#trickling = false;
    this.#trickle();
  }

  #patch(candidates) {
    const headers = { 'Content-Type': FRAGMENT, ...(this.#etag && { 'If-Match': this.#etag }) };
    return call('PATCH', this.#url, { headers, body: fragment(this.pc.localDescription.sdp, candidates) });
  }
}

/** An answer with the credentials of a fragment, all else as it was. */
function renewed(answer, text) {
  const credential = (sdp, name) => sdp.replace(
    new RegExp(`^a=${name}:.*$`, 'gm'),
    () => text.match(new RegExp(`^a=${name}:.*$`, 'm'))[0],
  );
  return ['ice-ufrag', 'ice-pwd'].reduce(credential, answer);
}

/** RFC 8840: candidates with the credentials they belong to, and the section they are for. */
function fragment(sdp, candidates) {
  const line = (name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0].trim();
  const lines = [line('ice-ufrag'), line('ice-pwd')];
  const kind = sdp.match(/^m=(audio|video|application) /m)?.[1] ?? 'audio';
  lines.push(`m=${kind} 9 UDP/TLS/RTP/SAVPF 0`, line('mid') ?? 'a=mid:0');
  for (const candidate of candidates) {
    lines.push(candidate ? `a=${candidate.candidate}` : 'a=end-of-candidates');
  }
  return `${lines.filter(Boolean).join('\r\n')}\r\n`;
}
