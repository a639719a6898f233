//! Kubernetes objects as on the wire, and what a set of them gives to each node. Pure: bytes come in as arguments, nothing
//! is read, watched or written here.

pub mod chain;
pub mod dpf;
pub mod fleet;
pub mod lint;
pub mod manifest;
pub mod nvipam;
pub mod objects;
pub mod render;
mod strict;

pub use fleet::Fleet;
pub use objects::Objects;
