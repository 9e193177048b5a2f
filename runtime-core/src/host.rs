//! Facts about the host, probed once.

use std::path::Path;

use crate::cgroup::Layout;
use crate::error::{At, Code, Error, Result};
use crate::sys::kernel_file;

/// What the plan has to know of the host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) cgroups: Layout,
    /// Whether the runtime has CAP_SYS_ADMIN (in its user namespace).
    pub(crate) privileged: bool,
    /// Whether the runtime is in a user namespace other than the initial one.
    pub(crate) user_namespace: bool,
    /// Whether there is a `/proc/kcore` for the link `/dev/core`.
    pub(crate) kcore: bool,
}

/// The oldest kernel that has all of the one path: the mount calls by descriptor and openat2(2), `CLONE_INTO_CGROUP`,
/// and last `cgroup.kill`.
const KERNEL_FLOOR: (u32, u32) = (5, 14);

impl Host {
    /// Looks at the host, of which the layout of cgroups is known.
    pub(crate) fn probe(cgroups: Layout) -> Result<Host> {
        let system = nix::sys::utsname::uname().at("read kernel release")?;
        check_kernel(&system.release().to_string_lossy())?;
        let map = "/proc/self/uid_map";
        let map = kernel_file::text(Path::new(map)).at_path("read", map)?;
        let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
        Ok(Host {
            cgroups,
            privileged: may_administer()?,
            user_namespace: !whole,
            kcore: nix::unistd::access("/proc/kcore", nix::unistd::AccessFlags::F_OK).is_ok(),
        })
    }
}

fn may_administer() -> Result<bool> {
    caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN)
        .map_err(|error| Error::new(Code::System, "read own capabilities").reason(error.to_string()))
}

/// Refuses kernels below the floor with one clear error, instead of failing somewhere in the middle.
fn check_kernel(release: &str) -> Result<()> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_FLOOR {
        return Ok(());
    }
    Err(Error::new(Code::Unsupported, "check kernel")
        .operand(release)
        .reason("too old")
        .hint(format!(
            "Linux {}.{} or newer is needed",
            KERNEL_FLOOR.0, KERNEL_FLOOR.1
        )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_by_name() {
        for good in ["5.14.0-427.el9", "6.1.0-37-amd64", "6.18.44", "10.0"] {
            assert_eq!(check_kernel(good), Ok(()), "{good}");
        }
        for old in ["5.10.0-28-amd64", "4.19.0", "5.13", "garbage"] {
            let error = check_kernel(old).expect_err(old);
            assert!(
                error.to_string().contains(old) && error.to_string().contains("5.14"),
                "{error}"
            );
        }
    }
}
