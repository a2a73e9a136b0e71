//! One process as others see it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use super::locked;
use crate::process::definition::{Definition, End};
use crate::process::failures::{Failures, LegFailure};
use crate::process::wiring::Legs;
use crate::process::{Order, Report, RunState, Runner};

/// A process as it is defined now. A change makes another one of it.
pub struct Process {
    pub(super) definition: Arc<Definition>,
    pub(super) legs: Legs,
    pub(super) declared: bool,
    /// What was ordered last, as it is stored. Who publishes may have started it beside that.
    pub(super) kept: Mutex<Order>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) failures: Arc<Mutex<Failures>>,
    pub(super) runner: Runner,
}

impl Process {
    /// What it is.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Its version: another for every other definition, the same for the same (RFC 9110 8.8.3, quotes included).
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        // Texts, numbers and lists: always JSON.
        serde_json::to_string(&*self.definition).unwrap_or_default().hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    /// Whether the configuration declares it.
    pub fn is_declared(&self) -> bool {
        self.declared
    }

    /// When it was defined, Unix time in seconds; of one of the configuration when the server was started.
    pub fn created_at(&self) -> i64 {
        self.created_at
    }

    /// When its definition was changed last.
    pub fn updated_at(&self) -> i64 {
        self.updated_at
    }

    /// What it is doing; inputs and outputs of the progress have the ids of the definition, `whip` and `whep` those of its
    /// own streams.
    pub fn state(&self) -> RunState {
        let mut state = self.runner.state();
        let inputs: Vec<&str> = self.legs.ingest.iter().map(|_| "whip").chain(ids(&self.definition.input)).collect();
        let outputs: Vec<&str> = ids(&self.definition.output).chain(self.legs.egress.iter().map(|_| "whep")).collect();
        for (all, ids) in [(&mut state.progress.inputs, inputs), (&mut state.progress.outputs, outputs)] {
            for io in all {
                let id = usize::try_from(io.index).ok().and_then(|index| ids.get(index));
                io.id = id.map(|id| (*id).to_owned()).unwrap_or_default();
            }
        }
        state
    }

    /// How often what it sends to streams has failed, since it was defined or changed.
    pub fn leg_failures(&self) -> Vec<LegFailure> {
        locked(&self.failures).all()
    }

    /// What it has said.
    pub fn report(&self) -> Report {
        self.runner.report()
    }

    /// What it is to do: what was ordered, or to run for who publishes.
    pub fn order(&self) -> Order {
        self.runner.state().order
    }
}

fn ids(ends: &[End]) -> impl Iterator<Item = &str> {
    ends.iter().map(|end| end.id.as_str())
}

/// A process that a stream is published for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Its id.
    pub process: String,
    /// What is ordered.
    pub order: Order,
    /// Whether a publisher starts it.
    pub start_on_publish: bool,
}
