//! The clocks of media: RTP time beyond its 32 bits, NTP time of reports.
