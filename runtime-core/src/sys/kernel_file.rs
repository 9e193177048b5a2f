//! Small files that the kernel makes up when they are read.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::read;

/// What a file of a few lines says. The kernel gives it in one piece, so it is not asked for more.
pub(crate) fn text(path: &Path) -> Result<String, Errno> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut buffer = [0; 1024];
    let got = loop {
        match read(&file, &mut buffer) {
            Err(Errno::EINTR) => {}
            got => break got?,
        }
    };
    std::str::from_utf8(&buffer[..got])
        .map(str::to_owned)
        .map_err(|_| Errno::EILSEQ)
}
