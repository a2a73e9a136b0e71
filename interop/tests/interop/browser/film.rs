//! What a browser's camera sees when pictures are to cost as many bits as they may: noise.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Two seconds of a noisy test picture at 30 pictures a second, as a file.
#[derive(Debug)]
pub(crate) struct Film {
    path: PathBuf,
    _folder: TempDir,
}

impl Film {
    /// Pictures of this size. No encoder gets them below a few megabits a second without dropping detail.
    pub(crate) fn noisy(width: u32, height: u32) -> Film {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("film.y4m");
        let made = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-f", "lavfi", "-i", &format!("testsrc2=size={width}x{height}:rate=30")])
            .args(["-t", "2", "-vf", "noise=alls=20:allf=t", "-pix_fmt", "yuv420p"])
            .arg(&path)
            .status();
        assert!(made.is_ok_and(|status| status.success()), "FFmpeg makes the film");
        Film { path, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
