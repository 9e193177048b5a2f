//! Programs made of system calls alone: no C library, no allocator, no start-up code.
//!
//! They are the yardstick: what a start costs when nothing but the kernel is involved.

#![no_std]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the bare programs are written for Linux on x86_64");

pub mod floor;
pub mod sys;
pub mod text;
