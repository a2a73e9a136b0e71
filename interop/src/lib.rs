//! The built gateway as a process: started, listened to, stopped, gone when its test is.
//!
//! Everything here panics when the world is not as expected, with the words a person needs to find out why: this is
//! test equipment, and a test has nothing better to do with an error. Processes end with the value that started them,
//! and with the program that did, however that ends.

mod gateway;
mod process;
mod python;

pub use gateway::{Gateway, program, target};
pub use process::Process;
pub use python::python;
