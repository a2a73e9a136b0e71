//! The task of one process.

use std::future::pending;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::super::child::{Child, Seen};
use super::super::lines;
use super::super::machine::{Action, Event, Exit};
use super::super::progress::Parser;
use super::super::report::Secrets;
use super::super::spawner::Program;
use super::super::usage::Usage;
use super::{Closing, Launch, Launcher, Shared};

/// A child, and what is its own.
struct Running {
    child: Child,
    waiting: Option<watch::Receiver<bool>>,
    _kept: Box<dyn Send>,
}

/// Does what the machine says, until the runner is closed and no child is left.
pub(super) async fn run(shared: Arc<Shared>, launcher: Arc<dyn Launcher>) {
    let mut running: Option<Running> = None;
    loop {
        while let Some(action) = { shared.lock().machine.poll() } {
            perform(&shared, &*launcher, &mut running, action).await;
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
                shared.exited(&*launcher, exit);
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

async fn perform(shared: &Shared, launcher: &dyn Launcher, running: &mut Option<Running>, action: Action) {
    match (action, running) {
        (Action::Spawn, running) => match start(shared, launcher).await {
            Ok(started) => {
                *running = Some(started);
                shared.tell(Event::Spawned);
            }
            Err(why) => shared.not_started(launcher, &why),
        },
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

async fn start(shared: &Shared, launcher: &dyn Launcher) -> Result<Running, String> {
    shared.begin();
    let Launch { program: path, args, env, dir, secrets, waiting, kept } = launcher.launch()?;
    shared.launches(secrets, &args);
    shared.wait(waiting.as_ref().is_some_and(|waiting| *waiting.borrow()));
    let child = Child::start(&Program { path, args, env, dir }).await?;
    tracing::info!(pid = child.pid(), "a child is started");
    shared.lock().pid = child.pid();
    Ok(Running { child, waiting, _kept: kept })
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
        self.lock().usage = usage;
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
        tracing::warn!(%why, "a child cannot be started");
        self.over(launcher, Event::NotSpawned(why));
    }

    /// There is no child any more: only when the launcher knows does anybody hear that it is so.
    fn over(&self, launcher: &dyn Launcher, event: Event) {
        let ended = {
            let mut process = self.lock();
            let ended = process.machine.handle(Instant::now(), event);
            if let Some(ended) = &ended {
                process.log.ended(unix(), ended.clone());
            }
            (process.usage, process.pid) = (Usage::default(), None);
            process.telling = true;
            ended
        };
        if let Some(ended) = ended {
            tracing::info!(how = %ended, "a child has ended");
            launcher.ended(&ended);
        }
        self.lock().telling = false;
        self.changed.send_replace(());
    }
}

/// Seconds.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
