//! FFmpeg itself.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use whipstitch_ffmpeg::process::{Exec, Order, RunState, arguments};

use crate::bench::{Bench, Program, rules};

/// FFmpeg with what the supervisor needs of it.
fn ffmpeg(args: &str) -> Program {
    let args = arguments(args.split(' ').map(str::to_owned).collect());
    Program::new("ffmpeg", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn its_progress_is_seen_and_it_finishes_its_file_when_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = ffmpeg("-re -f lavfi -i testsrc=size=320x180:rate=25 -c:v libx264 -g 25 a.mp4");
    program.dir = folder.path().into();
    let bench = Bench::start(rules(), program);
    let state = bench.until("at work", |state| state.progress.frame > 20 && state.progress.speed > 0.0).await;
    let [input] = &*state.progress.inputs else { panic!("{:?}", state.progress) };
    assert_eq!((&*input.format, &*input.kind, input.width), ("lavfi", "video", 320));
    let [output] = &*state.progress.outputs else { panic!("{:?}", state.progress) };
    assert_eq!((&*output.address, &*output.codec, &*output.coder), ("a.mp4", "h264", "libx264"));
    assert_eq!(output.frame, state.progress.frame);
    let report = bench.runner.report().current;
    assert!(report.prelude.iter().any(|line| line.starts_with("Stream mapping:")), "{report:?}");

    bench.runner.order(Order::Stop);
    bench.idle().await;
    assert_eq!(bench.runner.state().exec, Exec::Finished);
    assert_eq!(bench.ended().await, "stopped as ordered");
    // Without its end an MP4 cannot be read.
    let probe = ["-v", "error", "-show_entries", "stream=nb_frames", "-of", "csv=p=0", "a.mp4"];
    let probe = Command::new("ffprobe").args(probe).current_dir(folder.path()).output().expect("ffprobe runs");
    let frames: u64 = String::from_utf8_lossy(&probe.stdout).trim().parse().expect("it has frames");
    assert!(frames > 20, "{frames}");
    bench.finish().await;
}

#[tokio::test]
async fn its_errors_are_its_last_words() {
    let bench = Bench::start(rules(), ffmpeg("-i no-such-file -f null -"));
    assert_eq!(bench.ended().await, "exited with code 1");
    let state = bench.runner.state();
    assert_eq!(state.exec, Exec::Failed);
    assert!(state.last_line.expect("it says why").contains("No such file"), "{:?}", bench.log());
    bench.finish().await;
}

#[tokio::test]
async fn it_does_not_wait_for_an_answer_before_it_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.ts"), "mine").expect("it is written");
    let mut program = ffmpeg("-f lavfi -i testsrc -t 1 -c:v mpeg4 a.ts");
    program.dir = folder.path().into();
    let bench = Bench::start(rules(), program);
    assert_eq!(bench.ended().await, "exited with code 1");
    assert_eq!(std::fs::read(folder.path().join("a.ts")).expect("it is there"), b"mine");
    bench.finish().await;
}

/// Its publisher is gone: it reads and nothing comes. One SIGINT does not end that, a second one does.
#[tokio::test]
async fn it_is_stopped_soon_while_it_waits_for_its_input() {
    let made =
        ["-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x90", "-t", "2", "-c:v", "mpeg4", "-f", "mpegts", "-"];
    let media = Command::new("ffmpeg").args(made).output().expect("ffmpeg runs").stdout;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let publisher = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("it connects");
        connection.write_all(&media).expect("it reads");
        connection
    });
    let (missing, waiting) = watch::channel(false);
    let mut program = ffmpeg(&format!("-probesize 32768 -f mpegts -i tcp://{address} -c copy -f null -"));
    program.waiting = Some(waiting);
    let bench = Bench::start(rules(), program);
    // All is open, without which one is enough; and long ago read, which it does at once.
    let silent = |state: &RunState| {
        state.runtime > Duration::from_secs(2)
            && state.last_line.as_ref().is_some_and(|line| line.starts_with("Press [q]"))
    };
    bench.until("silent", silent).await;
    let _connection = publisher.join().expect("it has sent all");
    missing.send_replace(true);
    bench.until("waiting", |state| state.waiting).await;
    bench.runner.order(Order::Stop);
    let asked = Instant::now();
    bench.idle().await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}: it was killed, or asked again too late");
    assert_eq!(bench.runner.state().exec, Exec::Finished, "{:?}", bench.log());
    bench.finish().await;
}
