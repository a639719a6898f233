//! The pure middle: from what the cluster says and what the kernel has to what must be done.

pub mod assignment;
pub mod attach;
pub mod lease;
pub mod plan;
