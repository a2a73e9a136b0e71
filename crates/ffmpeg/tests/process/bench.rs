//! A process under test: what it is started with, and what its launcher was told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use whipstitch_ffmpeg::process::{Ended, Launch, Launcher, Limits, Order, Progress, Rules, RunState, Runner};

/// Far more than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// One program, started again at once.
pub(crate) struct Program {
    pub(crate) program: &'static str,
    pub(crate) args: Vec<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) waiting: Option<watch::Receiver<bool>>,
    pub(crate) dir: PathBuf,
    /// What happened, in order.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

impl Program {
    pub(crate) fn new(program: &'static str, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let dir = std::env::temp_dir();
        Self { program, args, secrets: Vec::new(), waiting: None, dir, told: Arc::default() }
    }

    /// A script.
    pub(crate) fn sh(script: &str) -> Self {
        Self::new("sh", &["-c", script])
    }
}

struct Kept(Arc<Mutex<Vec<String>>>);

impl Drop for Kept {
    fn drop(&mut self) {
        note(&self.0, "dropped");
    }
}

fn note(told: &Mutex<Vec<String>>, what: &str) {
    told.lock().expect("nobody panics with it").push(what.to_owned());
}

impl Launcher for Program {
    fn launch(&self) -> Result<Launch, String> {
        note(&self.told, "launch");
        Ok(Launch {
            program: self.program.into(),
            args: self.args.clone(),
            env: vec![("MORE".into(), "more".into())],
            dir: self.dir.clone(),
            secrets: self.secrets.clone(),
            waiting: self.waiting.clone(),
            kept: Box::new(Kept(Arc::clone(&self.told))),
        })
    }

    fn ended(&self, how: &Ended, _: &Progress) {
        note(&self.told, &how.to_string());
    }
}

pub(crate) fn rules() -> Rules {
    Rules { reconnect: true, reconnect_delay: Duration::ZERO, stale_timeout: None, limits: Limits::default() }
}

pub(crate) struct Bench {
    pub(crate) runner: Runner,
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    pub(crate) fn start(rules: Rules, program: Program) -> Self {
        let told = Arc::clone(&program.told);
        Self { runner: Runner::spawn(rules, Arc::new(program), Order::Start), told }
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().expect("nobody panics with it").clone()
    }

    /// Until the state is so.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&RunState) -> bool) -> RunState {
        let mut changes = self.runner.changes();
        let found = async {
            loop {
                let state = self.runner.state();
                if wanted(&state) {
                    return state;
                }
                changes.changed().await.expect("the runner is there");
            }
        };
        let found = timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("not {what}: {:?}, {:?}", self.runner.state(), self.runner.report()))
    }

    /// Until the last line is so.
    pub(crate) async fn until_said(&self, what: &str) -> RunState {
        self.until(what, |state| state.last_line.as_deref() == Some(what)).await
    }

    /// Until the first child has ended, how; and what there is then.
    pub(crate) async fn ended(&self) -> String {
        self.until("ended", |_| self.told().len() > 2).await;
        self.told()[2].clone()
    }

    /// Until it is stopped and no child is left.
    pub(crate) async fn idle(&self) {
        timeout(PATIENCE, self.runner.idle()).await.expect("it ends");
    }

    /// Everything that the child that is there has said.
    pub(crate) fn log(&self) -> Vec<String> {
        self.runner.report().current.log.iter().map(|line| line.text.to_string()).collect()
    }

    /// Ordered to stop, and everything is gone.
    pub(crate) async fn finish(self) {
        timeout(PATIENCE, self.runner.finish()).await.expect("it ends");
    }
}

/// Whether there is such a process that still runs.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Until there is none: whoever was sent SIGKILL dies by itself.
pub(crate) async fn until_gone(pid: i32) {
    let gone = async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{pid} is still alive"));
}
