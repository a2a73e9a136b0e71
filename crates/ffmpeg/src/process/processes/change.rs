//! Changes: stored first, then done; and neither once everything ends.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Error, LONGEST_KEY, MOST_KEYS, Process, Processes, locked, unix_now};
use crate::process::definition::Definition;
use crate::process::store::{Store, StoreError, Stored};
use crate::process::{Order, Run};

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProcessCommand)]
pub enum Command {
    /// To run.
    Start,
    /// Not to run; answered when it has ended.
    Stop,
    /// To end and begin anew at once. Nothing if it is not ordered to run.
    Restart,
    /// The same, with its addresses looked at anew. If it is not ordered to run, it still is not.
    Reload,
}

/// The metadata of the server itself: no process has an empty id.
const SERVER: &str = "";

impl Processes {
    /// Defines a process, and starts it if its `autostart` says so.
    ///
    /// # Errors
    /// It cannot be read, cannot stand, exists already, or cannot be stored; or the server is stopping, which may be said of
    /// each change.
    pub async fn add(&self, json: &[u8]) -> Result<Arc<Process>, Error> {
        self.check_open()?;
        let mut definition = Definition::read(json)?;
        definition.name_the_nameless();
        definition.check().map_err(Error::Wrong)?;
        let this = self.clone();
        detached(async move { this.add_now(definition).await }).await
    }

    async fn add_now(self, definition: Definition) -> Result<Arc<Process>, Error> {
        let _growing = self.0.growing.lock().await;
        let _lock = self.0.locks.take([&definition.id]).await;
        if self.get(&definition.id).is_some() {
            return Err(Error::Exists);
        }
        let most = self.0.settings.most;
        if self.all().len() >= most {
            return Err(Error::TooMany(most));
        }
        self.permitted(&definition).await?;
        let _claim = self.claim_fed(&definition, "")?;
        self.0.tool.get_ready().await;
        let (now, order) = (unix_now(), if definition.autostart { Order::Start } else { Order::Stop });
        let stored = Stored { definition, order, created_at: now, updated_at: now };
        let copy = stored.clone();
        self.write(move |store| store.add(&copy)).await?;
        Ok(self.insert(stored, order, false, Vec::new()))
    }

    /// Changes a process: what JSON names is merged over what it is. It keeps its order, its metadata and its past, also
    /// under a new id. One that runs is ended and started anew. With `only_if`, the value of an `If-Match`, only of one of
    /// these versions.
    ///
    /// # Errors
    /// As of [`Processes::add`]; or there is none, or it is one of the configuration.
    pub async fn update(&self, id: &str, json: &[u8], only_if: Option<&str>) -> Result<Arc<Process>, Error> {
        self.check_open()?;
        let (this, id, json) = (self.clone(), id.to_owned(), json.to_vec());
        let only_if = only_if.map(str::to_owned);
        detached(async move { this.update_now(&id, &json, only_if.as_deref()).await }).await
    }

    async fn update_now(self, id: &str, json: &[u8], only_if: Option<&str>) -> Result<Arc<Process>, Error> {
        let named = Definition::read(json).map(|change| change.id).unwrap_or_default();
        let target = if named.is_empty() { id.to_owned() } else { named };
        let _locks = self.0.locks.take([id, &target]).await;
        let current = self.get(id).ok_or(Error::Unknown)?;
        changeable(&current, only_if)?;
        let mut definition = current.definition.merged(json)?;
        definition.id.clone_from(&target);
        definition.name_the_nameless();
        definition.check().map_err(Error::Wrong)?;
        if target != id && self.get(&target).is_some() {
            return Err(Error::Exists);
        }
        self.permitted(&definition).await?;
        let _claim = self.claim_fed(&definition, id)?;
        let (order, created_at) = (*locked(&current.kept), current.created_at);
        let stored = Stored { definition, order, created_at, updated_at: unix_now() };
        let (copy, replaced) = (stored.clone(), id.to_owned());
        self.write(move |store| store.replace(&copy, &replaced)).await?;
        Ok(self.replace(&current, stored).await)
    }

    /// Another one in the place of a process that is ended for it.
    async fn replace(&self, current: &Process, stored: Stored) -> Arc<Process> {
        let (id, order) = (current.definition.id.as_str(), current.order());
        current.runner.order(Order::Stop);
        current.runner.idle().await;
        // What is its own before and after is so meanwhile.
        let (new_id, legs) = (&stored.definition.id, stored.definition.legs());
        if new_id != id {
            self.0.wiring.renamed(id, new_id);
            self.all_mut().remove(id);
        }
        if legs.is_empty() {
            self.tell(new_id, &current.legs, Order::Stop);
        }
        let past = current.report();
        let history: Vec<Run> =
            past.history.into_iter().chain(past.current.ended.is_some().then_some(past.current)).collect();
        self.insert(stored, order, current.declared, history)
    }

    /// Ends a process and forgets it and its metadata, or one of the database that cannot be read. Its files stay. `only_if` is as of [`Processes::update`].
    ///
    /// # Errors
    /// There is none, it is one of the configuration, or that cannot be stored.
    pub async fn remove(&self, id: &str, only_if: Option<&str>) -> Result<(), Error> {
        self.check_open()?;
        let (this, id, only_if) = (self.clone(), id.to_owned(), only_if.map(str::to_owned));
        detached(async move { this.remove_now(&id, only_if.as_deref()).await }).await
    }

    async fn remove_now(self, id: &str, only_if: Option<&str>) -> Result<(), Error> {
        let _lock = self.0.locks.take([id]).await;
        let (process, owned) = (self.get(id), id.to_owned());
        let remove = move |store: &mut Store| store.remove(&owned);
        let Some(process) = process else {
            return if only_if.is_none() && self.write(remove).await? { Ok(()) } else { Err(Error::Unknown) };
        };
        changeable(&process, only_if)?;
        self.write(remove).await?;
        process.runner.order(Order::Stop);
        self.tell(id, &process.legs, Order::Stop);
        process.runner.idle().await;
        self.all_mut().remove(id);
        Ok(())
    }

    async fn stop(&self, process: &Process) {
        process.runner.order(Order::Stop);
        self.tell(&process.definition.id, &process.legs, Order::Stop);
        process.runner.idle().await;
    }

    /// Tells a process something. What is ordered of one of the configuration counts until the server ends.
    ///
    /// # Errors
    /// There is none, or the order cannot be stored. A stop is done all the same ([`Error::NotKept`]): a process that
    /// fills the disk can be stopped.
    pub async fn command(&self, id: &str, command: Command) -> Result<(), Error> {
        self.check_open()?;
        let (this, id) = (self.clone(), id.to_owned());
        detached(async move { this.command_now(&id, command).await }).await
    }

    /// Starts a process that starts with its publisher (`start_on_publish`). That is no order: it is not stored, so that a
    /// process that is ordered to stop stays so for the next start of the server, until somebody publishes then.
    ///
    /// # Errors
    /// There is none that starts so.
    pub async fn start_for_publisher(&self, id: &str) -> Result<(), Error> {
        self.check_open()?;
        let (this, id) = (self.clone(), id.to_owned());
        let started = async move {
            let _lock = this.0.locks.take([&id]).await;
            let process = this.get(&id).ok_or(Error::Unknown)?;
            let starts = process.legs.ingest.as_ref().is_some_and(|ingest| ingest.start_on_publish);
            match (process.order(), starts) {
                (Order::Start, _) => Ok(()),
                (Order::Stop, true) => this.start(&process).await,
                (Order::Stop, false) => Err(Error::Unknown),
            }
        };
        detached(started).await
    }

    async fn start(&self, process: &Process) -> Result<(), Error> {
        self.0.tool.get_ready().await;
        self.check_open()?;
        let (id, legs, before) = (&process.definition.id, &process.legs, process.order());
        self.tell(id, legs, Order::Start);
        let begun = self.begin(|| process.runner.order(Order::Start));
        if begun.is_err() && before == Order::Stop {
            self.tell(id, legs, Order::Stop);
        }
        begun
    }

    async fn command_now(self, id: &str, command: Command) -> Result<(), Error> {
        let _lock = self.0.locks.take([id]).await;
        let process = self.get(id).ok_or(Error::Unknown)?;
        match command {
            Command::Start => {
                self.keep(&process, Order::Start).await?;
                match self.start(&process).await {
                    // It is stored, and is done by the next start of the server.
                    Err(Error::Closed) if !process.declared => {}
                    started => started?,
                }
            }
            Command::Stop => {
                let kept = self.keep(&process, Order::Stop).await;
                self.stop(&process).await;
                kept.map_err(|error| match error {
                    Error::Store(error) => Error::NotKept(error),
                    error => error,
                })?;
            }
            Command::Restart => self.begin(|| process.runner.restart())?,
            Command::Reload => {
                self.permitted(&process.definition).await?;
                self.check_open()?;
                let order = *locked(&process.kept);
                let (created_at, updated_at) = (process.created_at, process.updated_at);
                let definition = Definition::clone(&process.definition);
                self.replace(&process, Stored { definition, order, created_at, updated_at }).await;
            }
        }
        Ok(())
    }

    /// Stores what is ordered, unless the configuration says that.
    async fn keep(&self, process: &Process, order: Order) -> Result<(), Error> {
        if process.declared || *locked(&process.kept) == order {
            return Ok(());
        }
        let id = process.definition.id.clone();
        self.write(move |store| store.order(&id, order)).await?;
        *locked(&process.kept) = order;
        Ok(())
    }

    /// What is kept with a process under a key; without one, all of it.
    ///
    /// # Errors
    /// There is no such process or key.
    pub async fn metadata(&self, id: &str, key: Option<&str>) -> Result<Value, Error> {
        self.get(id).ok_or(Error::Unknown)?;
        self.read_metadata(id, key).await
    }

    /// Keeps a value with a process under a key; `null` forgets it.
    ///
    /// # Errors
    /// There is no such process, there are too many keys, or it cannot be stored.
    pub async fn set_metadata(&self, id: &str, key: &str, value: Value) -> Result<(), Error> {
        self.check_open()?;
        let (this, id, key) = (self.clone(), id.to_owned(), key.to_owned());
        let kept = async move {
            let _lock = this.0.locks.take([&id]).await;
            this.get(&id).ok_or(Error::Unknown)?;
            this.write_metadata(&id, &key, value).await
        };
        detached(kept).await
    }

    /// What is kept with the server under a key; without one, all of it.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn server_metadata(&self, key: Option<&str>) -> Result<Value, Error> {
        self.read_metadata(SERVER, key).await
    }

    /// Keeps a value with the server under a key; `null` forgets it.
    ///
    /// # Errors
    /// There are too many keys, or it cannot be stored.
    pub async fn set_server_metadata(&self, key: &str, value: Value) -> Result<(), Error> {
        self.check_open()?;
        let (this, key) = (self.clone(), key.to_owned());
        detached(async move { this.write_metadata(SERVER, &key, value).await }).await
    }

    async fn read_metadata(&self, id: &str, key: Option<&str>) -> Result<Value, Error> {
        let (id, key) = (id.to_owned(), key.map(str::to_owned));
        self.read(move |store| match key {
            None => store.all_metadata(&id).map(|all| Some(Value::Object(all))),
            Some(key) => store.metadata(&id, &key),
        })
        .await?
        .ok_or(Error::NoSuchKey)
    }

    async fn write_metadata(&self, id: &str, key: &str, value: Value) -> Result<(), Error> {
        if key.is_empty() || key.len() > LONGEST_KEY || key.contains(char::is_control) {
            return Err(Error::Metadata(format!("a key has 1 to {LONGEST_KEY} bytes and no control character")));
        }
        let (id, key) = (id.to_owned(), key.to_owned());
        let kept = self.write(move |store| {
            let is_new = !value.is_null() && store.metadata(&id, &key)?.is_none();
            if is_new && store.keys(&id)? >= MOST_KEYS {
                return Ok(false);
            }
            store.set_metadata(&id, &key, &value).map(|()| true)
        });
        match kept.await? {
            true => Ok(()),
            false => Err(Error::Metadata(format!("there are {MOST_KEYS} keys already, which is all that may be"))),
        }
    }

    /// Asks the database, off the threads that serve others.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(|_| Ok(()), ask).await
    }

    /// The same for a change: none is made once everything ends.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(Self::check_open, change).await
    }

    /// `may` is asked when it is this one's turn with the database.
    async fn ask<T: Send + 'static>(
        &self,
        may: fn(&Self) -> Result<(), Error>,
        ask: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let store = this.0.store.as_ref().map_err(|why| Error::NoStore(why.clone()))?;
            let mut store = locked(store);
            may(&this)?;
            ask(&mut store).map_err(Error::from)
        });
        finished(asked).await
    }
}

/// Whether a request may change a process: RFC 9110 13.1.1.
fn changeable(process: &Process, only_if: Option<&str>) -> Result<(), Error> {
    if process.declared {
        return Err(Error::Declared);
    }
    let etag = process.etag();
    match only_if {
        Some(versions) if !versions.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == etag) => {
            Err(Error::Changed)
        }
        _ => Ok(()),
    }
}

/// Does something to its end, whether or not somebody waits for it.
async fn detached<T: Send + 'static>(done: impl Future<Output = T> + Send + 'static) -> T {
    finished(tokio::spawn(done)).await
}

/// What a task comes to. A panic of it is one of its caller; a runtime that ends takes both.
pub(super) async fn finished<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// All metadata, for lists.
impl Processes {
    /// The metadata of a process as an object, or nothing if there is none or it cannot be read.
    pub async fn all_metadata(&self, id: &str) -> Option<Map<String, Value>> {
        match self.read_metadata(id, None).await {
            Ok(Value::Object(all)) if !all.is_empty() => Some(all),
            _ => None,
        }
    }
}
