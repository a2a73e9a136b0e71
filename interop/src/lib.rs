//! The built gateway as a process: started, listened to, stopped, gone when its test is; and networks to put it in and paths to it that are bad.
//!
//! Everything here panics when the world is not as expected, with the words a person needs to find out why: this is
//! test equipment, and a test has nothing better to do with an error. Processes end with the value that started them,
//! and with the program that did, however that ends.

mod gateway;
mod http;
mod lan;
mod network;
mod process;
mod proxy;
mod python;
mod redis;
mod relay;

pub use gateway::{Gateway, program, target};
pub use http::Reply;
pub use lan::{Host, Lan, Rules};
pub use network::Network;
pub use process::Process;
pub use proxy::Proxy;
pub use python::python;
pub use redis::Redis;
pub use relay::{Fates, Relay, Weather};
