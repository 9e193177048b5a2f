//! The names that a configuration can use, for programs that tell others what is understood.
//! Those of seccomp are in [`crate::seccomp`].

/// Mount options that are more than data for the file system.
pub fn mount_options() -> &'static [&'static str] {
    crate::plan::MOUNT_OPTIONS
}

/// Capabilities, each at its number.
pub fn capabilities() -> &'static [&'static str] {
    &crate::bundle::names::CAPABILITIES
}
