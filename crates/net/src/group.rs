//! Several sockets on one address, one for each worker.

use std::io;
use std::net::SocketAddr;

/// Ports tried when any will do. The kernel names one that is free for the first socket; that somebody has it in another
/// family or over another transport is rare, and so often in a row means something else is wrong.
pub const ATTEMPTS: usize = 16;

/// As many sockets as `count` on the same port, with the address as `bind` says it was bound. With several, SO_REUSEPORT
/// would also let a second server share the port unseen: a plain bind first proves that nobody has it.
///
/// # Errors
/// What `bind` says, which is given an address and whether the port is shared.
pub fn group<T>(
    address: SocketAddr,
    count: usize,
    bind: impl Fn(SocketAddr, bool) -> io::Result<(SocketAddr, T)>,
) -> io::Result<Vec<T>> {
    let shared = count > 1;
    let mut wanted = address;
    if shared && address.port() != 0 {
        drop(bind(address, false)?);
    }
    let mut group = Vec::with_capacity(count);
    for _ in 0..count {
        let (bound, socket) = bind(wanted, shared)?;
        wanted = bound;
        group.push(socket);
    }
    Ok(group)
}

/// Tries again as long as a port is taken that nobody asked for, `attempts` times at most.
///
/// # Errors
/// What the last attempt said, or the first for which `is_taken` is false.
pub fn first_free<T, E>(
    attempts: usize,
    is_taken: impl Fn(&E) -> bool,
    mut bind: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 1..attempts {
        match bind() {
            Err(error) if is_taken(&error) => {}
            outcome => return outcome,
        }
    }
    bind()
}

/// Whether a machine has no IPv6, which is no mistake of anybody's.
pub fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_tried_when_any_will_do_but_not_for_ever() {
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        for (attempts, taken, calls) in [(16, 0, 1), (16, 15, 16), (16, 20, 16), (1, 20, 1)] {
            let mut called = 0;
            let outcome = first_free(attempts, is_taken, || {
                called += 1;
                if called > taken { Ok(called) } else { Err(io::ErrorKind::AddrInUse.into()) }
            });
            assert_eq!((called, outcome.is_ok()), (calls, taken < attempts), "{taken} of {attempts} are taken");
        }
        let mut called = 0;
        let outcome: io::Result<()> = first_free(16, is_taken, || {
            called += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert!(outcome.is_err() && called == 1, "another error does not go away");
    }
}
