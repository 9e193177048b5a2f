//! How much longer everything may take than on ordinary hardware, as under emulation.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static STRETCH: AtomicU32 = AtomicU32::new(1);

/// Sets the factor of all deadlines of this process.
pub fn set(factor: u32) {
    STRETCH.store(factor.max(1), Ordering::Relaxed);
}

/// The factor.
pub fn factor() -> u32 {
    STRETCH.load(Ordering::Relaxed)
}

/// Whether time is dear here, so that a test which repeats something does it less often.
pub fn slow() -> bool {
    factor() > 1
}

/// A deadline as it is to be kept here.
pub fn stretch(deadline: Duration) -> Duration {
    deadline * factor()
}
