//! `whipstitch proxy`: what stands before many origins, as far as it is HTTP and not media.

pub mod admin;
