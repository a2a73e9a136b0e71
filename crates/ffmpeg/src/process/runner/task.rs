//! The task of one process.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::sleep_until;
use tracing::Span;

use super::super::child::{Child, Seen};
use super::super::lines;
use super::super::machine::{Action, Event, Exec, Exit};
use super::super::order::Ended;
use super::super::progress::Parser;
use super::super::repeats::Telling;
use super::super::report::Secrets;
use super::super::spawner::Program;
use super::super::usage::Usage;
use super::{Closing, Launch, Launcher, Process, Shared};

/// After so long a child counts as one that runs, though those before it ended at once.
const STEADY: Duration = Duration::from_secs(10);

/// A child, and what is its own.
struct Running {
    child: Child,
    waiting: Option<watch::Receiver<bool>>,
    _kept: Box<dyn Send>,
}

/// Does what the machine says, until the runner is closed and no child is left. A fault of ours ends the child that is there,
/// as if it had crashed, and nothing else: orders are still obeyed, and who waits for the end hears of it.
pub(super) async fn supervise(shared: Arc<Shared>, launcher: Arc<dyn Launcher>) {
    while let Err(Broken) = unless_broken(run(&shared, &launcher)).await {
        tracing::error!("the supervisor of a process panicked, which is a fault of this program; its child is gone");
        // That may panic as well, once: then there is no child any more.
        let _ = unless_broken(async { shared.broke(&*launcher) }).await;
    }
}

/// It has panicked.
struct Broken;

async fn unless_broken<T>(work: impl Future<Output = T>) -> Result<T, Broken> {
    let mut work = pin!(work);
    // It is dropped after a panic and never polled again; what it shares with others is a value at any time.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Broken)),
    })
    .await
}

async fn run(shared: &Arc<Shared>, launcher: &Arc<dyn Launcher>) {
    let mut running: Option<Running> = None;
    loop {
        while let Some(action) = { shared.lock().machine.poll() } {
            perform(shared, launcher, &mut running, action).await;
        }
        let (closing, idle, deadline) = {
            let process = shared.lock();
            (process.closing, process.is_stopped(), process.machine.deadline())
        };
        match (&running, closing) {
            (None, Closing::Gently | Closing::AtOnce) if idle => return,
            (Some(running), Closing::AtOnce) => running.child.kill(),
            _ => {}
        }
        let happening = tokio::select! {
            () = shared.wake.notified() => continue,
            () = until(deadline) => {
                shared.tell(Event::Timeout);
                continue;
            }
            happening = next(&mut running) => happening,
        };
        match happening {
            Happening::Waiting(waiting) => shared.wait(waiting),
            Happening::Seen(Seen::Log(lines)) => shared.said(&lines),
            Happening::Seen(Seen::Progress(lines)) => shared.reported(&lines),
            Happening::Seen(Seen::Usage(usage)) => shared.used(usage),
            Happening::Seen(Seen::Exited(exit)) => {
                // Leases and credentials end before anybody is told.
                running = None;
                shared.exited(&**launcher, exit);
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// What happens to the child that is there.
enum Happening {
    Seen(Seen),
    /// Whether what it reads from is missing.
    Waiting(bool),
}

async fn next(running: &mut Option<Running>) -> Happening {
    let Some(Running { child, waiting, .. }) = running else { return pending().await };
    tokio::select! {
        seen = child.next() => Happening::Seen(seen),
        now = changed(waiting) => Happening::Waiting(now),
    }
}

async fn changed(waiting: &mut Option<watch::Receiver<bool>>) -> bool {
    let Some(receiver) = waiting else { return pending().await };
    if receiver.changed().await.is_ok() {
        return *receiver.borrow_and_update();
    }
    // Nobody can tell any more.
    *waiting = None;
    false
}

async fn perform(shared: &Arc<Shared>, launcher: &Arc<dyn Launcher>, running: &mut Option<Running>, action: Action) {
    match (action, running) {
        (Action::Spawn, running) => *running = spawn(shared, launcher).await,
        (Action::Quit, Some(running)) => running.child.quit().await,
        (Action::Interrupt, Some(running)) => running.child.interrupt(),
        (Action::Kill, Some(running)) => {
            tracing::warn!(pid = running.child.pid(), "a child did not end when it was asked to and is killed");
            running.child.kill();
        }
        // It has ended meanwhile.
        (Action::Quit | Action::Interrupt | Action::Kill, None) => {}
    }
}

/// A child, unless there can be none or nobody wants one any more.
async fn spawn(shared: &Arc<Shared>, launcher: &Arc<dyn Launcher>) -> Option<Running> {
    loop {
        match start(shared, launcher).await {
            Ok(Some(started)) => {
                shared.tell(Event::Spawned);
                return Some(started);
            }
            Ok(None) if shared.over(&**launcher, Event::GivenUp) => return None,
            // It is wanted again, and perhaps as another.
            Ok(None) => {}
            Err(why) => {
                shared.not_started(&**launcher, &why);
                return None;
            }
        }
    }
}

async fn start(shared: &Arc<Shared>, launcher: &Arc<dyn Launcher>) -> Result<Option<Running>, String> {
    shared.begin();
    let Launch { program: path, args, env, dir, secrets, waiting, kept } = launched(launcher).await?;
    if !shared.lock().machine.is_wanted() {
        return Ok(None);
    }
    shared.launches(secrets, &args);
    shared.wait(waiting.as_ref().is_some_and(|waiting| *waiting.borrow()));
    let child = Child::start(&Program { path, args, env, dir }).await?;
    shared.started(child.pid());
    Ok(Some(Running { child, waiting, _kept: kept }))
}

/// What the launcher says, who may have to wait for a disk: the task would keep others waiting with it.
async fn launched(launcher: &Arc<dyn Launcher>) -> Result<Launch, String> {
    let (launcher, span) = (Arc::clone(launcher), Span::current());
    let asked = tokio::task::spawn_blocking(move || span.in_scope(|| launcher.launch()));
    asked.await.unwrap_or_else(|error| match error.is_panic() {
        true => Err("what it is to be started with could not be found out: a fault of this program".to_owned()),
        false => Err("the server is stopping".to_owned()),
    })
}

impl Shared {
    /// A child is about to be started.
    fn begin(&self) {
        let mut process = self.lock();
        process.log.begin(unix());
        process.parser = Parser::default();
        process.secrets = Secrets::default();
        process.command.clear();
    }

    /// It is started so.
    fn launches(&self, secrets: Vec<String>, args: &[String]) {
        let mut process = self.lock();
        process.secrets = Secrets::new(secrets);
        process.command = args.iter().map(|arg| process.secrets.mask(arg)).collect();
    }

    fn started(&self, pid: Option<u32>) {
        let mut process = self.lock();
        process.pid = pid;
        if process.repeats.is_silent() {
            process.unsaid = Some(Instant::now());
        } else {
            tracing::info!(pid, "a child is started");
        }
    }

    fn wait(&self, waiting: bool) {
        self.lock().waiting = waiting;
        self.tell(Event::Waiting(waiting));
    }

    fn said(&self, said: &[String]) {
        {
            let mut process = self.lock();
            let process = &mut *process;
            for line in said {
                let line = process.secrets.mask(line);
                let line = lines::cut(&line);
                process.log.line(unix(), line);
                process.parser.log(line);
            }
        }
        self.changed.send_replace(());
    }

    fn reported(&self, said: &[String]) {
        let now = Instant::now();
        let mut advanced = false;
        {
            let mut process = self.lock();
            for line in said {
                if process.parser.report(now, line) == Some(true) {
                    process.log.end_prelude();
                    advanced = true;
                }
            }
        }
        if advanced {
            self.tell(Event::Progress);
        } else {
            self.changed.send_replace(());
        }
    }

    fn used(&self, usage: Usage) {
        let unsaid = {
            let mut process = self.lock();
            process.usage = usage;
            let pid = process.pid;
            process.unsaid.take_if(|since| since.elapsed() >= STEADY).map(|_| pid)
        };
        if let Some(pid) = unsaid {
            tracing::info!(pid, "a child is started, and still runs");
        }
        self.tell(Event::Usage(usage.cpu, usage.memory));
    }

    fn exited(&self, launcher: &dyn Launcher, exit: Exit) {
        self.over(launcher, Event::Exited(exit));
    }

    fn not_started(&self, launcher: &dyn Launcher, why: &str) {
        let why = {
            let mut process = self.lock();
            let why = lines::cut(&process.secrets.mask(why)).to_owned();
            process.log.line(unix(), &why);
            why
        };
        self.over(launcher, Event::NotSpawned(why));
    }

    /// The task has panicked, and with it went its child.
    fn broke(&self, launcher: &dyn Launcher) {
        const FAULT: &str = "what supervises it has failed: a fault of this program";
        let exec = {
            let mut process = self.lock();
            process.telling = false;
            process.log.line(unix(), FAULT);
            process.machine.exec()
        };
        match exec {
            Exec::Starting => {
                self.over(launcher, Event::NotSpawned(FAULT.to_owned()));
            }
            Exec::Running | Exec::Finishing => self.exited(launcher, Exit::KILLED),
            Exec::Finished | Exec::Failed | Exec::Killed => self.changed.send_replace(()),
        }
    }

    /// There is no child any more: only when the launcher knows does anybody hear that it is so. Whether there was one, or
    /// was to be.
    fn over(&self, launcher: &dyn Launcher, event: Event) -> bool {
        let now = Instant::now();
        let (ended, rests, telling, progress) = {
            let mut process = self.lock();
            let ended = process.machine.handle(now, event);
            let rests = process.machine.rests();
            let telling = ended.as_ref().map(|ended| process.tells(now, ended));
            if let Some(ended) = &ended {
                process.log.ended(unix(), ended.clone());
            }
            (process.usage, process.pid, process.unsaid) = (Usage::default(), None, None);
            process.telling = true;
            (ended, rests, telling, process.parser.progress(now))
        };
        if let Some((ended, telling)) = ended.as_ref().zip(telling) {
            say(ended, telling);
            launcher.ended(ended, &progress);
            if rests {
                launcher.rests();
            }
        }
        self.lock().telling = false;
        self.changed.send_replace(());
        ended.is_some()
    }
}

impl Process {
    /// What the log of the server is to say of an end.
    fn tells(&mut self, now: Instant, ended: &Ended) -> Telling {
        if matches!(ended, Ended::Stopped | Ended::Restarted) {
            self.repeats.forget();
            return Telling::New;
        }
        self.repeats.happened(now, &ended.to_string())
    }
}

fn say(ended: &Ended, telling: Telling) {
    match (ended, telling) {
        (_, Telling::Nothing) => {}
        (Ended::NotStarted(why), Telling::New) => tracing::warn!(%why, "a child cannot be started"),
        (Ended::NotStarted(why), Telling::Again(times)) => {
            tracing::warn!(%why, times, "a child can still not be started");
        }
        (how, Telling::New | Telling::Again(1)) => tracing::info!(%how, "a child has ended"),
        (how, Telling::Again(times)) => tracing::warn!(%how, times, "children end the same way again and again"),
    }
}

/// Seconds.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
