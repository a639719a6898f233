//! What this kernel is and what we may do, for clear words at the start and in `doctor`-like output. Never decides.

use std::fs;

use super::{
    Kernel,
    error::{ErrorKind, Failure, KernelError},
    request::address_header,
    uapi::{AF_INET, RTM_DELADDR},
};

/// The first kernel that keeps an address's protocol (IFA_PROTO).
const ADDRESS_PROTOCOL: (u32, u32) = (5, 18);

/// What this kernel is and what we may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The kernel's release, as `uname -r` shows it.
    pub release: String,
    /// Whether addresses keep the mark of who set them (IFA_PROTO, Linux 5.18).
    pub marks_addresses: bool,
    /// Whether we may change this network namespace (CAP_NET_ADMIN in the user namespace that owns it).
    pub may_change: bool,
}

impl Kernel {
    /// Finds out what this kernel is and what we may do, by a harmless attempt: the removal of an address of interface 0,
    /// which never exists. (A process's capabilities alone do not tell, as they count in its own user namespace only.)
    ///
    /// # Errors
    ///
    /// The release cannot be read, or the kernel's answer was lost.
    pub fn probe(&mut self) -> Result<Probe, KernelError> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_err(|e| Failure::Io(e).of("read the kernel's release"))?;
        let refused = self
            .requests
            .change(1, |_, w, flags, seq| {
                w.message(RTM_DELADDR, flags, seq, &address_header(AF_INET, 0, 0), |_| {});
            })
            .map_err(|e| e.of("probe for CAP_NET_ADMIN"))?;
        Ok(Probe {
            marks_addresses: version(&release) >= Some(ADDRESS_PROTOCOL),
            may_change: refused.iter().all(|(_, refusal)| refusal.kind() != ErrorKind::PermissionDenied),
            release: release.trim_end().to_owned(),
        })
    }
}

/// Major and minor version of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("5.15.0-1060-bluefield\n"), Some((5, 15)));
        assert_eq!(version("6.8.0"), Some((6, 8)));
        assert!(version("6.8.0") >= Some(ADDRESS_PROTOCOL));
        assert!(version("5.9.1") < Some(ADDRESS_PROTOCOL));
        assert!(version("odd") < Some(ADDRESS_PROTOCOL));
    }
}
