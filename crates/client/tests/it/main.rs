//! The client against a gateway made of str0m and a few lines of HTTP, over real sockets on loopback.

mod gateway;
mod load;
mod sessions;
mod source;
