// Viewers whose pictures are counted, and what a publisher and they do when something of theirs has died.

const LOOK_EVERY_MS = 50;
const AGAIN_AFTER_MS = 200;

window.viewers = {};

// Counts the pictures of a viewer from now on, and notes the longest time without a new one since it was last asked for.
const follow = viewer => {
    Object.assign(viewer, { pictures: 0, pause: 0, changed: performance.now() });
    viewer.looking = setInterval(async () => {
        const { video } = await statistics(viewer, "inbound-rtp");
        const now = performance.now();
        viewer.pause = Math.max(viewer.pause, now - viewer.changed);
        if (video?.framesDecoded > viewer.pictures) {
            [viewer.pictures, viewer.changed] = [video.framesDecoded, now];
        }
    }, LOOK_EVERY_MS);
    return viewer;
};

window.begin = async (url) => {
    window.media ??= await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } });
    return publish(url, [{ track: media.getVideoTracks()[0], codec: "VP8" }]);
};

// A viewer by this name; the one before is closed.
window.join = async (name, url) => {
    const viewer = await watch(url, [{ kind: "video", codec: "VP8" }]);
    const before = viewers[name];
    if (before) {
        clearInterval(before.looking);
        before.pc.close();
    }
    viewers[name] = follow(viewer);
};

// Opens until it is accepted; what was said before that.
window.untilAccepted = async open => {
    const refusals = [];
    for (;;) {
        try {
            return [await open(), refusals];
        } catch (error) {
            refusals.push(String(error));
            await new Promise(resolve => setTimeout(resolve, AGAIN_AFTER_MS));
        }
    }
};

// How many pictures each of these has; their pauses count from now on.
window.mark = names => names.map(name => {
    viewers[name].pause = 0;
    viewers[name].changed = performance.now();
    return viewers[name].pictures;
});

// The longest pause of each when all have so many pictures.
window.pauses = (names, counts) =>
    names.every((name, i) => viewers[name].pictures >= counts[i]) && names.map(name => Math.round(viewers[name].pause));

// The local port of a session. The answers to its checks tell of the proxy's port towards the origin, which makes that look
// like one of ours.
window.portOf = async session => {
    const { local } = await statistics(session, "inbound-rtp");
    return local.relatedPort ?? local.port;
};
