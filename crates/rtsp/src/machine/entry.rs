//! Who may do what a request asks for, by what it shows: as everybody does in `Authorization`, or as the child of a process.

use std::net::IpAddr;

use rtsp_types::StatusCode;
use rtsp_types::headers;
use whipstitch_stream::running::Asks;

use super::{MOST_REFUSALS, Machine, Step, refuse_saying};
use crate::access::{Right, Verdict};
use crate::auth::{self, Credential};
use crate::reply::{self, Reply};
use crate::target::{self, Target};
use crate::wire::Request;

impl Machine {
    /// What the request is about, if its sender may do that with it: nothing is looked at before that is known.
    pub(super) fn target(&mut self, request: &Request, right: Right) -> Result<Target, Step> {
        let target = self.judged(request, right)?;
        self.refusals = 0;
        if self.facts.access.serves(&target.stream) { Ok(target) } else { Err(nameless(request)) }
    }

    fn judged(&mut self, request: &Request, right: Right) -> Result<Target, Step> {
        let mut target = request.uri().and_then(target::parse).ok_or_else(|| nameless(request))?;
        let shown = request.uri().and_then(target::process).map(str::to_owned).or_else(|| self.child.clone());
        let peer = self.facts.peer.ip();
        if let Some(shown) = shown {
            return match self.facts.access.judge_child(right, &target.stream, peer, self.ours, &shown) {
                Verdict::Child(process) => {
                    (self.child, target.child) = (Some(shown), Some(process));
                    Ok(target)
                }
                Verdict::Whose if self.ours.is_none() => Err(Step::Whose(Box::new(request.clone()))),
                verdict => Err(self.refused(request, verdict, false)),
            };
        }
        if self.facts.only_children {
            return Err(refuse_saying(request, StatusCode::ServiceUnavailable, reply::FULL));
        }
        let credential = Credential::parse(request.header(&headers::AUTHORIZATION));
        let (nonce, here) = (&*self.facts.nonce, is_here(peer));
        // A digest made for another stream proves nothing for this one.
        let fits = !matches!(&credential, Credential::Digest(digest)
            if target::parse(digest.uri).is_none_or(|other| other.stream != target.stream));
        let proof = credential.proof(request.method().into(), nonce, here).filter(|_| fits);
        match self.facts.access.judge(right, &target.stream, peer, proof.as_ref()) {
            Verdict::Allowed => Ok(target),
            verdict => {
                let stale = credential.is_stale(nonce);
                Err(self.refused(request, verdict, stale))
            }
        }
    }

    /// The answer to who may not, the last one to who may not for the fifth time. `stale`: what was shown was made for
    /// another connection's nonce.
    fn refused(&mut self, request: &Request, verdict: Verdict, stale: bool) -> Step {
        let reply = match verdict {
            Verdict::TooOften(wait) => {
                // RTSP has no 429 (RFC 2326 7.1.1); 12.31: whole seconds.
                let reply = Reply::new(StatusCode::ServiceUnavailable, Some(&request.cseq));
                let seconds = wait.as_secs_f64().ceil().max(1.0);
                reply.header(headers::RETRY_AFTER, seconds.to_string())
            }
            Verdict::Unknown | Verdict::Whose => {
                let challenges = auth::challenges(&self.facts.nonce, stale, is_here(self.facts.peer.ip()));
                let reply = Reply::new(StatusCode::Unauthorized, Some(&request.cseq)).reason(reply::NO_TOKEN);
                reply.lines(headers::WWW_AUTHENTICATE, &challenges)
            }
            Verdict::Forbidden | Verdict::Allowed | Verdict::Child(_) => {
                Reply::new(StatusCode::Forbidden, Some(&request.cseq)).reason(reply::NOT_ALLOWED)
            }
        };
        self.refusals += 1;
        if self.refusals < MOST_REFUSALS {
            return Step::Reply(reply.empty());
        }
        Step::Last(reply.header(headers::CONNECTION, "close").empty())
    }
}

fn nameless(request: &Request) -> Step {
    refuse_saying(request, StatusCode::NotFound, reply::NO_NAME)
}

fn is_here(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

/// As whom a client asks.
pub(super) fn asks(child: Option<&str>) -> Asks {
    if child.is_some() { Asks::Child } else { Asks::Anybody }
}
