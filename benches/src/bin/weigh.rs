//! `weigh COMMAND [ARG...]`: runs the command (an absolute path) and writes what it has used to descriptor 3:
//! exit code, peak resident set in KiB, user and system time in µs.
//!
//! A process inherits the peak of the one that it was cloned from, so the one that clones must be tiny.

#![no_std]
#![no_main]

use bare::sys::process::{Side, clone, execute, wait_with_usage};
use bare::sys::start::Args;
use bare::text::Text;

bare::program!(run);

fn run(args: &Args) -> i32 {
    let command = args.as_slice().get(1..).unwrap_or_default();
    let Some(path) = command.first() else { return 2 };
    match clone(0, None) {
        Ok(Side::Child) => {
            bare::sys::close(3);
            execute(
                path,
                command,
                &[c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            );
            127
        }
        Ok(Side::Parent(pid, _)) => {
            let Ok(usage) = wait_with_usage(pid) else {
                return 126;
            };
            let mut line = Text::default();
            for value in [usage.code as u64, usage.peak_kib, usage.user_us, usage.system_us] {
                line.push_number(value);
                line.push(b" ");
            }
            if bare::sys::write(3, line.as_bytes()).is_err() {
                126
            } else {
                usage.code
            }
        }
        Err(_) => 126,
    }
}
