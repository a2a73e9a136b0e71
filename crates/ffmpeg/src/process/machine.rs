//! What a supervised child should do (its [`Order`]) against what it does (its [`Exec`]): when one is started, asked to end,
//! killed, started again. No I/O and no clock: what happens is told by [`Machine::handle`], what is to be done comes out of
//! [`Machine::poll`], and [`Machine::deadline`] says when to look again. One machine per process, for as long as that exists.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use self::rules::{Limits, Rules};
use self::watch::Watch;
pub use self::words::Exec;
pub(super) use self::words::Exit;
use super::order::{Ended, Limit, Order};

mod rules;
mod watch;
mod words;

/// Between the first request to end and SIGKILL: FFmpeg writes the end of its files meanwhile. As datarhei Core.
const GRACE: Duration = Duration::from_secs(5);

/// A child that still works hears the first request; a second one would cut off the end of its files, so it comes only when
/// the grace is nearly over.
const SECOND_REQUEST: Duration = Duration::from_secs(4);

/// One that has stood still for [`STILL`] is stuck in reading or writing, which FFmpeg gives up for the second request only.
const SECOND_REQUEST_IF_STUCK: Duration = Duration::from_secs(1);

/// FFmpeg reports its progress every 0.5 s.
const STILL: Duration = Duration::from_secs(2);

/// Between two starts that nobody ordered, whatever the delay is: what fails at once costs one start a second.
const LEAST_BETWEEN_STARTS: Duration = Duration::from_secs(1);

/// What happens to a process.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// What it should do from now on.
    Order(Order),
    /// It should end and be started anew, at once. Nothing under an order to stop.
    Restart,
    /// [`Action::Spawn`] is done.
    Spawned,
    /// [`Action::Spawn`] was not possible; why, for people.
    NotSpawned(String),
    /// [`Action::Spawn`] was given up before there was a child. Nothing while one [is wanted](Machine::is_wanted).
    GivenUp,
    /// The child has ended.
    Exited(Exit),
    /// The child has got further.
    Progress,
    /// What the child uses: percent of the whole machine, resident bytes.
    Usage(f64, u64),
    /// What the child reads from is not there (true), or has come (false).
    Waiting(bool),
    /// [`Machine::deadline`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start a child, and say how it went.
    Spawn,
    /// Ask it to end: `q` and SIGINT.
    Quit,
    /// SIGINT once more: FFmpeg gives up what it waits for.
    Interrupt,
    /// SIGKILL to it and all its own.
    Kill,
}

/// How often a state was entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Exec::ALL.len()]);

impl Counts {
    /// How often this one was entered.
    pub fn of(&self, exec: Exec) -> u64 {
        self.0[exec as usize]
    }
}

/// Where the child is. The transitions, with the state that is shown:
///
/// ```text
/// Idle (finished, failed, killed) ─ order, restart, delay over ─▶ Starting
/// Starting ─ spawned ─▶ Running, or Finishing if it is no longer wanted; not spawned ─▶ Idle (failed); given up ─▶ Idle
/// Running ─ no longer wanted, stale, over a limit ─▶ Finishing; exited ─▶ Idle
/// Finishing ─ exited ─▶ Idle
/// ```
#[derive(Debug)]
enum Stage {
    Idle { last: Last, again: Option<Instant> },
    Starting { at: Instant, unwanted: bool },
    Running { at: Instant, watch: Watch },
    Finishing { at: Instant, why: Why, patience: Patience },
}

/// Why a child was asked to end.
#[derive(Clone, Copy, Debug)]
enum Why {
    Stopped,
    Restarted,
    Stale,
    Limits(Limit),
}

/// How the child after this one is started, if one is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// With the delay, if it reconnects.
    Delayed,
    /// At once: it is to begin anew.
    AtOnce,
    /// At once: it was ordered to stop and to run again.
    Ordered,
}

/// How the last child ended.
#[derive(Clone, Copy, Debug)]
enum Last {
    Finished,
    Failed,
    Killed,
}

/// What a child that was asked to end meets next, and when.
#[derive(Clone, Copy, Debug)]
enum Patience {
    Asked { again: Instant, kill: Instant },
    AskedTwice { kill: Instant },
    Killed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Machine {
    rules: Rules,
    order: Order,
    stage: Stage,
    /// What it reads from is not there. Of the process and not of one child: the next one waits for the same.
    waiting: bool,
    /// What follows the end of this child.
    next: Next,
    since: Instant,
    counts: Counts,
    restarts: u64,
    /// At most one for each step of one child.
    actions: VecDeque<Action>,
}

impl Machine {
    /// One without a child, ordered to stop.
    pub(super) fn new(now: Instant, rules: Rules) -> Self {
        let stage = Stage::Idle { last: Last::Finished, again: None };
        let (counts, actions) = (Counts::default(), VecDeque::new());
        let order = Order::Stop;
        Self { rules, order, stage, waiting: false, next: Next::Delayed, since: now, counts, restarts: 0, actions }
    }

    /// What it should do.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// What it does.
    pub(super) fn exec(&self) -> Exec {
        match self.stage {
            Stage::Idle { last: Last::Finished, .. } => Exec::Finished,
            Stage::Idle { last: Last::Failed, .. } => Exec::Failed,
            Stage::Idle { last: Last::Killed, .. } => Exec::Killed,
            Stage::Starting { .. } => Exec::Starting,
            Stage::Running { .. } => Exec::Running,
            Stage::Finishing { .. } => Exec::Finishing,
        }
    }

    /// When what it does last changed.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether there is neither a child nor one about to be.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle { .. })
    }

    /// Whether what it does is wanted: false of a child that is asked to end, or will be as soon as it is there.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.stage, Stage::Starting { unwanted: false, .. } | Stage::Running { .. })
    }

    /// When the next child is started by itself.
    pub(super) fn again(&self) -> Option<Instant> {
        if let Stage::Idle { again, .. } = self.stage { again } else { None }
    }

    /// Whether no child comes any more unless somebody starts one, although it is ordered to run.
    pub(super) fn rests(&self) -> bool {
        self.order == Order::Start && matches!(self.stage, Stage::Idle { again: None, .. })
    }

    /// How often each state was entered.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// How many children were started since it was last ordered to run, but for the first.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// When [`Event::Timeout`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Idle { again, .. } => *again,
            Stage::Starting { .. } => None,
            Stage::Running { watch, .. } => watch.stale_at(&self.rules, self.waiting),
            Stage::Finishing { patience: Patience::Asked { again, .. }, .. } => Some(*again),
            Stage::Finishing { patience: Patience::AskedTwice { kill }, .. } => Some(*kill),
            Stage::Finishing { patience: Patience::Killed, .. } => None,
        }
    }

    /// What is to be done next.
    pub(super) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened. What cannot be in this state changes nothing. Returns how a child has ended, if one has.
    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Option<Ended> {
        match event {
            Event::Order(Order::Start) => self.start(now),
            Event::Order(Order::Stop) => self.stop(now),
            Event::Restart => self.restart(now),
            Event::Spawned => self.spawned(now),
            Event::NotSpawned(why) => return self.not_spawned(now, why),
            Event::GivenUp => return self.given_up(now),
            Event::Exited(exit) => return self.exited(now, exit),
            Event::Progress => {
                if let Stage::Running { watch, .. } = &mut self.stage {
                    watch.progress(now);
                }
            }
            Event::Usage(cpu, memory) => {
                if let Stage::Running { watch, .. } = &mut self.stage
                    && let Some(limit) = watch.usage(now, &self.rules.limits, cpu, memory)
                {
                    self.finish(now, Why::Limits(limit));
                }
            }
            Event::Waiting(waiting) => self.wait(now, waiting),
            Event::Timeout => self.timeout(now),
        }
        None
    }

    fn start(&mut self, now: Instant) {
        let was = std::mem::replace(&mut self.order, Order::Start);
        if was == Order::Stop {
            self.restarts = 0;
        }
        match &mut self.stage {
            // The next one is planned: its delay stays.
            Stage::Idle { again: Some(_), .. } => {}
            Stage::Idle { .. } => {
                self.restarts = 0;
                self.spawn(now);
            }
            // The one that was stopped before it was there.
            Stage::Starting { unwanted, .. } => *unwanted = false,
            Stage::Finishing { .. } if was == Order::Stop => self.next = Next::Ordered,
            Stage::Running { .. } | Stage::Finishing { .. } => {}
        }
    }

    fn stop(&mut self, now: Instant) {
        self.order = Order::Stop;
        self.next = Next::Delayed;
        match &mut self.stage {
            Stage::Idle { again, .. } => *again = None,
            Stage::Starting { unwanted, .. } => *unwanted = true,
            Stage::Running { .. } => self.finish(now, Why::Stopped),
            Stage::Finishing { .. } => {}
        }
    }

    fn restart(&mut self, now: Instant) {
        if self.order == Order::Stop {
            return;
        }
        match &self.stage {
            Stage::Idle { .. } => {
                self.restarts += 1;
                self.spawn(now);
            }
            Stage::Starting { .. } => {}
            Stage::Running { .. } => {
                self.next = Next::AtOnce;
                self.finish(now, Why::Restarted);
            }
            Stage::Finishing { .. } if self.next == Next::Delayed => self.next = Next::AtOnce,
            Stage::Finishing { .. } => {}
        }
    }

    fn spawn(&mut self, now: Instant) {
        self.next = Next::Delayed;
        self.actions.push_back(Action::Spawn);
        self.enter(now, Stage::Starting { at: now, unwanted: false });
    }

    fn spawned(&mut self, now: Instant) {
        let Stage::Starting { at, unwanted } = self.stage else { return };
        self.enter(now, Stage::Running { at, watch: Watch::new(now) });
        if unwanted {
            self.finish(now, Why::Stopped);
        }
    }

    fn not_spawned(&mut self, now: Instant, why: String) -> Option<Ended> {
        let Stage::Starting { at, .. } = self.stage else { return None };
        self.idle(now, Last::Failed, at);
        Some(Ended::NotStarted(why))
    }

    fn given_up(&mut self, now: Instant) -> Option<Ended> {
        let Stage::Starting { at, unwanted: true } = self.stage else { return None };
        self.enter(now, Stage::Finishing { at, why: Why::Stopped, patience: Patience::Killed });
        self.idle(now, Last::Finished, at);
        Some(Ended::Stopped)
    }

    fn exited(&mut self, now: Instant, exit: Exit) -> Option<Ended> {
        let (at, why) = match self.stage {
            Stage::Idle { .. } | Stage::Starting { .. } => return None,
            Stage::Running { at, .. } => (at, None),
            Stage::Finishing { at, why, .. } => (at, Some(why)),
        };
        let last = match exit {
            // FFmpeg's own code for having been asked to end by a signal.
            Exit::Code(0 | 255) => Last::Finished,
            Exit::Code(_) => Last::Failed,
            // Of programs that let SIGINT end them.
            Exit::Signal(Exit::SIGINT) if why.is_some() => Last::Finished,
            Exit::Signal(_) => Last::Killed,
        };
        self.idle(now, last, at);
        Some(match (why, exit) {
            (Some(Why::Stopped), _) => Ended::Stopped,
            (Some(Why::Restarted), _) => Ended::Restarted,
            (Some(Why::Stale), _) => Ended::Stale,
            (Some(Why::Limits(limit)), _) => Ended::Limits(limit),
            (None, Exit::Code(code)) => Ended::Exited(code),
            (None, Exit::Signal(signal)) => Ended::Signal(signal),
        })
    }

    /// There is no child, or no longer; the last one was started `at`.
    fn idle(&mut self, now: Instant, last: Last, at: Instant) {
        // What was to be done to it is over.
        self.actions.clear();
        self.enter(now, Stage::Idle { last, again: None });
        if self.order == Order::Stop {
            return;
        }
        if self.next != Next::Delayed {
            self.restarts += u64::from(self.next == Next::AtOnce);
            self.spawn(now);
        } else if self.rules.reconnect {
            let least = at.checked_add(LEAST_BETWEEN_STARTS);
            let delayed = now.checked_add(self.rules.reconnect_delay);
            // A delay beyond what the clock can tell never ends.
            let again = delayed.zip(least).map(|(delayed, least)| delayed.max(least));
            self.stage = Stage::Idle { last, again };
        }
    }

    fn finish(&mut self, now: Instant, why: Why) {
        let Stage::Running { at, watch } = &self.stage else { return };
        let stuck = self.waiting || now.saturating_duration_since(watch.last_progress()) >= STILL;
        let again = now + if stuck { SECOND_REQUEST_IF_STUCK } else { SECOND_REQUEST };
        let patience = Patience::Asked { again, kill: now + GRACE };
        self.actions.push_back(Action::Quit);
        self.enter(now, Stage::Finishing { at: *at, why, patience });
    }

    fn wait(&mut self, now: Instant, waiting: bool) {
        if self.waiting
            && !waiting
            && let Stage::Running { watch, .. } = &mut self.stage
        {
            // What it reads from has just come.
            watch.progress(now);
        }
        self.waiting = waiting;
    }

    fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &mut self.stage {
            Stage::Idle { .. } => {
                self.restarts += 1;
                self.spawn(now);
            }
            Stage::Starting { .. } => {}
            Stage::Running { .. } => self.finish(now, Why::Stale),
            Stage::Finishing { patience, .. } => match *patience {
                Patience::Asked { kill, .. } => {
                    *patience = Patience::AskedTwice { kill };
                    self.actions.push_back(Action::Interrupt);
                }
                Patience::AskedTwice { .. } => {
                    *patience = Patience::Killed;
                    self.actions.push_back(Action::Kill);
                }
                Patience::Killed => {}
            },
        }
    }

    fn enter(&mut self, now: Instant, stage: Stage) {
        self.stage = stage;
        self.since = now;
        self.counts.0[self.exec() as usize] += 1;
    }
}

#[cfg(test)]
mod tests;
