//! What a child writes, for [`crate::exercise`].

use std::time::Instant;

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
