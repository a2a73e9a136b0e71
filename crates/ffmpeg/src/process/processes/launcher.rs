//! What a process is started with, asked anew before each start: addresses may have been forbidden, outputs of others
//! moved, streams gone.

use std::sync::{Arc, Mutex, Weak};

use super::{Inner, locked};
use crate::process::command::{self, Command};
use crate::process::definition::Definition;
use crate::process::failures::{self, Failures};
use crate::process::{Ended, Launch, Launcher, Progress, arguments};

/// Knows what one process is.
pub(super) struct Definer {
    processes: Weak<Inner>,
    definition: Arc<Definition>,
    /// The streams that it feeds, and the outputs that do.
    fed: Vec<(String, u64)>,
    failures: Arc<Mutex<Failures>>,
}

impl Definer {
    pub(super) fn new(processes: &Arc<Inner>, definition: Arc<Definition>) -> Self {
        let fed = failures::fed(&definition);
        let failures = Arc::new(Mutex::new(Failures::new(fed.len())));
        Self { processes: Arc::downgrade(processes), definition, fed, failures }
    }

    /// How often what it sends to streams has failed.
    pub(super) fn failures(&self) -> Arc<Mutex<Failures>> {
        Arc::clone(&self.failures)
    }
}

impl Launcher for Definer {
    fn launch(&self) -> Result<Launch, String> {
        let processes = self.processes.upgrade().ok_or("the server is stopping")?;
        processes.tool.is_usable()?;
        let dir = processes.folder(&self.definition.id)?;
        processes.wiring.begins(&self.definition.id);
        let expanded = processes.permitted(&self.definition).map_err(|wrong| super::error::joined(&wrong))?;
        let Command { args, secrets, waiting, kept } =
            command::compose(&self.definition, &expanded, &*processes.wiring)?;
        Ok(Launch {
            program: processes.settings.program.clone(),
            args: arguments(args),
            env: Vec::new(),
            dir,
            secrets,
            waiting,
            kept: Box::new(kept),
        })
    }

    fn ended(&self, how: &Ended, progress: &Progress) {
        let Some(processes) = self.processes.upgrade() else { return };
        processes.count_end(how);
        for (stream, output) in &self.fed {
            let legs = failures::legs(progress, *output);
            locked(&self.failures).count(stream, &legs, how);
            locked(&processes.failures).count(stream, &legs, how);
        }
    }

    fn rests(&self) {
        if let Some(processes) = self.processes.upgrade() {
            processes.wiring.rests(&self.definition.id);
        }
    }
}
