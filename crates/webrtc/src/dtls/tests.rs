//! Two ends in virtual time, one of them with the certificates that GStreamer and FFmpeg present.

use openssl::pkey::Private;
use openssl::rsa::Rsa;

use std::collections::VecDeque;
use std::time::Duration;

use str0m::crypto::dtls::DtlsOutput;

use super::instance::RESEND_FIRST;
use super::*;

/// What GStreamer presents.
fn rsa_identity() -> Identity {
    identity(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap())
}

/// What FFmpeg built with GnuTLS presents.
fn p224_identity() -> Identity {
    let group = EcGroup::from_curve_name(Nid::SECP224R1).unwrap();
    identity(&PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
}

fn identity(key: &PKey<Private>) -> Identity {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(Asn1Time::days_from_now(0).unwrap().as_ref()).unwrap();
    builder.set_not_after(Asn1Time::days_from_now(1).unwrap().as_ref()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build().to_der().unwrap();
    Identity::of(DtlsCert { certificate, private_key: key.private_key_to_der().unwrap() }).unwrap()
}

struct End {
    instance: Box<dyn DtlsInstance>,
    tap: Tap,
    outgoing: VecDeque<Vec<u8>>,
    told: Vec<&'static str>,
    peer: Vec<u8>,
    now: Instant,
    wake: Option<Instant>,
}

impl End {
    fn new(identity: &Identity, peer: &Identity, now: Instant, active: bool) -> End {
        let provider = identity.provider();
        let (instance, tap) = Identity::tap(*peer.fingerprint(), || {
            provider.dtls_provider.new_dtls(&identity.certificate(), now, DtlsVersion::Dtls12, None).unwrap()
        });
        let (outgoing, told, peer) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut end = End { instance, tap, outgoing, told, peer, now, wake: None };
        end.instance.set_active(active);
        if active {
            end.instance.handle_packet(&[]).unwrap();
        }
        end
    }

    /// As the engine does: the instance hears the time only when it is due.
    fn pass(&mut self, now: Instant) {
        self.now = now;
        if self.wake.is_none_or(|wake| wake <= now) {
            self.instance.handle_timeout(now).unwrap();
        }
    }

    fn poll(&mut self) {
        let mut buf = [0; 4096];
        loop {
            match self.instance.poll_output(&mut buf) {
                DtlsOutput::Packet(packet) => self.outgoing.push_back(packet.to_vec()),
                DtlsOutput::PeerCert(der) => {
                    self.peer = der.to_vec();
                    self.told.push("certificate");
                }
                DtlsOutput::KeyingMaterial(..) => self.told.push("keys"),
                DtlsOutput::Connected => self.told.push("connected"),
                DtlsOutput::CloseNotify => self.told.push("closed"),
                DtlsOutput::Timeout(at) => {
                    self.wake = Some(at);
                    if at > self.now {
                        return;
                    }
                    self.pass(self.now);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

struct Pair {
    now: Instant,
    client: End,
    server: End,
    /// Of a hundred datagrams so many are lost.
    lose: u32,
    random: u32,
}

impl Pair {
    fn new(client: &Identity, server: &Identity, lose: u32, seed: u32) -> Pair {
        let now = Instant::now();
        Pair {
            now,
            client: End::new(client, server, now, true),
            server: End::new(server, client, now, false),
            lose,
            random: seed,
        }
    }

    /// Carries datagrams, and time when there are none, until both are connected or a minute has passed.
    fn run(&mut self) {
        let end = self.now + Duration::from_secs(60);
        while self.now < end && !(self.connected()) {
            if !self.carry() {
                let wake = [self.client.wake, self.server.wake].into_iter().flatten().min();
                self.now = wake.unwrap_or(end);
                self.client.pass(self.now);
                self.server.pass(self.now);
            }
        }
    }

    fn connected(&self) -> bool {
        self.client.told.contains(&"connected") && self.server.told.contains(&"connected")
    }

    fn carry(&mut self) -> bool {
        self.client.poll();
        self.server.poll();
        let mut carried = false;
        for client_sends in [true, false] {
            let (from, to) =
                if client_sends { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
            while let Some(datagram) = from.outgoing.pop_front() {
                carried = true;
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                assert!(datagram.len() <= MTU as usize, "protocol.md 7.1");
                if (self.random >> 16) % 100 >= self.lose {
                    to.instance.handle_packet(&datagram).unwrap();
                }
            }
        }
        carried
    }
}

#[test]
fn rsa_and_ecdsa_peers_connect_and_both_taps_hold_the_same_keys() {
    let ecdsa = Identity::generate().unwrap();
    for peer in [rsa_identity(), Identity::generate().unwrap()] {
        let mut pair = Pair::new(&peer, &ecdsa, 0, 0);
        pair.run();
        assert_eq!(pair.server.told, ["certificate", "keys", "connected"], "judged before used");
        assert_eq!(openssl::sha::sha256(&pair.server.peer), *peer.fingerprint());
        assert_eq!(openssl::sha::sha256(&pair.client.peer), *ecdsa.fingerprint());
        let (ours, theirs) = (pair.server.tap.take().unwrap(), pair.client.tap.take().unwrap());
        assert!(ours.profile == Profile::Aes128Gcm, "the server orders the profiles");
        assert_eq!(*ours.material, *theirs.material);
        assert!(pair.server.tap.take().is_none(), "keys are given once");
    }
}

#[test]
fn rsa_and_weaker_ecdsa_peers_connect_in_either_role() {
    let ours = Identity::generate().unwrap();
    for peer in [rsa_identity(), p224_identity()] {
        for (client, server) in [(&peer, &ours), (&ours, &peer)] {
            let mut pair = Pair::new(client, server, 0, 0);
            pair.run();
            assert!(pair.connected());
        }
    }
}

#[test]
fn lost_flights_are_repeated_in_virtual_time() {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut waited = 0;
    for seed in 0..20 {
        let mut pair = Pair::new(&a, &b, 30, seed);
        let start = pair.now;
        pair.run();
        assert!(pair.connected(), "seed {seed}");
        waited += usize::from(pair.now > start);
    }
    assert!(waited > 10, "of 30 % something is lost in most handshakes");
}

#[test]
fn a_silent_peer_gets_one_flight_at_a_time_at_doubling_intervals() {
    let identity = Identity::generate().unwrap();
    let mut end = End::new(&identity, &identity, Instant::now(), true);
    end.poll();
    let hello = end.outgoing.pop_front().unwrap();
    let mut at = Vec::new();
    for _ in 0..6 {
        let wake = end.wake.unwrap();
        end.pass(wake);
        end.poll();
        at.push(wake);
        assert_eq!(end.outgoing.drain(..).collect::<Vec<_>>(), std::slice::from_ref(&hello));
    }
    let gaps: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(gaps, [800, 1600, 3200, 3200, 3200]);
}

#[test]
fn a_flight_is_sent_once_however_late_the_peer_comes() {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut pair = Pair::new(&a, &b, 0, 0);
    pair.server.poll();
    pair.server.pass(pair.now + Duration::from_secs(5));
    pair.client.poll();
    pair.server.instance.handle_packet(&pair.client.outgoing.pop_front().unwrap()).unwrap();
    pair.server.poll();
    let flight: Vec<_> = pair.server.outgoing.drain(..).collect();
    let mut once = flight.clone();
    once.sort();
    once.dedup();
    assert_eq!(flight.len(), once.len(), "nothing of it is sent twice");
    assert_eq!(pair.server.wake, Some(pair.server.now + RESEND_FIRST));
}

#[test]
fn garbage_does_not_stop_a_handshake() {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut pair = Pair::new(&a, &b, 0, 0);
    for garbage in [&[22][..], &[22, 254, 253, 0, 0], &[23; 60], &[20; 13], &[63; 1200]] {
        let _ = pair.server.instance.handle_packet(garbage);
    }
    pair.run();
    assert!(pair.connected());
}

#[test]
fn close_notify_is_told_and_answered() {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut pair = Pair::new(&a, &b, 0, 0);
    pair.run();
    pair.client.instance.close().unwrap();
    while pair.carry() {}
    assert_eq!(pair.server.told.last(), Some(&"closed"));
    assert!(pair.server.instance.is_closed() && pair.client.instance.is_closed());
}
