//! What a child is given, what is read of it, what it may use.

use std::time::Duration;

use procfs::process::Process;
use whipstitch_ffmpeg::process::{Exec, Limits, Order, Rules};

use crate::bench::{Bench, Program, rules};

/// It says everything and then waits to be ended.
const WAIT: &str = "echo ready >&2; exec sleep 1000";

#[tokio::test]
async fn a_child_has_a_folder_and_an_environment_that_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::sh(&format!("pwd >&2; env >&2; {WAIT}"));
    program.dir = folder.path().canonicalize().expect("it is there");
    let dir = program.dir.display().to_string();
    let bench = Bench::start(rules(), program);
    bench.until_said("ready").await;
    let log = bench.log();
    assert_eq!(log[0], dir);
    let mut names: Vec<&str> = log[1..].iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    // What the shell sets itself; and what is passed on, where there is any.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_", "LANG", "TMPDIR", "TZ"].contains(name));
    assert_eq!(names, ["HOME", "MORE", "PATH"]);
    assert!(log.contains(&format!("HOME={dir}")) && log.contains(&"MORE=more".to_owned()), "{log:?}");
    bench.finish().await;
}

#[tokio::test]
async fn arguments_pass_no_shell_and_secrets_are_nowhere() {
    let mut program =
        Program::new("sh", &["-c", &format!("printf '%s\\n' \"$@\" >&2; {WAIT}"), "sh", "$(id) `id` ;x", "u:5ecret@h"]);
    program.secrets = vec!["5ecret".into()];
    let bench = Bench::start(rules(), program);
    let state = bench.until_said("ready").await;
    assert_eq!(bench.log(), ["$(id) `id` ;x", "u:***@h", "ready"]);
    assert_eq!(state.command[3..], ["$(id) `id` ;x", "u:***@h"]);
    assert!(!format!("{state:?} {:?}", bench.runner.report()).contains("5ecret"));
    bench.finish().await;
}

#[tokio::test]
async fn a_secret_across_the_cut_of_a_long_line_is_masked() {
    let mut program = Program::sh(&format!("printf '%04092d5ecret%04000d\\n' 0 0 >&2; {WAIT}"));
    program.secrets = vec!["5ecret".into()];
    let bench = Bench::start(rules(), program);
    bench.until_said("ready").await;
    assert_eq!(bench.log()[0], format!("{}***0", "0".repeat(4092)));
    bench.finish().await;
}

#[tokio::test]
async fn one_that_floods_is_read_and_costs_no_more_than_the_bounds() {
    for flood in ["yes 'too much' >&2", "yes >&2 | tr -d '\\n'", "tr '\\0' x </dev/zero >&2"] {
        let bench = Bench::start(rules(), Program::sh(&format!("echo frame=1; echo progress=end; {flood}")));
        let state = bench.until("seen", |state| state.progress.frame == 1 && state.usage.memory > 0).await;
        assert_eq!(state.exec, Exec::Running, "{flood}");
        let report = bench.runner.report();
        let bytes: usize = report.current.log.iter().map(|line| line.text.len()).sum();
        assert!(report.current.log.len() <= 300 && bytes <= 128 * 1024, "{flood}: {bytes} bytes");
        bench.finish().await;
    }
}

#[tokio::test]
async fn one_that_floods_is_read_at_a_bounded_rate() {
    let bench = Bench::start(rules(), Program::sh("exec yes >&2"));
    let state = bench.until("seen for a while", |state| state.runtime > Duration::from_secs(3)).await;
    let child = Process::new(state.pid.expect("it runs") as i32).expect("it is there");
    let (written, seconds) = (child.io().expect("it is ours").wchar, bench.runner.state().runtime.as_secs());
    // 1 MiB a second, a second ahead, and what the pipe holds.
    assert!(written > 1 << 20 && written < (seconds + 3) << 20, "{written} bytes in {seconds} s");
    bench.finish().await;
}

#[tokio::test]
async fn progress_is_read_from_standard_output() {
    let script = "echo \"Output #0, null, to '-':\" >&2; printf 'frame=7\\nout_time_us=1500000\\nprogress=continue\\n'; exec sleep 1000";
    let bench = Bench::start(rules(), Program::sh(script));
    let state = bench.until("seen", |state| state.progress.frame > 0 && state.last_line.is_some()).await;
    assert_eq!((state.progress.frame, state.progress.time), (7, 1.5));
    bench.finish().await;
}

#[tokio::test]
async fn one_that_uses_too_much_is_ended() {
    let limits = Limits { memory: Some(1), ..Limits::default() };
    let bench = Bench::start(Rules { limits, ..rules() }, Program::new("sleep", &["1000"]));
    assert_eq!(bench.ended().await, "ended: above its limit of memory");
    bench.finish().await;

    // It takes one processor; 1 % of the machine is less than that where there are fewer than 100.
    let limits = Limits { cpu: Some(1.0), ..Limits::default() };
    let bench = Bench::start(Rules { limits, ..rules() }, Program::sh("while :; do :; done"));
    assert_eq!(bench.ended().await, "ended: above its limit of CPU");
    bench.finish().await;
}

#[tokio::test]
async fn a_program_or_folder_that_is_not_there_is_named() {
    let bench = Bench::start(rules(), Program::new("no-such-ffmpeg", &[]));
    let state = bench.until("failed", |state| state.exec == Exec::Failed && state.last_line.is_some()).await;
    assert_eq!(state.last_line.as_deref(), Some("there is no program `no-such-ffmpeg`"));
    assert_eq!((state.order, state.pid), (Order::Start, None));
    assert_eq!(bench.ended().await, "not started: there is no program `no-such-ffmpeg`");
    bench.finish().await;

    let mut program = Program::new("sleep", &["1000"]);
    program.dir = "/no/such/folder".into();
    let bench = Bench::start(rules(), program);
    assert_eq!(bench.ended().await, "not started: there is no folder `/no/such/folder` to start `sleep` in");
    assert_eq!(bench.told()[..2], ["launch", "dropped"], "what it was to keep is dropped");
    bench.finish().await;

    let mut program = Program::new("/etc/passwd", &[]);
    program.dir = "/".into();
    let bench = Bench::start(rules(), program);
    let told = bench.ended().await;
    assert!(told.starts_with("not started: `/etc/passwd` may not be run"), "{told}");
    bench.finish().await;
}
