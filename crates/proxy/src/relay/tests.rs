//! Every rule of the datagram plane, in virtual time. Addresses with even ports come to the first worker, others to the second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whipstitch_net::stun;

use super::counters::{Dropped, EndReason};
use super::stage::Stage;
use crate::exercise::{check, session};
use crate::{Generation, Session, SessionId};

mod life;
mod places;

const RTP: &[u8] = &[0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 4];

/// A relay with two workers, room for four sessions, and the first two of them installed.
struct Scene {
    stage: Stage,
    records: Vec<Session>,
    transaction: u32,
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn dtls(kind: u8) -> Vec<u8> {
    vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0]
}

fn answer(request: &[u8]) -> Vec<u8> {
    stun::success(request, at(1), "whatever the origin signs with")
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new(Instant::now(), 2, 4, Duration::from_secs(30));
        let records = vec![session(0, &[0]), session(1, &[0])];
        records.iter().for_each(|record| stage.install(record).expect("there is room"));
        Self { stage, records, transaction: 0 }
    }

    fn id(&self, number: usize) -> SessionId {
        self.records[number].id.clone()
    }

    fn request(&mut self, ice: &Generation, use_candidate: bool) -> Vec<u8> {
        self.transaction += 1;
        check(ice, use_candidate, self.transaction)
    }

    /// A new check of a session under its newest generation; whether it went to its origin.
    fn check(&mut self, number: usize, port: u16, use_candidate: bool) -> bool {
        let ice = self.records[number].generations.last().expect("one at least").clone();
        let request = self.request(&ice, use_candidate);
        self.goes(number, port, &request)
    }

    /// Whether a datagram went to this session's origin; it never goes to another's.
    fn goes(&mut self, number: usize, port: u16, bytes: &[u8]) -> bool {
        match self.stage.client(at(port), bytes) {
            Some(id) => {
                assert_eq!(id, self.id(number), "it went to another origin");
                true
            }
            None => false,
        }
    }

    /// Where a packet of the origin goes.
    fn media(&mut self, number: usize) -> Option<u16> {
        let id = self.id(number);
        self.stage.origin(&id, RTP).map(|to| to.port())
    }

    fn later(&mut self, millis: u64) {
        self.stage.later(Duration::from_millis(millis));
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        self.stage.counters().dropped(reason)
    }

    fn restart(&mut self, number: usize) {
        let generation = self.records[number].generations.len();
        let newest = session(number, &[generation]).generations.remove(0);
        self.records[number].generations.push(newest);
        self.stage.install(&self.records[number]).expect("it is there");
    }

    fn ended(&mut self) -> Vec<(SessionId, EndReason)> {
        std::mem::take(&mut self.stage.ended)
    }
}
