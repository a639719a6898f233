//! Where the status goes. Never computes it, never delays the network for it.

pub mod local;
