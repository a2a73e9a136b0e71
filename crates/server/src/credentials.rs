//! Tokens: what one looks like, how two are compared, and the admin token this server makes for itself.
//!
//! A token is never printed, logged or put into an error; its `Debug` says only that there is one.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

/// Longer than any token in use (a JWT is about 1 KiB); what a header may carry is bounded by the HTTP parser anyway.
const LONGEST: usize = 4096;
/// 256 bits cannot be guessed.
const ADMIN_TOKEN_BYTES: usize = 32;
/// The file in the data directory.
const ADMIN_TOKEN_FILE: &str = "admin-token";

/// A bearer token: the characters of RFC 6750 2.1, `[A-Za-z0-9-._~+/]` and trailing `=`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token from its text.
    ///
    /// # Errors
    /// Says what is wrong without repeating the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_b64token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("a token is 1 to {LONGEST} letters, digits and -._~+/ (and = at its end)"))
        }
    }

    /// Whether a client's text is this token. Takes the same time for every text of the same length.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }

    /// The text, for a client of our own that has to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

/// RFC 6750 2.1: `b64token`.
pub(crate) fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && text.len() <= LONGEST
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// The admin token of a server without a configured one, from `data/admin-token`; made there, mode 0600, at first
/// start. Two servers that start at once in one directory agree on one token.
///
/// # Errors
/// The directory or file cannot be made or read, others may read the file, or it holds no token.
pub(crate) fn admin_token(data: &Path) -> io::Result<(Token, PathBuf)> {
    let path = data.join(ADMIN_TOKEN_FILE);
    let token = match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(data, &path)?;
            read(&path)?
        }
        result => result?,
    };
    Ok((token, path))
}

fn read(path: &Path) -> io::Result<Token> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} may be read by others (chmod 600 it, or remove it for a new one)", path.display()),
        ));
    }
    let mut text = String::new();
    file.take(LONGEST as u64 + 2).read_to_string(&mut text)?;
    Token::parse(text.trim_end()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} holds no token (remove it for a new one)", path.display()),
        )
    })
}

/// Writes a new token beside `path` and links it there, so that nobody ever reads half of it. A link that is there
/// already is another server's, and good.
fn make(data: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let token = random_hex::<ADMIN_TOKEN_BYTES>();
    let draft = data.join(format!("{ADMIN_TOKEN_FILE}.{}", random_hex::<8>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    });
    let _ = fs::remove_file(&draft);
    linked
}

/// `N` random bytes as hex digits.
/// So many random bytes that nobody can guess, as text.
pub(crate) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    whipstitch_plane::random::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_a_header_can_carry() {
        for (text, legal) in [
            ("secret", true),
            ("a.b-c_d~e+f/g==", true),
            ("", false),
            ("=", false),
            ("a=b", false),
            ("two words", false),
            ("käse", false),
            ("line\n", false),
        ] {
            assert_eq!(Token::parse(text).is_ok(), legal, "{text:?}");
        }
        assert!(Token::parse(&"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_token_matches_itself_only_and_is_never_printed() {
        let token = Token::parse("secret").unwrap();
        assert!(token.matches("secret"));
        for other in ["", "secre", "secrets", "Secret"] {
            assert!(!token.matches(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn the_admin_token_is_private_stays_and_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("not/yet/there");
        let (first, path) = admin_token(&data).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.reveal().len(), 2 * ADMIN_TOKEN_BYTES);
        assert_eq!(admin_token(&data).unwrap().0, first);
        // Nothing but the token is left behind.
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn servers_that_start_at_once_agree_on_one_token() {
        let data = tempfile::tempdir().unwrap();
        let tokens: Vec<Token> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| admin_token(data.path()).unwrap().0)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]));
    }

    #[test]
    fn a_token_file_that_others_may_read_or_that_is_broken_is_not_used() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(ADMIN_TOKEN_FILE);
        fs::write(&path, "0123456789abcdef\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(admin_token(data.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(admin_token(data.path()).unwrap().0.matches("0123456789abcdef"));
        fs::write(&path, "").unwrap();
        assert_eq!(admin_token(data.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
