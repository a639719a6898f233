//! Where the assignment comes from. Each source says when to look again, and reads everything at once: a read is complete
//! or an error, never a part. What the objects mean is up to the rooms below.

pub mod files;
pub mod nvipam_store;
