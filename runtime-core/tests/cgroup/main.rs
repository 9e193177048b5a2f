//! Real cgroups on this host, on whichever version it has, below a parent that only these tests use.
//!
//! They need root. Shell scripts are the processes; they join as the launcher's child does, through the descriptors
//! that `entrance` opened.

mod fixture;
mod life;
mod limits;
mod processes;
