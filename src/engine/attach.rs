//! Which SF each binding means.
use crate::model::{Attachment, BindingName, IfName};
/// What was found for a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Exactly this one.
    Found(Attachment),
    /// None.
    Absent {
        /// Why, and what came near.
        why: String,
    },
    /// Several.
    Ambiguous(Vec<IfName>),
    /// Taken by an earlier binding.
    Shared {
        /// That binding.
        with: BindingName,
        /// The SF.
        netdev: IfName,
    },
}
