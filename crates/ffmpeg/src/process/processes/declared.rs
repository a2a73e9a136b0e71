//! Processes of the configuration, before any is started.

use super::{Settings, feeding};
use crate::process::command;
use crate::process::definition::Mistake;

/// Everything that is wrong with processes of a configuration: each by itself, and what they name. In the order of the list,
/// with the place in it.
pub fn mistakes(settings: &Settings) -> Vec<(usize, Mistake)> {
    let mut wrong = Vec::new();
    let legs: Vec<_> = settings.declared.iter().map(|definition| (definition.id.as_str(), definition.legs())).collect();
    for (at, definition) in settings.declared.iter().enumerate() {
        let own = settings.own(&definition.id);
        let output_of = |process: &str, output: &str| {
            let process = settings.declared.iter().find(|other| other.id == process)?;
            command::output(process, &settings.own(&process.id), output)
        };
        let judged = definition.check().and_then(|()| {
            command::expand(definition, &own, &output_of).and_then(|it| settings.access.check(&it, &own))
        });
        wrong.extend(judged.err().unwrap_or_default().into_iter().map(|mistake| (at, mistake)));
        let before = legs.iter().take(at).map(|(id, legs)| (*id, legs));
        wrong.extend(feeding::fed_by_others(definition, before).into_iter().map(|mistake| (at, mistake)));
        wrong.extend(definition.unknown().into_iter().map(|field| (at, Mistake::new(field, "no such key"))));
    }
    wrong
}
