//! Strings for the kernel, built on the stack.

use core::ffi::CStr;

/// A string of bounded length that always ends with a NUL.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; Text::MAX],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; Self::MAX],
            len: 0,
        }
    }
}

impl Text {
    /// Room for the path of a control group's file.
    const MAX: usize = 512;

    /// The parts one after another. What does not fit is cut off, and the kernel will refuse the name.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut text = Self::default();
        for part in parts {
            text.push(part);
        }
        text
    }

    /// Appends `part`.
    pub fn push(&mut self, part: &[u8]) {
        for &byte in part {
            if self.len + 1 < Self::MAX {
                self.bytes[self.len] = byte;
                self.len += 1;
            }
        }
    }

    /// Appends a number in decimal.
    pub fn push_number(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    /// As the kernel wants it.
    pub fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// Without the NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The number that `text` starts with; 0 where there is none.
pub fn number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum: u64, digit| {
            sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for value in [0, 7, 10, 4096, u64::MAX] {
            let mut text = Text::default();
            text.push_number(value);
            assert_eq!(number(text.as_bytes()), value);
        }
    }

    #[test]
    fn a_text_that_is_too_long_stays_terminated() {
        let text = Text::of(&[&[b'x'; 2 * Text::MAX]]);
        assert_eq!(text.as_c().to_bytes().len(), Text::MAX - 1);
    }
}
