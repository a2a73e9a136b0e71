//! FFmpeg reads streams as plain RTP, by the SDP that leases it its ports.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process};

/// For what takes a few seconds, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// FFmpeg on its way to record so many seconds of the test stream, as they come.
fn record(gateway: &Gateway, name: &str, seconds: u32, file: &Path) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-y", "-protocol_whitelist", "http,tcp,rtp,udp"]);
    ffmpeg.args(["-i", &gateway.url("/whip/demo/sdp"), "-c", "copy", "-t", &seconds.to_string()]).arg(file);
    Process::start(name, &ffmpeg)
}

/// Codec and number of packets of each track.
fn tracks(file: &Path) -> Vec<(String, u32)> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets"]);
    let output = ffprobe.args(["-of", "csv=p=0"]).arg(file).output().expect("ffprobe runs");
    let text = String::from_utf8(output.stdout).expect("it is ASCII");
    let track = |line: &str| {
        let (codec, packets) = line.split_once(',').expect("two fields");
        (codec.to_owned(), packets.trim_end_matches(',').parse().expect("a number"))
    };
    text.lines().map(track).collect()
}

#[test]
fn two_ffmpegs_record_both_tracks_at_once_and_one_that_is_killed_harms_nobody() {
    let gateway = Gateway::demo(&[]);
    let ready = |line: &str| line.contains("test source is publishing").then_some(());
    gateway.process().line(PATIENCE, "a stream", ready);

    let folder = tempfile::tempdir().expect("a folder");
    let files = ["first.mp4", "second.mp4", "killed.mp4"].map(|name| folder.path().join(name));
    let killed = record(&gateway, "the FFmpeg that is killed", 600, &files[2]);
    killed.line(PATIENCE, "its recording", |line| line.contains("Stream mapping").then_some(()));
    let others =
        [record(&gateway, "the first FFmpeg", 6, &files[0]), record(&gateway, "the second FFmpeg", 6, &files[1])];
    drop(killed);
    for (ffmpeg, file) in others.iter().zip(&files) {
        assert!(ffmpeg.end(PATIENCE).success(), "{}", ffmpeg.said());
        let tracks = tracks(file);
        let [(video, pictures), (audio, packets)] = &tracks[..] else { panic!("{tracks:?}") };
        assert_eq!((&**video, &**audio), ("h264", "opus"));
        // 30 a second, and 50; the replay at the beginning may cut the first audio short.
        assert!((178..=183).contains(pictures) && (240..=305).contains(packets), "{tracks:?}");
    }
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
