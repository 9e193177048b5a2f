//! `floor` behind the start-up of the C library and of std.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

fn main() {
    let owned: Vec<CString> = std::env::args_os()
        .flat_map(|arg| CString::new(arg.into_vec()))
        .collect();
    let args = bare::sys::start::Args::new(owned.iter().map(CString::as_c_str));
    std::process::exit(bare::floor::main(&args));
}
