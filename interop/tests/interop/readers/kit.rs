//! FFmpeg as a reader: how it is called, and what is in the file that it has written.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use whipstitch_interop::{Gateway, Process};

/// For what takes some seconds, on a machine that runs other tests as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How lips are allowed to be off, in seconds: what people do not notice.
const LIPS: f64 = 0.040;

/// How a reader gets the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    RtspTcp,
    RtspUdp,
    Sdp,
}

/// FFmpeg's own sockets hold a second of 2.5 Mbit/s; writing to a disk that is busy can take longer.
const ROOM: [&str; 2] = ["-buffer_size", "4194304"];

impl Way {
    pub(crate) const ALL: [Way; 3] = [Way::RtspTcp, Way::RtspUdp, Way::Sdp];

    /// A program of FFmpeg's with its input, as docs/ffmpeg.md has it.
    pub(crate) fn input(self, gateway: &Gateway, program: &str, stream: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-hide_banner", "-loglevel", "warning"]);
        match self {
            Way::RtspTcp => command.args(["-rtsp_transport", "tcp", "-i", &gateway.rtsp("", stream)]),
            Way::RtspUdp => command.args(ROOM).args(["-rtsp_transport", "udp", "-i", &gateway.rtsp("", stream)]),
            Way::Sdp => {
                command.args(ROOM).args(["-protocol_whitelist", "http,tcp,rtp,udp", "-i"]);
                command.arg(gateway.url(&format!("/whip/{stream}/sdp")))
            }
        };
        command
    }

    /// FFmpeg on its way to record so many seconds as they come.
    pub(crate) fn record(self, gateway: &Gateway, stream: &str, seconds: u32, file: &Path) -> Process {
        let mut ffmpeg = self.input(gateway, "ffmpeg", stream);
        ffmpeg.args(["-nostdin", "-c", "copy", "-t", &seconds.to_string(), "-y"]).arg(file);
        Process::start(&format!("ffmpeg {self:?}"), &ffmpeg)
    }

    /// What ffprobe says of the streams.
    pub(crate) fn probe(self, gateway: &Gateway, stream: &str) -> String {
        let mut ffprobe = self.input(gateway, "ffprobe", stream);
        ffprobe.args(["-show_entries", "stream=codec_name,width,height,sample_rate,channels", "-of", "compact=p=0"]);
        let probe = Process::start(&format!("ffprobe {self:?}"), &ffprobe);
        assert_eq!(probe.end(PATIENCE).code(), Some(0), "{}", probe.said());
        probe.said()
    }
}

/// Datagrams that the sockets of a running process had no room for, as the kernel counts them; `None` when it has no socket.
pub(crate) fn overflowed(process: &Process) -> Option<u64> {
    let files = fs::read_dir(format!("/proc/{}/fd", process.id())).ok()?;
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let inode = |link: &Path| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let own: HashSet<String> = links.filter_map(|link| inode(&link)).collect();
    let table = fs::read_to_string("/proc/net/udp").expect("the kernel's sockets");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let drops = |row: Vec<&str>| own.contains(*row.get(9)?).then(|| row.get(12)?.parse::<u64>().ok()).flatten();
    let drops: Vec<u64> = rows.filter_map(drops).collect();
    (!drops.is_empty()).then(|| drops.iter().sum())
}

/// The demo, live.
pub(crate) fn demo(flags: &[&str]) -> Gateway {
    let gateway = Gateway::demo(flags);
    let ready = |line: &str| (line.contains("session connected") && line.contains("publisher")).then_some(());
    gateway.process().line(PATIENCE, "a publisher", ready);
    gateway
}

/// Where a picture flashes white while a tick sounds.
pub(crate) enum Flash {
    /// The built-in clip's: a box, for two pictures in every second.
    Clip,
    /// The whole picture.
    Everywhere,
}

/// What a recording holds.
pub(crate) struct Recording {
    /// Times of the packets, in seconds and in the order of the file.
    pub(crate) video: Vec<f64>,
    pub(crate) audio: Vec<f64>,
    /// When flashes begin, and ticks.
    flashes: Vec<f64>,
    ticks: Vec<f64>,
}

impl Recording {
    /// Reads and plays it; panics where FFmpeg finds anything wrong.
    pub(crate) fn open(file: &Path, flash: &Flash) -> Recording {
        Recording {
            video: times(file, "v:0"),
            audio: times(file, "a:0"),
            flashes: flashes(file, flash),
            ticks: ticks(file),
        }
    }

    /// Time never goes back.
    pub(crate) fn is_monotonic(&self) -> bool {
        [&self.video, &self.audio].iter().all(|times| times.is_sorted_by(|one, next| one < next))
    }

    /// Panics unless there is a tick with each flash and they are in time, but for those at either end and at gaps; tells
    /// how many there were, and the earliest and the latest tick in milliseconds.
    pub(crate) fn lips(&self) -> (usize, f64, f64) {
        self.lips_off_by(0.0)
    }

    /// The same where the source itself is known to have been off by up to so many seconds more.
    pub(crate) fn lips_off_by(&self, more: f64) -> (usize, f64, f64) {
        let most = LIPS + more;
        let nearest = |flash: &f64| {
            let offsets = self.ticks.iter().map(|tick| tick - flash);
            offsets.min_by(|one, other| one.abs().total_cmp(&other.abs())).filter(|offset| offset.abs() < 0.5)
        };
        let mut offsets: Vec<f64> = self.flashes.iter().filter_map(nearest).collect();
        offsets.sort_by(f64::total_cmp);
        let (flashes, ticks) = (&self.flashes, &self.ticks);
        let [first, .., last] = offsets[..] else { panic!("flashes {flashes:?}, ticks {ticks:?}") };
        assert!(
            first > -most && last < most,
            "ticks are off by {offsets:?} ({most} s may be); flashes {flashes:?}, ticks {ticks:?}"
        );
        (offsets.len(), first * 1000.0, last * 1000.0)
    }

    /// The longest step from a picture to the next, and when.
    pub(crate) fn gaps(&self, longer_than: f64) -> Vec<(f64, f64)> {
        let steps = self.video.windows(2).map(|pair| (pair[0], pair[1] - pair[0]));
        steps.filter(|(_, step)| *step > longer_than).collect()
    }
}

/// The time stamps of one track's packets, in seconds.
pub(crate) fn times(file: &Path, track: &str) -> Vec<f64> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", track, "-show_entries", "packet=dts_time", "-of", "json"]);
    let output = ffprobe.arg(file).output().expect("ffprobe");
    let known: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packets = known["packets"].as_array().expect("packets");
    packets.iter().filter_map(|packet| packet["dts_time"].as_str()?.parse().ok()).collect()
}

/// FFmpeg decodes the file through these options and says nothing of errors; what it writes.
fn decoded(file: &Path, options: &[&str]) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(options);
    let output = ffmpeg.output().expect("ffmpeg");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", file.display());
    output.stdout
}

/// When the picture gets bright.
fn flashes(file: &Path, flash: &Flash) -> Vec<f64> {
    let look = "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-";
    let filter = match flash {
        // scripts/make-clip.sh draws it at 540, 470, with a word in it.
        Flash::Clip => format!("crop=160:24:550:476,{look}"),
        Flash::Everywhere => look.to_owned(),
    };
    // Pictures come out when they were in the file, however many a second.
    let as_they_are = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    let text = decoded(file, &[&["-map", "0:v", "-vf", &filter][..], &as_they_are].concat());
    let (mut time, mut bright, mut found) = (0.0, true, Vec::new());
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some((_, at)) = line.split_once("pts_time:") {
            time = at.trim().parse().expect("a time");
        } else if let Some(luma) = line.strip_prefix("lavfi.signalstats.YAVG=") {
            let is_bright = luma.parse::<f64>().expect("a number") > 150.0;
            if is_bright && !bright {
                found.push(time);
            }
            bright = is_bright;
        }
    }
    found
}

/// When a tick begins: sound that is loud after it was soft for a third of a second.
fn ticks(file: &Path) -> Vec<f64> {
    const RATE: usize = 48_000;
    // Samples stand where their time stamps say, from time 0 of the file on.
    let samples = decoded(
        file,
        &["-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"],
    );
    let samples = samples.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let (mut loud, mut found) = (0, Vec::new());
    for (at, sample) in samples.enumerate() {
        if sample.abs() > 0.18 {
            if at > loud + RATE / 3 {
                found.push(at as f64 / RATE as f64);
            }
            loud = at;
        }
    }
    found
}
