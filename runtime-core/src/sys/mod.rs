//! The only door to `unsafe`: system calls that `nix` lacks, one thin function each.

pub(crate) mod bpf;
pub(crate) mod dirents;
pub(crate) mod fd;
pub(crate) mod handle;
pub(crate) mod kernel_file;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod xattr;
