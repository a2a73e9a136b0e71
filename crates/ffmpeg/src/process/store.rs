//! What survives a restart and `kill -9`: definitions, what is ordered, metadata. SQLite, one transaction a change.
//!
//! The file is one server's: SQLite's own lock is held as long as it is open, and a second server is told so. Every change
//! is on the disk when the call returns (write-ahead log, `synchronous = FULL`), or it has not happened.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use serde_json::Value;

use super::{Definition, Order, disk};

/// The name of the file in `--data`.
pub const FILE: &str = "processes.sqlite";

/// What the tables are now. A file of a newer version is not touched.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE process (
        id TEXT PRIMARY KEY,
        definition TEXT NOT NULL,
        wanted TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- The process '' is the server itself. There is no reference to `process`: one of the configuration has metadata, too.
    CREATE TABLE metadata (
        process TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (process, key)
    ) STRICT, WITHOUT ROWID;
";

/// Why something is not stored, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk of `--data` is full. Nothing has changed.
    #[error("no space left for {FILE} in --data: nothing was stored")]
    Full,
    /// Its owner may not have more of it. Nothing has changed.
    #[error("the quota of the disk is used up, {FILE} in --data gets no more: nothing was stored")]
    Quota,
    /// The disk does not take it, as the system says. Nothing has changed.
    #[error("{FILE} in --data cannot be written: {0}")]
    Disk(io::Error),
    /// A process of this id is stored already.
    #[error("a process of this id is stored already")]
    Exists,
    /// Another server has the file.
    #[error("{FILE} in --data is another server's that is running")]
    InUse,
    /// A newer program wrote it.
    #[error("{FILE} is of version {0}, which a newer Whipstitch wrote; this one knows version {VERSION}")]
    Newer(i64),
    /// All else that SQLite says.
    #[error("{FILE}: {0}")]
    Other(rusqlite::Error),
}

impl StoreError {
    /// Whether there is no room.
    pub fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Full | Self::Quota)
    }

    /// The same, with what is wrong with the disk where SQLite says only that something is.
    fn explained(self, folder: &Path) -> Self {
        let is_of_the_disk = |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        match self {
            Self::Other(error) if is_of_the_disk(&error) => {
                disk::trouble(folder).map_or(Self::Other(error), |error| match error.kind() {
                    io::ErrorKind::StorageFull => Self::Full,
                    io::ErrorKind::QuotaExceeded => Self::Quota,
                    _ => Self::Disk(error),
                })
            }
            error => error,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse,
            _ => StoreError::Other(error),
        }
    }
}

/// A process as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) definition: Definition,
    pub(super) order: Order,
    /// Unix time, seconds.
    pub(super) created_at: i64,
    /// Unix time, seconds.
    pub(super) updated_at: i64,
}

/// A process of the database that cannot be read.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) id: String,
    pub(super) why: String,
}

/// The open database.
pub(super) struct Store {
    connection: Connection,
    folder: PathBuf,
}

impl Store {
    /// Opens the database of a folder, and makes it and the folder where there is none.
    ///
    /// # Errors
    /// It cannot be opened, or is not ours to open.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_in(folder).map_err(|error| error.explained(folder))
    }

    fn open_in(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        // Definitions hold stream keys and passwords. SQLite's other files get the mode of this one. What is wrong here is
        // said by SQLite, and better.
        let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let mut connection = Connection::open(path)?;
        // Whose lock it is is known at once: who has it keeps it.
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            VERSION => {}
            newer => return Err(StoreError::Newer(newer)),
        }
        transaction.commit()?;
        Ok(Self { connection, folder: folder.to_owned() })
    }

    /// Every process, by id. One that cannot be read is left where it is.
    pub(super) fn processes(&self) -> Result<Vec<Result<Stored, Broken>>, StoreError> {
        let mut all = self.connection.prepare("SELECT id, definition, wanted, created_at, updated_at FROM process")?;
        let rows = all.query_map([], |row| {
            let (id, json, wanted): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (created_at, updated_at) = (row.get(3)?, row.get(4)?);
            let order = if wanted == Order::Start.word() { Order::Start } else { Order::Stop };
            Ok(match Definition::read(json.as_bytes()) {
                Ok(definition) => Ok(Stored { definition, order, created_at, updated_at }),
                Err(error) => Err(Broken { id, why: error.to_string() }),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Stores a process that is new.
    ///
    /// # Errors
    /// [`StoreError::Exists`] also for the id of one that cannot be read, or that one of the configuration hides.
    pub(super) fn add(&mut self, process: &Stored) -> Result<(), StoreError> {
        let json = json(process)?;
        self.change(|transaction| insert(transaction, process, &json)).map_err(taken)
    }

    /// Stores a process in the place of the one of this id. Its metadata goes with it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if its own id is another and taken.
    pub(super) fn replace(&mut self, process: &Stored, replaced: &str) -> Result<(), StoreError> {
        let (id, json) = (process.definition.id.as_str(), json(process)?);
        let change = |transaction: &Transaction<'_>| {
            transaction.execute("DELETE FROM process WHERE id = ?1", [replaced])?;
            if replaced != id {
                transaction.execute("DELETE FROM metadata WHERE process = ?1", [id])?;
                transaction.execute("UPDATE metadata SET process = ?2 WHERE process = ?1", [replaced, id])?;
            }
            insert(transaction, process, &json)
        };
        self.change(change).map_err(taken)
    }

    /// Stores what is ordered.
    pub(super) fn order(&mut self, id: &str, order: Order) -> Result<(), StoreError> {
        self.change(|transaction| {
            transaction.execute("UPDATE process SET wanted = ?2 WHERE id = ?1", [id, order.word()]).map(drop)
        })
    }

    /// Forgets a process and its metadata; whether there was one, be it one that cannot be read.
    pub(super) fn remove(&mut self, id: &str) -> Result<bool, StoreError> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM metadata WHERE process = ?1", [id])?;
            transaction.execute("DELETE FROM process WHERE id = ?1", [id]).map(|rows| rows > 0)
        })
    }

    /// All metadata of a process; of the server itself, with an empty id.
    pub(super) fn all_metadata(&self, id: &str) -> Result<serde_json::Map<String, Value>, StoreError> {
        let mut all = self.connection.prepare("SELECT key, value FROM metadata WHERE process = ?1")?;
        let rows = all.query_map([id], |row| Ok((row.get(0)?, value(&row.get::<_, String>(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is kept under a key.
    pub(super) fn metadata(&self, id: &str, key: &str) -> Result<Option<Value>, StoreError> {
        let mut one = self.connection.prepare("SELECT value FROM metadata WHERE process = ?1 AND key = ?2")?;
        Ok(one.query_row([id, key], |row| row.get::<_, String>(0)).optional()?.map(|json: String| value(&json)))
    }

    /// Keys that a process has.
    pub(super) fn keys(&self, id: &str) -> Result<usize, StoreError> {
        let mut count = self.connection.prepare("SELECT count(*) FROM metadata WHERE process = ?1")?;
        Ok(count.query_row([id], |row| row.get::<_, i64>(0)).map(|count| usize::try_from(count).unwrap_or(0))?)
    }

    /// Keeps a value under a key; `null` forgets it.
    pub(super) fn set_metadata(&mut self, id: &str, key: &str, value: &Value) -> Result<(), StoreError> {
        let change = |transaction: &Transaction<'_>| match value {
            Value::Null => transaction.execute("DELETE FROM metadata WHERE process = ?1 AND key = ?2", [id, key]),
            value => transaction.execute(
                "INSERT OR REPLACE INTO metadata (process, key, value) VALUES (?1, ?2, ?3)",
                [id, key, &value.to_string()],
            ),
        };
        self.change(change).map(drop)
    }

    /// One transaction: all of it, or nothing.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let changed = || -> Result<T, rusqlite::Error> {
            let transaction = self.connection.transaction()?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        changed().map_err(|error| StoreError::from(error).explained(&self.folder))
    }

    /// As a disk that has no more room than this many pages beyond what is used.
    #[cfg(test)]
    pub(super) fn fill_up(&self, spare: i64) {
        let pages: i64 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        self.connection.pragma_update(None, "max_page_count", pages + spare).unwrap();
    }
}

/// Fails where there is a process of this id.
fn insert(transaction: &Transaction<'_>, process: &Stored, json: &str) -> Result<(), rusqlite::Error> {
    let row = params![process.definition.id, json, process.order.word(), process.created_at, process.updated_at];
    let into = "INSERT INTO process (id, definition, wanted, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.execute(into, row).map(drop)
}

/// Texts, numbers and lists: always JSON.
fn json(process: &Stored) -> Result<String, StoreError> {
    let json = serde_json::to_string(&process.definition);
    Ok(json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?)
}

/// An id that is taken is the one constraint of a process that can be broken.
fn taken(error: StoreError) -> StoreError {
    match error {
        StoreError::Other(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            StoreError::Exists
        }
        error => error,
    }
}

/// JSON that we wrote.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str) -> Stored {
        let json = format!(r#"{{"id": "{id}", "vendor": 7, "input": [{{"address": "a"}}]}}"#);
        let definition = Definition::read(json.as_bytes()).unwrap();
        Stored { definition, order: Order::Start, created_at: 5, updated_at: 6 }
    }

    fn all(store: &Store) -> Vec<Stored> {
        store.processes().unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_stored_is_there_after_the_file_was_closed_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        store.add(&stored("b")).unwrap();
        store.order("b", Order::Stop).unwrap();
        store.set_metadata("a", "k", &serde_json::json!({"x": [1]})).unwrap();
        store.set_metadata("", "k", &serde_json::json!("global")).unwrap();
        // As after `kill -9`: what the file system has is copied while the database is open.
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let again = Store::open(copy.path()).unwrap();
        assert_eq!(all(&again), [stored("a"), Stored { order: Order::Stop, ..stored("b") }]);
        assert_eq!(again.metadata("a", "k").unwrap(), Some(serde_json::json!({"x": [1]})));
        assert_eq!(again.metadata("", "k").unwrap(), Some(serde_json::json!("global")));
        assert_eq!(again.metadata("b", "k").unwrap(), None);
    }

    #[test]
    fn a_new_name_takes_the_metadata_along_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        store.set_metadata("a", "k", &Value::Bool(true)).unwrap();
        store.replace(&stored("b"), "a").unwrap();
        assert_eq!(all(&store), [stored("b")]);
        assert_eq!(store.metadata("b", "k").unwrap(), Some(Value::Bool(true)));
        assert_eq!(store.keys("a").unwrap(), 0);
        assert!(store.remove("b").unwrap() && !store.remove("b").unwrap());
        assert_eq!((all(&store), store.keys("b").unwrap()), (vec![], 0));
    }

    #[test]
    fn what_is_stored_is_never_overwritten_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        store.add(&stored("b")).unwrap();
        store.set_metadata("a", "k", &Value::Bool(true)).unwrap();
        let other = |id| Stored { order: Order::Stop, ..stored(id) };
        assert!(matches!(store.add(&other("a")), Err(StoreError::Exists)));
        assert!(matches!(store.replace(&other("a"), "b"), Err(StoreError::Exists)));
        assert_eq!(all(&store), [stored("a"), stored("b")]);
        assert_eq!(store.metadata("a", "k").unwrap(), Some(Value::Bool(true)), "a change that fails is undone whole");
        store.replace(&other("a"), "a").unwrap();
        assert_eq!(all(&store), [other("a"), stored("b")]);
        // Also one that nobody can read.
        store.connection.execute("UPDATE process SET definition = '{' WHERE id = 'a'", []).unwrap();
        assert!(matches!(store.add(&stored("a")), Err(StoreError::Exists)));
        assert_eq!(store.processes().unwrap().len(), 2);
    }

    #[test]
    fn null_forgets_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.set_metadata("a", "k", &Value::Bool(true)).unwrap();
        store.set_metadata("a", "k", &Value::Null).unwrap();
        assert!(store.all_metadata("a").unwrap().is_empty());
    }

    #[test]
    fn a_full_disk_is_told_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        store.set_metadata("a", "k", &Value::Bool(true)).unwrap();
        store.fill_up(1);
        let mut large = stored("a");
        large.definition.reference = "x".repeat(100_000);
        large.definition.id = "b".to_owned();
        // A change of several steps that fails at the last undoes the first.
        assert!(matches!(store.replace(&large, "a"), Err(StoreError::Full)));
        assert!(matches!(store.set_metadata("a", "l", &"x".repeat(100_000).into()), Err(StoreError::Full)));
        assert_eq!(all(&store), [stored("a")]);
        drop(store);
        let again = Store::open(folder.path()).unwrap();
        assert_eq!(all(&again), [stored("a")]);
        assert_eq!(again.metadata("a", "k").unwrap(), Some(Value::Bool(true)));
    }

    #[test]
    fn nobody_else_reads_what_is_stored() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_second_server_is_refused_and_the_file_is_free_again_after_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse)));
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_file_of_a_newer_program_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.connection.pragma_update(None, "user_version", 2).unwrap();
        drop(store);
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer(2))));
    }

    #[test]
    fn what_is_no_database_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "no database at all, but long enough to look at".repeat(100)).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Other(_))));
    }

    #[test]
    fn a_definition_that_cannot_be_read_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.add(&stored("a")).unwrap();
        store.add(&stored("b")).unwrap();
        store.connection.execute("UPDATE process SET definition = '{' WHERE id = 'a'", []).unwrap();
        let all = store.processes().unwrap();
        assert_eq!(all[0].as_ref().unwrap_err().id, "a");
        assert_eq!(all[1].as_ref().unwrap(), &stored("b"));
    }
}
