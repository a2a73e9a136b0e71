//! Where a path leads.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A path made absolute and without `.` and `..`, by its words alone.
pub(super) fn normal(from: &Path, path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for component in from.join(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

/// Where a normal path really is: of what exists of it, every symbolic link is followed.
///
/// # Errors
/// A link leads nowhere, or may not be followed.
pub(super) fn real(path: &Path) -> io::Result<PathBuf> {
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = path.to_path_buf();
    loop {
        match there.symlink_metadata() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let Some(name) = there.file_name() else { break };
        missing.push(name.to_owned());
        there.pop();
    }
    let mut real = there.canonicalize()?;
    real.extend(missing.iter().rev());
    Ok(real)
}
