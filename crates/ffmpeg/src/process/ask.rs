//! Short questions to FFmpeg's programs: what they can do, what an input holds.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::spawner::{self, Program};

/// What is read of an answer; the rest is thrown away. FFmpeg's longest list of itself has 100 KiB.
const MOST: u64 = 4 << 20;

/// What a program said, cut to what is valid text.
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Whether it ended well, by itself.
    pub(super) ok: bool,
}

/// Runs a program to its end, or kills it.
///
/// # Errors
/// It cannot be started, or did not end in time; in words.
pub(super) async fn ask(path: &Path, args: Vec<String>, dir: &Path, patience: Duration) -> Result<Said, String> {
    let program = Program { path: path.to_owned(), args, env: Vec::new(), dir: dir.to_owned() };
    // Killed when it is dropped.
    let mut child = spawner::start(&program).await?;
    drop(child.stdin.take());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async { tokio::join!(text(stdout), text(stderr), child.wait()) };
    let (stdout, stderr, status) = tokio::time::timeout(patience, ended)
        .await
        .map_err(|_| format!("{} gave no answer within {} s", path.display(), patience.as_secs()))?;
    Ok(Said { stdout, stderr, ok: status.is_ok_and(|status| status.success()) })
}

async fn text(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let mut bytes = Vec::new();
    let mut pipe = pipe.take(MOST);
    // What came until it failed counts.
    let _ = pipe.read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
