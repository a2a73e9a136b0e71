//! The house's floors (ARCHITECTURE.md): which crate may import which, where `unsafe` may stand. That nobody
//! on floors 0 and 1 asks the clock is clippy's to see (`clippy.toml` of those crates).
//!
//! Read from the manifests (`cargo metadata --no-deps`) and the sources, so that a new arrow is a decision made in
//! [`CRATES`] and not an accident. `check` and `test` run it; the tests below show that each rule can be broken.

mod manifests;
mod sources;

use std::path::Path;

use crate::Outcome;

/// One row of the table of floors.
struct Crate {
    name: &'static str,
    floor: u8,
    /// What it must never import. Its tests and examples may.
    never: &'static [&'static str],
}

const CRATES: &[Crate] = &[
    Crate { name: "whipstitch", floor: 4, never: &["str0m"] },
    Crate { name: "whipstitch-webrtc", floor: 3, never: &["axum"] },
    Crate { name: "whipstitch-rtsp", floor: 3, never: &["str0m", "axum"] },
    Crate { name: "whipstitch-ffmpeg", floor: 3, never: &["str0m", "axum"] },
    Crate { name: "whipstitch-proxy", floor: 3, never: &["str0m"] },
    Crate { name: "whipstitch-client", floor: 3, never: &["axum"] },
    Crate { name: "whipstitch-rtp", floor: 2, never: &["tokio", "str0m", "axum"] },
    Crate { name: "whipstitch-plane", floor: 2, never: &["tokio", "str0m", "axum"] },
    Crate { name: "whipstitch-stream", floor: 1, never: &["tokio", "str0m", "axum"] },
    Crate { name: "whipstitch-net", floor: 1, never: &["tokio", "str0m", "axum"] },
    Crate { name: "whipstitch-media", floor: 0, never: &["tokio", "str0m", "axum"] },
    // Beside the house: they start its programs. The client is the interop tests' measuring tool; xtask links nothing
    // of the house, so that it builds in seconds.
    Crate { name: "whipstitch-interop", floor: 4, never: &["str0m", "axum"] },
    Crate { name: "xtask", floor: 5, never: HOUSE },
];

const HOUSE: &[&str] = &[
    "whipstitch",
    "whipstitch-webrtc",
    "whipstitch-rtsp",
    "whipstitch-ffmpeg",
    "whipstitch-proxy",
    "whipstitch-client",
    "whipstitch-rtp",
    "whipstitch-plane",
    "whipstitch-stream",
    "whipstitch-net",
    "whipstitch-media",
];

/// Folders and files where `unsafe` may stand: system calls on batches that have no safe wrapper; and the one `pre_exec` that
/// binds the children of FFmpeg processes to this one.
const UNSAFE: &[&str] = &["crates/net/src/socket", "crates/ffmpeg/src/process/spawner.rs"];

/// Fails with one line per broken rule.
pub(crate) fn hold(root: &Path) -> Outcome {
    let packages = manifests::read(root)?;
    let mut broken = manifests::broken(&packages, CRATES);
    for file in sources::rust_files(root).map_err(|e| format!("reading the sources: {e}"))? {
        let text = std::fs::read_to_string(root.join(&file)).map_err(|e| format!("{file}: {e}"))?;
        broken.extend(sources::broken(&file, &text));
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n    ")) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_floors_hold() {
        if let Err(broken) = super::hold(&crate::steps::root()) {
            panic!("{broken}");
        }
    }
}
