//! What the interop tests stand on: the real gateway as a process, and real browsers to look at its pages.
//!
//! Everything here panics when the world is not as expected, with the words a person needs to find out why: this is
//! test equipment, and a test has nothing better to do with an error. Processes end with the value that started them,
//! and with the test program, however that ends.

pub mod browser;
pub mod gateway;
mod marionette;
pub mod process;

pub use browser::Browser;
pub use gateway::Gateway;
