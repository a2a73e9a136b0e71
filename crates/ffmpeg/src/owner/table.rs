//! The system's tables of sockets, and who holds one.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use procfs::ProcResult;
use procfs::net::{TcpNetEntry, TcpState, UdpNetEntry, tcp, tcp6, udp, udp6};
use procfs::process::{FDTarget, all_processes};

use super::Peer;

/// A socket of somebody on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    uid: u32,
    inode: u64,
}

/// For each of these whether it is a child of ours, or at least our own user.
///
/// # Errors
/// The system does not tell.
pub(super) fn judge(peers: &[Peer]) -> Result<Vec<bool>, String> {
    let us = nix::unistd::geteuid().as_raw();
    // Only where a socket is another user's.
    let held = OnceCell::new();
    let is_held = |inode| held.get_or_init(|| held_by_children().unwrap_or_default()).contains(&inode);
    judged(peers, read, |socket| socket.uid == us || is_held(socket.inode)).map_err(|error| error.to_string())
}

/// The same, by what is read. Whose socket was not found is looked for once more: the tables are no snapshot, and what is
/// moved in them while they are read may be missed.
fn judged(
    peers: &[Peer],
    mut read: impl FnMut(&[Peer]) -> ProcResult<Vec<Vec<Socket>>>,
    is_ours: impl Fn(Socket) -> bool,
) -> ProcResult<Vec<bool>> {
    let mut found = read(peers)?;
    let missed: Vec<usize> = (0..peers.len()).filter(|at| found.get(*at).is_none_or(Vec::is_empty)).collect();
    if !missed.is_empty() {
        let again: Vec<Peer> = missed.iter().filter_map(|at| peers.get(*at).copied()).collect();
        for (at, sockets) in missed.into_iter().zip(read(&again)?) {
            found.get_mut(at).into_iter().for_each(|place| place.clone_from(&sockets));
        }
    }
    // Several sockets of one address differ in what they are connected to, or share their port: each could be meant.
    Ok(found.into_iter().map(|sockets| !sockets.is_empty() && sockets.into_iter().all(&is_ours)).collect())
}

/// The sockets that each of these may be.
fn read(peers: &[Peer]) -> ProcResult<Vec<Vec<Socket>>> {
    let (mut connections, mut senders) = (Vec::new(), Vec::new());
    // One that uses IPv6 may send to an address of IPv4. Where there is no IPv6, there is no such file.
    if peers.iter().any(|peer| matches!(peer, Peer::Connected(..))) {
        connections = tcp()?;
        connections.extend(tcp6().unwrap_or_default());
    }
    if peers.iter().any(|peer| matches!(peer, Peer::Sends(_))) {
        senders = udp()?;
        senders.extend(udp6().unwrap_or_default());
    }
    Ok(find(peers, &connections, &senders))
}

/// The same in these tables. Only their own ends count: ours of a connection is in the table, too.
fn find(peers: &[Peer], connections: &[TcpNetEntry], senders: &[UdpNetEntry]) -> Vec<Vec<Socket>> {
    let (mut tcp, mut udp) = (HashMap::<u16, Vec<&TcpNetEntry>>::new(), HashMap::<u16, Vec<&UdpNetEntry>>::new());
    connections.iter().for_each(|one| tcp.entry(one.local_address.port()).or_default().push(one));
    senders.iter().for_each(|one| udp.entry(one.local_address.port()).or_default().push(one));
    let of = |peer: &Peer| match *peer {
        Peer::Connected(client, port) => {
            let all = tcp.get(&client.port()).into_iter().flatten();
            // One that its owner has closed is nobody's.
            let is_its = |one: &&&TcpNetEntry| {
                one.state == TcpState::Established
                    && canonical(one.local_address) == canonical(client)
                    && one.remote_address.port() == port
            };
            all.filter(is_its).map(|one| Socket { uid: one.uid, inode: one.inode }).collect()
        }
        Peer::Sends(from) => {
            let all = udp.get(&from.port()).into_iter().flatten();
            let is_its = |one: &&&UdpNetEntry| {
                let local = canonical(one.local_address);
                local.ip().is_unspecified() || local == canonical(from)
            };
            all.filter(is_its).map(|one| Socket { uid: one.uid, inode: one.inode }).collect()
        }
    };
    peers.iter().map(of).collect()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The sockets that members of the groups of our children have.
fn held_by_children() -> ProcResult<HashSet<u64>> {
    let us = i32::try_from(std::process::id()).unwrap_or_default();
    let all: Vec<_> = all_processes()?.flatten().filter_map(|one| Some((one.stat().ok()?, one))).collect();
    let groups: HashSet<i32> = all.iter().filter(|(stat, _)| stat.ppid == us).map(|(stat, _)| stat.pid).collect();
    let members = all.iter().filter(|(stat, _)| groups.contains(&stat.pgrp)).map(|(_, process)| process);
    let files = members.flat_map(|process| process.fd().into_iter().flatten().flatten());
    let socket = |file: procfs::process::FDInfo| match file.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    };
    Ok(files.filter_map(socket).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use procfs::net::TcpNetEntries;
    use procfs::{FromBufReadSI as _, current_system_info};

    use super::*;

    fn is_ours(peer: Peer) -> bool {
        judge(&[peer]).expect("the system tells")[0]
    }

    #[test]
    fn a_connection_of_our_own_is_ours_and_none_that_is_over() {
        for (listens, connects) in [("127.0.0.1", "127.0.0.1"), ("[::]", "127.0.0.1"), ("[::1]", "[::1]")] {
            let listener = TcpListener::bind(format!("{listens}:0")).expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            let stream = TcpStream::connect(format!("{connects}:{port}")).expect("it listens");
            let client = stream.local_addr().expect("it is connected");
            assert!(is_ours(Peer::Connected(client, port)), "{listens} {connects}");
            assert!(!is_ours(Peer::Connected(client, port ^ 1)), "another port");
            drop(stream);
            assert!(!is_ours(Peer::Connected(client, port)), "nobody's any more");
        }
    }

    #[test]
    fn a_sender_of_our_own_is_ours_and_a_port_that_nobody_has_is_not() {
        for binds in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let socket = UdpSocket::bind(binds).expect("a port");
            let port = socket.local_addr().expect("it is bound").port();
            let sends = |ip: [u8; 4]| Peer::Sends((ip, port).into());
            assert!(is_ours(sends([127, 0, 0, 1])), "{binds}");
            assert_eq!(is_ours(sends([127, 0, 0, 2])), !binds.starts_with("127"), "{binds}");
            drop(socket);
            assert!(!is_ours(sends([127, 0, 0, 1])), "nobody's any more");
        }
    }

    /// A program that runs until it is dropped.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A child of ours that is another user, and leads a group or is in ours. It opens this path of bash and sends a word.
    fn of_another(path: &str, leads: bool) -> Running {
        let mut program = Command::new("bash");
        let script = format!("exec 3<>{path}; printf x >&3; exec sleep 1000");
        program.args(["-c", &script]).uid(65_534).stdin(Stdio::null());
        if leads {
            program.process_group(0);
        }
        Running(program.spawn().expect("this needs root, and bash"))
    }

    #[test]
    fn what_another_user_has_is_a_childs_or_a_strangers() {
        for leads in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            let _child = of_another(&format!("/dev/tcp/127.0.0.1/{port}"), leads);
            let (_stream, client) = listener.accept().expect("it connects");
            assert_eq!(is_ours(Peer::Connected(client, port)), leads, "a group of a child");

            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let port = socket.local_addr().expect("it is bound").port();
            let _child = of_another(&format!("/dev/udp/127.0.0.1/{port}"), leads);
            let (_, from) = socket.recv_from(&mut [0]).expect("it sends");
            assert_eq!(is_ours(Peer::Sends(from)), leads, "a group of a child");
        }
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
        let uids = find(&[Peer::Connected(client, 8554), Peer::Connected(client, 5432)], &all, &[]);
        assert_eq!(uids.concat().iter().map(|socket| socket.uid).collect::<Vec<_>>(), [1001, 1000]);
        let both = vec![Socket { uid: 1000, inode: 1 }, Socket { uid: 1001, inode: 2 }];
        let judge = |is_ours: fn(Socket) -> bool| {
            judged(&[Peer::Connected(client, 8554)], |_| Ok(vec![both.clone()]), is_ours).expect("it was read")
        };
        assert_eq!((judge(|one| one.uid == 1000), judge(|one| one.inode < 3)), (vec![false], vec![true]));
    }

    #[test]
    fn what_was_missed_once_is_looked_for_once_more() {
        let peers = [1, 2, 3].map(|port| Peer::Sends(([127, 0, 0, 1], port).into()));
        let here = vec![Socket { uid: 1000, inode: 1 }];
        let mut readings = Vec::new();
        let read = |asked: &[Peer]| {
            readings.push(asked.to_vec());
            let first = readings.len() == 1;
            // The second one is missed, the third is nobody's.
            let of = |peer: &Peer| {
                if *peer == peers[0] || (*peer == peers[1] && !first) { here.clone() } else { Vec::new() }
            };
            Ok(asked.iter().map(of).collect())
        };
        assert_eq!(judged(&peers, read, |_| true).expect("it was read"), [true, true, false]);
        assert_eq!(readings, [peers.to_vec(), peers[1..].to_vec()]);
        let mut times = 0;
        let read = |_: &[Peer]| {
            times += 1;
            Ok(vec![here.clone()])
        };
        assert_eq!(judged(&peers[..1], read, |_| false).expect("it was read"), [false]);
        assert_eq!(times, 1, "what is there is read once");
    }
}
