//! The egress in virtual time, against a viewer made of its own openers: one file per behaviour.

mod allocations;
mod congestion;
mod feedback;
mod forward;
mod hostile;
mod joining;
mod kit;
mod repair;
mod reports;
mod safety;
