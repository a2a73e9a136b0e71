//! RTSP's part of the joints: its questions of access are answered by the rules that HTTP has.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use whipstitch_ffmpeg::process::{Order, Processes};
use whipstitch_rtsp::{Access, Asked, Proof, Right, Verdict};
use whipstitch_stream::StreamKey;

use crate::access::{self, Decision, Policy, Subject};
use crate::credentials::Token;
use crate::guesses::Guesses;
use crate::patterns::Pattern;

/// The rules, as RTSP asks for them.
pub(crate) struct Guard {
    pub(crate) policy: Policy,
    /// The names streams may have; empty is all.
    pub(crate) stream_names: Vec<Pattern>,
    /// Who tries tokens, here and over HTTP.
    pub(crate) guesses: Arc<Guesses>,
    /// What streams are published for, once it is known.
    pub(crate) processes: Arc<OnceLock<Processes>>,
}

impl Guard {
    /// Whether the stream is for a process that is ordered to stop.
    fn is_shut(&self, stream: &StreamKey) -> bool {
        let fed = self.processes.get().and_then(|processes| processes.fed_by(stream.as_str()));
        fed.is_some_and(|fed| fed.order == Order::Stop)
    }

    /// What is decided, as RTSP hears it.
    fn told(&self, right: access::Right, stream: &StreamKey, peer: IpAddr, decided: &access::Verdict) -> Verdict {
        if let Err(wait) = self.guesses.pass(peer, decided, Instant::now()) {
            return Verdict::TooOften(wait);
        }
        match (decided.decision, &decided.subject) {
            (Decision::Allowed, _) if right == access::Right::Publish && self.is_shut(stream) => Verdict::Forbidden,
            (Decision::Allowed, Some(Subject::Process(id))) => Verdict::Child(id.clone()),
            (Decision::Allowed, _) => Verdict::Allowed,
            (Decision::Insufficient, _) => Verdict::Forbidden,
            (Decision::Missing | Decision::Wrong | Decision::Expired | Decision::Malformed, _) => Verdict::Unknown,
        }
    }
}

fn of(right: Right) -> access::Right {
    match right {
        Right::Play => access::Right::Play,
        Right::Publish => access::Right::Publish,
    }
}

impl Access for Guard {
    fn judge(&self, right: Right, stream: &StreamKey, peer: IpAddr, proof: Option<&Proof<'_>>) -> Verdict {
        let right = of(right);
        let shows = proof.map(|proof| move |token: &Token| proof.of(token.reveal()));
        let shows = shows.as_ref().map(|shows| shows as &dyn Fn(&Token) -> bool);
        let verdict = self.policy.decide_for(right, stream, peer, shows, SystemTime::now());
        self.told(right, stream, peer, &verdict)
    }

    fn judge_child(
        &self,
        right: Right,
        stream: &StreamKey,
        peer: IpAddr,
        ours: Option<bool>,
        credential: &str,
    ) -> Verdict {
        let right = of(right);
        let here = peer.to_canonical().is_loopback();
        // Who shows what is nobody's is counted as one who guesses, and nothing is asked of the system for it. Who knows a
        // credential need not guess: that counts only once it is known that the connection is not the child's, as nobody
        // who guesses may keep children out, which all come from the same address.
        if ours.is_none() && here && self.policy.issued.knows(credential) {
            return Verdict::Whose;
        }
        let verdict = self.policy.decide_for_child(right, Some(stream), here && ours == Some(true), credential);
        self.told(right, stream, peer, &verdict)
    }

    fn is_ours(&self, client: SocketAddr, port: u16) -> Asked {
        let issued = self.policy.issued.clone();
        Box::pin(async move { issued.is_ours(client, port).await })
    }

    fn serves(&self, stream: &StreamKey) -> bool {
        self.stream_names.is_empty() || self.stream_names.iter().any(|pattern| pattern.matches(stream.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Rate;

    fn guard(token: Option<&str>, open_publish: bool) -> Guard {
        let token = token.map(|text| Token::parse(text).unwrap());
        let policy = Policy { token, open_publish, ..Policy::default() };
        Guard { policy, stream_names: Vec::new(), guesses: Arc::default(), processes: Arc::default() }
    }

    #[test]
    fn without_a_token_reading_is_open_and_sending_is_for_this_machine() {
        let stream = StreamKey::parse("cam").unwrap();
        let (here, there) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        for (guard, right, peer, expected) in [
            (guard(None, false), Right::Play, there, Verdict::Allowed),
            (guard(None, false), Right::Publish, here, Verdict::Allowed),
            (guard(None, false), Right::Publish, there, Verdict::Unknown),
            (guard(None, true), Right::Publish, there, Verdict::Allowed),
            (guard(Some("secret"), false), Right::Play, here, Verdict::Unknown),
            (guard(Some("secret"), false), Right::Publish, here, Verdict::Unknown),
            (guard(Some("secret"), true), Right::Publish, there, Verdict::Allowed),
        ] {
            assert_eq!(guard.judge(right, &stream, peer, None), expected, "{right:?} {peer}");
        }
    }

    #[tokio::test]
    async fn the_credential_of_a_child_is_good_on_connections_of_ours_alone_and_others_that_show_it_guess() {
        let cam = StreamKey::parse("cam").unwrap();
        let now = Instant::now();
        let guesses = Arc::new(Guesses::new(Rate { per_second: 1, burst: 2 }, now));
        let guard = Guard { guesses, ..guard(None, false) };
        let credential = guard.policy.issued.issue("p", access::Right::Play, &cam).unwrap();
        let (here, there) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let judge = |peer, ours, shown: &str| guard.judge_child(Right::Play, &cam, peer, ours, shown);
        let secret = credential.reveal();
        assert_eq!(judge(here, None, secret), Verdict::Whose);
        assert_eq!(judge(there, None, secret), Verdict::Unknown, "nothing is asked for it");
        assert_eq!(judge(here, Some(false), secret), Verdict::Unknown);
        assert_eq!(judge(here, None, "wrong"), Verdict::Unknown, "nothing is asked for it");
        for shown in [secret, "wrong"] {
            assert!(matches!(judge(here, Some(false), shown), Verdict::TooOften(_)));
        }
        assert_eq!(judge(here, None, secret), Verdict::Whose, "children come from the same address");
        assert_eq!(judge(here, Some(true), secret), Verdict::Child("p".into()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, other) = (listener.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap());
        let stream = std::net::TcpStream::connect(at).unwrap();
        assert!(guard.is_ours(stream.local_addr().unwrap(), at.port()).await);
        assert!(!guard.is_ours(other, at.port()).await);
    }

    #[test]
    fn names_outside_of_the_patterns_are_not_served() {
        let mut guard = guard(None, false);
        assert!(guard.serves(&StreamKey::parse("cam").unwrap()));
        guard.stream_names = vec![Pattern::parse("studio-*").unwrap()];
        assert!(!guard.serves(&StreamKey::parse("cam").unwrap()));
        assert!(guard.serves(&StreamKey::parse("studio-1").unwrap()));
    }
}
