//! Sending with `sendmmsg`: each message is a GSO run with the source address and the segment size it needs.
//!
//! Whether the kernel can do GSO is found out at bind time (`quinn-udp` tries the option). At run time a device that
//! cannot do it (EIO) turns it off for the socket, and a run the path does not carry in such segments is sent again in
//! single datagrams, which may be fragmented; nothing is lost by finding out.

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use quinn_udp::UdpSocketState;
use socket2::{SockAddr, Socket};

use super::Sent;
use crate::Batch;

/// Messages of one call. With 16 a datagram costs 2 % more, with 256 as much; the headers of 64 are 20 KiB of stack.
const MESSAGES: usize = 64;

/// Room for the control messages of one message: `UDP_SEGMENT` and the larger `PKTINFO`, 24 + 40 bytes with their
/// headers on 64-bit systems, less on others.
const CONTROL_BYTES: usize = 64;

/// The sending half of a socket.
#[derive(Debug)]
pub(super) struct Sender {
    /// Cleared for good when a device refuses. Relaxed: who reads it late gets one more refusal.
    gso: AtomicBool,
    /// Bound to all addresses, so that the source has to be said.
    wildcard: bool,
    /// The kernel has the peer's address and a route to it: naming it again would cost another look-up.
    connected: bool,
}

/// The next datagrams to send: a place in the runs of a batch.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    run: usize,
    /// Bytes of the run that lie behind.
    within: usize,
    /// The rest of this run goes in single datagrams.
    split: bool,
}

/// One message: a whole run, the rest of one, or a single datagram.
#[derive(Debug, Clone, Copy)]
struct Message {
    at: Cursor,
    start: usize,
    len: usize,
    segment: usize,
    datagrams: usize,
}

impl Cursor {
    /// Takes the next message of `batch`, a run if `gso`.
    fn take(&mut self, batch: &Batch, gso: bool) -> Option<Message> {
        let (at, run) = (*self, batch.runs().get(self.run)?);
        let rest = run.len - at.within;
        let len = if gso && !at.split { rest } else { rest.min(run.segment) };
        *self = if len < rest {
            Cursor { within: at.within + len, ..at }
        } else {
            Cursor { run: at.run + 1, ..Cursor::default() }
        };
        // An empty datagram is a run without bytes and with a segment size of 0.
        let datagrams = len.div_ceil(run.segment.max(1)).max(1);
        Some(Message { at, start: run.start + at.within, len, segment: run.segment, datagrams })
    }
}

/// What to do about a refused message.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    Again,
    WithoutGso,
    InSingleDatagrams,
    Skip,
    DropTheRest,
}

impl Remedy {
    fn of(error: &io::Error, message: &Message) -> Remedy {
        match error.raw_os_error() {
            Some(libc::EINTR) => Remedy::Again,
            // ENOMEM like ENOBUFS: trying the next one only makes it worse.
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Remedy::DropTheRest,
            // The device of the route does not compute checksums, on which GSO builds.
            Some(libc::EIO) if message.datagrams > 1 => Remedy::WithoutGso,
            // Segments above the path's MTU: EINVAL, since Linux 6.14 EMSGSIZE.
            Some(libc::EINVAL | libc::EMSGSIZE) if message.datagrams > 1 => Remedy::InSingleDatagrams,
            _ => Remedy::Skip,
        }
    }
}

impl Sender {
    /// Reads from `state` what the kernel can do, and sets the options that are not as a gateway needs them.
    pub(super) fn new(
        socket: &Socket,
        state: &UdpSocketState,
        local: SocketAddr,
        buffer_bytes: usize,
    ) -> io::Result<Sender> {
        // `quinn-udp` forbids fragments, for QUIC probes the path. RTP comes as large as the publisher made it, and a
        // fragmented packet is better than none: back to the system's default. Not for every kernel, so not an error.
        let _ = match local {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT),
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)
                .and_then(|()| set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)),
        };
        // Nor does anybody here read the kernel's receive times.
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0);
        // With CAP_NET_ADMIN the system's maximum does not count.
        for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
            let _ = set(socket, libc::SOL_SOCKET, option, buffer_bytes as libc::c_int);
        }
        let gso = AtomicBool::new(state.max_gso_segments() > 1);
        Ok(Sender { gso, wildcard: local.ip().is_unspecified(), connected: false })
    }

    /// For a socket with one peer, to which everything goes.
    pub(super) fn connected(self) -> Sender {
        Sender { connected: true, wildcard: false, ..self }
    }

    pub(super) fn send(&self, socket: &Socket, _: &UdpSocketState, batch: &Batch) -> Sent {
        let (mut sent, mut cursor) = (Sent::default(), Cursor::default());
        let mut call = Call { connected: self.connected, ..Call::default() };
        while call.fill(batch, &mut cursor, self.gso.load(Ordering::Relaxed), self.wildcard) {
            match self.perform(socket, &mut call, &mut sent) {
                After::Next => {}
                After::From(place) => cursor = place,
                After::Full => {
                    sent.dropped = batch.len() as u64 - sent.datagrams - sent.refused;
                    break;
                }
            }
        }
        sent
    }

    /// Makes as many system calls as it takes to be rid of all messages of `call`, usually one.
    fn perform(&self, socket: &Socket, call: &mut Call<'_>, sent: &mut Sent) -> After {
        let mut done = 0;
        while let Some(first) = call.messages.get(done).copied() {
            match call.send(socket, done) {
                Ok(count) => {
                    for message in &call.messages[done..done + count] {
                        sent.datagrams += message.datagrams as u64;
                        sent.bytes += message.len as u64;
                    }
                    done += count;
                }
                Err(error) => match Remedy::of(&error, &first) {
                    Remedy::Again => {}
                    Remedy::WithoutGso => {
                        // Of sockets with one peer there may be thousands.
                        if !self.connected {
                            tracing::info!(%error, "UDP segmentation offload is refused here; sending single datagrams");
                        }
                        self.gso.store(false, Ordering::Relaxed);
                        return After::From(first.at);
                    }
                    Remedy::InSingleDatagrams => return After::From(Cursor { split: true, ..first.at }),
                    Remedy::Skip => {
                        sent.refused += first.datagrams as u64;
                        done += 1;
                    }
                    Remedy::DropTheRest => return After::Full,
                },
            }
        }
        After::Next
    }
}

/// How to go on after a call.
enum After {
    Next,
    From(Cursor),
    Full,
}

/// What one `sendmmsg` takes. Lives on the stack of one `send`; only what is used is ever written.
#[derive(Default)]
struct Call<'a> {
    messages: ArrayVec<Message, MESSAGES>,
    names: ArrayVec<SockAddr, MESSAGES>,
    vectors: ArrayVec<IoSlice<'a>, MESSAGES>,
    controls: ArrayVec<Control, MESSAGES>,
    /// Without names.
    connected: bool,
}

impl<'a> Call<'a> {
    /// Begins anew with the messages from `cursor` on, as many as fit; false if there are none.
    fn fill(&mut self, batch: &'a Batch, cursor: &mut Cursor, gso: bool, wildcard: bool) -> bool {
        self.messages.clear();
        self.names.clear();
        self.vectors.clear();
        self.controls.clear();
        while !self.messages.is_full()
            && let Some(message) = cursor.take(batch, gso)
        {
            self.push(batch, message, wildcard);
        }
        !self.messages.is_empty()
    }

    fn push(&mut self, batch: &'a Batch, message: Message, wildcard: bool) {
        let path = batch.runs()[message.at.run].path;
        let bytes = batch.bytes(message.start, message.len);
        let mut control = Control::new();
        if let Some(local) = path.local.filter(|_| wildcard) {
            control.source(local);
        }
        if message.datagrams > 1 {
            // A segment is no longer than a run, MAX_RUN_BYTES, so it fits.
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, message.segment as u16);
        }
        self.messages.push(message);
        if !self.connected {
            self.names.push(SockAddr::from(path.remote));
        }
        self.vectors.push(IoSlice::new(bytes));
        self.controls.push(control);
    }

    /// Hands the messages from the `done`th on to the kernel; returns how many it took, at least one.
    fn send(&mut self, socket: &Socket, done: usize) -> io::Result<usize> {
        let mut headers = ArrayVec::<libc::mmsghdr, MESSAGES>::new();
        for index in done..self.messages.len() {
            // SAFETY: a `mmsghdr` is integers and pointers, for which zero is a value (no address, no data).
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            if let Some(name) = self.names.get(index) {
                header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = name.len();
            }
            header.msg_hdr.msg_iov = ptr::from_mut(&mut self.vectors[index]).cast();
            header.msg_hdr.msg_iovlen = 1;
            if self.controls[index].used > 0 {
                header.msg_hdr.msg_control = self.controls[index].bytes.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = self.controls[index].used as _;
            }
            headers.push(header);
        }
        // SAFETY: the headers point into `self`, which is borrowed here; its vectors borrow the batch and are laid out
        // like `iovec` (`IoSlice` promises it). The kernel writes nothing but `msg_len` of the headers: names, data and
        // control messages of outgoing messages are only read.
        let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as _, 0) };
        match usize::try_from(count) {
            Ok(0) => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            Ok(count) => Ok(count),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }
}

/// Control messages of one message.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; CONTROL_BYTES],
    used: usize,
}

const _: () = assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());

impl Control {
    fn new() -> Control {
        Control { bytes: [0; CONTROL_BYTES], used: 0 }
    }

    /// Sets the source address, and with it the route's.
    fn source(&mut self, local: IpAddr) {
        match local {
            IpAddr::V4(local) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                let any = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(local) => {
                let source = libc::in6_addr { s6_addr: local.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: both only compute; they are unsafe for being C macros.
        let (len, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        assert!(self.used + space <= CONTROL_BYTES, "a message has one PKTINFO and one UDP_SEGMENT");
        // SAFETY: `used` is a sum of CMSG_SPACEs, hence aligned for a header in an aligned buffer, and header, value
        // and padding lie within the buffer, as just asserted. The header is zeroed because some systems pad it.
        unsafe {
            let header = self.bytes.as_mut_ptr().add(self.used).cast::<libc::cmsghdr>();
            header.write(zeroed());
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }
}

/// Sets an integer option of the socket.
pub(super) fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes, the size of `value`, which lives across the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;

    impl Sender {
        pub(in crate::socket) fn without_gso(&self) {
            self.gso.store(false, Ordering::Relaxed);
        }
    }

    fn batch(sizes: &[usize]) -> Batch {
        let mut batch = Batch::new();
        for &size in sizes {
            batch.push(Path::to(([127, 0, 0, 1], 9).into()), size, |_| Some(size));
        }
        batch
    }

    /// (offset, length, datagrams) of every message from `cursor` on.
    fn messages(batch: &Batch, mut cursor: Cursor, gso: bool) -> Vec<(usize, usize, usize)> {
        std::iter::from_fn(|| cursor.take(batch, gso)).map(|m| (m.start, m.len, m.datagrams)).collect()
    }

    #[test]
    fn messages_are_runs_with_gso_and_datagrams_without() {
        let batch = batch(&[100, 100, 30, 50, 0]);
        assert_eq!(messages(&batch, Cursor::default(), true), [(0, 230, 3), (230, 50, 1), (280, 0, 1)]);
        let single = [(0, 100, 1), (100, 100, 1), (200, 30, 1), (230, 50, 1), (280, 0, 1)];
        assert_eq!(messages(&batch, Cursor::default(), false), single);
    }

    #[test]
    fn split_concerns_the_rest_of_one_run() {
        let batch = batch(&[100, 100, 30, 50, 50]);
        let split = Cursor { within: 100, split: true, run: 0 };
        assert_eq!(messages(&batch, split, true), [(100, 100, 1), (200, 30, 1), (230, 100, 2)]);
        let rest = Cursor { within: 100, ..Cursor::default() };
        assert_eq!(messages(&batch, rest, true), [(100, 130, 2), (230, 100, 2)]);
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let message = |datagrams| Message { at: Cursor::default(), start: 0, len: 0, segment: 0, datagrams };
        let rows = [
            (libc::EINTR, 1, Remedy::Again),
            (libc::EAGAIN, 1, Remedy::DropTheRest),
            (libc::ENOBUFS, 9, Remedy::DropTheRest),
            (libc::EIO, 9, Remedy::WithoutGso),
            (libc::EIO, 1, Remedy::Skip),
            (libc::EINVAL, 9, Remedy::InSingleDatagrams),
            (libc::EMSGSIZE, 9, Remedy::InSingleDatagrams),
            (libc::EMSGSIZE, 1, Remedy::Skip),
            (libc::EINVAL, 1, Remedy::Skip),
            (libc::ECONNREFUSED, 9, Remedy::Skip),
            (libc::EPERM, 9, Remedy::Skip),
            (libc::ENETUNREACH, 9, Remedy::Skip),
        ];
        for (code, datagrams, remedy) in rows {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Remedy::of(&error, &message(datagrams)), remedy, "{error} for {datagrams}");
        }
    }
}
