// One WHIP or WHEP session: offer and answer over HTTP, trickle, and the end. whip.js and whep.js add what differs.

import { Unreachable, call } from './api.js';

const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
/** Candidates come in bursts; one PATCH takes them all. */
const TRICKLE_PAUSE_MS = 50;
/** A media path that is not there by then will not come: a firewall drops UDP. */
const CONNECT_MS = 15_000;

/** Why a session ended, for `ended`. */
export const Ended = Object.freeze({
  CLOSED: 'closed', // by this page
  BY_SERVER: 'by_server', // the server said goodbye
  LOST: 'lost', // the network went away
  NEVER: 'never', // HTTP worked and media never did
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
  #candidates = [];
  #trickling = false;
  #checking = false;
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
    const offer = await this.pc.createOffer();
    try {
      await this.pc.setLocalDescription({ type: 'offer', sdp: tune(offer.sdp) });
    } catch {
      await this.pc.setLocalDescription(offer);
    }
    try {
      const headers = { 'Content-Type': SDP };
      const response = await call('POST', url, { headers, body: this.pc.localDescription.sdp, signal });
      this.#url = new URL(response.headers.get('Location'), response.url).href;
      this.#etag = response.headers.get('ETag');
      iceServers = iceServersOf(response);
      const answer = await response.text();
      signal?.throwIfAborted();
      await this.#take(answer, tuneAnswer(answer));
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

  async #take(answer, tuned) {
    try {
      await this.pc.setRemoteDescription({ type: 'answer', sdp: tuned });
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
    const batch = this.#candidates.splice(0);
    if (this.#url) {
      const headers = { 'Content-Type': FRAGMENT, ...(this.#etag && { 'If-Match': this.#etag }) };
      try {
        await call('PATCH', this.#url, { headers, body: fragment(this.pc.localDescription.sdp, batch) });
      } catch {
        // The server listens on an address it told; it can do without ours.
      }
    }
    this.#trickling = false;
    this.#trickle();
  }
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
