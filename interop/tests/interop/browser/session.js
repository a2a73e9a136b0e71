// Sessions made by hand, for what the pages have no button for.

// Posts the connection's offer; what came of it.
window.connect = async (path, pc) => {
    await pc.setLocalDescription();
    const headers = { "Content-Type": "application/sdp" };
    const response = await fetch(path, { method: "POST", headers, body: pc.localDescription.sdp });
    const answer = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${answer}`);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    return { pc, url: new URL(response.headers.get("Location"), response.url).href, answer };
};

// Publishes tracks, each with one codec alone.
window.publish = (path, tracks) => {
    const pc = new RTCPeerConnection();
    for (const { track, codec } of tracks) {
        const transceiver = pc.addTransceiver(track, { direction: "sendonly" });
        transceiver.setCodecPreferences(only(RTCRtpSender, track.kind, codec));
    }
    return connect(path, pc);
};

// Watches tracks of one codec alone each, played by an element of their own.
window.watch = (path, tracks) => {
    const pc = new RTCPeerConnection();
    const element = document.body.appendChild(document.createElement("video"));
    element.autoplay = true;
    element.srcObject = new MediaStream();
    for (const { kind, codec } of tracks) {
        const transceiver = pc.addTransceiver(kind, { direction: "recvonly" });
        transceiver.setCodecPreferences(only(RTCRtpReceiver, kind, codec));
        element.srcObject.addTrack(transceiver.receiver.track);
    }
    return connect(path, pc);
};

const only = (side, kind, codec) => side.getCapabilities(kind).codecs.filter(c => c.mimeType === `${kind}/${codec}`);

// Restarts ICE (RFC 9725 4.3.3); the gateway's new credentials.
window.restart = async session => {
    const line = (text, name) => text.match(new RegExp(`^a=${name}:(\\S+)`, "m"))[1];
    session.pc.restartIce();
    await session.pc.setLocalDescription();
    const offer = session.pc.localDescription.sdp;
    const fragment = ["ice-ufrag", "ice-pwd"].map(name => `a=${name}:${line(offer, name)}\r\n`).join("");
    const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
    const response = await fetch(session.url, { method: "PATCH", headers, body: fragment });
    const answer = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${answer}`);
    for (const name of ["ice-ufrag", "ice-pwd"]) {
        session.answer = session.answer.replace(new RegExp(`a=${name}:\\S+`, "g"), `a=${name}:${line(answer, name)}`);
    }
    await session.pc.setRemoteDescription({ type: "answer", sdp: session.answer });
    return line(answer, "ice-ufrag");
};

// Statistics of one kind, and what the connection runs over.
window.statistics = async (session, type) => {
    const all = [...(await session.pc.getStats()).values()];
    const byId = id => all.find(one => one.id === id);
    const transport = all.find(one => one.type === "transport");
    const pair = byId(transport.selectedCandidatePairId);
    const found = Object.fromEntries(all.filter(one => one.type === type).map(one => [one.kind, one]));
    for (const one of Object.values(found)) one.codec = byId(one.codecId)?.mimeType;
    return { ...found, local: byId(pair?.localCandidateId), remote: byId(pair?.remoteCandidateId) };
};
