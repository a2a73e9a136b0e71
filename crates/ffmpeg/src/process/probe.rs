//! What the inputs of a process hold, as `ffprobe` finds it, in the shape of datarhei Core.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Said, ask};
use super::command::Command;

/// For all inputs of one process, as datarhei Core waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of the log.
const MOST_LINES: usize = 300;

/// What the inputs of a process hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Probe {
    /// Their streams.
    pub streams: Vec<ProbeIo>,
    /// What `ffprobe` said, without secrets; also why there are none.
    pub log: Vec<String>,
}

/// A stream of an input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ProbeIO)]
pub struct ProbeIo {
    /// The input, without secrets.
    pub url: String,
    /// Its container.
    pub format: String,
    /// Which input it is, from 0.
    pub index: u64,
    /// Which of its streams, from 0.
    pub stream: u64,
    /// ISO 639, or nothing.
    pub language: String,
    /// `video`, `audio` or `subtitle`.
    pub r#type: String,
    /// As FFmpeg calls it.
    pub codec: String,
    /// What decodes it: the same.
    pub coder: String,
    /// kbit/s. 0: unknown.
    pub bitrate_kbps: f64,
    /// Seconds. 0: unknown, or live.
    pub duration_sec: f64,
    /// Pictures a second.
    pub fps: f64,
    /// As in `yuv420p`.
    pub pix_fmt: String,
    /// Pixels.
    pub width: u64,
    /// Pixels.
    pub height: u64,
    /// Samples a second.
    pub sampling_hz: u64,
    /// As in `stereo`.
    pub layout: String,
    /// How many.
    pub channels: u64,
}

/// Probes the inputs of a command, one after the other.
pub(super) async fn run(ffmpeg: &Path, dir: &Path, command: Command) -> Probe {
    let program = ffprobe(ffmpeg);
    let masked = |text: &str| {
        let secrets = command.secrets.iter().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    };
    let mut probe = Probe::default();
    let begun = Instant::now();
    for (index, (options, url)) in (0..).zip(inputs(&command.args)) {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let mut args: Vec<String> =
            ["-hide_banner", "-of", "json", "-show_format", "-show_streams"].map(str::to_owned).into();
        args.extend(options);
        args.extend(["-i".to_owned(), url.clone()]);
        let (said, failed) = match ask(&program, args, dir, left).await {
            Ok(Said { stdout, stderr, .. }) => (stdout, stderr),
            Err(why) => (String::new(), why),
        };
        probe.log.extend(failed.lines().map(masked));
        probe.streams.extend(streams(&said, index, &masked(&url)));
    }
    let more = probe.log.len().saturating_sub(MOST_LINES);
    probe.log.drain(..more);
    probe
}

/// `ffprobe` is where `ffmpeg` is.
fn ffprobe(ffmpeg: &Path) -> PathBuf {
    let name = ffmpeg.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if name.contains("ffmpeg") { name.replace("ffmpeg", "ffprobe") } else { "ffprobe".to_owned() };
    ffmpeg.with_file_name(name)
}

/// Options of inputs that take no value and are FFmpeg's alone.
const FLAGS: [&str; 11] = [
    "re",
    "accurate_seek",
    "noaccurate_seek",
    "autorotate",
    "noautorotate",
    "vn",
    "an",
    "sn",
    "dn",
    "copyts",
    "fix_sub_duration",
];
/// Those with a value.
const VALUED: [&str; 24] = [
    "stream_loop",
    "ss",
    "sseof",
    "t",
    "to",
    "itsoffset",
    "itsscale",
    "thread_queue_size",
    "readrate",
    "readrate_initial_burst",
    "r",
    "c",
    "codec",
    "vcodec",
    "acodec",
    "hwaccel",
    "hwaccel_device",
    "hwaccel_output_format",
    "seek_timestamp",
    "discard",
    "isync",
    "guess_layout_max",
    "dump_attachment",
    "tag",
];

/// The inputs of a command, each with its options as far as `ffprobe` knows them.
fn inputs(args: &[String]) -> Vec<(Vec<String>, String)> {
    let (mut all, mut options) = (Vec::new(), Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let name = word.strip_prefix('-').and_then(|name| name.split(':').next()).unwrap_or_default();
        match name {
            "i" => all.extend(words.next().map(|url| (std::mem::take(&mut options), url.clone()))),
            name if FLAGS.contains(&name) => {}
            name if VALUED.contains(&name) => drop(words.next()),
            _ => {
                options.push(word.clone());
                options.extend(words.next().cloned());
            }
        }
    }
    all
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    streams: Vec<FoundStream>,
    format: FoundFormat,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundFormat {
    format_name: String,
    duration: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundStream {
    index: u64,
    codec_name: String,
    codec_type: String,
    bit_rate: String,
    duration: String,
    avg_frame_rate: String,
    r_frame_rate: String,
    pix_fmt: String,
    width: u64,
    height: u64,
    sample_rate: String,
    channel_layout: String,
    channels: u64,
    tags: FoundTags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundTags {
    language: String,
}

/// What `ffprobe` found; nothing where that is not what it writes.
fn streams(json: &str, index: u64, url: &str) -> Vec<ProbeIo> {
    let Found { streams, format } = serde_json::from_str(json).unwrap_or_default();
    let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite()).unwrap_or_default();
    let rate = |text: &str| {
        let (over, under) = text.split_once('/').unwrap_or((text, "1"));
        let (over, under) = (number(over), number(under));
        if under > 0.0 { over / under } else { 0.0 }
    };
    let known = streams.into_iter().filter(|stream| ["video", "audio", "subtitle"].contains(&&*stream.codec_type));
    let of = |stream: FoundStream| ProbeIo {
        url: url.to_owned(),
        format: format.format_name.clone(),
        index,
        stream: stream.index,
        language: stream.tags.language,
        r#type: stream.codec_type,
        coder: stream.codec_name.clone(),
        codec: stream.codec_name,
        bitrate_kbps: number(&stream.bit_rate) / 1000.0,
        duration_sec: if stream.duration.is_empty() { number(&format.duration) } else { number(&stream.duration) },
        fps: Some(rate(&stream.avg_frame_rate))
            .filter(|rate| *rate > 0.0)
            .unwrap_or_else(|| rate(&stream.r_frame_rate)),
        pix_fmt: stream.pix_fmt,
        width: stream.width,
        height: stream.height,
        sampling_hz: stream.sample_rate.parse().unwrap_or_default(),
        layout: stream.channel_layout,
        channels: stream.channels,
    };
    known.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn ffprobe_is_beside_ffmpeg() {
        for (ffmpeg, expected) in [
            ("ffmpeg", "ffprobe"),
            ("/opt/ffmpeg/bin/ffmpeg", "/opt/ffmpeg/bin/ffprobe"),
            ("/x/ffmpeg-7.1", "/x/ffprobe-7.1"),
            ("/x/av", "/x/ffprobe"),
        ] {
            assert_eq!(ffprobe(Path::new(ffmpeg)), Path::new(expected));
        }
    }

    #[test]
    fn only_what_ffprobe_knows_is_asked() {
        assert_eq!(
            inputs(&words("-re -stream_loop -1 -f lavfi -c:v h264 -i testsrc -rtsp_transport tcp -i rtsp://h/s")),
            [(words("-f lavfi"), "testsrc".to_owned()), (words("-rtsp_transport tcp"), "rtsp://h/s".to_owned())]
        );
    }

    #[test]
    fn what_was_found_is_told_and_nothing_else_is_made_of_it() {
        let json = r#"{"streams": [{"index": 0, "codec_name": "h264", "codec_type": "video", "avg_frame_rate": "30000/1001",
            "bit_rate": "1500000", "width": 640, "height": 360, "pix_fmt": "yuv420p", "tags": {"language": "deu"}},
            {"index": 1, "codec_type": "audio", "codec_name": "opus", "sample_rate": "48000", "channels": 2,
            "channel_layout": "stereo", "avg_frame_rate": "0/0"}, {"index": 2, "codec_type": "data"}],
            "format": {"format_name": "mov,mp4", "duration": "2.5"}}"#;
        let found = streams(json, 3, "u");
        assert_eq!(found.len(), 2);
        let video = &found[0];
        assert_eq!(
            (video.index, video.stream, &*video.codec, video.width, &*video.language),
            (3, 0, "h264", 640, "deu")
        );
        assert!((video.fps - 29.97).abs() < 0.01 && (video.bitrate_kbps - 1500.0).abs() < 0.1, "{video:?}");
        assert_eq!((found[1].sampling_hz, found[1].channels, found[1].fps), (48_000, 2, 0.0));
        assert_eq!(found[1].duration_sec, 2.5);
        for broken in ["", "{", "[]", r#"{"streams": [{"index": -1}]}"#, r#"{"streams": 5}"#] {
            assert!(streams(broken, 0, "u").is_empty());
        }
    }
}
