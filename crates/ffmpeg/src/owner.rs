//! Whose a connection over loopback is. FFmpeg takes credentials in its arguments only, which every user of the machine can
//! read while it runs (`ps`); so that nobody gains anything by reading them, they are good on connections of our children only.
//!
//! The kernel lists every connection with the user who opened it (`/proc/net/tcp`, proc(5)). Children run as the user of the
//! server, and whoever is that user reads the admin token as well: being it is enough. Of a child that a script has made
//! another user the connection must be held by a member of the group of a child. It is asked only once a credential is right,
//! and costs a millisecond for every thousand connections of the machine.

use std::collections::HashSet;
use std::net::SocketAddr;

use procfs::ProcResult;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, all_processes};

/// Whether who has connected from `client` to a port of ours is a child of ours, or at least our own user.
///
/// # Errors
/// The system does not tell.
pub fn is_ours(client: SocketAddr, port: u16) -> Result<bool, String> {
    let all = connections().map_err(|error| error.to_string())?;
    let us = nix::unistd::geteuid().as_raw();
    Ok(is_of(&all, client, port, us, |inode| is_held_by_a_child(inode).unwrap_or(false)))
}

fn connections() -> ProcResult<Vec<TcpNetEntry>> {
    let mut all = tcp()?;
    // One that uses IPv6 may connect to an address of IPv4. Where there is no IPv6, there is no such file.
    all.extend(tcp6().unwrap_or_default());
    Ok(all)
}

/// The same, of this table. Only its own end counts: ours is in the table, too.
fn is_of(all: &[TcpNetEntry], client: SocketAddr, port: u16, us: u32, is_held: impl Fn(u64) -> bool) -> bool {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = |one: &&TcpNetEntry| {
        // One that its owner has closed is nobody's.
        one.state == TcpState::Established
            && canonical(one.local_address) == canonical(client)
            && one.remote_address.port() == port
    };
    let mut owners = all.iter().filter(ends).peekable();
    // Two would differ in our address only.
    owners.peek().is_some() && owners.all(|one| one.uid == us || is_held(one.inode))
}

/// Whether a member of the group of one of our children has this socket.
fn is_held_by_a_child(inode: u64) -> ProcResult<bool> {
    let us = i32::try_from(std::process::id()).unwrap_or_default();
    let all: Vec<_> = all_processes()?.flatten().filter_map(|one| Some((one.stat().ok()?, one))).collect();
    let groups: HashSet<i32> = all.iter().filter(|(stat, _)| stat.ppid == us).map(|(stat, _)| stat.pid).collect();
    let mut members = all.iter().filter(|(stat, _)| groups.contains(&stat.pgrp)).map(|(_, process)| process);
    Ok(members.any(|process| {
        let mut files = process.fd().into_iter().flatten().flatten();
        files.any(|file| matches!(file.target, FDTarget::Socket(number) if number == inode))
    }))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use procfs::net::TcpNetEntries;
    use procfs::{FromBufReadSI as _, current_system_info};

    use super::*;

    #[test]
    fn a_connection_of_our_own_is_ours_and_none_that_is_over() {
        for (listens, connects) in [("127.0.0.1", "127.0.0.1"), ("[::]", "127.0.0.1"), ("[::1]", "[::1]")] {
            let listener = TcpListener::bind(format!("{listens}:0")).expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            let stream = TcpStream::connect(format!("{connects}:{port}")).expect("it listens");
            let client = stream.local_addr().expect("it is connected");
            assert_eq!(is_ours(client, port), Ok(true), "{listens} {connects}");
            assert_eq!(is_ours(client, port ^ 1), Ok(false), "another port");
            drop(stream);
            assert_eq!(is_ours(client, port), Ok(false), "nobody's any more");
        }
    }

    /// A program that has connected, until it is dropped.
    struct Connected(Child);

    impl Drop for Connected {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A connection of another user, from a child of ours that leads a group or is in ours.
    fn of_another(leads: bool) -> (Connected, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut program = Command::new("bash");
        program
            .args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; exec sleep 1000")])
            .uid(65_534)
            .stdin(Stdio::null());
        if leads {
            program.process_group(0);
        }
        let child = Connected(program.spawn().expect("this needs root, and bash"));
        let (_stream, client) = listener.accept().expect("it connects");
        (child, is_ours(client, port).expect("the system tells"))
    }

    #[test]
    fn another_users_connection_is_a_childs_or_a_strangers() {
        assert!(of_another(true).1, "a child that was made another user");
        assert!(!of_another(false).1, "in no group of a child");
    }

    #[test]
    fn one_of_several_users_with_the_same_port_is_told_by_ours() {
        let entry = |client: &str, port: u16, uid: u32| {
            let line = format!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: {client} 0100007F:{port:04X} 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 777 1 0 20 0 0 10 -1\n"
            );
            TcpNetEntries::from_buf_read(line.as_bytes(), current_system_info()).expect("a line of the table").0
        };
        let all = [entry("0100007F:9C40", 8554, 1001), entry("0100007F:9C40", 5432, 1000)].concat();
        let client = "127.0.0.1:40000".parse().expect("an address");
        assert!(is_of(&all, client, 8554, 1001, |_| false));
        assert!(!is_of(&all, client, 8554, 1000, |_| false));
        assert!(is_of(&all, client, 5432, 1000, |_| false));
        assert!(is_of(&all, client, 8554, 1000, |inode| inode == 777));
    }
}
