//! PATCH on a session URL: trickle, preconditions, ICE restart (RFC 9725 4.3; protocol.md 4.1).

use std::time::Duration;

use whipstitch_plane::{IceRestart, PeerCommand, Role};
use whipstitch_stream::{SessionId, StreamKey};

use super::Gateway;
use super::register::{Entry, Ice};
use crate::negotiate::{Credentials, OfferError, parse_fragment, write_fragment};
use crate::random;

/// What a PATCH did.
#[derive(Debug, PartialEq, Eq)]
pub enum Patched {
    /// Candidates of the current generation: noted; a lite agent needs none of them. 204.
    Trickled,
    /// A new ICE generation. 200.
    Restarted {
        /// The new entity tag, quoted.
        etag: String,
        /// Our fragment.
        fragment: String,
    },
}

/// Why a PATCH did nothing. The session goes on as it was.
#[derive(Debug, PartialEq, Eq)]
pub enum PatchRefusal {
    /// No such session, or it has ended.
    NotFound,
    /// The session has no ICE (RFC 9725 4.3).
    NoIce,
    /// No `If-Match`.
    PreconditionRequired,
    /// `If-Match` names another generation.
    PreconditionFailed,
    /// The fragment is malformed; says how.
    Syntax(String),
    /// The fragment asks for what cannot be.
    Unprocessable(String),
    /// The worker cannot take it now.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<OfferError> for PatchRefusal {
    fn from(error: OfferError) -> PatchRefusal {
        match error {
            OfferError::Syntax(text) => PatchRefusal::Syntax(text),
            OfferError::Unusable(text) | OfferError::Codec { text, .. } => PatchRefusal::Unprocessable(text),
        }
    }
}

impl Gateway {
    /// Applies a fragment to a session. `if_match` is the header's value as it came.
    ///
    /// # Errors
    /// See [`PatchRefusal`]; the session is never harmed by a refused PATCH.
    pub fn patch(
        &self,
        role: Role,
        stream: &StreamKey,
        resource: &str,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, PatchRefusal> {
        let entry = self.shared.register.find(role, stream, resource).flatten().ok_or(PatchRefusal::NotFound)?;
        let ice = entry.ice.ok_or(PatchRefusal::NoIce)?;
        // The lenient switch is for clients that trickle without; a restart by one of them could be a late repetition.
        let may_restart = if_match.is_some();
        let if_match = match if_match {
            None if self.shared.lenient_precondition => "*",
            if_match => if_match.ok_or(PatchRefusal::PreconditionRequired)?,
        };
        if !matches(if_match, &ice.etag) {
            return Err(PatchRefusal::PreconditionFailed);
        }
        let fragment = parse_fragment(fragment)?;
        // Overlapping restarts take turns under the register's lock; a tag that lost the race is dead.
        let decided = self.shared.register.update(resource, |live| {
            let Entry { worker, session, ice: Some(ice), .. } = live else { return Err(PatchRefusal::NoIce) };
            if !matches(if_match, &ice.etag) {
                return Err(PatchRefusal::PreconditionFailed);
            }
            match changed(&ice.remote, &fragment.credentials) {
                (false, false) => Ok(Patched::Trickled),
                (true, true) if !may_restart => Err(PatchRefusal::PreconditionRequired),
                (true, true) => self.restart((*worker, *session), ice, fragment.credentials.clone()),
                _ => Err(PatchRefusal::Syntax(
                    "only one of ice-ufrag and ice-pwd changed; a restart changes both (RFC 8839 4.4.1.1.1)".into(),
                )),
            }
        });
        decided.ok_or(PatchRefusal::NotFound)?
    }

    fn restart(
        &self,
        (worker, session): (usize, SessionId),
        ice: &mut Ice,
        remote: Credentials,
    ) -> Result<Patched, PatchRefusal> {
        let local = random::credentials(worker);
        let restart = IceRestart {
            local: (local.ufrag.clone(), local.pwd.clone()),
            remote: (remote.ufrag.clone(), remote.pwd.clone()),
        };
        let told = self.shared.plane.tell(worker, session, PeerCommand::IceRestart(restart));
        told.map_err(|_| PatchRefusal::Busy { retry_after: super::RETRY_AFTER })?;
        ice.remote = remote;
        ice.etag = random::resource();
        let fragment = write_fragment(&local, ice.tagged_mid.as_deref(), &ice.candidates);
        Ok(Patched::Restarted { etag: format!("\"{}\"", ice.etag), fragment })
    }
}

fn changed(known: &Credentials, given: &Credentials) -> (bool, bool) {
    (known.ufrag != given.ufrag, known.pwd != given.pwd)
}

/// RFC 9110 13.1.1 with strong comparison; `"*"` in quotes is taken for the wildcard that both specifications print so
/// (protocol.md 2.2).
fn matches(if_match: &str, etag: &str) -> bool {
    let wanted = |tag: &str| {
        let tag = tag.trim();
        tag == "*" || tag == "\"*\"" || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(etag)
    };
    // Our tags hold no comma.
    if_match.split(',').any(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_compares_strongly_and_knows_both_wildcards() {
        for (value, outcome) in [
            ("\"tag\"", true),
            ("*", true),
            ("\"*\"", true),
            ("\"other\", \"tag\"", true),
            ("W/\"tag\"", false),
            ("tag", false),
            ("\"other\"", false),
            ("", false),
        ] {
            assert_eq!(matches(value, "tag"), outcome, "{value}");
        }
    }
}
