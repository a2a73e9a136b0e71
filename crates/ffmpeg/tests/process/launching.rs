//! What happens while it is found out what to start, and when that, or we, fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use whipstitch_ffmpeg::process::{Ended, Exec, Launch, Launcher, Order, Progress, Rules, Runner};

use crate::bench::{Bench, PATIENCE, Program, rules};

/// Answers when the test says so, as a disk that is slow.
struct Held {
    asked: mpsc::Sender<()>,
    go_on: std::sync::Mutex<Receiver<()>>,
    program: Program,
}

/// Its end in the hands of the test.
struct Disk {
    asks: mpsc::Receiver<()>,
    go: SyncSender<()>,
}

fn held() -> (Disk, Bench) {
    let (asked, asks) = mpsc::channel(1);
    let (go, go_on) = sync_channel(1);
    let program = Program::new("sleep", &["1000"]);
    let told = Arc::clone(&program.told);
    let launcher = Arc::new(Held { asked, go_on: go_on.into(), program });
    let runner = Runner::spawn(Rules { reconnect: false, ..rules() }, launcher, Order::Start);
    (Disk { asks, go }, Bench { runner, told })
}

impl Launcher for Held {
    fn launch(&self) -> Result<Launch, String> {
        self.asked.try_send(()).expect("the test has taken the last one");
        // Not for ever, so that a task that waits with it is found out.
        let _ = self.go_on.lock().expect("nobody panics with it").recv_timeout(Duration::from_secs(5));
        self.program.launch()
    }

    fn ended(&self, how: &Ended, progress: &Progress) {
        self.program.ended(how, progress);
    }
}

impl Disk {
    async fn is_asked(&mut self) {
        timeout(PATIENCE, self.asks.recv()).await.expect("it is asked").expect("the launcher is there");
    }
}

// On one thread: whoever waits there holds everything up.
#[tokio::test]
async fn orders_count_while_it_is_found_out_what_to_start() {
    let (mut disk, bench) = held();
    disk.is_asked().await;
    assert_eq!(bench.runner.state().exec, Exec::Starting);
    bench.runner.order(Order::Stop);
    disk.go.send(()).expect("it waits");
    bench.idle().await;
    let state = bench.runner.state();
    assert_eq!((state.exec, state.counts.of(Exec::Running)), (Exec::Finished, 0), "nobody wanted a child");
    assert_eq!(bench.told(), ["launch", "dropped", "stopped as ordered"]);

    bench.runner.order(Order::Start);
    disk.is_asked().await;
    bench.runner.order(Order::Stop);
    bench.runner.order(Order::Start);
    disk.go.send(()).expect("it waits");
    bench.until("running", |state| state.exec == Exec::Running).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_runner_that_is_dropped_while_it_is_found_out_what_to_start_starts_nothing() {
    let (mut disk, bench) = held();
    disk.is_asked().await;
    let (mut gone, told) = (bench.runner.changes(), Arc::clone(&bench.told));
    drop(bench);
    disk.go.send(()).expect("it waits");
    let gone = async { while gone.changed().await.is_ok() {} };
    timeout(PATIENCE, gone).await.expect("its task ends");
    assert_eq!(*told.lock().expect("nobody panics with it"), ["launch", "dropped", "stopped as ordered"]);
}

/// Has a fault, once.
struct Faulty {
    at: &'static str,
    faults: AtomicUsize,
    program: Program,
}

impl Faulty {
    fn fault(&self, at: &str) {
        assert!(at != self.at || self.faults.fetch_add(1, Ordering::Relaxed) > 0, "a fault, for the test");
    }
}

impl Launcher for Faulty {
    fn launch(&self) -> Result<Launch, String> {
        self.fault("launch");
        self.program.launch()
    }

    fn ended(&self, how: &Ended, progress: &Progress) {
        self.fault("ended");
        self.program.ended(how, progress);
    }
}

#[tokio::test]
async fn a_fault_of_ours_ends_nobodys_wait_and_the_process_goes_on() {
    for at in ["launch", "ended"] {
        let program = Program::new("true", &[]);
        let told = Arc::clone(&program.told);
        let launcher = Arc::new(Faulty { at, faults: AtomicUsize::new(0), program });
        let bench = Bench { runner: Runner::spawn(rules(), launcher, Order::Start), told };
        // The next child, a second later.
        bench.until("another start", |state| state.counts.of(Exec::Starting) > 1).await;
        bench.runner.order(Order::Stop);
        bench.idle().await;
        bench.finish().await;
    }
}
