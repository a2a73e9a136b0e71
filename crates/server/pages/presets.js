// Definitions to begin with: what docs/processes.md describes, made for an id and a target.

/** What browsers play without hiccups: no B-frames, a keyframe every two seconds. */
const H264 = ['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-bf', '0', '-g', '60', '-pix_fmt', 'yuv420p'];
const AAC = ['-c:a', 'aac', '-b:a', '128k', '-ar', '48000', '-ac', '2'];
const OPUS = ['-c:a', 'libopus', '-b:a', '96k', '-ar', '48000', '-ac', '2'];

const base = (id) => ({
  id,
  type: 'ffmpeg',
  reference: '',
  input: [],
  output: [],
  options: ['-hide_banner', '-loglevel', 'info'],
  reconnect: true,
  reconnect_delay_seconds: 2,
  autostart: true,
  stale_timeout_seconds: 20,
  whip_ingest: { enabled: true },
});

/**
 * What can be chosen. `target` names the field a preset needs, with what it is at first; `make(id, target)` gives the
 * definition.
 */
export const presets = [
  {
    key: 'transcode',
    name: 'Transcode to H.264 for browsers',
    about: (id) => `Publish to /whip/${id} in any codec; watch H.264 at /watch/${id}-out.`,
    make: (id) => ({ ...base(id), whep_egress: { enabled: true } }),
  },
  {
    key: 'record',
    name: 'Record',
    about: (id) => `Publish to /whip/${id}. Each run is a file of its own in the process' folder under --data, picture and sound as they come.`,
    make: (id) => ({
      ...base(id),
      output: [{
        id: 'file',
        address: '{data}/recording-%Y%m%d-%H%M%S.mkv',
        options: ['-map', '0', '-c', 'copy', '-f', 'segment', '-segment_time', '3600', '-reset_timestamps', '1', '-strftime', '1'],
      }],
    }),
  },
  {
    key: 'rtmp',
    name: 'Restream by RTMP',
    target: { name: 'RTMP URL', value: 'rtmp://live.example.org/app/key' },
    about: (id) => `Publish to /whip/${id}; it goes on as H.264 and AAC.`,
    make: (id, target) => ({
      ...base(id),
      output: [{ id: 'rtmp', address: target, options: [...H264, '-b:v', '2500k', ...AAC, '-f', 'flv'] }],
    }),
  },
  {
    key: 'hls',
    name: 'HLS',
    about: (id) => `Publish to /whip/${id}. The playlist and its segments are in the process' folder under --data, for your web server.`,
    make: (id) => ({
      ...base(id),
      output: [{
        id: 'hls',
        address: '{data}/index.m3u8',
        options: [...H264, ...AAC, '-f', 'hls', '-hls_time', '2', '-hls_list_size', '6', '-hls_flags', 'delete_segments+append_list'],
      }],
    }),
  },
  {
    key: 'ladder',
    name: 'Two sizes for browsers',
    about: (id) => `Publish to /whip/${id}; watch 720 lines at /watch/${id}-720 and 360 lines at /watch/${id}-360.`,
    make: (id) => ({
      ...base(id),
      output: [720, 360].map((lines) => ({
        id: `${lines}`,
        address: `{whep:${id}-${lines}}`,
        options: ['-map', '0:v:0', '-map', '0:a:0?', '-vf', `scale=-2:${lines}`, ...H264, '-b:v', lines === 720 ? '2500k' : '800k', ...OPUS],
      })),
    }),
  },
];
