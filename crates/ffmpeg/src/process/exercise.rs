//! What a child writes, and what processes are defined as, for [`crate::exercise`].

use std::path::Path;
use std::time::Instant;

use super::addresses::{self, Access};
use super::command;
use super::definition::Definition;
use super::lines::{self, Lines};
use super::progress::{Parser, Progress};

/// What is known after these reads of both its outputs.
pub(crate) fn told(now: Instant, reads: &[&[u8]]) -> (Progress, usize) {
    let (mut lines, mut parser, mut blocks) = (Lines::default(), Parser::default(), 0);
    let mut take = |line: &str| {
        let line = lines::cut(line);
        parser.log(line);
        blocks += usize::from(parser.report(now, line).is_some());
    };
    for bytes in reads {
        lines.feed(bytes, &mut take);
    }
    lines.end(&mut take);
    let progress = parser.progress(now);
    assert!(progress.inputs.len() <= 64 && progress.outputs.len() <= 64, "more streams than are kept");
    assert!([progress.fps, progress.q, progress.time, progress.speed].iter().all(|number| number.is_finite()));
    (progress, blocks)
}

/// A definition, and a change of it.
pub(crate) fn defined(definition: &[u8], change: &[u8]) {
    let text = String::from_utf8_lossy(change);
    let slaves = addresses::slaves(&text);
    assert_eq!(slaves.join("|"), text, "nothing of a tee is lost");
    assert!(slaves.iter().all(|slave| slave.ends_with(addresses::slave_options(slave).1)));
    let Ok(definition) = Definition::read(definition) else { return };
    assert!(definition.merged(b"{}").is_ok(), "what was read can be read again");
    let Ok(mut changed) = definition.merged(change) else { return };
    changed.name_the_nameless();
    if changed.check().is_err() {
        return;
    }
    let folder = Path::new("/nowhere/processes");
    let own = folder.join(&changed.id);
    assert_eq!((own.parent(), own.components().count()), (Some(folder), 4), "an id is one name");
    assert!(changed.legs().fed().all(|stream| !stream.contains(['/', ' '])));
    let Ok(expanded) = command::expand(&changed, &own, &|_, _| None) else { return };
    let mut access = Access { protocols: vec!["file".to_owned()], folders: vec![folder.into()], ..Access::default() };
    access.input.allow(&["^/nowhere".to_owned()]).expect("it is an expression");
    let _ = access.check(&expanded, &own);
}
