//! Which process feeds which stream: one at most.

use super::{Error, Processes};
use crate::process::definition::{Definition, Mistake};
use crate::process::wiring::Legs;

/// What of a definition feeds a stream that one of these others feeds.
pub(super) fn fed_by_others<'a>(
    definition: &Definition,
    others: impl Iterator<Item = (&'a str, &'a Legs)> + Clone,
) -> Vec<Mistake> {
    let already = |(field, stream): (String, String)| {
        let (other, _) = others.clone().find(|(_, legs)| legs.fed().any(|fed| fed == stream))?;
        Some(Mistake::new(field, format!("the stream {stream:?} is fed by the process {other:?}")))
    };
    definition.feeds().into_iter().filter_map(already).collect()
}

impl Processes {
    /// Whether nothing that a definition feeds is another process's. `besides` is the one that it replaces.
    pub(super) fn check_fed(&self, definition: &Definition, besides: &str) -> Result<(), Error> {
        let all = self.all();
        let others = all.values().map(|process| (process.definition.id.as_str(), &process.legs));
        let wrong = fed_by_others(definition, others.filter(|(id, _)| *id != besides));
        if wrong.is_empty() { Ok(()) } else { Err(Error::Wrong(wrong)) }
    }
}
