use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;

/// Versions of FFmpeg whose logs are in `fixtures/`, see its README.
const VERSIONS: [&str; 6] = ["4.1", "5.1", "6.1", "7.0", "7.1", "9.0"];

fn fixture(version: &str, file: &str) -> String {
    let folder = if version == "8.1" { "libraries" } else { "ffmpeg" };
    let path = format!("{}/src/process/progress/fixtures/{folder}-{version}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is known after a whole run, each block of whose progress came half a second after the one before.
fn run(version: &str, name: &str) -> (Progress, Vec<bool>) {
    let (mut parser, mut now) = (Parser::default(), Instant::now());
    fixture(version, &format!("{name}.log")).lines().for_each(|line| parser.log(line));
    let mut advanced = Vec::new();
    for line in fixture(version, &format!("{name}.progress")).lines() {
        if let Some(beyond) = parser.report(now, line) {
            advanced.push(beyond);
            now += Duration::from_millis(500);
        }
    }
    (parser.progress(now), advanced)
}

/// A stream in a few words.
fn told(io: &Io) -> String {
    let place = format!("{}:{} {} {}", io.index, io.stream, io.format, io.address);
    let what = format!("{} {}/{}", io.kind, io.codec, io.coder);
    if io.kind == "video" {
        format!("{place}: {what} {} {}x{} {}", io.pix_fmt, io.width, io.height, io.framerate.avg)
    } else {
        format!("{place}: {what} {} {} {}", io.sampling_hz, io.layout, io.channels)
    }
}

#[test]
fn a_transcode_is_understood_in_every_version() {
    for version in VERSIONS {
        let (progress, advanced) = run(version, "transcode");
        let outputs: Vec<_> = progress.outputs.iter().map(told).collect();
        // A source that is made is mono, the file that others read is not.
        let sound = if ["6.1", "7.1"].contains(&version) { "stereo 2" } else { "mono 1" };
        let expected = [
            "0:0 matroska out.mkv: video h264/libx264 yuv420p 320x180 25".to_owned(),
            "0:1 matroska out.mkv: audio aac/native 48000 stereo 2".to_owned(),
            format!("1:0 adts sound.aac: audio aac/native 48000 {sound}"),
        ];
        assert_eq!(outputs, expected, "{version}");
        assert_eq!(progress.inputs.len(), 2, "{version}");
        assert_eq!(progress.inputs[0].coder, "native", "{version}");
        assert!((74..=75).contains(&progress.frame), "{version}: {}", progress.frame);
        assert!((2.9..3.1).contains(&progress.time), "{version}: {}", progress.time);
        assert!((80..120).contains(&progress.size_kb), "{version}: {}", progress.size_kb);
        assert!(progress.fps > 15.0 && progress.bitrate_kbit > 100.0, "{version}: {progress:?}");
        assert!((0.9..1.3).contains(&progress.speed), "{version}: {}", progress.speed);
        assert_eq!((progress.drop, progress.dup), (0, 0), "{version}");
        assert!(advanced.len() >= 6 && advanced[1..4] == [true; 3], "{version}: {advanced:?}");
    }
}

#[test]
fn inputs_are_told_with_what_makes_them() {
    let (progress, _) = run("5.1", "transcode");
    let inputs: Vec<_> = progress.inputs.iter().map(told).collect();
    let expected = [
        "0:0 lavfi testsrc=size=320x180:rate=25: video rawvideo/native rgb24 320x180 0",
        "1:0 lavfi sine=frequency=440:sample_rate=48000: audio pcm_s16le/native 48000 mono 1",
    ];
    assert_eq!(inputs, expected);
}

#[test]
fn a_copy_is_understood_in_every_version_also_in_a_log_with_levels() {
    for version in VERSIONS {
        let (progress, advanced) = run(version, "copy");
        let told: Vec<_> = progress.inputs.iter().chain(&progress.outputs).map(told).collect();
        let expected = ["matroska,webm out.mkv", "matroska copy.mkv"].map(|file| {
            [
                format!("0:0 {file}: video h264/copy yuv420p 320x180 25"),
                format!("0:1 {file}: audio aac/copy 48000 stereo 2"),
            ]
        });
        assert_eq!(told, expected.concat(), "{version}");
        assert!(advanced.contains(&true), "{version}: {advanced:?}");
        assert!(progress.size_kb > 50 && progress.time > 2.8, "{version}: {progress:?}");
        assert_eq!(progress.q, 0.0, "{version}: nothing is encoded");
    }
}

/// There is no program of 8 here, only its libraries, which describe inputs and outputs.
#[test]
fn streams_are_understood_as_the_libraries_of_8_describe_them() {
    let mut parser = Parser::default();
    fixture("8.1", "copy.log").lines().for_each(|line| parser.log(line));
    let progress = parser.progress(Instant::now());
    let told: Vec<_> = progress.inputs.iter().chain(&progress.outputs).map(told).collect();
    let expected = [
        "0:0 matroska,webm : video h264/ yuv420p 320x180 25",
        "0:1 matroska,webm : audio aac/ 48000 stereo 2",
        "0:0 matroska : video h264/ yuv420p 320x180 25",
        "0:1 matroska : audio aac/ 48000 stereo 2",
    ];
    assert_eq!(told, expected);
}

/// The block is the same in 7.1 and 9.0, so it is in what is between them.
#[test]
fn progress_has_the_same_keys_in_the_versions_around_8() {
    let keys = |version| {
        let progress = fixture(version, "copy.progress");
        progress.lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(keys("7.1"), keys("9.0"));
}

#[test]
fn a_filter_graph_is_understood_in_every_version() {
    for version in VERSIONS {
        let (progress, _) = run(version, "graph");
        let outputs: Vec<_> = progress.outputs.iter().map(told).collect();
        let expected = [
            "0:0 null pipe:: video h264/libx264 yuv420p 160x90 25",
            "1:0 matroska b.mkv: video h264/libx264 yuv420p 160x90 25",
        ];
        assert_eq!(outputs, expected, "{version}");
        assert_eq!(progress.inputs[0].coder, "h264", "{version}: what decodes it for the graph");
        assert_eq!(progress.size_kb, 0, "{version}: nothing is written to the first output");
    }
}

#[test]
fn a_run_that_fails_has_no_progress() {
    for version in VERSIONS {
        let (progress, advanced) = run(version, "missing");
        assert_eq!((progress, advanced), (Progress::default(), vec![]), "{version}");
    }
}

#[test]
fn a_block_that_says_nothing_new_is_no_progress() {
    let (mut parser, now) = (Parser::default(), Instant::now());
    let mut block = |lines: &str| lines.lines().filter_map(|line| parser.report(now, line)).collect::<Vec<_>>();
    assert_eq!(block("frame=1\nprogress=continue"), [true]);
    assert_eq!(block("frame=1\nspeed=0.1x\nprogress=continue"), [false]);
    assert_eq!(block("frame=1\nout_time_us=40000\nprogress=continue"), [true], "sound alone");
    assert_eq!(block("frame=1\nout_time_us=40000\ntotal_size=9\nprogress=continue"), [true]);
    assert_eq!(block("frame=1\nout_time_us=N/A\ntotal_size=N/A\nprogress=end"), [false], "the end knows less");
}

#[test]
fn rates_are_of_the_last_half_minute_and_fall_when_no_more_comes() {
    let (mut parser, start) = (Parser::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    for second in 0..100 {
        let frames = if second < 50 { second * 10 } else { 500 + (second - 50) * 25 };
        parser.report(at(second), &format!("frame={frames}"));
        parser.report(at(second), &format!("total_size={}", second * 125_000));
        parser.report(at(second), "progress=continue");
    }
    let progress = parser.progress(at(99));
    assert_eq!((progress.fps, progress.bitrate_kbit), (25.0, 1000.0));
    assert!((10.0..15.0).contains(&parser.progress(at(114)).fps), "half of the time nothing came");
    assert_eq!(parser.progress(at(140)).fps, 0.0);
}

#[test]
fn what_cannot_be_is_left_out() {
    let mut parser = Parser::default();
    for line in
        ["frame=-1", "total_size=99999999999999999999999", "out_time_us=-577014", "speed=NaNx", "stream_0_0_q=-1.0"]
    {
        parser.report(Instant::now(), line);
    }
    parser.report(Instant::now(), "progress=end");
    parser.log("Output #0, mp4, to 'it's here.mp4':");
    parser.log("  Stream #0:99999999999999999999999: Video: h264");
    parser.log("  Stream #0:0: Video: ,");
    parser.log("  Stream #0:1: Attachment: none");
    let progress = parser.progress(Instant::now());
    let only = Io { kind: "video".into(), format: "mp4".into(), address: "it's here.mp4".into(), ..Io::default() };
    assert_eq!(progress, Progress { outputs: vec![only], ..Progress::default() });
}

#[test]
fn layouts_have_so_many_channels() {
    let cases =
        [("mono", 1), ("stereo", 2), ("2.1", 3), ("5.1(side)", 6), ("7.1.4", 12), ("16 channels", 16), ("odd", 0)];
    for (layout, channels) in cases {
        let mut parser = Parser::default();
        parser.log("Input #0, wav, from 'a':");
        parser.log(&format!("  Stream #0:0: Audio: pcm_s16le, 44100 Hz, {layout}, s16"));
        assert_eq!(parser.progress(Instant::now()).inputs[0].channels, channels, "{layout}");
    }
}

#[test]
fn ffmpeg_is_told_to_report_and_not_to_ask() {
    let args = |args: &[&str]| arguments(args.iter().map(|arg| (*arg).to_owned()).collect()).join(" ");
    assert_eq!(args(&["-i", "a", "b"]), "-progress pipe:1 -nostats -n -i a b");
    assert_eq!(args(&["-y", "-i", "a", "b"]), "-progress pipe:1 -nostats -y -i a b");
}

#[test]
fn the_json_is_that_of_datarhei_core() {
    let (progress, _) = run("5.1", "transcode");
    let json = serde_json::to_value(&progress).expect("it is JSON");
    let names = |value: &serde_json::Value| {
        let names: BTreeSet<_> = value.as_object().expect("an object").keys().cloned().collect();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    let all = "bitrate_kbit drop dup fps frame inputs outputs packet q size_kb speed time";
    assert_eq!(names(&json), all);
    let common = "address bitrate_kbit codec coder extradata_size_bytes format fps frame framerate";
    let video = format!("{common} height id index keyframe packet pix_fmt pps q size_kb stream type width");
    assert_eq!(names(&json["outputs"][0]), video);
    let audio = "address bitrate_kbit channels codec coder extradata_size_bytes format fps frame framerate id index keyframe \
                 layout packet pps q sampling_hz size_kb stream type";
    assert_eq!(names(&json["outputs"][1]), audio);
}
