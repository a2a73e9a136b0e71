//! How children end, and that none is left.

use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;
use whipstitch_ffmpeg::process::{Ended, Exec, Launch, Launcher, Order, Progress, Rules, Runner};

use crate::bench::{Bench, PATIENCE, Program, is_alive, rules, until_gone};

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

/// Holds its runner up when it is told of an end.
struct Slow {
    told: std::sync::mpsc::SyncSender<()>,
    go_on: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Launcher for Slow {
    fn launch(&self) -> Result<Launch, String> {
        Program::new("true", &[]).launch()
    }

    fn ended(&self, _: &Ended, _: &Progress) {
        self.told.send(()).expect("the test waits");
        let _ = self.go_on.lock().expect("nobody panics with it").recv();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_hears_that_it_is_idle_before_its_launcher_has() {
    let (told, ends) = std::sync::mpsc::sync_channel(1);
    let (go, go_on) = std::sync::mpsc::sync_channel(1);
    let launcher = Slow { told, go_on: go_on.into() };
    let runner = Runner::spawn(Rules { reconnect: false, ..rules() }, Arc::new(launcher), Order::Start);
    tokio::task::block_in_place(|| ends.recv().expect("it ends"));
    runner.order(Order::Stop);
    assert_eq!(runner.state().exec, Exec::Finished);
    // Looked at once: the worker that is held up may be the one that keeps the time.
    let mut idle = pin!(runner.idle());
    let waits = poll_fn(|context| Poll::Ready(idle.as_mut().poll(context).is_pending())).await;
    assert!(waits, "its launcher is still being told");
    go.send(()).expect("it waits");
    timeout(PATIENCE, idle).await.expect("it is idle");
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
        let bench = Bench::start(rules(), Program::sh("trap '' INT TERM HUP PIPE; exec sleep 1000"));
        let state = bench.until("running", |state| state.exec == Exec::Running).await;
        println!("\nchild {}", state.pid.expect("it runs"));
        std::future::pending::<()>().await;
    });
}

/// Set for the program that the next test starts: itself, as others open files meanwhile.
const MANY: &str = "WHIPSTITCH_TEST_MANY";

#[test]
fn many_processes_in_any_order_leave_nothing() {
    if std::env::var_os(MANY).is_some() {
        return many();
    }
    let name = "ends::many_processes_in_any_order_leave_nothing";
    let us =
        Command::new(std::env::current_exe().expect("this program")).args(["--exact", name]).env(MANY, "1").output();
    let output = us.expect("this program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Open files, and children, also those that nobody has waited for.
fn held() -> (usize, usize) {
    let us = procfs::process::Process::myself().expect("we are here");
    let all = procfs::process::all_processes().expect("there are some").flatten();
    let ours = all.filter(|process| process.stat().is_ok_and(|stat| stat.ppid == us.pid)).count();
    (us.fd_count().expect("ours are known"), ours)
}

fn many() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // What the runtime opens once.
        Bench::start(rules(), Program::new("true", &[])).finish().await;
        let before = held();
        // Each becomes its program: a shell that is about to have a child may miss a signal.
        let scripts = [
            "exec sleep 1000",
            "exit 1",
            "sleep 1000 & exec sleep 1000",
            "echo frame=1; echo progress=end",
            "exec cat",
        ];
        let all: Vec<_> = (0..30).map(|n| Bench::start(rules(), Program::sh(scripts[n % scripts.len()]))).collect();
        let mut seed = 0x5eed_u64;
        for _ in 0..800 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (bench, what) = (&all[(seed >> 33) as usize % all.len()], seed >> 60);
            match what {
                0..=6 => {
                    bench.runner.order(Order::Start);
                    bench.until("started", |state| state.pid.is_some() || state.counts.of(Exec::Running) > 0).await;
                }
                7 => bench.runner.order(Order::Stop),
                8..=10 => {
                    bench.runner.order(Order::Stop);
                    bench.idle().await;
                }
                11..=13 => bench.runner.restart(),
                _ => {
                    if let Some(pid) = bench.runner.state().pid {
                        // It may have ended just now; then nobody has its number yet.
                        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                    }
                }
            }
        }
        let started: u64 = all.iter().map(|bench| bench.runner.state().counts.of(Exec::Running)).sum();
        assert!(started > 100, "{started} children");
        for (n, bench) in all.into_iter().enumerate() {
            // Some gently, some not.
            if n % 3 > 0 {
                bench.finish().await;
            } else {
                let mut gone = bench.runner.changes();
                drop(bench);
                // Its task has ended when nobody holds the other end any more.
                let gone = async { while gone.changed().await.is_ok() {} };
                timeout(PATIENCE, gone).await.expect("it ends");
            }
        }
        assert_eq!(held(), before, "open files, children");
    });
}
