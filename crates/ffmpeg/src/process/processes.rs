//! All processes: those of the database, which the API changes, and those of the configuration, which it only reads.
//!
//! A change is stored first and takes effect then, in a task of its own: a client that hangs up leaves nothing half done.
//! Changes of one process wait for each other; those of different ones do not. What is read is never waited for.

mod change;
mod closing;
mod declared;
mod error;
mod feeding;
mod launcher;
mod locks;
mod one;
mod query;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tracing::{error, info, info_span, warn};

pub use self::change::Command;
pub use self::declared::mistakes;
pub use self::error::Error;
use self::feeding::Claims;
use self::launcher::Definer;
use self::locks::Locks;
pub use self::one::{Fed, Process};
pub use self::query::Query;
use super::addresses::Access;
use super::command::{self, Expanded};
use super::definition::{Definition, Mistake};
use super::failures::{Failures, LegFailure};
use super::probe::{self, Probe};
use super::skills::{Skills, Tool};
use super::store::{Broken, Store, Stored};
use super::wiring::{Legs, Wiring};
use super::{Ended, Exec, Limits, Order, Rules, Run, Runner};

/// Keys of metadata that one process, or the server, may have.
const MOST_KEYS: usize = 256;
/// The longest key, in bytes.
const LONGEST_KEY: usize = 256;
/// Streams whose failures are counted apart from those of others.
const FAILING: usize = 100;
/// Probes at once; those that come then wait.
const PROBES: usize = 4;

/// What the configuration says of processes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// FFmpeg; `ffprobe` is beside it.
    pub program: PathBuf,
    /// The folder for what survives a restart: the database, and the files of processes in `processes/ID`.
    pub data: PathBuf,
    /// What processes may read and write.
    pub access: Access,
    /// Processes of the configuration, each good by [`Definition::check`], their ids different.
    pub declared: Vec<Definition>,
    /// Processes there may be.
    pub most: usize,
}

impl Settings {
    /// The folder of a process' files.
    fn own(&self, id: &str) -> PathBuf {
        // Absolute: the child is started in it. An id is one name and no path (`Definition::check`).
        let data = std::path::absolute(&self.data).unwrap_or_else(|_| self.data.clone());
        data.join("processes").join(id)
    }
}

/// All processes. Cheap to clone; [`Processes::finish`] ends them.
#[derive(Clone)]
pub struct Processes(Arc<Inner>);

struct Inner {
    settings: Settings,
    wiring: Arc<dyn Wiring>,
    /// Or why there is none.
    store: Result<Mutex<Store>, String>,
    all: RwLock<BTreeMap<String, Arc<Process>>>,
    /// Everything ends. Set while `all` cannot be read.
    closed: AtomicBool,
    locks: Locks,
    claims: Claims,
    /// Held while the number of processes grows.
    growing: tokio::sync::Mutex<()>,
    ends: Mutex<BTreeMap<&'static str, u64>>,
    failures: Mutex<Failures>,
    tool: Tool,
    probes: Semaphore,
}

impl std::fmt::Debug for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processes").finish_non_exhaustive()
    }
}

impl Processes {
    /// Opens the database and starts what is ordered to run.
    pub async fn open(settings: Settings, wiring: Arc<dyn Wiring>) -> Self {
        let data = settings.data.clone();
        let store = change::finished(tokio::task::spawn_blocking(move || open(&data))).await;
        let ends = Ended::WORDS.iter().map(|word| (*word, 0)).collect();
        let tool = Tool::new(settings.program.clone());
        let processes = Self(Arc::new(Inner {
            settings,
            wiring,
            store,
            all: RwLock::default(),
            closed: AtomicBool::new(false),
            locks: Locks::default(),
            claims: Claims::default(),
            growing: tokio::sync::Mutex::default(),
            ends: Mutex::new(ends),
            failures: Mutex::new(Failures::new(FAILING).with_other()),
            tool,
            probes: Semaphore::new(PROBES),
        }));
        processes.restore().await;
        processes
    }

    /// Why nothing can be changed, if that is so.
    pub fn problem(&self) -> Option<&str> {
        self.0.store.as_ref().err().map(String::as_str)
    }

    async fn restore(&self) {
        let stored = match &self.0.store {
            Ok(store) => locked(store).processes(),
            Err(why) => {
                warn!(why, "processes cannot be changed, and none of the database run");
                Ok(Vec::new())
            }
        };
        let stored = stored.unwrap_or_else(|error| vec![Err(Broken { id: String::new(), why: error.to_string() })]);
        if !(stored.is_empty() && self.0.settings.declared.is_empty()) {
            self.0.tool.get_ready().await;
        }
        let now = unix_now();
        for definition in &self.0.settings.declared {
            let mut definition = definition.clone();
            definition.name_the_nameless();
            let order = if definition.autostart { Order::Start } else { Order::Stop };
            let stored = Stored { definition, order, created_at: now, updated_at: now };
            self.insert(stored, order, true, Vec::new());
        }
        for stored in stored {
            match stored {
                Ok(stored) if self.get(&stored.definition.id).is_some() => {
                    warn!(process = stored.definition.id, "the process of the configuration hides one of the database");
                }
                Ok(stored) => {
                    let order = stored.order;
                    self.insert(stored, order, false, Vec::new());
                }
                Err(Broken { id, why }) => error!(process = id, why, "a process of the database cannot be read"),
            }
        }
    }

    /// The process of this id.
    pub fn get(&self, id: &str) -> Option<Arc<Process>> {
        self.all().get(id).cloned()
    }

    /// The process that the publisher of a stream feeds: the one of that name, if its `whip_ingest` is on.
    pub fn fed_by(&self, stream: &str) -> Option<Fed> {
        let process = self.get(stream)?;
        let ingest = process.legs.ingest.as_ref()?;
        let (order, start_on_publish) = (process.order(), ingest.start_on_publish);
        Some(Fed { process: stream.to_owned(), order, start_on_publish })
    }

    /// How many there are in each state.
    pub fn count(&self) -> Vec<(Exec, usize)> {
        let all: Vec<Arc<Process>> = self.all().values().cloned().collect();
        let states: Vec<Exec> = all.iter().map(|process| process.runner.state().exec).collect();
        Exec::ALL.into_iter().map(|exec| (exec, states.iter().filter(|state| **state == exec).count())).collect()
    }

    /// How often children have ended, by how they did, in one word each.
    pub fn ends(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.0.ends).clone()
    }

    /// How often what processes send to streams has failed, since the server was started; also of processes that are gone.
    pub fn leg_failures(&self) -> Vec<LegFailure> {
        locked(&self.0.failures).all()
    }

    /// What the installed FFmpeg can do, as it was found first, or with `anew` now.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn skills(&self, anew: bool) -> Result<Arc<Skills>, Error> {
        self.0.tool.skills(anew).await.map_err(Error::Tool)
    }

    /// What the inputs of a process hold, as `ffprobe` finds it. Takes up to 20 s.
    ///
    /// # Errors
    /// There is no such process, or it may not read what it names, or the server is stopping.
    pub async fn probe(&self, id: &str) -> Result<Probe, Error> {
        self.check_open()?;
        let process = self.get(id).ok_or(Error::Unknown)?;
        let definition = &process.definition;
        let mut expanded = self.permitted(definition).await?;
        // `ffprobe` has others.
        expanded.options.clear();
        // It is never closed.
        let _turn = self.0.probes.acquire().await;
        let (inner, definition) = (Arc::clone(&self.0), Arc::clone(&process.definition));
        let asked = tokio::task::spawn_blocking(move || {
            let own = inner.folder(&definition.id)?;
            let inputs = command::inputs(&definition, &expanded, &*inner.wiring)?;
            Ok((own, inputs))
        });
        let (own, inputs) = change::finished(asked).await.map_err(Error::Tool)?;
        Ok(probe::run(&self.0.settings.program, &own, inputs).await)
    }

    /// A process in the collection, which runs from now on if that is ordered `now`. After the end of the collection it is
    /// none of it and does not run.
    fn insert(&self, stored: Stored, now: Order, declared: bool, history: Vec<Run>) -> Arc<Process> {
        let Stored { definition, order: kept, created_at, updated_at } = stored;
        let definition = Arc::new(definition);
        let (id, legs, rules) = (definition.id.clone(), definition.legs(), rules(&definition));
        let definer = Arc::new(Definer::new(&self.0, Arc::clone(&definition)));
        let failures = definer.failures();
        let span = info_span!("process", id);
        self.tell(&id, &legs, now);
        let mut all = self.all_mut();
        let is_open = self.check_open().is_ok();
        let order = if is_open { now } else { Order::Stop };
        let runner = span.in_scope(|| Runner::spawn_after(rules, definer, order, history));
        let kept = Mutex::new(kept);
        let process = Arc::new(Process { definition, legs, declared, kept, created_at, updated_at, failures, runner });
        if is_open {
            all.insert(id.clone(), Arc::clone(&process));
        }
        drop(all);
        if !is_open {
            self.tell(&id, &process.legs, Order::Stop);
        }
        info!(process = id, %order, declared, "process defined");
        process
    }

    /// Tells whoever has the streams.
    fn tell(&self, id: &str, legs: &Legs, order: Order) {
        if !legs.is_empty() {
            self.0.wiring.ordered(id, legs, order);
        }
    }

    /// Whether a definition may have what it names; with its templates put in. Asks the file system, off the threads that
    /// serve others.
    async fn permitted(&self, definition: &Definition) -> Result<Expanded, Error> {
        let (inner, definition) = (Arc::clone(&self.0), definition.clone());
        let judged = tokio::task::spawn_blocking(move || inner.permitted(&definition));
        change::finished(judged).await.map_err(Error::Wrong)
    }

    fn all(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Process>>> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Process>>> {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn permitted(&self, definition: &Definition) -> Result<Expanded, Vec<Mistake>> {
        let own = self.settings.own(&definition.id);
        let expanded = command::expand(definition, &own, &|process, output| self.output_of(process, output))?;
        self.settings.access.check(&expanded, &own)?;
        Ok(expanded)
    }

    /// The address of an output of a process.
    fn output_of(&self, process: &str, output: &str) -> Option<String> {
        let process = self.all.read().unwrap_or_else(PoisonError::into_inner).get(process).cloned()?;
        command::output(&process.definition, &self.settings.own(&process.definition.id), output)
    }

    /// The folder of a process' files, which is there then.
    fn folder(&self, id: &str) -> Result<PathBuf, String> {
        let own = self.settings.own(id);
        std::fs::create_dir_all(&own).map_err(|error| format!("its folder in --data cannot be made: {error}"))?;
        Ok(own)
    }

    fn count_end(&self, how: &Ended) {
        *locked(&self.ends).entry(how.word()).or_default() += 1;
    }
}

fn open(data: &Path) -> Result<Mutex<Store>, String> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| format!("--data {}: {error}", data.display()));
    made.and_then(|()| Store::open(data).map(Mutex::new).map_err(|error| format!("--data {}: {error}", data.display())))
}

fn rules(definition: &Definition) -> Rules {
    let limits = &definition.limits;
    let seconds = Duration::from_secs;
    Rules {
        reconnect: definition.reconnect,
        reconnect_delay: seconds(definition.reconnect_delay_seconds),
        stale_timeout: Some(seconds(definition.stale_timeout_seconds)).filter(|timeout| !timeout.is_zero()),
        limits: Limits {
            cpu: Some(limits.cpu_usage).filter(|most| *most > 0.0),
            memory: Some(limits.memory_mbytes).filter(|most| *most > 0).map(|mib| mib << 20),
            wait: seconds(limits.waitfor_seconds),
        },
    }
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Nothing of ours panics while it holds one of these for long enough to leave half a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
