//! Sequence numbers beyond their 16 bits.
