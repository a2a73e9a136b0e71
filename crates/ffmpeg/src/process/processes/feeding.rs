//! Which process feeds which stream: one at most.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{Error, Processes, locked};
use crate::process::definition::{Definition, Mistake};
use crate::process::wiring::Legs;

/// What of a definition feeds a stream that one of these others feeds.
pub(super) fn fed_by_others<'a>(
    definition: &Definition,
    others: impl Iterator<Item = (&'a str, &'a Legs)> + Clone,
) -> Vec<Mistake> {
    let already = |(field, stream): (String, String)| {
        let (other, _) = others.clone().find(|(_, legs)| legs.fed().any(|fed| fed == stream))?;
        Some(fed_by(&field, &stream, other))
    };
    definition.feeds().into_iter().filter_map(already).collect()
}

fn fed_by(field: &str, stream: &str, other: &str) -> Mistake {
    Mistake::new(field, format!("the stream {stream:?} is fed by the process {other:?}"))
}

/// Streams that definitions feed which are not among the others yet, with their ids: from when they are judged until they
/// take effect, so that of two that come at once for one stream one is refused. Bounded by the changes under way.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<String, String>>);

/// What one definition claims, until this is dropped.
pub(super) struct Claim {
    processes: Processes,
    streams: Vec<String>,
}

impl Processes {
    /// Claims what a definition feeds, of which nothing may be another process's. `besides` is the one that it replaces. To be
    /// kept until it has replaced it.
    pub(super) fn claim_fed(&self, definition: &Definition, besides: &str) -> Result<Claim, Error> {
        let mut claims = locked(&self.0.claims.0);
        let mut wrong = {
            let all = self.all();
            let others = all.values().map(|process| (process.definition.id.as_str(), &process.legs));
            fed_by_others(definition, others.filter(|(id, _)| *id != besides))
        };
        let feeds = definition.feeds();
        let claimed = |(field, stream): &(String, String)| Some(fed_by(field, stream, claims.get(stream)?));
        wrong.extend(feeds.iter().filter_map(claimed));
        if !wrong.is_empty() {
            return Err(Error::Wrong(wrong));
        }
        let streams: Vec<String> = feeds.into_iter().map(|(_, stream)| stream).collect();
        claims.extend(streams.iter().map(|stream| (stream.clone(), definition.id.clone())));
        Ok(Claim { processes: self.clone(), streams })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = locked(&self.processes.0.claims.0);
        claims.retain(|stream, _| !self.streams.contains(stream));
    }
}
