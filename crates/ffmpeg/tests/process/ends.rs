//! How children end, and that none is left.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use whipstitch_ffmpeg::process::{Exec, Order, Rules};

use crate::bench::{Bench, Program, is_alive, rules, until_gone};

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("it is there");
}

#[tokio::test]
async fn an_order_to_stop_ends_the_child_and_an_order_to_start_brings_the_next() {
    let bench = Bench::start(rules(), Program::new("sleep", &["1000"]));
    let first = bench.until("running", |state| state.exec == Exec::Running).await;
    bench.runner.order(Order::Stop);
    assert_eq!(bench.runner.state().order, Order::Stop, "at once");
    bench.idle().await;
    let state = bench.runner.state();
    assert_eq!((state.exec, state.pid), (Exec::Finished, None), "sleep has no answer to SIGINT but to end");
    assert_eq!(bench.told(), ["launch", "dropped", "stopped as ordered"]);
    bench.runner.order(Order::Start);
    let second = bench.until("running again", |state| state.exec == Exec::Running).await;
    assert_ne!(first.pid, second.pid);
    assert_eq!((second.restarts, second.counts.of(Exec::Running)), (0, 2));
    bench.finish().await;
}

/// A shell starts what it puts in the background so.
#[test]
fn a_child_hears_what_we_were_started_to_ignore() {
    let name = "ends::an_order_to_stop_ends_the_child_and_an_order_to_start_brings_the_next";
    let us = std::env::current_exe().expect("this program");
    let deaf = Command::new("sh").args(["-c", "trap '' INT; exec \"$0\" --exact \"$1\""]).arg(us).arg(name).output();
    let output = deaf.expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn one_that_is_killed_comes_back_after_its_delay_and_its_last_words_are_kept() {
    let delay = Duration::from_secs(3);
    let rules = Rules { reconnect_delay: delay, ..rules() };
    let bench = Bench::start(rules, Program::sh("echo words >&2; exec sleep 1000"));
    let first = bench.until_said("words").await.pid.expect("it runs");
    signal(first, Signal::SIGKILL);
    let state = bench.until("gone", |state| state.exec == Exec::Killed).await;
    let left = state.reconnect.expect("it comes back");
    // More than the second that is between any two starts.
    assert!(left <= delay && left > Duration::from_secs(1), "{left:?}");
    assert_eq!(bench.ended().await, "ended by signal 9");
    let second = bench.until("back", |state| state.exec == Exec::Running).await;
    assert_ne!(second.pid, Some(first));
    assert_eq!(second.restarts, 1);
    let report = bench.runner.report();
    assert_eq!(&*report.history[0].log[0].text, "words");
    assert!(report.history[0].ended.is_some());
    let between = report.current.created_at - report.history[0].created_at;
    assert!((2..30).contains(&between), "{between} s");
    bench.finish().await;
}

#[tokio::test]
async fn one_that_does_not_move_is_stale_and_killed_as_it_hears_nothing() {
    let rules = Rules { stale_timeout: Some(Duration::from_secs(1)), ..rules() };
    let progress = "n=0; while :; do n=$((n+1)); echo frame=$n; echo progress=continue; echo $n >&2; sleep 0.1; done";
    let bench = Bench::start(rules, Program::sh(progress));
    // Longer than it may be silent: what it says counts.
    let state = bench.until("at work", |state| state.progress.frame > 15).await;
    assert_eq!(state.exec, Exec::Running);
    signal(state.pid.expect("it runs"), Signal::SIGSTOP);
    assert_eq!(bench.ended().await, "ended: no progress");
    assert_eq!(bench.runner.state().counts.of(Exec::Killed), 1);
    bench.until("back", |state| state.exec == Exec::Running && state.progress.frame > 0).await;
    bench.finish().await;
}

#[tokio::test]
async fn one_that_ignores_what_it_is_asked_is_killed() {
    let bench = Bench::start(rules(), Program::sh("trap '' INT; echo deaf >&2; while :; do sleep 1000; done"));
    let pid = bench.until_said("deaf").await.pid.expect("it runs");
    bench.runner.order(Order::Stop);
    let asked = std::time::Instant::now();
    bench.idle().await;
    let took = asked.elapsed().as_secs_f64();
    assert!((4.9..20.0).contains(&took), "{took} s");
    assert_eq!(bench.runner.state().exec, Exec::Killed);
    assert!(!is_alive(pid as i32));
    bench.finish().await;
}

#[tokio::test]
async fn what_a_child_has_started_goes_with_it() {
    // It ends by itself; and its own child, which holds its outputs, would go on.
    let bench = Bench::start(Rules { reconnect: false, ..rules() }, Program::sh("sleep 1000 & echo $! >&2; exit 3"));
    let state = bench.until("gone", |state| state.exec == Exec::Failed).await;
    let grandchild: i32 = state.last_line.expect("it said so").parse().expect("a number");
    until_gone(grandchild).await;
    assert_eq!(bench.ended().await, "exited with code 3");
    bench.finish().await;
}

#[tokio::test]
async fn who_has_left_the_group_and_holds_the_outputs_holds_nobody_up() {
    let bench =
        Bench::start(Rules { reconnect: false, ..rules() }, Program::sh("setsid sleep 1000 & echo $! >&2; exit 3"));
    let state = bench.until("gone", |state| state.exec == Exec::Failed).await;
    let pid = state.last_line.expect("it said so").parse().expect("a number");
    signal(pid, Signal::SIGKILL);
    bench.finish().await;
}

#[tokio::test]
async fn a_restart_is_at_once_and_told_as_such() {
    let rules = Rules { reconnect_delay: Duration::from_secs(1000), ..rules() };
    let bench = Bench::start(rules, Program::new("sleep", &["1000"]));
    let first = bench.until("running", |state| state.exec == Exec::Running).await;
    bench.runner.restart();
    bench.until("another", |state| state.exec == Exec::Running && state.pid != first.pid).await;
    assert_eq!(bench.ended().await, "restarted as ordered");
    bench.finish().await;
}

#[tokio::test]
async fn a_dropped_runner_leaves_nobody() {
    let bench = Bench::start(rules(), Program::sh("trap '' INT; sleep 1000 & echo $! >&2; wait; wait"));
    let state = bench.until("running", |state| state.last_line.is_some()).await;
    drop(bench);
    until_gone(state.pid.expect("it runs") as i32).await;
    until_gone(state.last_line.expect("it said so").parse().expect("a number")).await;
}

#[test]
fn a_runtime_that_is_shut_down_leaves_nobody() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let first = runtime();
    let (bench, state) = first.block_on(async {
        let bench = Bench::start(rules(), Program::sh("sleep 1000 & echo $! >&2; wait"));
        let state = bench.until("running", |state| state.last_line.is_some()).await;
        (bench, state)
    });
    drop(first);
    runtime().block_on(async {
        until_gone(state.pid.expect("it ran") as i32).await;
        until_gone(state.last_line.expect("it said so").parse().expect("a number")).await;
    });
    drop(bench);
}

/// Set for the program that the next test starts: itself.
const VICTIM: &str = "WHIPSTITCH_TEST_VICTIM";

#[test]
fn no_child_outlives_us_however_we_end() {
    if std::env::var_os(VICTIM).is_some() {
        return victim();
    }
    let name = "ends::no_child_outlives_us_however_we_end";
    let mut us = Command::new(std::env::current_exe().expect("this program"));
    let us = us.args(["--exact", name, "--nocapture"]).env(VICTIM, "1").stdout(Stdio::piped()).spawn();
    let mut us = us.expect("this program starts");
    let lines = BufReader::new(us.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let pid = lines.filter_map(|line| line.strip_prefix("child ").and_then(|pid| pid.parse().ok())).next();
    let pid: i32 = pid.expect("it has a child");
    assert!(is_alive(pid));
    us.kill().expect("it runs");
    us.wait().expect("it is killed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(until_gone(pid));
}

/// Starts a child that hears nothing, tells of it and waits to be killed.
fn victim() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bench = Bench::start(rules(), Program::sh("trap '' INT TERM HUP PIPE; while :; do sleep 1000; done"));
        let state = bench.until("running", |state| state.exec == Exec::Running).await;
        println!("\nchild {}", state.pid.expect("it runs"));
        std::future::pending::<()>().await;
    });
}
