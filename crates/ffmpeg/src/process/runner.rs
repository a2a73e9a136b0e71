//! One process under supervision: a task that owns its child and does what its [`Machine`] says. A [`Runner`] is its handle;
//! with it the process ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::machine::{Counts, Event, Exec, Machine, Rules};
use super::order::{Ended, Order};
use super::progress::{Parser, Progress};
use super::repeats::Repeats;
use super::report::{Log, Report, Run, Secrets};
use super::usage::Usage;

mod task;

/// What one child is started with.
pub struct Launch {
    /// Looked for in `PATH` if it is only a name.
    pub program: PathBuf,
    /// All its arguments, as it gets them; see [`arguments`](super::arguments) for FFmpeg's.
    pub args: Vec<String>,
    /// Beside `PATH`, `LANG`, `TMPDIR` and `TZ` as they are here, and `HOME`, which is [`Launch::dir`].
    pub env: Vec<(String, String)>,
    /// It is started in this folder, which must be there.
    pub dir: PathBuf,
    /// Words that are replaced by `***` in what it says and in the command that is shown.
    pub secrets: Vec<String>,
    /// True while what it reads from is not there: it may be silent then.
    pub waiting: Option<watch::Receiver<bool>>,
    /// Dropped when the child has ended, before [`Launcher::ended`]: leases, credentials.
    pub kept: Box<dyn Send>,
}

/// Who knows what a process is.
pub trait Launcher: Send + Sync + 'static {
    /// What the next child is started with. Asked before each start, on a thread that may wait for disks; within the runtime of
    /// the process. Orders that come meanwhile count: what is not wanted any more when it answers is dropped.
    ///
    /// # Errors
    /// Why there is to be none, for people; it counts as a failed start.
    fn launch(&self) -> Result<Launch, String>;

    /// A child has ended, or could not be started; how far it had got. From the process's task: it must not wait for anything.
    fn ended(&self, how: &Ended, progress: &Progress);

    /// That was the last one, unless somebody starts it again, although it is ordered to run. As [`ended`](Self::ended), and
    /// right after it.
    fn rests(&self) {}
}

/// What a process is doing.
#[derive(Clone, Debug)]
pub struct RunState {
    /// What it should do.
    pub order: Order,
    /// What it does.
    pub exec: Exec,
    /// For how long it has done that.
    pub runtime: Duration,
    /// Until a child is started by itself, if one will be.
    pub reconnect: Option<Duration>,
    /// What its child said last, without secrets.
    pub last_line: Option<Arc<str>>,
    /// How far its child has got; once that has ended, had got.
    pub progress: Progress,
    /// What its child uses.
    pub usage: Usage,
    /// What its child reads from is not there.
    pub waiting: bool,
    /// Its child.
    pub pid: Option<u32>,
    /// The arguments of the child that is there or was last, without secrets.
    pub command: Vec<String>,
    /// How often each state was entered.
    pub counts: Counts,
    /// How many children were started since it was last ordered to run, but for the first.
    pub restarts: u64,
}

/// A process under supervision. Dropping it kills its child; see [`Runner::finish`].
pub struct Runner {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Runner {
    /// One that does what it is ordered from now on. Must be called within a runtime; what its task logs is in the span that
    /// is on now.
    pub fn spawn(rules: Rules, launcher: Arc<dyn Launcher>, order: Order) -> Runner {
        Self::spawn_after(rules, launcher, order, [])
    }

    /// The same for a process whose definition has changed: it keeps its past runs, oldest first.
    pub fn spawn_after(
        rules: Rules,
        launcher: Arc<dyn Launcher>,
        order: Order,
        history: impl IntoIterator<Item = Run>,
    ) -> Runner {
        let shared = Arc::new(Shared::new(rules));
        shared.lock().log.remember(history);
        shared.tell(Event::Order(order));
        let task = tokio::spawn(task::supervise(Arc::clone(&shared), launcher).in_current_span());
        Runner { shared, task }
    }

    /// What it should do from now on. To start again what has ended for good is a start; what is to start again after its
    /// delay keeps that.
    pub fn order(&self, order: Order) {
        self.shared.tell(Event::Order(order));
    }

    /// Its child ends and another is started at once; also where the next one was to wait for its delay, or none was to
    /// come. Nothing under an order to stop.
    pub fn restart(&self) {
        self.shared.tell(Event::Restart);
    }

    /// What it is doing.
    pub fn state(&self) -> RunState {
        self.shared.lock().state(Instant::now())
    }

    /// What its children have said.
    pub fn report(&self) -> Report {
        self.shared.lock().log.report().clone()
    }

    /// Tells whenever [`Runner::state`] or [`Runner::report`] has changed. Changes that nobody waited for are told once.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Until it is ordered to stop, no child is left, and [`Launcher::ended`] has been told of the last one.
    pub async fn idle(&self) {
        let mut changed = self.changes();
        while !self.shared.lock().is_stopped() {
            // The sender is in `self.shared`.
            let _ = changed.changed().await;
        }
    }

    /// Until it does what the test waits for.
    #[cfg(test)]
    pub(super) async fn until(&self, is: impl Fn(&RunState) -> bool) -> RunState {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                let state = self.state();
                if is(&state) {
                    return state;
                }
                let _ = changed.changed().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        waited.unwrap_or_else(|_| panic!("it never came: {:?}", self.state()))
    }

    /// Orders it to stop and waits until no child is left and its task has ended.
    pub async fn finish(mut self) {
        self.shared.close(Closing::Gently);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.shared.close(Closing::AtOnce);
    }
}

/// How the task is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// When its child has ended as it was asked to.
    Gently,
    /// Its child is killed.
    AtOnce,
}

/// What the task and its handle share. Orders take effect in the machine at once; the task is woken to do what follows.
struct Shared {
    process: Mutex<Process>,
    wake: Notify,
    /// The machine has been told something, or the child has said something.
    changed: watch::Sender<()>,
}

struct Process {
    machine: Machine,
    parser: Parser,
    log: Log,
    secrets: Secrets,
    usage: Usage,
    waiting: bool,
    pid: Option<u32>,
    command: Vec<String>,
    /// Its launcher is being told of an end.
    telling: bool,
    repeats: Repeats,
    /// Since when a child is there of which no log tells, as those before it all ended alike.
    unsaid: Option<Instant>,
    closing: Closing,
}

impl Shared {
    fn new(rules: Rules) -> Self {
        let process = Process {
            machine: Machine::new(Instant::now(), rules),
            parser: Parser::default(),
            log: Log::default(),
            secrets: Secrets::default(),
            usage: Usage::default(),
            waiting: false,
            pid: None,
            command: Vec::new(),
            telling: false,
            repeats: Repeats::default(),
            unsaid: None,
            closing: Closing::No,
        };
        Self { process: Mutex::new(process), wake: Notify::new(), changed: watch::Sender::new(()) }
    }

    /// For a moment only: nobody waits for anything while it is locked.
    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ends no child.
    fn tell(&self, event: Event) {
        self.lock().machine.handle(Instant::now(), event);
        self.changed.send_replace(());
        self.wake.notify_one();
    }

    fn close(&self, closing: Closing) {
        self.lock().closing = closing;
        self.tell(Event::Order(Order::Stop));
    }
}

impl Process {
    fn is_stopped(&self) -> bool {
        self.machine.order() == Order::Stop && self.machine.is_idle() && !self.telling
    }

    fn state(&self, now: Instant) -> RunState {
        RunState {
            order: self.machine.order(),
            exec: self.machine.exec(),
            runtime: now.saturating_duration_since(self.machine.since()),
            reconnect: self.machine.again().map(|at| at.saturating_duration_since(now)),
            last_line: self.log.last_line(),
            progress: self.parser.progress(now),
            usage: self.usage,
            waiting: self.waiting,
            pid: self.pid,
            command: self.command.clone(),
            counts: self.machine.counts(),
            restarts: self.machine.restarts(),
        }
    }
}
