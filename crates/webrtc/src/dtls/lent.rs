//! An association in the hands of an engine, which owns what it is given: dropped with the engine, it is given back.

use std::time::Instant;

use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, ProtocolVersion};

use super::{Instance, Tap};

/// Does what the instance does.
#[derive(Debug)]
pub(super) struct Lent {
    /// None while it is dropped.
    instance: Option<Box<Instance>>,
    tap: Option<Tap>,
}

impl Lent {
    pub(super) fn new(instance: Instance, tap: Option<Tap>) -> Lent {
        Lent { instance: Some(Box::new(instance)), tap }
    }

    fn get(&self) -> &Instance {
        self.instance.as_ref().expect("it is taken by drop only")
    }

    fn get_mut(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("it is taken by drop only")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(tap), Some(mut instance)) = (&self.tap, self.instance.take()) {
            // Who holds the other's would never be dropped.
            instance.untap();
            tap.give_back(instance);
        }
    }
}

impl DtlsInstance for Lent {
    fn set_active(&mut self, active: bool) {
        self.get_mut().set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.get_mut().handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.get_mut().poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.get_mut().handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.get_mut().send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.get().is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.get().protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.get().is_closing()
    }

    fn is_closed(&self) -> bool {
        self.get().is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.get_mut().close()
    }
}
