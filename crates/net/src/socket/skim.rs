//! Receiving for those who only count: the first bytes of each datagram, many datagrams per call, no address, and no copy
//! of the rest. What a load tool needs that plays a thousand peers beside the gateway it measures.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Bytes of a datagram that are read: an RTP header without CSRC list and extensions (RFC 3550 5.1).
pub const HEAD: usize = 12;

/// Datagrams of one call: two frames of a 2.5 Mbit/s stream and their sound fit several times.
const MESSAGES: usize = 64;

/// Room for the heads of one call; may serve any number of sockets by turns.
#[derive(Debug)]
pub struct Skimmer {
    heads: Box<[[u8; HEAD]; MESSAGES]>,
}

impl Skimmer {
    /// Reserves the room.
    pub fn new() -> Skimmer {
        Skimmer { heads: Box::new([[0; HEAD]; MESSAGES]) }
    }

    /// Takes what waits in a UDP socket, at most [`MESSAGES`] datagrams, never waiting itself; calls `see` with the
    /// first bytes of each, at most [`HEAD`], in order of arrival. Returns how many there were: with fewer than
    /// asked for nothing was left.
    ///
    /// # Errors
    /// What the system says of the socket; that nothing is there is `Ok(0)`.
    pub fn skim(&mut self, socket: &impl AsFd, mut see: impl FnMut(&[u8])) -> io::Result<usize> {
        // SAFETY: both are integers and pointers, for which zero is a value (no address, no data).
        let (mut vectors, mut headers): ([libc::iovec; MESSAGES], [libc::mmsghdr; MESSAGES]) = unsafe { zeroed() };
        for ((head, vector), header) in self.heads.iter_mut().zip(&mut vectors).zip(&mut headers) {
            *vector = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: HEAD };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header names one vector, each vector HEAD bytes of `self.heads`; all of them live across the call
        // and nothing else refers to them meanwhile. The kernel writes those bytes and `msg_len`, no more.
        let count = unsafe {
            let (fd, headers) = (socket.as_fd().as_raw_fd(), headers.as_mut_ptr());
            libc::recvmmsg(fd, headers, MESSAGES as _, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        };
        for (head, header) in self.heads.iter().zip(&headers).take(count) {
            see(&head[..HEAD.min(header.msg_len as usize)]);
        }
        Ok(count)
    }
}

impl Skimmer {
    /// Whether a call that took so many may have left some.
    pub fn may_go_on(taken: usize) -> bool {
        taken == MESSAGES
    }
}

impl Default for Skimmer {
    fn default() -> Skimmer {
        Skimmer::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn heads_are_told_in_order_and_the_rest_is_gone() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sent: Vec<Vec<u8>> = (0..=MESSAGES as u8).map(|number| vec![number; 1200]).collect();
        sent.extend([vec![200; 3], vec![]]);
        for datagram in &sent {
            socket.send_to(datagram, socket.local_addr().unwrap()).unwrap();
        }
        let (mut skimmer, mut seen) = (Skimmer::new(), Vec::new());
        let mut counts = Vec::new();
        for _ in 0..3 {
            counts.push(skimmer.skim(&socket, |head| seen.push(head.to_vec())).unwrap());
        }
        assert_eq!(counts, [MESSAGES, 3, 0]);
        assert!(Skimmer::may_go_on(counts[0]) && !Skimmer::may_go_on(counts[1]));
        let expected: Vec<_> = sent.iter().map(|datagram| datagram[..HEAD.min(datagram.len())].to_vec()).collect();
        assert_eq!(seen, expected);
    }
}
