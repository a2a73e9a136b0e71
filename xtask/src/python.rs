//! The Python environment of the tests, `<target>/python`: real clients and tools that are Python packages.
//!
//! Made with the system's own Python and open to its packages, because GStreamer's bindings come from Debian. Made anew
//! when `interop/requirements.txt` or Python's version changed; until then the network is not asked.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Outcome;
use crate::steps::{limited, root, target};

/// Not any `python3` of the path: Debian's bindings are built for this one.
const PYTHON: &str = "/usr/bin/python3";

/// Makes the environment where it is missing or out of date.
pub(crate) fn make() -> Outcome {
    let requirements = root().join("interop/requirements.txt");
    let list = fs::read_to_string(&requirements).map_err(|e| format!("{}: {e}", requirements.display()))?;
    let wanted = format!("# {}\n{list}", version()?);
    // Written last: an environment without it was left half-made.
    let stamp = folder().join("made-of");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return Ok(());
    }
    let mut create = Command::new(PYTHON);
    create.args(["-m", "venv", "--clear", "--system-site-packages"]).arg(folder());
    limited(&create, 2)?;
    let mut install = Command::new(interpreter());
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
    install.arg("--requirement").arg(requirements);
    limited(&install, 5)?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}

/// The environment's own `python`.
pub(crate) fn interpreter() -> PathBuf {
    folder().join("bin/python")
}

fn folder() -> PathBuf {
    target().join("python")
}

fn version() -> Outcome<String> {
    let output = Command::new(PYTHON).arg("--version").output().map_err(|e| format!("{PYTHON}: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
