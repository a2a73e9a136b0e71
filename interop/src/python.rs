//! Python with the packages that tests use: aiortc, schemathesis, and Debian's GStreamer.

use std::path::PathBuf;
use std::process::Command;

use crate::target;

/// The environment's interpreter, output unbuffered and nothing written beside the scripts: named by `WHIPSTITCH_PYTHON` (as `cargo xtask test` does, having
/// made it), else looked for in the target folder. Panics where there is none.
pub fn python() -> Command {
    let named = std::env::var_os("WHIPSTITCH_PYTHON").map(PathBuf::from);
    let path = named.unwrap_or_else(|| target().join("python/bin/python"));
    assert!(path.exists(), "{} is missing; `cargo xtask python` makes it", path.display());
    let mut command = Command::new(path);
    command.args(["-u", "-B"]);
    command
}
