//! Sizes such as `64M` and time spans such as `1m30s`.

use std::time::Duration;

/// A number of bytes: `-1` for no limit, or digits with an optional fraction and a binary unit.
pub fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.parse::<i64>().ok()?.checked_mul(1 << shift);
    }
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (bytes < i64::MAX as f64).then_some(bytes as i64)
}

/// A time span as Go programs write it: numbers with units, `300ms`, `1.5h`, `1m30s`.
pub fn span(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty())
        .then(|| Duration::try_from_secs_f64(total).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("-1", Some(-1)),
            ("64M", Some(64 << 20)),
            ("64m", Some(64 << 20)),
            ("1g", Some(1 << 30)),
            ("2GiB", Some(2 << 30)),
            ("2 gb", Some(2 << 30)),
            ("7k", Some(7 << 10)),
            ("3b", Some(3)),
            ("1.5M", Some(3 << 19)),
            ("1t", Some(1 << 40)),
            ("1P", Some(1 << 50)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("8589934592g", None),
            ("", None),
            ("M", None),
            ("-2", None),
            ("-64M", None),
            ("64X", None),
            ("64ib", None),
            (".5M", None),
            ("1.2.3M", None),
            ("6 4M", None),
            ("inf", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn spans() {
        for (text, expected) in [
            ("5s", Some(5_000)),
            ("300ms", Some(300)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("1h", Some(3_600_000)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5d", None),
            ("5s3", None),
            ("1..5s", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_millis()), expected, "{text:?}");
        }
    }
}
