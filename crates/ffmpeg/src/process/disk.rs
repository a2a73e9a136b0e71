//! What is wrong with a disk. SQLite says `disk I/O error` for everything but a disk that is full, and who has to put it right
//! needs to know whether it is a quota, a disk that breaks, or one that has been made read-only: the same is tried, and what
//! the system says of that is told.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// As much as a change of a definition writes.
static TRIED: [u8; 64 * 1024] = [0; 64 * 1024];

/// Why nothing can be written to a folder; nothing, if something can now. Waits for the disk.
pub(super) fn trouble(folder: &Path) -> Option<io::Error> {
    let path = folder.join(".whipstitch-tries-to-write");
    let tried = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let tried = tried.and_then(|mut file| file.write_all(&TRIED).and_then(|()| file.sync_all()));
    // It says nothing that the attempt has not.
    let _ = std::fs::remove_file(&path);
    tried.err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_be_written_is_fine_and_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert!(trouble(folder.path()).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_cannot_says_why() {
        for (folder, expected) in
            [("/no/such/folder", io::ErrorKind::NotFound), ("/etc/passwd", io::ErrorKind::NotADirectory)]
        {
            assert_eq!(trouble(Path::new(folder)).map(|error| error.kind()), Some(expected), "{folder}");
        }
    }
}
