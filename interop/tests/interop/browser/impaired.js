// Sessions of the pages' own code over paths that may be bad.

const { publish: send } = await import("/assets/whip.js");
const { watch: receive } = await import("/assets/whep.js");
const describe = RTCPeerConnection.prototype.setRemoteDescription;

// The session that `open` begins, connected. With a port, it sends to that one of loopback, not where the answer says.
const over = async (port, open) => {
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        const elsewhere = `a=candidate:1 1 udp 2130706431 127.0.0.1 ${port} typ host\r\n`;
        const [first, ...others] = sdp.split(/^a=candidate:.*\r\n/m);
        return describe.call(this, { type, sdp: port ? [first, elsewhere, ...others].join("") : sdp });
    };
    const session = await open();
    RTCPeerConnection.prototype.setRemoteDescription = describe;
    return session;
};

window.publish = async (path, maxBitrate, port) => {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    return over(port, () => send(path, media, { codec: "VP8", maxBitrate }));
};

window.watch = (path, port) => {
    const element = document.body.appendChild(document.createElement("video"));
    [element.autoplay, element.muted, element.srcObject] = [true, true, new MediaStream()];
    return over(port, () => receive(path, { onTrack: ({ track }) => element.srcObject.addTrack(track) }));
};

// Of a session: its video's statistics, those of the other end's reports, of the pair in use, and our end's port.
window.look = async ({ pc }) => {
    const all = await pc.getStats();
    const find = type => [...all.values()].find(one => one.type === type && (one.kind ?? "video") === "video");
    const pair = all.get(find("transport").selectedCandidatePairId);
    const video = find("inbound-rtp") ?? find("outbound-rtp");
    const remote = find("remote-inbound-rtp") ?? find("remote-outbound-rtp");
    return { at: performance.now(), video, remote, pair, port: all.get(pair?.localCandidateId)?.port };
};
