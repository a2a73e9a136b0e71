//! The inputs that are open, for who asks where a stream is taken. As many as there are ports for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whipstitch_stream::{SessionId, StreamKey};

use super::Input;

/// The list; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    inputs: Vec<(u64, Input)>,
    next: u64,
}

/// An input's place in the list, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    open: Open,
    number: u64,
}

impl Open {
    pub(super) fn enter(&self, input: Input) -> Entered {
        let mut list = self.list();
        let number = list.next;
        list.next += 1;
        list.inputs.push((number, input));
        Entered { open: self.clone(), number }
    }

    pub(super) fn of(&self, stream: &StreamKey) -> Option<Input> {
        let list = self.list();
        let of_it = list.inputs.iter().map(|(_, input)| input).filter(|input| input.stream == *stream);
        of_it.min_by_key(|input| input.configured).cloned()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// Another session feeds the stream now, or none.
    pub(super) fn set_session(&self, session: Option<SessionId>) {
        if let Some((_, input)) = self.open.list().inputs.iter_mut().find(|(number, _)| *number == self.number) {
            input.session = session;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.open.list().inputs.retain(|(number, _)| *number != self.number);
    }
}
