//! SRTP and SRTCP against libsrtp, which browsers use, in both directions and all profiles.
//!
//! libsrtp runs in a small program of its own (`peer.c`), compiled by the test and talked to over a pipe: no foreign code
//! in this process. It comes from the Debian package libsrtp2-dev; without it the tests fail and say so.

mod peer;
mod process;
mod rtcp;
mod rtp;
